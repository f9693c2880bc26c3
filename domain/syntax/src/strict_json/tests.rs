use super::*;
use StrictJsonError as E;

#[track_caller]
fn refused(text: &str, expected: &E) {
    assert_eq!(check(text.as_bytes(), MAX_DEPTH).as_ref(), Err(expected), "{text}");
}

#[test]
fn any_json_value_passes() {
    for text in ["null", "true", "-1", "1e3", "\"\\u00e9\"", "[]", "{\"a\":{\"a\":[1,2.5,\"x\"]}}"] {
        assert_eq!(check(text.as_bytes(), MAX_DEPTH), Ok(()), "{text}");
    }
}

#[test]
fn duplicates_are_refused_at_any_depth_and_in_any_spelling() {
    refused(r#"{"a":1,"a":1}"#, &E::DuplicateMember);
    refused(r#"[{"x":{"b":1,"c":2,"b":3}}]"#, &E::DuplicateMember);
    refused(r#"{"a":1,"\u0061":1}"#, &E::DuplicateMember);
    let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":0")).collect();
    refused(&format!("{{{},\"k50\":0}}", many.join(",")), &E::DuplicateMember);
    refused(&format!("{{{},\"k3\":0}}", many.join(",")), &E::DuplicateMember);
    assert_eq!(check(format!("{{{}}}", many.join(",")).as_bytes(), MAX_DEPTH), Ok(()));
}

#[test]
fn depth_is_counted_in_arrays_and_objects() {
    assert_eq!(check(b"[{\"a\":[]}]", 3), Ok(()));
    assert_eq!(check(b"[{\"a\":[[]]}]", 3), Err(E::TooDeep(3)));
    assert_eq!(check("[".repeat(100_000).as_bytes(), usize::MAX), Err(E::TooDeep(MAX_DEPTH)));
    let just = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert_eq!(check(just.as_bytes(), MAX_DEPTH), Ok(()));
}

#[test]
fn names_that_serde_json_reads_as_instructions_are_refused() {
    for name in ["$serde_json::private::RawValue", "\\u0024serde_json::private::RawValue", "$serde_json::x"] {
        refused(&format!(r#"{{"{name}":"1"}}"#), &E::ReservedName);
        refused(&format!(r#"[{{"a":{{"b":1,"{name}":"[]"}}}}]"#), &E::ReservedName);
    }
    assert_eq!(check(br#"{"serde_json":1,"$serde":2,"x":"$serde_json::private::RawValue"}"#, 9), Ok(()));
}

#[test]
fn values_are_counted() {
    let list = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
    assert_eq!(check(list(MAX_VALUES).as_bytes(), MAX_DEPTH), Ok(()));
    refused(&list(MAX_VALUES + 1), &E::TooManyValues);
    refused(&format!("[{}{{}}]", r#"{"a":[]},"#.repeat(MAX_VALUES / 2)), &E::TooManyValues);
}

/// Every byte that is allocated for a tree, as the standard library lays it out.
fn allocated(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.capacity(),
        Value::Array(items) => {
            (items.capacity() - items.len()) * size_of::<Value>() + items.iter().map(allocated).sum::<usize>()
        }
        // B-tree leaves have 11 places, and all but the root are at least 5 full.
        Value::Object(members) => {
            let nodes = if members.is_empty() { 0 } else { members.len().div_ceil(5) };
            let places = (nodes * 11).saturating_sub(members.len());
            let each =
                |(name, value): (&String, &Value)| size_of::<String>() + name.capacity() + allocated(value);
            places * (size_of::<String>() + size_of::<Value>()) + members.iter().map(each).sum::<usize>()
        }
        _ => 0,
    };
    size_of::<Value>() + inner
}

#[test]
fn a_tree_takes_no_more_than_was_said() {
    let many = |item: &str| format!("[{}]", vec![item; 1000].join(","));
    let members: Vec<String> = (0..1000).map(|n| format!("\"k{n}\":{n}")).collect();
    let nested = |open: &str, inner: &str, close: &str| {
        let levels = 100 / open.matches(['[', '{']).count();
        format!("{}{inner}{}", open.repeat(levels), close.repeat(levels))
    };
    for inner in [
        "1".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        r#""a string of some length""#.to_owned(),
        many("0"),
        many("[]"),
        many(r#"{"a":0}"#),
        many(r#""""#),
        many(r#"[[[{"a":{"b":{}}}]]]"#),
        format!("{{{}}}", members.join(",")),
        nested("[", "0", "]"),
        nested(r#"{"a":["#, r#""\u0061\n""#, "]}"),
        nested(r#"{"\u0061":"#, "[]", "}"),
    ] {
        let text = format!(r#"{{"unparsed":{inner}}}"#);
        let Ok(Json::Object(taken)) = read::<Taken<'_>>(text.as_bytes(), MAX_DEPTH) else { panic!("{text}") };
        let unparsed = taken.unparsed.unwrap();
        let tree = unparsed.parse();
        assert_eq!(tree, serde_json::from_str::<Value>(&inner).unwrap());
        let (said, took) = (unparsed.tree_bytes(), allocated(&tree));
        assert!(
            took <= said && said <= 120 * inner.len() + 1024,
            "{said} {took} {}",
            &inner[..inner.len().min(40)]
        );
        let clone = tree.clone();
        assert!(allocated(&clone) <= tree_bytes(&clone) && tree_bytes(&clone) <= said);
        assert_eq!(unparsed.to_owned().text(), inner);
    }
}

/// Takes one member of each kind.
#[derive(Debug, Default)]
struct Taken<'a> {
    text: Option<Json<'a>>,
    object: Option<Json<'a, Box<Taken<'a>>>>,
    value: Option<Value>,
    raw: Option<&'a str>,
    unparsed: Option<Unparsed<&'a str>>,
}

impl PartialEq for Taken<'_> {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.object, &self.value, self.raw)
            == (&other.text, &other.object, &other.value, other.raw)
    }
}

impl<'a> Members<'a> for Taken<'a> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "text" => self.text = Some(value.read()?),
            "object" => self.object = Some(value.read()?),
            "value" => self.value = Some(value.value()?),
            "raw" => self.raw = Some(value.raw()?.get()),
            "unparsed" => self.unparsed = Some(value.unparsed()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

impl<'a> Members<'a> for Box<Taken<'a>> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        self.as_mut().take(name, value)
    }
}

#[test]
fn what_is_wanted_is_kept_as_it_stands() {
    let text = r#"{"x":[1],"text":"\u00e9","object":{"text":null,"raw":"\u0041"},
        "value":{"a":[1,-2,2.5,true,null,"s"]},"raw":1.50}"#;
    let Ok(Json::Object(taken)) = read::<Taken<'_>>(text.as_bytes(), MAX_DEPTH) else { panic!() };
    assert_eq!(taken.text.as_ref().and_then(Json::text), Some("é"));
    assert_eq!(taken.value, Some(serde_json::json!({"a": [1, -2, 2.5, true, null, "s"]})));
    assert_eq!(taken.raw, Some("1.50"));
    let inner = taken.object.and_then(Json::object).unwrap();
    assert_eq!((&inner.text, inner.raw), (&Some(Json::Null), Some("\"\\u0041\"")));
    assert_eq!(read::<Taken<'_>>(b"[]", MAX_DEPTH), Ok(Json::Other));
    assert_eq!(
        read::<Taken<'_>>(b"{\"text\":1}", MAX_DEPTH).unwrap().object().unwrap().text,
        Some(Json::Other)
    );
}

#[test]
fn what_is_wanted_is_checked_like_the_rest() {
    for member in ["text", "object", "value", "raw", "unparsed", "x"] {
        let faults = [
            (r#"{"a":1,"\u0061":2}"#, E::DuplicateMember),
            (r#"{"$serde_json::private::RawValue":"{}"}"#, E::ReservedName),
            ("[[[[]]]]", E::TooDeep(4)),
            ("[[[[", E::TooDeep(4)),
            ("[\"\\ud800\"]", E::Syntax { line: 1, column: 21 }),
            ("01", E::Syntax { line: 1, column: 14 }),
        ];
        for (value, fault) in faults {
            // Members of one length, so that columns are the same.
            let text = format!("{{\"{member}\":{}{value}}}", " ".repeat(8 - member.len()));
            assert_eq!(read::<Taken<'_>>(text.as_bytes(), 4), Err(fault), "{text}");
            assert_eq!(check(text.as_bytes(), 4), read::<Taken<'_>>(text.as_bytes(), 4).map(drop), "{text}");
        }
        let twice = format!("{{\"{member}\":1,\"{member}\":1}}");
        assert_eq!(read::<Taken<'_>>(twice.as_bytes(), 4), Err(E::DuplicateMember));
    }
}

#[test]
fn items_are_judged_one_by_one_and_counted_together() {
    let read = |text: &'static str| read_items::<Taken<'_>>(text.as_bytes(), 4, 3);
    assert_eq!(read("[]"), Ok(Vec::new()));
    let text = r#" [ {"text":"a"}, {"a":1,"a":2}, [[[[]]]] ] "#;
    let items = read(text).unwrap();
    let taken = Taken { text: Some(Json::Text("a".into())), ..Taken::default() };
    assert_eq!(items[0], (&br#"{"text":"a"}"#[..], Ok(Json::Object(taken))));
    assert_eq!(items[1].1, Err(E::DuplicateMember));
    assert_eq!(items[2].1, Err(E::TooDeep(3)), "the array is a level, too");
    assert_eq!(read("[1,2,3,4]"), Err(E::TooManyItems(3)));
    for text in ["[1,2", "[1,]", "[1]x", "{}", "1", ""] {
        assert!(matches!(read(text), Err(E::Syntax { .. })), "{text}");
    }
    assert!(matches!(read(r#"["\ud800"]"#).unwrap()[..], [(_, Err(E::Syntax { .. }))]));
    let half = format!("[{}0]", "0,".repeat(MAX_VALUES / 2));
    let one = format!("[{half}]");
    assert!(read_items::<Nothing>(one.as_bytes(), 4, 3).is_ok());
    let two = format!("[{half},{half}]");
    assert_eq!(read_items::<Nothing>(two.as_bytes(), 4, 3), Err(E::TooManyValues));
    let deep = format!("[{}", "[".repeat(1_000_000));
    assert!(read_items::<Nothing>(deep.as_bytes(), MAX_DEPTH, 3).is_err(), "without recursion");
}

#[test]
fn syntax_faults_name_their_place() {
    refused("{\"a\":\n tru}", &E::Syntax { line: 2, column: 5 });
    for text in ["", "{", "[1,]", "{\"a\"}", "1 2", "'a'", "\"\\ud800\"", "nul", "[1]x"] {
        assert!(matches!(check(text.as_bytes(), MAX_DEPTH), Err(E::Syntax { .. })), "{text}");
    }
    assert!(matches!(check(b"\"\xff\"", MAX_DEPTH), Err(E::Syntax { .. })));
}

#[test]
fn a_type_is_read_from_strict_json_only() {
    #[derive(Debug, serde::Deserialize)]
    struct Named {
        name: String,
    }
    let read = |text: &str| parse::<Named>(text.as_bytes()).map_err(|error| error.to_string());
    assert_eq!(read(r#"{"name":"x","more":[1]}"#).unwrap().name, "x");
    let refused = |text: &str| read(text).unwrap_err();
    assert_eq!(refused(r#"{"name":"x","a":1,"a":2}"#), "an object has two members of one name");
    assert!(
        refused(r#"{"name":"x","a":{"$serde_json::private::RawValue":"1"}}"#)
            .contains("is reserved; rename it")
    );
    assert!(refused("{").starts_with("not JSON: "));
    assert!(refused(r#"{"nam":"x"}"#).contains("missing field `name`"));
}

#[test]
fn a_value_is_read_as_deep_as_serde_json_reads() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse::<Value>(deep(MAX_PARSED_DEPTH).as_bytes()).is_ok());
    assert!(matches!(
        parse::<serde::de::IgnoredAny>(deep(MAX_PARSED_DEPTH + 1).as_bytes()),
        Err(ParseError::Text(E::TooDeep(MAX_PARSED_DEPTH)))
    ));
}
