//! A key of the configuration: what its values are, and all that is said of it beside config/default.toml. Reading, reloading,
//! redacting and the tables of docs/configuration.md follow it.

/// A key of a section.
pub(super) struct Key<V: ?Sized = dyn Values> {
    /// The key as `section.key`. A part in capitals stands for names that are the operator's, as in `tools.NAME.scopes`.
    pub(super) name: &'static str,
    pub(super) reload: Reload,
    /// What it is for, as docs/configuration.md has it.
    pub(super) meaning: &'static str,
    /// What counts without a value, where config/default.toml has none.
    pub(super) fallback: &'static str,
    /// The variable with a name of its own that sets it.
    pub(super) variable: Option<&'static str>,
    /// Whether the value is never shown, nor anything that stands at its place.
    pub(super) secret: bool,
    pub(super) values: V,
}

/// The beginning of the variables that set any key.
pub(super) const PREFIX: &str = "FASTMCP__";

/// The keys of every section.
#[derive(Clone, Copy)]
pub(super) struct Keys(pub(super) &'static [&'static [&'static Key]]);

impl Keys {
    pub(super) fn iter(self) -> impl Iterator<Item = &'static Key> {
        self.0.iter().copied().flatten().copied()
    }

    /// Returns the keys that config/default.toml has.
    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        self.iter().filter(|key| !key.has_placeholder()).map(|key| key.name)
    }

    /// Returns the variables with names of their own, each with the key that it sets.
    pub(super) fn named_variables(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.iter().filter_map(|key| key.variable.map(|variable| (variable, key.name)))
    }
}

/// Whether a reload applies the change of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// It is applied.
    Applied,
    /// It is applied once the issuer's signing keys are fetched by it.
    FetchesKeys,
    /// It is refused: what depends on the key was made at the start.
    RestartRequired,
}

/// What the values of a key are.
pub(super) trait Values: Sync {
    /// Returns the unit and the range, as docs/configuration.md has them.
    fn describe(&self) -> String;
}

/// A text, with the words that describe it.
#[derive(Clone, Copy)]
pub(super) struct Text(pub(super) &'static str);

/// A list of texts, with the words that describe it.
#[derive(Clone, Copy)]
pub(super) struct Texts(pub(super) &'static str);

/// A word with a meaning of its own, or a list of texts, with the words that describe it.
#[derive(Clone, Copy)]
pub(super) struct WordOr(pub(super) &'static str, pub(super) Texts);

/// `true` or `false`.
#[derive(Clone, Copy)]
pub(super) struct Flag;

/// A number from 0 to 1.
#[derive(Clone, Copy)]
pub(super) struct Ratio;

/// One of several words, each with what it stands for.
#[derive(Clone, Copy)]
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, T)]);

/// A whole number of a unit, which may have no name, in a range that has both ends.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    unit: &'static str,
    pub(super) min: u64,
    pub(super) max: u64,
}

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;
pub(super) const HOUR: u64 = 60 * 60;
pub(super) const DAY: u64 = 24 * HOUR;

const BYTES: &str = "bytes";

pub(super) const fn whole(unit: &'static str, min: u64, max: u64) -> Whole {
    Whole { unit, min, max }
}

pub(super) const fn count(min: u64, max: u64) -> Whole {
    whole("", min, max)
}

pub(super) const fn bytes(min: u64, max: u64) -> Whole {
    whole(BYTES, min, max)
}

pub(super) const fn seconds(min: u64, max: u64) -> Whole {
    whole("seconds", min, max)
}

impl<V: Copy> Key<V> {
    pub(super) const fn new(name: &'static str, values: V, reload: Reload, meaning: &'static str) -> Self {
        Self { name, reload, meaning, fallback: "", variable: None, secret: false, values }
    }

    /// Says what counts without a value.
    pub(super) const fn or(mut self, fallback: &'static str) -> Self {
        self.fallback = fallback;
        self
    }

    /// Gives the key a variable with a name of its own.
    pub(super) const fn variable(mut self, name: &'static str) -> Self {
        self.variable = Some(name);
        self
    }

    /// Marks the values as never shown.
    pub(super) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

impl<V: ?Sized> Key<V> {
    /// Returns the parts of the key, with these names in place of the parts in capitals.
    pub(super) fn path(&self, names: &[&str]) -> Vec<String> {
        let mut names = names.iter();
        let mut name = || names.next().copied().unwrap_or_default();
        self.parts().map(|part| if is_placeholder(part) { name() } else { part }.to_owned()).collect()
    }

    /// Returns the parts of the key as they would be at a path, if that has as many; names are taken from the path.
    pub(super) fn path_like(&self, path: &[String]) -> Option<Vec<String>> {
        let part = |(part, other): (&str, &String)| {
            if is_placeholder(part) { other.clone() } else { part.to_owned() }
        };
        (self.parts().count() == path.len()).then(|| self.parts().zip(path).map(part).collect())
    }

    /// Returns whether a path is the key, or is below it.
    pub(super) fn covers(&self, path: &[String]) -> bool {
        let fits = |(part, other): (&str, &String)| is_placeholder(part) || part == other;
        self.parts().count() <= path.len() && self.parts().zip(path).all(fits)
    }

    /// Returns whether a path is that of a table which the key is in.
    pub(super) fn is_in(&self, path: &[String]) -> bool {
        let fits = |(part, other): (&str, &String)| is_placeholder(part) || part == other;
        self.parts().count() > path.len() && self.parts().zip(path).all(fits)
    }

    fn parts(&self) -> impl Iterator<Item = &'static str> {
        self.name.split('.')
    }

