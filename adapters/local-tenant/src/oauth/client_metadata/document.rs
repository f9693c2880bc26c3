//! The document: what a client says about itself, and which of it this tenant accepts.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use syntax::strict_json;

use super::error::MetadataError;

/// How much of a client's text an error message repeats.
pub(super) const MAX_SHOWN_CHARS: usize = 100;

/// A client's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientMetadata {
    pub(crate) client_name: Option<String>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) grant_types: Vec<String>,
}

/// The members of RFC 7591 section 2 that matter here; others are ignored. A null is a value of the wrong type, not an absent
/// member.
#[derive(Deserialize)]
struct Document {
    client_id: String,
    redirect_uris: Vec<String>,
    #[serde(default, deserialize_with = "non_null")]
    client_name: Option<String>,
    #[serde(default, deserialize_with = "non_null")]
    grant_types: Option<Vec<String>>,
    #[serde(default, deserialize_with = "non_null")]
    token_endpoint_auth_method: Option<String>,
    #[serde(default, deserialize_with = "non_null")]
    client_secret: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "non_null")]
    client_secret_expires_at: Option<IgnoredAny>,
}

fn non_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Parses and checks a document that was fetched from `client_id`.
pub(super) fn parse(client_id: &str, bytes: &[u8]) -> Result<ClientMetadata, MetadataError> {
    // serde would also accept an array of the members.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(MetadataError::NotAnObject);
    }
    let document: Document =
        strict_json::parse(bytes).map_err(|error| MetadataError::Malformed(error.to_string()))?;
    // Otherwise a document could claim to be another client's, or be a copy of it.
    if document.client_id != client_id {
        return Err(MetadataError::WrongClientId(shown(&document.client_id)));
    }
    check_authentication(&document)?;
    if document.redirect_uris.is_empty() {
        return Err(MetadataError::NoRedirectUris);
    }
    let grant_types = document.grant_types.unwrap_or_else(|| vec!["authorization_code".to_owned()]);
    Ok(ClientMetadata {
        client_name: document.client_name,
        redirect_uris: document.redirect_uris,
        grant_types,
    })
}

/// Checks that the client has no shared secret, as the draft demands, because the document is public. An absent method means
/// `none`: RFC 7591's default is one with a secret.
fn check_authentication(document: &Document) -> Result<(), MetadataError> {
    if document.client_secret.is_some() {
        return Err(MetadataError::SharedSecret("a client_secret"));
    }
    if document.client_secret_expires_at.is_some() {
        return Err(MetadataError::SharedSecret("a client_secret_expires_at"));
    }
    match document.token_endpoint_auth_method.as_deref() {
        None | Some("none") => Ok(()),
        Some("client_secret_basic" | "client_secret_post" | "client_secret_jwt") => {
            Err(MetadataError::SharedSecret("a token_endpoint_auth_method with a client secret"))
        }
        Some(other) => Err(MetadataError::UnservedMethod(shown(other))),
    }
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}
