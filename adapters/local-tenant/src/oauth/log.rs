//! The log of each step of a login, at level info. No code, token, secret, verifier, state or transaction id is passed in.
//! Texts that clients choose are cut, and redirect URIs are logged as their origin or scheme.

use crate::model::client::ClientRecord;
use crate::model::redirect_uri;
use crate::oauth::authorization::{Authorization, IssuedVia, Subject};
use crate::oauth::parameters::Parameters;
use crate::oauth::pending::AuthorizationRequest;

/// The maximum length of a text that a client chose.
const MAX_SHOWN_CHARS: usize = 200;

pub(crate) fn client_registered(client: &ClientRecord) {
    let destinations: Vec<String> =
        client.redirect_uris.iter().map(|uri| redirect_uri::destination(uri)).collect();
    tracing::info!(
        client_id = client.id,
        redirect = cut(&destinations.join(" ")),
        is_confidential = client.has_secret(),
        "local tenant: client registered"
    );
}

pub(crate) fn login_started(parameters: &Parameters, from_browser: bool) {
    let given = |name| parameters.one(name).ok().flatten();
    tracing::info!(
        client_id = given("client_id").map(cut),
        redirect = given("redirect_uri").map(|uri| cut(&redirect_uri::destination(uri))),
        scope = given("scope").map(cut),
        resource = given("resource").or_else(|| given("audience")).map(cut),
        from_browser,
        "local tenant: login begun"
    );
}

/// `why` is why auto-consent does not apply, if it is on.
pub(crate) fn page_shown(request: &AuthorizationRequest, why: Option<&str>) {
    tracing::info!(client_id = cut(&request.client.id), why, "local tenant: login page shown");
}

pub(crate) fn decision_made(request: &AuthorizationRequest, user: Option<&str>, decision: &str) {
    tracing::info!(client_id = cut(&request.client.id), user, decision, "local tenant: decision");
}

/// `not_granted` has each requested scope that was not granted, and why.
pub(crate) fn code_issued(request: &AuthorizationRequest, granted: &[String], not_granted: &[(&str, &str)]) {
    let not_granted: Vec<String> =
        not_granted.iter().map(|(scope, why)| format!("{scope} ({why})")).collect();
    tracing::info!(
        client_id = cut(&request.client.id),
        scope = granted.join(" "),
        not_granted = (!not_granted.is_empty()).then(|| cut(&not_granted.join(", "))),
        "local tenant: code issued"
    );
}

pub(crate) fn token_requested(form: &Parameters) {
    let given = |name| form.one(name).ok().flatten().map(cut);
    tracing::info!(
        client_id = given("client_id"),
        grant_type = given("grant_type"),
        "local tenant: token requested"
    );
}

pub(crate) fn code_redeemed(client: &ClientRecord) {
    tracing::info!(client_id = cut(&client.id), "local tenant: code redeemed");
}

pub(crate) fn token_issued(authorization: &Authorization, via: IssuedVia, has_refresh: bool, has_id: bool) {
    let grant = match via {
        IssuedVia::AuthorizationCode => "authorization_code",
        IssuedVia::RefreshToken => "refresh_token",
        IssuedVia::ClientCredentials => "client_credentials",
        IssuedVia::TokenExchange => "token-exchange",
        IssuedVia::TokenCommand => "the token command",
    };
    let user = match &authorization.subject {
        Subject::User(key) => Some(key.as_str()),
        Subject::Client => None,
    };
    tracing::info!(
        client_id = cut(&authorization.client.id),
        user,
        grant,
        audience = authorization.audience.as_deref(),
        scope = authorization.scope.join(" "),
        has_refresh_token = has_refresh,
        has_id_token = has_id,
        "local tenant: token issued"
    );
}

/// Logs a refused request, with OAuth's error code where there is one.
pub(crate) fn refused(path: &str, error: &str, reason: &str) {
    tracing::info!(path = cut(path), error, reason = cut(&without_queries(reason)), "local tenant: refused");
}

/// Removes the queries of URIs, which belong to the application. Reasons quote redirect URIs that are not registered.
fn without_queries(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('?') {
        Some((before, _)) if before.contains(':') => format!("{before}?..."),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let fits = "é".repeat(MAX_SHOWN_CHARS);
        assert_eq!(cut(&fits), fits);
        assert_eq!(cut(&format!("{fits}é")), format!("{fits}..."));
    }

    #[test]
    fn the_query_of_a_uri_is_left_out() {
        let text = "https://a.test/cb?x=1 or \"app:/cb?y\" is not; what? it has http://localhost/cb";
        let expected = "https://a.test/cb?... or \"app:/cb?... is not; what? it has http://localhost/cb";
        assert_eq!(without_queries(text), expected);
    }
}
