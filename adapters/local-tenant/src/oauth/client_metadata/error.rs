//! Why a client's metadata can't be used.

use std::time::Duration;

/// The draft's recommendation, under "Maximum Response Size".
pub(super) const MAX_BYTES: u64 = 5 * 1024;

/// The reason why a client's metadata can't be used, for its developer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error(
        "the client_id is not the URL of a metadata document, which has https, or http on loopback, a path, no user, no fragment, \
         no dot segments, and the spelling that the URL standard gives it"
    )]
    NotADocumentUrl,
    #[error(
        "the client_id's host has no public address; for a document on this machine, use http on loopback"
    )]
    NotPublic,
    #[error("the client_id's host does not resolve to loopback, and http is accepted on loopback only")]
    NotLoopback,
    #[error(
        "a document on this machine is not fetched for a browser, since any web page can send a browser here; register the \
         application, or host its document under https"
    )]
    LoopbackForBrowser,
    #[error(
        "the client_id of a document on this machine has no query; put the document under a path of its own"
    )]
    LoopbackQuery,
    #[error("the client_id's host can't be resolved")]
    NoSuchHost,
    #[error("the document can't be fetched: {0}")]
    Unreachable(String),
    #[error("the document did not arrive within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("the document's server redirected ({0}), which is not followed")]
    Redirect(u16),
    #[error("the document's server answered {0} instead of 200")]
    Status(u16),
    #[error("the document's Content-Type is {0:?} instead of application/json")]
    ContentType(String),
    #[error("the document is longer than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the document is not a JSON object")]
    NotAnObject,
    #[error("the document is not client metadata in JSON: {0}")]
    Malformed(String),
    #[error("the document's client_id is {0:?} instead of the URL that it is fetched from")]
    WrongClientId(String),
    #[error("the document has no redirect_uris")]
    NoRedirectUris,
    #[error("the document has {0}, but a client whose metadata are public can't have a secret")]
    SharedSecret(&'static str),
    #[error(
        "the document's token_endpoint_auth_method is {0:?}; this tenant supports only \"none\" for such clients, and not \
         private_key_jwt"
    )]
    UnservedMethod(String),
}

impl MetadataError {
    /// Returns whether a document was fetched, and something is wrong with it.
    pub(crate) const fn is_of_document(&self) -> bool {
        match self {
            Self::NotAnObject
            | Self::Malformed(_)
            | Self::WrongClientId(_)
            | Self::NoRedirectUris
            | Self::SharedSecret(_)
            | Self::UnservedMethod(_) => true,
            Self::NotADocumentUrl
            | Self::NotPublic
            | Self::NotLoopback
            | Self::LoopbackForBrowser
            | Self::LoopbackQuery
            | Self::NoSuchHost
            | Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::Redirect(_)
            | Self::Status(_)
            | Self::ContentType(_)
            | Self::TooLong => false,
        }
    }
}
