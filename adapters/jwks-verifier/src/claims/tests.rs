use super::*;
use Untrusted as U;
use domain::CustomClaimError;

const LEAST: &str = r#""iss":"https://t/","aud":"api","exp":100,"sub":"u""#;

fn from_json(json: &[u8], token_type: Option<String>) -> Result<Claims, U> {
    read::<()>(json, token_type).map(|(claims, ())| claims)
}

fn with(more: &str) -> Result<Claims, U> {
    from_json(format!("{{{LEAST}{more}}}").as_bytes(), None)
}

#[test]
fn the_least_token_has_issuer_audience_expiry_and_subject() {
    let claims = from_json(format!("{{{LEAST}}}").as_bytes(), Some("at+jwt".into())).unwrap();
    let expected = Claims {
        token_type: Some("at+jwt".into()),
        issuer: "https://t/".into(),
        audience: vec!["api".into()],
        subject: "u".into(),
        expires_at: UnixSeconds(100),
        not_before: None,
        issued_at: None,
        client_id: None,
        authorized_party: None,
        scope: ScopeSet::EMPTY,
        permissions: ScopeSet::EMPTY,
        name: None,
        email: None,
        organization_id: None,
        token_id: None,
        sender_constrained: false,
        extra: None,
    };
    assert_eq!(claims, expected);
}

#[test]
fn every_other_claim_is_read_too() {
    let claims = with(
        r#","nbf":1,"iat":2,"client_id":"c","scope":" a  b",
           "name":"N\u00e9","email":"e@x","jti":"j","unheard-of":{}"#,
    )
    .unwrap();
    assert_eq!(claims.not_before, Some(UnixSeconds(1)));
    assert_eq!(claims.issued_at, Some(UnixSeconds(2)));
    assert_eq!(claims.client_id.as_deref(), Some("c"));
    assert_eq!(claims.scope.to_string(), "a b");
    assert_eq!(claims.name.as_deref(), Some("Né"));
    assert_eq!(claims.email.as_deref(), Some("e@x"));
    assert_eq!((claims.token_id.as_deref(), claims.extra), (Some("j"), None));
}

#[test]
fn claims_that_few_tokens_carry_are_read_too() {
    let claims = with(
        r#","act":{"sub":"a","client_id":"c","iss":"i","x":1,"act":{"sub":"b","act":null}},
           "acr":"r","amr":["pwd","mfa"],"auth_time":9.9,
           "https://a/team":"N\u00e9","http://a/roles":[1, {"x":2}],"urn:x":1"#,
    );
    let extra = *claims.unwrap().extra.unwrap();
    let actor = |subject: &str, client_id: Option<&str>, issuer: Option<&str>| Actor {
        subject: subject.into(),
        client_id: client_id.map(Into::into),
        issuer: issuer.map(Into::into),
    };
    assert_eq!(extra.actors, [actor("a", Some("c"), Some("i")), actor("b", None, None)]);
    assert_eq!(extra.authentication_context.as_deref(), Some("r"));
    assert_eq!(extra.authentication_methods, ["pwd", "mfa"]);
    assert_eq!(extra.authenticated_at, Some(UnixSeconds(9)));
    assert_eq!(extra.custom.get("https://a/team"), Ok(Some("Né".to_owned())));
    assert_eq!(extra.custom.get("http://a/roles"), Ok(Some(serde_json::json!([1, {"x": 2}]))));
    assert_eq!(extra.custom.get::<u8>("urn:x"), Ok(None));
}

