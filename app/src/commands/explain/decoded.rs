//! What a token says, decoded without any proof: the header and, of a signed JWT, the payload. The signature is not read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::UnixSeconds;
use serde::Serialize;
use serde_json::Value;
use syntax::strict_json;

use super::text::{cut, quoted};
use super::times;

/// The deepest nesting that the server reads.
const MAX_DEPTH: usize = 32;
/// The claims that are times.
const TIMES: [&str; 4] = ["iat", "nbf", "exp", "auth_time"];

/// What kind of token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Form {
    SignedJwt,
    Opaque,
    EncryptedJwt,
    Malformed,
}

/// A token, as far as it can be decoded.
pub(super) struct Decoded {
    pub(super) form: Form,
    pub(super) header: Option<Part>,
    pub(super) payload: Option<Part>,
}

/// A part of a token.
#[derive(Debug)]
pub(super) enum Part {
    Json(Value),
    /// What is wrong with it, and its text, if it has one.
    Faulty {
        problem: String,
        text: Option<String>,
    },
}

/// A claim that is a time.
#[derive(Serialize)]
pub(super) struct TimeClaim {
    pub(super) claim: &'static str,
    pub(super) time: String,
    pub(super) relative: String,
}

impl Decoded {
    pub(super) fn of(token: &str) -> Self {
        let parts: Vec<&str> = token.split('.').collect();
        let (form, header, payload) = match parts.as_slice() {
            [header, payload, _signature] => (Form::SignedJwt, Some(*header), Some(*payload)),
            [header, _, _, _, _] => (Form::EncryptedJwt, Some(*header), None),
            [_] => (Form::Opaque, None, None),
            _ => (Form::Malformed, None, None),
        };
        Self { form, header: header.map(Part::of), payload: payload.map(Part::of) }
    }

    /// Returns a parameter of the header.
    pub(super) fn parameter(&self, name: &str) -> Option<&Value> {
        self.header.as_ref()?.json()?.get(name)
    }

    /// Returns a parameter of the header with its name.
    pub(super) fn shown_parameter(&self, name: &str) -> String {
        match self.parameter(name) {
            Some(Value::String(text)) => format!("{name} {}", quoted(text)),
            Some(value) => format!("{name} {}", cut(&value.to_string())),
            None => format!("no {name}"),
        }
    }

    /// Returns a claim.
    pub(super) fn claim(&self, name: &str) -> Option<&Value> {
        self.payload.as_ref()?.json()?.get(name)
    }

    /// Returns the claims that are times.
    pub(super) fn times(&self, now: UnixSeconds) -> Vec<TimeClaim> {
        let time = |claim: &'static str| {
            let at = seconds(self.claim(claim)?)?;
            Some(TimeClaim { claim, time: times::rfc3339(at), relative: times::relative(at, now) })
        };
        TIMES.into_iter().filter_map(time).collect()
    }
}

impl Part {
    fn of(part: &str) -> Self {
        let faulty = |problem: String, text| Self::Faulty { problem, text };
        let Ok(bytes) = URL_SAFE_NO_PAD.decode(part) else {
            return faulty(
                "it is not base64url (RFC 7515: no padding, no other characters)".to_owned(),
                None,
            );
        };
        let parsed = strict_json::check(&bytes, MAX_DEPTH)
            .map_err(|error| error.to_string())
            .and_then(|()| strict_json::parse::<Value>(&bytes).map_err(|error| error.to_string()));
        match parsed {
            Ok(value) if value.is_object() => Self::Json(value),
            Ok(_) => faulty("it is no JSON object".to_owned(), String::from_utf8(bytes).ok()),
            Err(problem) => faulty(problem, String::from_utf8(bytes).ok()),
        }
    }

    pub(super) fn json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Faulty { .. } => None,
        }
    }

    pub(super) fn problem(&self) -> Option<&str> {
        match self {
            Self::Json(_) => None,
            Self::Faulty { problem, .. } => Some(problem),
        }
    }
}

fn seconds(value: &Value) -> Option<UnixSeconds> {
    let number = value.as_number()?;
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is good enough to be shown")]
    let rounded = || number.as_f64().map(|seconds| seconds.floor() as i64);
    number.as_i64().or_else(rounded).map(UnixSeconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn the_number_of_parts_tells_the_form_and_no_signature_is_decoded() {
        for (token, form) in [
            ("opaque", Form::Opaque),
            ("a.b", Form::Malformed),
            ("a.b.c.d", Form::Malformed),
            ("a.b.c", Form::SignedJwt),
            ("a..c.d.e", Form::EncryptedJwt),
        ] {
            assert_eq!(Decoded::of(token).form, form, "{token}");
        }
        let object = encoded("{\"a\":1}");
        let token = Decoded::of(&format!("{object}.{object}.{object}"));
        assert_eq!((token.parameter("a"), token.claim("a")), (Some(&1.into()), Some(&1.into())));
        let encrypted = Decoded::of(&format!("{object}.{object}.{object}.{object}.{object}"));
        assert!(encrypted.header.is_some() && encrypted.payload.is_none());
    }

    #[test]
    fn what_is_wrong_with_a_part_is_told() {
        let problem = |part: &str| Part::of(part).problem().unwrap_or_default().to_owned();
        assert_eq!(problem(&encoded("{}")), "");
        assert!(problem("e30=").contains("base64url"));
        assert!(problem(&encoded("{\"a\":1,\"a\":2}")).contains("two members"));
        assert!(problem(&encoded("[]")).contains("no JSON object"));
        assert!(
            problem(&encoded(&format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40)))).contains("nested")
        );
    }

    #[test]
    fn numbers_that_are_no_whole_seconds_are_times_too() {
        let payload = encoded(r#"{"exp":1795395877.9,"iat":1e300,"nbf":"soon","auth_time":0}"#);
        let times = Decoded::of(&format!("e30.{payload}.x")).times(UnixSeconds(1_795_395_817));
        let shown: Vec<(&str, &str)> =
            times.iter().map(|time| (time.claim, time.relative.as_str())).collect();
        assert_eq!(shown[1], ("exp", "in 60 seconds"));
        assert_eq!((shown[0].0, shown[2].0, shown.len()), ("iat", "auth_time", 3));
    }
}
