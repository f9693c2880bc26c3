//! What must hold for any bytes: called by the fuzz targets of `fuzz/` and by tests. It is in no other build.

use domain::BearerToken;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderValue};

use crate::credentials::bearer_token;
use crate::head::Fields;
use crate::problem::Problem;

/// One `Authorization` header a line: a token is what follows one `Bearer`, whole, and within its grammar and bound.
///
/// # Panics
/// When an invariant does not hold.
pub fn authorization_header(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(AUTHORIZATION, value);
        }
    }
    let values: Vec<&[u8]> = headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes).collect();
    let is_bearer = |value: &[u8]| {
        let scheme = value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"));
        scheme && value.get(6).is_none_or(|byte| *byte == b' ')
    };
    match (bearer_token(&Fields::of(&headers)), values.as_slice()) {
        (Ok(Some(token)), [value]) => assert_is_whole(token.expose(), value),
        (Ok(Some(_)), _) => panic!("a token of {} headers", values.len()),
        (Ok(None), values) => assert!(values.iter().all(|value| !is_bearer(value)) && values.len() < 2),
        (Err(Problem::BadAuthorization), values) => assert!(values.len() > 1),
        (Err(_), values) => assert!(values.len() == 1 && is_bearer(values[0])),
    }
}

fn assert_is_whole(token: &str, value: &[u8]) {
    let value = std::str::from_utf8(value).unwrap_or_default();
    let rest = value.get(6..).unwrap_or_default();
    assert!(value[..6].eq_ignore_ascii_case("bearer") && rest.starts_with(' '));
    assert_eq!(rest.trim_matches(' '), token);
    assert!(token.len() <= BearerToken::MAX_BYTES);
    let body = token.trim_end_matches('=');
    assert!(!body.is_empty() && body.chars().all(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_seeds_hold() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/authorization_header");
        for seed in std::fs::read_dir(folder).unwrap() {
            authorization_header(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_header_holds(
            scheme in prop_oneof![Just("Bearer"), Just("bEARER"), Just("Basic"), Just("")],
            rest in "[ =.a\\-\u{e9}\t\n,]{0,8}", data in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            authorization_header(format!("{scheme}{rest}").as_bytes());
            authorization_header(&data);
        }
    }
}
