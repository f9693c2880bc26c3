//! The `Authorization` header (RFC 9110 section 11.6.2, RFC 6750 section 2.1). Tokens come from nowhere else.

use domain::{AuthError, BearerToken, Rejection, Untrusted};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use crate::problem::Problem;

/// Returns the bearer token of a request; `None` without an `Authorization` header or with another scheme.
///
/// # Errors
/// [`Problem::BadAuthorization`] for more than one header, [`Rejection::Untrusted`] for what can't be a token.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<Option<BearerToken>, Problem> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::BadAuthorization);
    }
    let malformed = |reason| Problem::Unauthenticated(AuthError::Rejected(Rejection::Untrusted(reason)));
    let value = value.as_bytes();
    let end_of_scheme = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, credentials) = value.split_at(end_of_scheme);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    let credentials = std::str::from_utf8(credentials).map_err(|_| malformed(Untrusted::Malformed))?;
    BearerToken::new(credentials.trim_matches(' ')).map(Some).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn parse(values: &[&[u8]]) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        bearer_token(&headers).map(|token| token.map(|token| token.expose().to_owned()))
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
