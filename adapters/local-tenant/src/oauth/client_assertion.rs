//! `private_key_jwt`: a client proves that it has a key by a JWT that it signed (RFC 7523 section 3), within Auth0's limits.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use syntax::strict_json;

use crate::model::client::PublicKey;

/// RFC 7523 section 2.2.
pub(crate) const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Auth0's maximum life of an assertion, in seconds.
const MAX_LIFE: i64 = 300;

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: String,
    exp: i64,
    jti: Option<String>,
}

/// Returns whose assertion a text says that it is, which nobody has proved yet.
pub(crate) fn unverified_client(assertion: &str) -> Option<String> {
    Some(claims(assertion)?.sub)
}

/// Checks that a client signed an assertion for this issuer.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(
    assertion: &str,
    client_id: &str,
    key: &PublicKey,
    issuer: &str,
    now: i64,
) -> Result<(), &'static str> {
    let malformed = "the client assertion is no JWT of a client's";
    let (signed, signature) = assertion.rsplit_once('.').ok_or(malformed)?;
    let header = signed.split_once('.').map(|(header, _)| header).ok_or(malformed)?;
    let header: Header = URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|header| strict_json::parse(&header).ok())
        .ok_or(malformed)?;
    let algorithm: &dyn VerificationAlgorithm = match header.alg.as_str() {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        _ => return Err("the client assertion is signed with another algorithm than RS256, RS384 and PS256"),
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed)?;
    UnparsedPublicKey::new(algorithm, key.der())
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "the client assertion is not signed with the client's key")?;
    let claims = claims(assertion).ok_or(malformed)?;
    if claims.iss != client_id || claims.sub != client_id {
        return Err("the client assertion is another client's");
    }
    if claims.aud != issuer {
        return Err("the client assertion is for another audience than the issuer");
    }
    if claims.exp <= now || claims.exp > now.saturating_add(MAX_LIFE) {
        return Err("the client assertion has expired, or would live longer than five minutes");
    }
    if claims.jti.is_none_or(|id| id.is_empty()) {
        return Err("the client assertion has no jti");
    }
    Ok(())
}

fn claims(assertion: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?;
    strict_json::parse(&payload).ok()
}
