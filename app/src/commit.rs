//! Which commit the program was built from.

/// The commit, where whoever builds says it in the variable `SOURCE_COMMIT`, as the release script and the container's build do.
/// Git is not asked: a package has none, and every commit would compile this crate again.
pub(crate) const COMMIT: Option<&str> = known(option_env!("SOURCE_COMMIT"));

/// Nothing, where the variable is empty: so it is in a container's build that is told of no commit.
const fn known(commit: Option<&str>) -> Option<&str> {
    match commit {
        Some(commit) if !commit.is_empty() => Some(commit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn an_empty_commit_is_none() {
        assert_eq!([known(None), known(Some("")), known(Some("abc"))], [None, None, Some("abc")]);
    }
}
