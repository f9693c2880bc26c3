//! From a proved payload to [`Claims`]: JSON types are judged here, values in the domain.
//!
//! One rule for every claim: an optional claim that is `null` is absent, and any other JSON type than the specified one is
//! refused by name. The exception is `cnf`: it binds the token whatever its value, since a reader that takes `null` for
//! absence where the issuer did not would accept a stolen token. `jsonwebtoken`'s own checks of exp, nbf and aud are not used, on purpose: the domain judges those,
//! with its clock, so that a fake verifier can exercise every rejection.

use domain::{Actor, Claims, CustomClaims, ExtraClaims, ScopeSet, UnixSeconds, Untrusted};
use serde_json::{Number, Value};
use syntax::strict_json::{self, Json, MapAccess, Members, Unread};

use crate::jws::{MAX_DEPTH, Proved};

/// Reads the claims that the domain knows.
pub(crate) fn read(proved: &Proved<'_>, token_type: Option<String>) -> Result<Claims, Untrusted> {
    from_json(&proved.payload()?, token_type)
}

/// Strict JSON only: with duplicates, one token could mean two things, to a gateway and to this server.
pub(crate) fn from_json(json: &[u8], token_type: Option<String>) -> Result<Claims, Untrusted> {
    let Ok(Json::Object(wire)) = strict_json::read::<WireClaims>(json, MAX_DEPTH) else {
        return Err(Untrusted::Malformed);
    };
    let scope = optional("scope", wire.scope, text)?.unwrap_or_default();
    let permissions = optional("permissions", wire.permissions, texts)?.unwrap_or_default();
    Ok(Claims {
        token_type,
        issuer: required("iss", wire.iss, text)?,
        audience: required("aud", wire.aud, text_or_texts)?,
        expires_at: rounded(&required("exp", wire.exp, number)?, f64::floor),
        subject: required("sub", wire.sub, text)?,
        not_before: optional("nbf", wire.nbf, number)?.map(|number| rounded(&number, f64::ceil)),
        issued_at: optional("iat", wire.iat, number)?.map(|number| rounded(&number, f64::ceil)),
        client_id: optional("client_id", wire.client_id, text)?,
        authorized_party: optional("azp", wire.azp, text)?,
        scope: ScopeSet::granted_by(scope.split(' ')),
        permissions: ScopeSet::granted_by(permissions.iter().map(String::as_str)),
        name: optional("name", wire.name, text)?,
        email: optional("email", wire.email, text)?,
        organization_id: optional("org_id", wire.org_id, text)?,
        token_id: optional("jti", wire.jti, text)?,
        sender_constrained: wire.has_cnf,
        extra: wire.extra.map(|extra| extra_claims(*extra)).transpose()?,
    })
}

fn extra_claims(wire: WireExtra) -> Result<Box<ExtraClaims>, Untrusted> {
    Ok(Box::new(ExtraClaims {
        organization_name: optional("org_name", wire.org_name, text)?,
        actors: optional("act", wire.act, actors)?.unwrap_or_default(),
        authentication_context: optional("acr", wire.acr, text)?,
        authentication_methods: optional("amr", wire.amr, |value| few(texts(value)?))?.unwrap_or_default(),
        authenticated_at: optional("auth_time", wire.auth_time, number)?
            .map(|number| rounded(&number, f64::floor)),
        grant_types: optional("gty", wire.gty, |value| few(text_or_texts(value)?))?.unwrap_or_default(),
        custom: wire.custom,
    }))
}

/// The claims as they are, each read under its own name afterwards, so that an error can say which one is at fault.
#[derive(Default)]
struct WireClaims {
    iss: Option<Value>,
    aud: Option<Value>,
    exp: Option<Value>,
    sub: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    client_id: Option<Value>,
    azp: Option<Value>,
    scope: Option<Value>,
    permissions: Option<Value>,
    name: Option<Value>,
    email: Option<Value>,
    org_id: Option<Value>,
    jti: Option<Value>,
    has_cnf: bool,
    extra: Option<Box<WireExtra>>,
}

/// Claims that few tokens carry: the others take no room for them.
#[derive(Default)]
struct WireExtra {
    org_name: Option<Value>,
    act: Option<Value>,
    acr: Option<Value>,
    amr: Option<Value>,
    auth_time: Option<Value>,
    gty: Option<Value>,
    custom: CustomClaims,
}

