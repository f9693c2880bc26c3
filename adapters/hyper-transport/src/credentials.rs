//! The `Authorization` header (RFC 9110 section 11.6.2, RFC 6750 section 2.1). Tokens come from nowhere else.

use crate::head::{Fields, Single};
use crate::problem::Problem;
use domain::{AuthError, BearerToken, Rejection};

/// Returns the bearer token of a request; `None` without an `Authorization` header or with another scheme.
///
/// # Errors
/// [`Problem::BadAuthorization`] for more than one header, [`Rejection::Untrusted`] for what can't be a token.
pub(crate) fn bearer_token(fields: &Fields<'_>) -> Result<Option<BearerToken>, Problem> {
    let value = match fields.authorization {
        Single::Absent => return Ok(None),
        Single::Once(value) => value,
        Single::Repeated => return Err(Problem::BadAuthorization),
    };
    let malformed = |reason| Problem::Unauthenticated(AuthError::Rejected(Rejection::Untrusted(reason)));
    let value = value.as_bytes();
    let end_of_scheme = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, credentials) = value.split_at(end_of_scheme);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    BearerToken::new(without_spaces(credentials)).map(Some).map_err(malformed)
}

fn without_spaces(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use domain::Untrusted;
    use hyper::HeaderMap;
    use hyper::header::{AUTHORIZATION, HeaderValue};

    use super::*;

    fn parse(values: &[&[u8]]) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        bearer_token(&Fields::of(&headers)).map(|token| token.map(|token| token.expose().to_owned()))
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case_and_others_are_no_token() {
        for good in ["Bearer abc", "bearer abc", "BEARER   abc", "Bearer abc "] {
            assert_eq!(parse(&[good.as_bytes()]), Ok(Some("abc".into())), "{good}");
        }
        for other in ["Basic abc", "Bearerabc", "", "DPoP abc", "abc"] {
            assert_eq!(parse(&[other.as_bytes()]), Ok(None), "{other}");
        }
        assert_eq!(parse(&[]), Ok(None));
    }

    #[test]
    fn what_can_be_no_token_is_rejected_and_two_headers_are_a_bad_request() {
        let rejected =
            |reason| Err(Problem::Unauthenticated(AuthError::Rejected(Rejection::Untrusted(reason))));
        for bad in
            [&b"Bearer"[..], b"Bearer ", b"Bearer a b", b"Bearer a,b", b"Bearer \xff", b"Bearer \xc3\xa9"]
        {
            assert_eq!(parse(&[bad]), rejected(Untrusted::Malformed), "{bad:?}");
        }
        let long = format!("Bearer {}", "a".repeat(BearerToken::MAX_BYTES + 1));
        assert_eq!(parse(&[long.as_bytes()]), rejected(Untrusted::TooLarge));
        assert_eq!(parse(&[b"Bearer a", b"Bearer a"]), Err(Problem::BadAuthorization));
        assert_eq!(parse(&[b"Basic a", b"Bearer a"]), Err(Problem::BadAuthorization));
    }
}
