//! The document: what a client says about itself, and which of it this tenant accepts.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use syntax::strict_json;

use super::error::MetadataError;

/// How much of a text that somebody else wrote a message repeats, in characters.
pub(super) const MAX_SHOWN_CHARS: usize = 100;

/// What a client says of itself under its own URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientMetadata {
    pub(crate) client_name: Option<String>,
    pub(crate) redirect_uris: Vec<String>,
    pub(crate) grant_types: Vec<String>,
}

/// RFC 7591 section 2, as far as it means something here; other members are ignored. serde refuses a member of these that
/// is there twice, where two readers might see two clients; a null is a value of the wrong type, not an absence.
#[derive(Deserialize)]
struct Document {
    client_id: String,
    redirect_uris: Vec<String>,
    #[serde(default, deserialize_with = "given")]
    client_name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    grant_types: Option<Vec<String>>,
    #[serde(default, deserialize_with = "given")]
    token_endpoint_auth_method: Option<String>,
    #[serde(default, deserialize_with = "given")]
    client_secret: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "given")]
    client_secret_expires_at: Option<IgnoredAny>,
}

fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

pub(super) fn parse(client_id: &str, bytes: &[u8]) -> Result<ClientMetadata, MetadataError> {
    // serde would take an array for the struct too, member by member.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(MetadataError::NotAnObject);
    }
    let document: Document =
        strict_json::parse(bytes).map_err(|error| MetadataError::Malformed(error.to_string()))?;
    // Otherwise a document could speak for another client, or be the copy of another client's.
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

/// The draft forbids methods that rest on a shared secret, and the secret's members: the document is public. Absent, the
/// method can't be RFC 7591's default, which is one of these, so it is none.
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
            Err(MetadataError::SharedSecret("a token_endpoint_auth_method that rests on a client secret"))
        }
        Some(other) => Err(MetadataError::UnservedMethod(shown(other))),
    }
}

pub(super) fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN_CHARS).collect()
}