    /// Returns whether names that are the operator's are part of the key.
    pub(super) fn has_placeholder(&self) -> bool {
        self.parts().any(is_placeholder)
    }

    /// Returns whether a key of a configuration is this one.
    pub(super) fn is(&self, key: &str) -> bool {
        // The operator's names may have dots of their own.
        let mut literals = vec![String::new()];
        for part in self.name.split_inclusive('.') {
            match literals.last_mut() {
                Some(last) if !is_placeholder(part) => last.push_str(part),
                _ => literals.push(if part.ends_with('.') { ".".into() } else { String::new() }),
            }
        }
        let mut literals = literals.iter().map(String::as_str);
        let mut left = literals.next().and_then(|first| key.strip_prefix(first));
        let Some(last) = literals.next_back() else { return left == Some("") };
        for literal in literals {
            left = left.and_then(after_name).and_then(|(_, left)| Some(left.split_once(literal)?.1));
        }
        left.and_then(after_name).is_some_and(|(first, left)| left.ends_with(last) && first != '.')
    }
}

/// Splits off the first character of a name, which has one at least.
fn after_name(left: &str) -> Option<(char, &str)> {
    let first = left.chars().next()?;
    Some((first, &left[first.len_utf8()..]))
}

fn is_placeholder(part: &str) -> bool {
    part.starts_with(|c: char| c == '"' || c.is_ascii_uppercase())
}

impl Values for Text {
    fn describe(&self) -> String {
        self.0.to_owned()
    }
}

impl Values for Texts {
    fn describe(&self) -> String {
        format!("list of {}", self.0)
    }
}

impl Values for WordOr {
    fn describe(&self) -> String {
        format!("`{}`, or a {}", self.0, self.1.describe())
    }
}

impl Values for Flag {
    fn describe(&self) -> String {
        "`true`, `false`".to_owned()
    }
}

impl Values for Ratio {
    fn describe(&self) -> String {
        "0 to 1".to_owned()
    }
}

impl<T: Sync> Values for Words<T> {
    fn describe(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|(word, _)| format!("`{word}`")).collect();
        words.join(", ")
    }
}

impl Values for Whole {
    fn describe(&self) -> String {
        let number = |number: u64| match number {
            _ if self.unit != BYTES => number.to_string(),
            _ if number >= GIB && number.is_multiple_of(GIB) => format!("{} GiB", number / GIB),
            _ if number >= MIB && number.is_multiple_of(MIB) => format!("{} MiB", number / MIB),
            _ => number.to_string(),
        };
        let range = format!("{} to {}", number(self.min), number(self.max));
        if self.unit.is_empty() { range } else { format!("{}, {range}", self.unit) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_in_capitals_stands_for_any_name() {
        static SCOPES: Key<Flag> = Key::new("tools.NAME.scopes", Flag, Reload::Applied, "");
        static IMPLIES: Key<Flag> = Key::new("scopes.implies.\"SCOPE\"", Flag, Reload::Applied, "");
        static RULE: Key<Flag> = Key::new("upstreams.NAME.tools.\"PATTERN\".name", Flag, Reload::Applied, "");
        static PORT: Key<Flag> = Key::new("server.port", Flag, Reload::Applied, "");
        assert_eq!(SCOPES.path(&["a.b"]), ["tools", "a.b", "scopes"]);
        assert_eq!(IMPLIES.path(&["a.b"]), ["scopes", "implies", "a.b"]);
        for key in ["tools.greet.scopes", "tools.\"a.b\".scopes"] {
            assert!(SCOPES.is(key), "{key}");
        }
        for key in ["tools.greet.enabled", "tools.scopes", "tools", "tool.greet.scopes"] {
            assert!(!SCOPES.is(key), "{key}");
        }
        assert!(IMPLIES.is("scopes.implies.\"a.b\"") && IMPLIES.is("scopes.implies.a"));
        assert!(!IMPLIES.is("scopes.implies") && !IMPLIES.is("scopes.login"));
        assert!(PORT.is("server.port") && !PORT.is("server.ports") && !PORT.is("server"));
        assert_eq!(RULE.path(&["a", "b.*"]), ["upstreams", "a", "tools", "b.*", "name"]);
        assert!(RULE.is("upstreams.files.tools.\"a.*\".name") && RULE.is("upstreams.tools.tools.tools.name"));
        for key in ["upstreams.files.tools.name", "upstreams.files.name", "upstreams.tools.name", "upstreams"]
        {
            assert!(!RULE.is(key), "{key}");
        }
        let path = |key: &str| key.split('.').map(str::to_owned).collect::<Vec<_>>();
        assert!(
            RULE.covers(&path("upstreams.a.tools.b.name.c")) && !RULE.covers(&path("upstreams.a.tools.b"))
        );
        assert_eq!(RULE.path_like(&path("u.a.t.b.nam")).unwrap().join("."), "upstreams.a.tools.b.name");
        assert!(SCOPES.has_placeholder() && IMPLIES.has_placeholder() && !PORT.has_placeholder());
    }

    #[test]
    fn ranges_of_bytes_have_the_units_that_divide_them() {
        for (values, expected) in [
            (count(0, 65_535), "0 to 65535"),
            (seconds(0, DAY), "seconds, 0 to 86400"),
            (bytes(1024, 16 * MIB), "bytes, 1024 to 16 MiB"),
            (bytes(MIB, 64 * GIB), "bytes, 1 MiB to 64 GiB"),
            (bytes(0, MIB + 1), "bytes, 0 to 1048577"),
        ] {
            assert_eq!(values.describe(), expected);
        }
    }
}
