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
    /// Nobody proved that an email address is the user's.
    #[error(
        "{email} is the address of {id}, who never proved it: name the user by that id, if it is whom you mean"
    )]
    UnverifiedEmail {
        /// The address.
        email: String,
        /// The user's id.
        id: String,
    },
    /// Something that was planned with is gone.
    #[error("{0} is gone; plan again")]
    Gone(String),
}

/// The code of a refusal that another token would not get.
const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

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

    /// Returns whether the token's scopes, or the tenant's plan, do not allow a request.
    pub(crate) fn is_not_allowed(&self) -> bool {
        self.is_forbidden() || matches!(self, Self::Refused { status: 403 | 404, .. })
    }

    /// Returns the error of an answer that is not a success.
    pub(crate) fn of_answer(method: &'static str, path: &str, status: u16, body: &[u8]) -> Self {
        let (parsed, path) = (ErrorBody::of(body), path.to_owned());
        // A limit of the tenant's plan is 403, too.
        let is_about_scopes = parsed.error_code.as_deref().is_none_or(|code| code == INSUFFICIENT_SCOPE);
        let message = parsed.message();
        match status {
            401 => Self::InvalidToken(message),
            403 if is_about_scopes => Self::Forbidden { method, path, message },
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

impl ErrorBody {
    fn of(body: &[u8]) -> Self {
        syntax::strict_json::parse(body).unwrap_or_default()
    }

    /// Returns what the body says, bounded, without control characters.
    fn message(self) -> String {
        let text = self.message.or(self.error_description).or(self.error);
        let text = text.unwrap_or_else(|| "without an explanation".to_owned());
        let text = match self.error_code {
            Some(code) => format!("{text} ({code})"),
            None => text,
        };
        shown(&text)
    }
}

/// Returns what an error's body says.
pub(crate) fn message(body: &[u8]) -> String {
    ErrorBody::of(body).message()
}

pub(crate) fn shown(text: &str) -> String {
    tenant::safe(&text.chars().take(MAX_SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> ManagementError {
        ManagementError::of_answer("PATCH", "clients/1", status, body.as_bytes())
    }

    #[test]
    fn a_403_is_about_scopes_unless_its_code_says_otherwise() {
        let insufficient = of(403, r#"{"message": "Insufficient scope", "errorCode": "insufficient_scope"}"#);
        assert!(insufficient.is_forbidden());
        assert!(of(403, "").is_forbidden(), "what Auth0 answers is not documented");
        for code in ["too_many_entities", "insufficient_entitlement", "operation_not_supported"] {
            let error = of(403, &format!(r#"{{"message": "No", "errorCode": "{code}"}}"#));
            assert!(!error.is_forbidden() && error.is_not_allowed(), "{error:?}");
            assert_eq!(error.to_string(), format!("PATCH clients/1 was answered 403: No ({code})"));
        }
    }

    #[test]
    fn what_an_answer_says_is_bounded_and_escaped() {
        let long = format!(r#"{{"message": "{}"}}"#, "\\u001b[31m".repeat(1000));
        let text = of(400, &long).to_string();
        assert!(text.len() < 5000 && !text.contains('\u{1b}'), "{text}");
        for silent in ["", "<html>", "[]", r#"{"message": 1}"#, r#"{"message": "a", "message": "b"}"#] {
            let text = of(500, silent).to_string();
            assert_eq!(text, "PATCH clients/1 was answered 500: without an explanation", "{silent}");
        }
        let oauth = br#"{"error": "access_denied", "error_description": "Unauthorized"}"#;
        assert_eq!(message(oauth), "Unauthorized");
    }
}