#[test]
fn custom_claims_are_strict_json_and_beyond_their_limit_none_is_kept() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let custom = |json: &str| with(&format!(r#","https://a/x":{json},"https://a/y":1"#));
    assert_eq!(custom(r#"{"a":1,"a":2}"#), Err(U::Malformed));
    assert_eq!(custom(r#"{"a":{"b":1,"\u0062":2}}"#), Err(U::Malformed));
    assert_eq!(custom(&deep(MAX_DEPTH)), Err(U::Malformed));
    assert!(custom(&deep(MAX_DEPTH - 1)).is_ok());
    assert_eq!(with(r#","https://a/x":1,"https://a/x":1"#), Err(U::Malformed));
    let max = CustomClaims::MAX_BYTES - 2 * "https://a/x".len() - "\"\"1".len();
    for (length, expected) in [(max, Ok(Some(1))), (max + 1, Err(CustomClaimError::TooLarge))] {
        let extra = *custom(&format!("\"{}\"", "x".repeat(length))).unwrap().extra.unwrap();
        assert_eq!(extra.custom.get::<u8>("https://a/y"), expected, "{length}");
    }
}

#[test]
fn chains_of_actors_and_lists_of_values_are_bounded() {
    let chain = |length: usize| {
        format!(",\"act\":{}{}", r#"{"sub":"a","act":"#.repeat(length), r#"{"sub":"a"}"#)
            + &"}".repeat(length)
    };
    assert_eq!(with(&chain(Actor::MAX_CHAIN - 1)).unwrap().extra.unwrap().actors.len(), Actor::MAX_CHAIN);
    assert_eq!(with(&chain(Actor::MAX_CHAIN)), Err(U::InvalidClaim("act")));
    let list = |length: usize| format!(",\"amr\":{}", serde_json::json!(vec!["x"; length]));
    assert!(with(&list(ExtraClaims::MAX_VALUES)).is_ok());
    assert_eq!(with(&list(ExtraClaims::MAX_VALUES + 1)), Err(U::InvalidClaim("amr")));
}

#[test]
fn an_optional_claim_that_is_null_is_absent() {
    let least = with("").unwrap();
    for name in ["nbf", "iat", "client_id", "scope", "name", "email", "jti"] {
        assert_eq!(with(&format!(",\"{name}\":null")).as_ref(), Ok(&least), "{name}");
    }
    for name in ["act", "acr", "amr", "auth_time"] {
        let claims = with(&format!(",\"{name}\":null")).unwrap();
        assert_eq!(claims.extra.as_deref(), Some(&ExtraClaims::default()), "{name}");
    }
}

#[test]
fn a_confirmation_of_any_form_constrains_the_sender() {
    for cnf in [r#"{"jkt":"x"}"#, r#"{"x5t#S256":"x"}"#, "{}", "null", "1"] {
        assert!(with(&format!(",\"cnf\":{cnf}")).unwrap().sender_constrained, "{cnf}");
    }
}

#[test]
fn a_required_claim_that_is_absent_is_named() {
    let all = [("iss", "\"i\""), ("aud", "[]"), ("exp", "1"), ("sub", "\"\"")];
    for (missing, _) in all {
        let members: Vec<String> = all
            .iter()
            .filter(|(name, _)| *name != missing)
            .map(|(name, value)| format!("\"{name}\":{value}"))
            .collect();
        let json = format!("{{{}}}", members.join(","));
        assert_eq!(from_json(json.as_bytes(), None), Err(U::MissingClaim(missing)));
    }
}

#[test]
fn a_claim_of_the_wrong_json_type_is_named() {
    let not_strings = ["1", "true", "[\"a\"]", "{}"];
    let not_numbers = ["\"1\"", "true", "[1]", "{}"];
    let not_lists = ["\"a\"", "1", "{}", "[1]", "[null]"];
    let neither = ["1", "true", "{}", "[1]", "[\"a\",null]", "[[\"a\"]]"];
    let not_actors = [
        "\"a\"",
        "1",
        "[{\"sub\":\"a\"}]",
        "{}",
        "{\"sub\":null}",
        "{\"client_id\":\"a\"}",
        "{\"sub\":\"a\",\"client_id\":1}",
        "{\"sub\":\"a\",\"iss\":[]}",
        "{\"sub\":\"a\",\"act\":{}}",
        "{\"sub\":\"a\",\"act\":\"b\"}",
    ];
    let null = ["null"];
    let cases: [(&'static str, &[&str]); 19] = [
        ("iss", &null),
        ("sub", &null),
        ("aud", &null),
        ("exp", &null),
        ("iss", &not_strings),
        ("sub", &not_strings),
        ("aud", &neither),
        ("exp", &not_numbers),
        ("jti", &not_strings),
        ("act", &not_actors),
        ("acr", &not_strings),
        ("amr", &not_lists),
        ("auth_time", &not_numbers),
        ("nbf", &not_numbers),
        ("iat", &not_numbers),
        ("client_id", &not_strings),
        ("scope", &not_strings),
        ("name", &not_strings),
        ("email", &not_strings),
    ];
    for (name, values) in cases {
        for value in values {
            let mut claims: serde_json::Value = serde_json::from_str(&format!("{{{LEAST}}}")).unwrap();
            claims[name] = serde_json::from_str(value).unwrap();
            let read = from_json(claims.to_string().as_bytes(), None);
            assert_eq!(read, Err(U::InvalidClaim(name)), "{name}: {value}");
        }
    }
}

#[test]
fn what_is_no_object_is_malformed() {
    for json in ["[]", "\"x\"", "null", "1", r#"["https://t/","api",1,"u"]"#] {
        assert_eq!(from_json(json.as_bytes(), None), Err(U::Malformed), "{json}");
    }
}

#[test]
fn the_audience_may_be_an_array() {
    let json = br#"{"iss":"i","aud":["a","b"],"exp":1,"sub":"s"}"#;
    assert_eq!(from_json(json, None).unwrap().audience, ["a", "b"]);
}

#[test]
fn times_round_to_the_shorter_life_and_saturate() {
    let times = |value: &str| {
        let json = format!(r#"{{"iss":"","aud":"","sub":"","exp":{value},"nbf":{value},"iat":{value}}}"#);
        let claims = from_json(json.as_bytes(), None).unwrap();
        assert_eq!(claims.not_before, claims.issued_at);
        (claims.expires_at.0, claims.not_before.unwrap().0)
    };
    assert_eq!(times("100"), (100, 100));
    assert_eq!(times("100.25"), (100, 101));
    assert_eq!(times("1e2"), (100, 100));
    assert_eq!(times("-0.5"), (-1, 0));
    assert_eq!(times("9223372036854775807"), (i64::MAX, i64::MAX));
    assert_eq!(times("18446744073709551615"), (i64::MAX, i64::MAX));
    assert_eq!(times("1e300"), (i64::MAX, i64::MAX));
    assert_eq!(times("-1e300"), (i64::MIN, i64::MIN));
}

/// A provider whose scopes are an array.
#[derive(Default)]
struct ScopeArray(Option<Value>);

impl OwnClaims for ScopeArray {
    fn slot(&mut self, name: &str) -> Option<&mut Option<Value>> {
        (name == "scope" || name == "cnf").then_some(&mut self.0)
    }
}

#[test]
fn a_provider_can_read_a_registered_claim_in_its_own_way_but_never_hide_a_confirmation() {
    let json = format!(r#"{{{LEAST},"scope":["a"],"cnf":null}}"#);
    let (claims, ScopeArray(scope)) = read(json.as_bytes(), None).unwrap();
    assert_eq!((claims.scope, scope), (ScopeSet::EMPTY, Some(serde_json::json!(["a"]))));
    assert!(claims.sender_constrained);
}