impl<'a> Members<'a> for WireClaims {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
        let claim = match name {
            "iss" => &mut self.iss,
            "aud" => &mut self.aud,
            "exp" => &mut self.exp,
            "sub" => &mut self.sub,
            "nbf" => &mut self.nbf,
            "iat" => &mut self.iat,
            "client_id" => &mut self.client_id,
            "azp" => &mut self.azp,
            "scope" => &mut self.scope,
            "permissions" => &mut self.permissions,
            "name" => &mut self.name,
            "email" => &mut self.email,
            "org_id" => &mut self.org_id,
            "jti" => &mut self.jti,
            "org_name" => &mut self.extra().org_name,
            "act" => &mut self.extra().act,
            "acr" => &mut self.extra().acr,
            "amr" => &mut self.extra().amr,
            "auth_time" => &mut self.extra().auth_time,
            "gty" => &mut self.extra().gty,
            _ if CustomClaims::is_name(name) => {
                self.extra().custom.insert(name, value.raw()?.get());
                return Ok(());
            }
            _ => {
                self.has_cnf |= name == "cnf";
                return value.skip();
            }
        };
        *claim = Some(value.value()?);
        Ok(())
    }
}

impl WireClaims {
    fn extra(&mut self) -> &mut WireExtra {
        self.extra.get_or_insert_default()
    }
}

fn optional<T>(
    name: &'static str,
    claim: Option<Value>,
    read: impl FnOnce(Value) -> Option<T>,
) -> Result<Option<T>, Untrusted> {
    let claim = claim.filter(|value| !value.is_null());
    claim.map(|value| read(value).ok_or(Untrusted::InvalidClaim(name))).transpose()
}

fn required<T>(
    name: &'static str,
    claim: Option<Value>,
    read: impl FnOnce(Value) -> Option<T>,
) -> Result<T, Untrusted> {
    let claim = claim.ok_or(Untrusted::MissingClaim(name))?;
    read(claim).ok_or(Untrusted::InvalidClaim(name))
}

fn number(value: Value) -> Option<Number> {
    if let Value::Number(number) = value { Some(number) } else { None }
}

fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

fn texts(value: Value) -> Option<Vec<String>> {
    if let Value::Array(values) = value { values.into_iter().map(text).collect() } else { None }
}

fn text_or_texts(value: Value) -> Option<Vec<String>> {
    if value.is_string() { text(value).map(|one| vec![one]) } else { texts(value) }
}

fn few(texts: Vec<String>) -> Option<Vec<String>> {
    (texts.len() <= ExtraClaims::MAX_VALUES).then_some(texts)
}

/// The chain of an `act` claim, from the outside in.
fn actors(value: Value) -> Option<Vec<Actor>> {
    let mut actors = Vec::new();
    let mut next = Some(value);
    while let Some(value) = next {
        let Value::Object(mut members) = value else { return None };
        if actors.len() == Actor::MAX_CHAIN {
            return None;
        }
        next = members.remove("act").filter(|value| !value.is_null());
        actors.push(Actor {
            subject: text(members.remove("sub")?)?,
            client_id: optional("act", members.remove("client_id"), text).ok()?,
            issuer: optional("act", members.remove("iss"), text).ok()?,
        });
    }
    Some(actors)
}

