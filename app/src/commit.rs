//! Which commit the program was built from.

/// The commit, where whoever builds says it in the variable `SOURCE_COMMIT`, as the release script and the container's build do.
/// Git is not asked: a package has none, and every commit would compile this crate again.
pub(crate) const COMMIT: Option<&str> = option_env!("SOURCE_COMMIT");
