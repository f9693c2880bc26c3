//! `WWW-Authenticate` values (RFC 6750 section 3, RFC 9470 section 3, RFC 9728 section 5.1), without any text of a client's.

use domain::{LoginDemand, ScopeSet};
use hyper::header::HeaderValue;

use crate::problem::{Cause, ErrorFacts};

/// The challenges of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Challenges {
    metadata_url: String,
    /// The scopes that a first login asks for.
    scopes: ScopeSet,
}

impl Challenges {
    pub(crate) fn new(metadata_url: String, scopes: ScopeSet) -> Self {
        Self { metadata_url, scopes }
    }

    /// Returns the challenge to a request without credentials, which has no `error` (RFC 6750 section 3.1).
    pub(crate) fn login(&self) -> HeaderValue {
        self.render(None, &self.scopes, None)
    }

    /// Returns the challenge with an error, and with the scopes that the client is to ask for.
    pub(crate) fn error(&self, facts: &ErrorFacts<'_>) -> HeaderValue {
        let (scopes, login) = match facts.cause {
            Cause::Denied(denial) => (denial.to_request(), denial.login()),
            Cause::Unspecific | Cause::Host | Cause::Origin | Cause::Token => (None, None),
        };
        self.render(Some((facts.error, &facts.description)), scopes.unwrap_or(&self.scopes), login)
    }

    fn render(
        &self,
        error: Option<(&str, &str)>,
        scopes: &ScopeSet,
        login: Option<&LoginDemand>,
    ) -> HeaderValue {
        let mut parameters = Vec::with_capacity(6);
        if let Some((error, description)) = error {
            parameters.push(format!("error={}", quoted(error)));
            parameters.push(format!("error_description={}", quoted(description)));
        }
        if let Some(max_age) = login.and_then(|login| login.max_age) {
            parameters.push(format!("max_age=\"{}\"", max_age.as_secs()));
        }
        if let Some(login) = login.filter(|login| !login.acr_values.is_empty()) {
            parameters.push(format!("acr_values={}", quoted(&login.acr_values.join(" "))));
        }
        if !scopes.is_empty() {
            parameters.push(format!("scope={}", quoted(&scopes.to_string())));
        }
        parameters.push(format!("resource_metadata={}", quoted(&self.metadata_url)));
        let value = format!("Bearer {}", parameters.join(", "));
        // Quoting leaves only what a header value may hold.
        HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}

/// Returns a quoted-string of the characters that RFC 6750 section 3 allows in every parameter; others become `'`.
fn quoted(text: &str) -> String {
    let allowed = |c: char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
    let text: String = text.chars().map(|c| if allowed(c) { c } else { '\'' }).collect();
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_from_a_quoted_string() {
        assert_eq!(quoted("a\"b\\c\r\nd\u{e9}"), "\"a'b'c''d'\"");
    }

    #[test]
    fn without_scopes_the_parameter_is_left_out() {
        let challenges = Challenges::new("https://s/m".into(), ScopeSet::EMPTY);
        assert_eq!(challenges.login(), "Bearer resource_metadata=\"https://s/m\"");
    }
}
