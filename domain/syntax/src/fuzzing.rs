//! What must hold for any bytes: called by the fuzz targets of `fuzz/` and by tests. It is in no other build.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::strict_json::{
    self, Fault, Json, MAX_DEPTH, MAX_VALUES, Members, RESERVED_PREFIX, StrictJsonError, Unparsed, Unread,
};

/// Strict JSON: what is taken is what `serde_json` takes, and means the same; beyond what that refuses, the first fault in the
/// text is one of the rules'.
///
/// # Panics
/// When an invariant does not hold.
pub fn strict_json(data: &[u8]) {
    let shown = || String::from_utf8_lossy(data).into_owned();
    for max_depth in [3, MAX_DEPTH] {
        let expected = Oracle::read(data, max_depth);
        let outcome = strict_json::check(data, max_depth);
        match (&outcome, &expected) {
            (Err(StrictJsonError::Syntax { line, column }), Err(StrictJsonError::Syntax { .. })) => {
                let place = data.split(|byte| *byte == b'\n').nth(line - 1);
                assert!(place.is_some_and(|line| *column <= line.len()), "{line}, {column}: {}", shown());
            }
            _ => assert_eq!(outcome.as_ref().err(), expected.as_ref().err(), "{}", shown()),
        }
        let items = strict_json::read_items::<Taken<'_>>(data, max_depth, usize::MAX);
        match &expected {
            Ok(Value::Array(values)) => {
                let items = items.unwrap_or_else(|error| panic!("{error}: {}", shown()));
                assert!(
                    items.len() == values.len() && items.iter().all(|(_, item)| item.is_ok()),
                    "{}",
                    shown()
                );
            }
            Ok(_) => assert!(items.is_err(), "{}", shown()),
            Err(_) => {}
        }
    }
    if let Ok(expected) = Oracle::read(data, MAX_DEPTH - 1) {
        means(std::str::from_utf8(data).unwrap_or_else(|error| panic!("{error}: {}", shown())), &expected);
    }
}

/// Checks that a text means this value, in whatever way it is read.
fn means(text: &str, expected: &Value) {
    let message = format!(r#"{{"whole":{text},"text":{text},"unparsed":{text},"raw":{text}}}"#);
    let taken = strict_json::read::<Taken<'_>>(message.as_bytes(), MAX_DEPTH);
    let taken = taken.ok().and_then(Json::object).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(taken.whole.as_ref(), Some(expected), "{text}");
    assert_eq!(taken.raw, Some(text.trim_ascii()), "{text}");
    let unparsed = taken.unparsed.unwrap_or_else(|| panic!("{text}"));
    assert_eq!((unparsed.text(), &unparsed.parse()), (text.trim_ascii(), expected), "{text}");
    assert_eq!(unparsed.tree_bytes(), strict_json::tree_bytes(expected), "{text}");
    match (taken.text, expected) {
        (Some(Json::Text(text)), expected) => assert_eq!(expected, text.as_ref()),
        (Some(Json::Object(Named(names))), Value::Object(members)) => {
            assert!(names.iter().eq(members.keys()), "{text}");
        }
        (Some(Json::Null), Value::Null)
        | (Some(Json::Other), Value::Bool(_) | Value::Number(_) | Value::Array(_)) => {}
        (read, _) => panic!("{read:?}: {text}"),
    }
}

/// Takes a value in every way.
#[derive(Default)]
struct Taken<'a> {
    whole: Option<Value>,
    text: Option<Json<'a, Named>>,
    unparsed: Option<Unparsed<&'a str>>,
    raw: Option<&'a str>,
}

impl<'a> Members<'a> for Taken<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "whole" => self.whole = Some(value.value()?),
            "text" => self.text = Some(value.read()?),
            "unparsed" => self.unparsed = Some(value.unparsed()?),
            "raw" => self.raw = Some(value.raw()?.get()),
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// The names of an object's members.
#[derive(Debug, Default)]
struct Named(BTreeSet<String>);

