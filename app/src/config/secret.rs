//! Keys of a server's own sections whose values are never shown. `own.accounts.password` is a key of a table, or of each table
//! of a list; a part `*` stands for any name.

/// Returns how many of a path's parts name the secret that the path is, or is below.
pub(super) fn depth(secrets: &[&str], path: &[String]) -> Option<usize> {
    let covering = secrets.iter().filter(|secret| {
        let mut parts = secret.split('.');
        secret.split('.').count() <= path.len() && path.iter().all(|name| parts.next().is_none_or(is(name)))
    });
    covering.map(|secret| secret.split('.').count()).min()
}

/// Returns whether a value at a path may hold secrets.
pub(super) fn any_below(secrets: &[&str], path: &[String]) -> bool {
    secrets.iter().any(|secret| next(secret, path).is_some())
}

/// Returns the part of a secret's key that follows a path which leads to it.
pub(super) fn next<'s>(secret: &'s str, path: &[String]) -> Option<&'s str> {
    let mut parts = secret.split('.');
    let leads = path.iter().all(|name| parts.next().is_some_and(is(name)));
    if leads { parts.next() } else { None }
}

fn is(name: &str) -> impl Fn(&str) -> bool {
    move |part| part == "*" || part == name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> Vec<String> {
        key.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn a_secret_covers_itself_and_what_is_below_and_a_star_is_any_name() {
        let secrets = ["own.token", "own.accounts.*.password", "own.keys"];
        for (key, expected) in [
            ("own.token", Some(2)),
            ("own.token.inner", Some(2)),
            ("own.keys.a.b", Some(2)),
            ("own.accounts.alice.password", Some(4)),
            ("own.accounts.alice.name", None),
            ("own.accounts.alice", None),
            ("own", None),
            ("own.tokens", None),
        ] {
            assert_eq!(depth(&secrets, &path(key)), expected, "{key}");
        }
        for (key, expected) in [
            ("own", true),
            ("own.accounts", true),
            ("own.accounts.bob", true),
            ("own.token", false),
            ("other", false),
        ] {
            assert_eq!(any_below(&secrets, &path(key)), expected, "{key}");
        }
        assert_eq!(next("own.accounts.*.password", &path("own.accounts")), Some("*"));
        assert_eq!(next("own.accounts.*.password", &path("own.accounts.bob")), Some("password"));
        assert_eq!(next("own.token", &path("own.token")), None);
    }
}
