//! What went wrong, for whoever has to mend it.

use serde::Deserialize;

/// How much of an answer's text is repeated.
const MAX_SHOWN: usize = 500;

/// The reason why a request to the Management API did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// There is no connection, or it broke.
    #[error("{host} can't be reached: {cause}")]
    Unreachable {
        /// The host.
        host: String,
        /// What the connection said.
        cause: String,
    },
    /// The credentials get no token.
    #[error("no token for the Management API: {0}. {CREDENTIALS}")]
    NoToken(String),
    /// The token is not accepted.
    #[error(
        "the Management API does not accept the token: {0}. It lives for a day, and is for the tenant alone that issued it"
    )]
    InvalidToken(String),
    /// The token lacks scopes.
    #[error("the token may not {method} {path}: {message}")]
    Forbidden {
        /// The method.
        method: &'static str,
        /// The path below `/api/v2/`.
        path: String,
        /// What the API said.
        message: String,
    },
    /// The limit of requests stays reached.
    #[error("the tenant's limit of requests is reached ({method} {path}), and waiting did not help")]
    TooManyRequests {
        /// The method.
        method: &'static str,
        /// The path below `/api/v2/`.
        path: String,
    },
    /// The API refuses a request.
    #[error("{method} {path} was answered {status}: {message}")]
    Refused {
        /// The method.
        method: &'static str,
        /// The path below `/api/v2/`.
        path: String,
        /// The status.
        status: u16,
        /// What the API said.
        message: String,
    },
    /// An answer is not what the API documents.
    #[error("{method} {path} was answered with something else than the Management API's JSON: {cause}")]
    Answer {
        /// The method.
        method: &'static str,
        /// The path below `/api/v2/`.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An email address belongs to several users.
    #[error("{email} is the address of several users: {}; name one by its id", .ids.join(", "))]
    AmbiguousUser {
        /// The address.
        email: String,
        /// The users' ids.
        ids: Vec<String>,
    },
    /// Something that was planned with is gone.
    #[error("{0} is gone; plan again")]
    Gone(String),
}

const CREDENTIALS: &str = "The application needs the grant type client_credentials, and a grant for the Auth0 Management API \
                           (dashboard: Applications, APIs, Auth0 Management API, Machine to Machine Applications)";

impl ManagementError {
    /// Returns whether the token lacks scopes for a request.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Forbidden { .. })
    }

    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Returns the error of an answer that is not a success.
    pub(crate) fn of_answer(method: &'static str, path: &str, status: u16, body: &[u8]) -> Self {
        let (message, path) = (message(body), path.to_owned());
        match status {
            401 => Self::InvalidToken(message),
            403 => Self::Forbidden { method, path, message },
            429 => Self::TooManyRequests { method, path },
            _ => Self::Refused { method, path, status, message },
        }
    }
}

/// The members of Auth0's errors: of the Management API, and of the token endpoint.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorBody {
    error: Option<String>,
    message: Option<String>,
    error_description: Option<String>,
    #[serde(rename = "errorCode")]
    error_code: Option<String>,
}

/// Returns what an error's body says, bounded, without control characters.
pub(crate) fn message(body: &[u8]) -> String {
    let parsed: ErrorBody = syntax::strict_json::parse(body).unwrap_or_default();
    let text = parsed.message.or(parsed.error_description).or(parsed.error);
    let text = text.unwrap_or_else(|| "without an explanation".to_owned());
    let text = match parsed.error_code {
        Some(code) => format!("{text} ({code})"),
        None => text,
    };
    shown(&text)
}

pub(crate) fn shown(text: &str) -> String {
    tenant::safe(&text.chars().take(MAX_SHOWN).collect::<String>())
}