impl<'a> Members<'a> for Named {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        self.0.insert(name.to_owned());
        value.skip()
    }
}

/// The rules in other words: what `serde_json` reads, with each rule checked as a value is met.
struct Oracle<'f> {
    remaining: usize,
    state: &'f mut OracleState,
}

#[derive(Default)]
struct OracleState {
    values: usize,
    broken: Option<StrictJsonError>,
}

impl OracleState {
    fn count<E: serde::de::Error>(&mut self) -> Result<(), E> {
        self.values += 1;
        if self.values > MAX_VALUES { Err(self.refuse(StrictJsonError::TooManyValues)) } else { Ok(()) }
    }

    fn refuse<E: serde::de::Error>(&mut self, error: StrictJsonError) -> E {
        self.broken = Some(error);
        E::custom("refused")
    }
}

impl Oracle<'_> {
    fn read(data: &[u8], max_depth: usize) -> Result<Value, StrictJsonError> {
        let mut state = OracleState::default();
        let mut deserializer = serde_json::Deserializer::from_slice(data);
        deserializer.disable_recursion_limit();
        let read = Oracle { remaining: max_depth, state: &mut state }.deserialize(&mut deserializer);
        let read = read.and_then(|value| deserializer.end().map(|()| value));
        read.map_err(|error| match state.broken {
            Some(StrictJsonError::TooDeep(_)) => StrictJsonError::TooDeep(max_depth),
            Some(broken) => broken,
            None => StrictJsonError::Syntax { line: error.line(), column: error.column() },
        })
    }

    fn scalar<E: serde::de::Error>(self, value: impl Into<Value>) -> Result<Value, E> {
        self.state.count()?;
        Ok(value.into())
    }

    fn inner<E: serde::de::Error>(&mut self) -> Result<Oracle<'_>, E> {
        match self.remaining.checked_sub(1) {
            Some(remaining) => Ok(Oracle { remaining, state: self.state }),
            None => Err(self.state.refuse(StrictJsonError::TooDeep(0))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Oracle<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Oracle<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.scalar(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Value, E> {
        self.scalar(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.scalar(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.scalar(value)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        self.scalar(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.scalar(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        self.inner::<A::Error>()?.state.count::<A::Error>()?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(self.inner()?)? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        self.inner::<A::Error>()?.state.count::<A::Error>()?;
        let mut object = serde_json::Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name.starts_with(RESERVED_PREFIX) {
                return Err(self.state.refuse(StrictJsonError::ReservedName));
            }
            if object.contains_key(&name) {
                return Err(self.state.refuse(StrictJsonError::DuplicateMember));
            }
            object.insert(name, members.next_value_seed(self.inner()?)?);
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What numbers are written like, and what looks like one.
    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            "-?(0|[1-9][0-9]{0,3})",
            "-?[0-9]{1,25}(\\.[0-9]{0,20})?",
            "-?[0-9]{0,3}\\.?[0-9]{0,3}([eE][+-]?[0-9]{0,3})?",
            "-?1\\.797693134862315[0-9]{1,4}e308",
            "[0-9]{290,320}",
            "0\\.[0-9]{300,330}",
            "[1-9]e-?(30[5-9]|32[0-9]|99999999999999999999)",
        ]
    }

    /// A string in quotes, of plain characters, escapes and what is none.
    fn string() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            8 => "[ -~]{0,12}".prop_map(|text| text.replace(['"', '\\'], "")),
            4 => "[a-c]{1,2}",
            2 => "[é世🦀\u{7f}\u{80}\u{2028}\u{ffff}]{1,3}",
            2 => "\\\\[\"\\\\/bfnrt]",
            1 => "\\\\u[0-9a-fA-F]{4}",
            1 => "\\\\ud[89ab][0-9a-f]{2}\\\\ud[c-f][0-9a-f]{2}",
            1 => "\\\\(u[0-9a-g]{0,4}|x|u+|U0041|ud[89a-f]00)",
            1 => "[\u{0}-\u{1f}\"\\\\]",
        ];
        prop::collection::vec(part, 0..5).prop_map(|parts| format!("\"{}\"", parts.concat()))
    }

    /// A member's name, often one of few, in one of several spellings.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "\"[a-f]{1,2}\"",
            2 => "\"[a-d]\"",
            2 => prop_oneof!["\"\\\\u006[1-3]\"", "\"a\\\\u0062\"", "\"\\\\/\"", "\"/\""],
            2 => "\"k[0-9]{1,2}\"",
            1 => prop_oneof!["\"\\$serde_json::[a-z]{0,3}\"", "\"\\\\u0024serde_json::x\"", "\"\\$serde_json:\""],
            2 => string(),
        ]
    }

    /// JSON, and what is nearly JSON.
    fn text() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            prop_oneof!["null", "true", "false", "nul", "True", "nulll", "NaN", ""],
            number(),
            string(),
            string(),
        ];
        let value = scalar.prop_recursive(6, 60, 24, |inner| {
            let space = || prop_oneof![8 => "", 1 => "[ \n\t\r]{1,3}", 1 => "[\u{b}\u{a0},:]"];
            let item = (space(), inner, space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
            let member = (space(), name(), space(), item.clone())
                .prop_map(|(a, name, b, value)| format!("{a}{name}{b}:{value}"));
            prop_oneof![
                prop::collection::vec(item, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(member, 0..24).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        });
        ("[ \n]{0,2}", value, "[ \n]{0,2}").prop_map(|(a, value, b)| format!("{a}{value}{b}"))
    }

    /// A text with some of its bytes replaced, left out, or others put in.
    fn mutated() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop_oneof![
            prop::sample::select(&b"{}[]:,\"\\/ \n\t0123456789-+.eEuntf\x00\x1f\x7f\x80\xc3\xe2\xf0\xff"[..]),
            any::<u8>(),
        ];
        let changes = prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8, bytes), 1..4);
        (text(), changes).prop_map(|(text, changes)| {
            let mut bytes = text.into_bytes();
            for (at, change, byte) in changes {
                let at = at.index(bytes.len() + 1);
                match (change, bytes.get_mut(at)) {
                    (0, Some(place)) => *place = byte,
                    (1, Some(_)) => drop(bytes.remove(at)),
                    _ => bytes.insert(at, byte),
                }
            }
            bytes
        })
    }

    #[test]
    fn the_seeds_hold() {
        for folder in ["strict_json", "json_rpc_legacy", "json_rpc_modern", "claims"] {
            let folder = format!("{}/../../fuzz/seeds/{folder}", env!("CARGO_MANIFEST_DIR"));
            for seed in std::fs::read_dir(folder).unwrap() {
                strict_json(&std::fs::read(seed.unwrap().path()).unwrap());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn what_is_like_json_holds(text in text()) {
            strict_json(text.as_bytes());
        }

        #[test]
        fn what_was_like_json_holds(bytes in mutated()) {
            strict_json(&bytes);
        }

        #[test]
        fn one_number_or_string_holds(number in number(), string in string()) {
            strict_json(number.as_bytes());
            strict_json(string.as_bytes());
        }

        #[test]
        fn an_object_of_many_members_holds(names in prop::collection::vec(name(), 0..60)) {
            let members: Vec<String> = names.iter().map(|name| format!("{name}:0")).collect();
            strict_json(format!("{{{}}}", members.join(",")).as_bytes());
            // Names that differ, so that all of them are read.
            let members: Vec<String> = (0..names.len()).map(|n| format!("\"\\u00{:x}{n}\":0", 0x61 + n % 3)).collect();
            strict_json(format!("{{{}}}", members.join(",")).as_bytes());
            let members: Vec<String> = (0..names.len()).map(|n| format!("\"{n}\":0")).collect();
            strict_json(format!("{{{}}}", members.join(",")).as_bytes());
        }

        #[test]
        fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..40), tokens in "[\\[\\]{}:,\"a1 \\\\]{0,16}") {
            strict_json(&bytes);
            strict_json(tokens.as_bytes());
        }
    }
}
