//! Claims of a refused token, for the log line that explains the refusal to an operator: the issuer, the audiences and the
//! key that it names.
//!
//! None of it is proved, so no decision depends on it. No other claim is read, nor any part of the signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{BearerToken, UnverifiedClaims};
use serde_json::Value;
use syntax::strict_json::{self, Fault, Json, Members, Unread};

use crate::jws::MAX_DEPTH;

/// The maximum number of audiences that are kept.
const MAX_AUDIENCES: usize = 8;

/// Reads the parts of a token that can be read, and leaves the values of the others out. The result is no longer than the
/// token, which is bounded.
pub(crate) fn read(token: &BearerToken) -> UnverifiedClaims {
    let parts: Vec<&str> = token.expose().splitn(4, '.').collect();
    let [header, payload, _signature] = parts.as_slice() else {
        return UnverifiedClaims::default();
    };
    let (header, payload) = (members(header), members(payload));
    UnverifiedClaims { issuer: payload.iss, audience: payload.aud, key_id: header.kid }
}

#[derive(Default)]
struct LoggedClaims {
    kid: Option<String>,
    iss: Option<String>,
    aud: Option<Vec<String>>,
}

impl<'a> Members<'a> for LoggedClaims {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        match name {
            "kid" => self.kid = text(value.value()?),
            "iss" => self.iss = text(value.value()?),
            "aud" => self.aud = texts(value.value()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

fn members(part: &str) -> LoggedClaims {
    let json = URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
    match strict_json::read::<LoggedClaims>(&json, MAX_DEPTH) {
        Ok(Json::Object(claims)) => claims,
        _ => LoggedClaims::default(),
    }
}

fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

fn texts(value: Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => Some(values.into_iter().filter_map(text).take(MAX_AUDIENCES).collect()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(token: &str) -> (Option<String>, Option<Vec<String>>, Option<String>) {
        let UnverifiedClaims { issuer, audience, key_id } = read(&BearerToken::new(token).unwrap());
        (issuer, audience, key_id)
    }

    fn jws(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn issuer_audience_and_key_are_read_of_what_can_be_read() {
        let (iss, kid) = (Some("https://t/".to_owned()), Some("k".to_owned()));
        let aud = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
        let header = r#"{"alg":"none","kid":"k"}"#;
        let token = jws(header, r#"{"iss":"https://t/","aud":"a","sub":"s","email":"e"}"#);
        assert_eq!(of(&token), (iss.clone(), aud(&["a"]), kid.clone()));
        let token = jws(header, r#"{"aud":["a",1,"b"],"iss":7}"#);
        assert_eq!(of(&token), (None, aud(&["a", "b"]), kid.clone()));
        assert_eq!(of(&jws("x", r#"{"iss":"https://t/"}"#)), (iss, None, None));
        assert_eq!(of(&jws(header, r#"{"iss":"a","iss":"b"}"#)), (None, None, kid), "which one?");
        let many = format!(r#"{{"aud":[{}"x"]}}"#, r#""x","#.repeat(1000));
        assert_eq!(of(&jws("{}", &many)).1.unwrap().len(), MAX_AUDIENCES);
    }

    #[test]
    fn a_token_that_is_no_jws_has_no_claims_to_log() {
        for token in ["opaque", "a.b", "a.b.c.d.e", "..", "e30.e30.", "W10.W10.x", "a.b.c"] {
            let token = token.to_owned();
            assert_eq!(of(&format!("x{token}")), (None, None, None), "{token}");
        }
    }
}
