//! What to do about a refusal, in a line; docs/troubleshooting.md has the rest under the heading of the reason code.

use domain::{Rejection, Untrusted};

/// The reason code of a token whose keys are not to be had.
pub(super) const KEYS_UNAVAILABLE: &str = "keys_unavailable";
pub(super) const FETCH_KEYS: &str =
    "check the issuer's address, and that this machine may reach it by https (HTTPS_PROXY, SSL_CERT_FILE)";

/// What to do about an encrypted token, which has the reason code of an opaque one.
pub(super) const ENCRYPTED: &str = "the client asked for no API, so the token is for Auth0 alone: enable the Resource Parameter Compatibility Profile, or \
     let the client send `audience`; or the API's own settings encrypt its tokens (JWE): turn that off; then log in again";

/// Returns what to do about a rejection.
pub(super) const fn on(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Untrusted(untrusted) => on_untrusted(untrusted),
        Rejection::TokenType => {
            "send the access token, not an ID token; the API's token profile (token_dialect) sets the type"
        }
        Rejection::Issuer => {
            "set AUTH0_DOMAIN or AUTH0_ISSUER to the token's issuer, with its slash at the end, or add that to \
             auth0.additional_issuers, if the issuer is yours"
        }
        Rejection::Audience => {
            "let the client ask for this API, or set AUTH0_AUDIENCE to the API's identifier, byte for byte"
        }
        Rejection::Expired => "get a new token; if new ones are expired, synchronize the server's clock",
        Rejection::NotYetValid => "synchronize the server's clock, which is behind the issuer's",
        Rejection::NoSubject | Rejection::NoClient => {
            "look at what issues or rewrites the token: Auth0's tokens name a subject and a client"
        }
        Rejection::SenderConstrained => {
            "set the API's token sender-constraining to None, or do not require it of this client"
        }
    }
}

const fn on_untrusted(untrusted: Untrusted) -> &'static str {
    match untrusted {
        Untrusted::TooLarge => "put less into the token: take out claims that Actions add",
        Untrusted::Malformed => {
            "copy the token again, whole, without quotation marks and line breaks; or find out what rewrites it"
        }
        Untrusted::Opaque => {
            "the client asked for no API: enable the Resource Parameter Compatibility Profile, or let the client send \
             `audience`; then log in again"
        }
        Untrusted::Algorithm => "set the API's signing algorithm to RS256, then log in again",
        Untrusted::CriticalHeader => "look at what issues the token: Auth0 sets no `crit`",
        Untrusted::UnknownKey => {
            "compare the token's `iss` with the issuer: it is another tenant's token, or its key is gone (revoked, or \
             `dev` was started again): log in again"
        }
        Untrusted::Signature => "copy the token again, whole: it was changed or cut on its way, or is forged",
        Untrusted::MissingClaim(_) => {
            "look at what issues or rewrites the token: Auth0's have all of these claims"
        }
        Untrusted::InvalidClaim(_) => {
            "look for an Action that sets a standard claim: give it a name that is a URL"
        }
    }
}