/// A `NumericDate` (RFC 7519 section 2) may have a fraction: `exp` rounds down and `nbf` and `iat` up, so that no token
/// is good for longer than it says. What no `i64` holds becomes the nearest one that does.
fn rounded(number: &Number, round: fn(f64) -> f64) -> UnixSeconds {
    if let Some(whole) = number.as_i64() {
        return UnixSeconds(whole);
    }
    let seconds = round(number.as_f64().unwrap_or(f64::NAN));
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
    UnixSeconds(seconds as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Untrusted as U;
    use domain::CustomClaimError;

    const LEAST: &str = r#""iss":"https://t/","aud":"api","exp":100,"sub":"u""#;

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
            r#","nbf":1,"iat":2,"client_id":"c","azp":"z","scope":" a  b","permissions":["b","c d","e"],
               "name":"N\u00e9","email":"e@x","org_id":"o","jti":"j","unheard-of":{}"#,
        )
        .unwrap();
        assert_eq!(claims.not_before, Some(UnixSeconds(1)));
        assert_eq!(claims.issued_at, Some(UnixSeconds(2)));
        assert_eq!(claims.client_id.as_deref(), Some("c"));
        assert_eq!(claims.authorized_party.as_deref(), Some("z"));
        assert_eq!(claims.scope.to_string(), "a b");
        assert_eq!(claims.permissions.to_string(), "b e");
        assert_eq!(claims.name.as_deref(), Some("Né"));
        assert_eq!(claims.email.as_deref(), Some("e@x"));
        assert_eq!(claims.organization_id.as_deref(), Some("o"));
        assert_eq!((claims.token_id.as_deref(), claims.extra), (Some("j"), None));
    }

    #[test]
    fn claims_that_few_tokens_carry_are_read_too() {
        let claims = with(
            r#","org_name":"acme","act":{"sub":"a","client_id":"c","iss":"i","x":1,"act":{"sub":"b","act":null}},
               "acr":"r","amr":["pwd","mfa"],"auth_time":9.9,"gty":"client-credentials",
               "https://a/team":"N\u00e9","http://a/roles":[1, {"x":2}],"urn:x":1"#,
        );
        let extra = *claims.unwrap().extra.unwrap();
        let actor = |subject: &str, client_id: Option<&str>, issuer: Option<&str>| Actor {
            subject: subject.into(),
            client_id: client_id.map(Into::into),
            issuer: issuer.map(Into::into),
        };
        assert_eq!(extra.organization_name.as_deref(), Some("acme"));
        assert_eq!(extra.actors, [actor("a", Some("c"), Some("i")), actor("b", None, None)]);
        assert_eq!(extra.authentication_context.as_deref(), Some("r"));
        assert_eq!(extra.authentication_methods, ["pwd", "mfa"]);
        assert_eq!(extra.authenticated_at, Some(UnixSeconds(9)));
        assert_eq!(extra.grant_types, ["client-credentials"]);
        assert_eq!(extra.custom.get("https://a/team"), Ok(Some("Né".to_owned())));
        assert_eq!(extra.custom.get("http://a/roles"), Ok(Some(serde_json::json!([1, {"x": 2}]))));
        assert_eq!(extra.custom.get::<u8>("urn:x"), Ok(None));
        let extra = *with(r#","gty":["a","b"]"#).unwrap().extra.unwrap();
        assert_eq!(extra.grant_types, ["a", "b"]);
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
        let most = CustomClaims::MAX_BYTES - 2 * "https://a/x".len() - "\"\"1".len();
        for (length, expected) in [(most, Ok(Some(1))), (most + 1, Err(CustomClaimError::TooLarge))] {
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
        for name in ["amr", "gty"] {
            let list = |length: usize| format!(",\"{name}\":{}", serde_json::json!(vec!["x"; length]));
            assert!(with(&list(ExtraClaims::MAX_VALUES)).is_ok());
            assert_eq!(with(&list(ExtraClaims::MAX_VALUES + 1)), Err(U::InvalidClaim(name)));
        }
    }

    #[test]
    fn an_optional_claim_that_is_null_is_absent() {
        let least = with("").unwrap();
        for name in
            ["nbf", "iat", "client_id", "azp", "scope", "permissions", "name", "email", "org_id", "jti"]
        {
            assert_eq!(with(&format!(",\"{name}\":null")).as_ref(), Ok(&least), "{name}");
        }
        for name in ["org_name", "act", "acr", "amr", "auth_time", "gty"] {
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
        let cases: [(&'static str, &[&str]); 24] = [
            ("iss", &null),
            ("sub", &null),
            ("aud", &null),
            ("exp", &null),
            ("iss", &not_strings),
            ("sub", &not_strings),
            ("aud", &neither),
            ("exp", &not_numbers),
            ("jti", &not_strings),
            ("org_name", &not_strings),
            ("act", &not_actors),
            ("acr", &not_strings),
            ("amr", &not_lists),
            ("auth_time", &not_numbers),
            ("gty", &neither),
            ("nbf", &not_numbers),
            ("iat", &not_numbers),
            ("client_id", &not_strings),
            ("azp", &not_strings),
            ("scope", &not_strings),
            ("permissions", &not_lists),
            ("name", &not_strings),
            ("email", &not_strings),
            ("org_id", &not_strings),
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
}
