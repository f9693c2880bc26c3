//! Invariants for arbitrary bytes, called by the fuzz targets of `fuzz/` and by tests. In no other build.

use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use url::Url;

use crate::model::keys::{KeyRing, SigningKey};
use crate::model::options::{Client, GrantType, Options, Secret};
use crate::model::redirect_uri;
use crate::oauth::authorize::{self, Outcome, Refusal};
use crate::oauth::client_metadata::is_document_url;
use crate::oauth::issuer::Issuer;
use crate::oauth::parameters::Parameters;
use crate::oauth::tenant::Tenant;
use crate::oauth::token_endpoint;

const REDIRECT_URIS: [&str; 2] = ["https://app.example/cb?x=1", "http://127.0.0.1/cb"];

/// A form, sent to every endpoint that takes one: responses go to registered redirect URIs only, nothing is granted without a
/// decision or a secret, and there is no internal error.
///
/// # Panics
/// When an invariant does not hold.
pub fn oauth_form(data: &[u8]) {
    static TENANT: OnceLock<Tenant> = OnceLock::new();
    let tenant = TENANT.get_or_init(tenant);
    let form = Parameters::parse(data);
    let redirect_uri = form.one("redirect_uri").ok().flatten();
    // Otherwise the client's metadata would be fetched.
    if !form.one("client_id").ok().flatten().is_some_and(is_document_url) {
        match begin(tenant, &form) {
            Ok(Outcome::Redirect(location)) => panic!("a code without a decision: {location}"),
            Ok(Outcome::AskForConsent { request, .. }) => assert!(is_registered(&request.redirect_uri)),
            Err(Refusal::Redirect { location, .. }) => {
                assert!(redirect_uri.is_some_and(is_registered), "{location}");
                assert_leads_back(&location, redirect_uri.unwrap_or_default());
            }
            Err(Refusal::Page { .. }) => {}
        }
    }
    assert!(
        matches!(authorize::decide(tenant, &form), Err(Refusal::Page { .. })),
        "a decision without a transaction"
    );
    for authorization in [None, redirect_uri] {
        let refusal = token_endpoint::handle(tenant, &form, authorization, tenant.issuer.url()).err();
        let refusal = refusal.map(|error| error.code);
        assert!(refusal.is_some_and(|code| code != "server_error"), "{refusal:?}");
    }
    if let Some(uri) = redirect_uri.filter(|uri| redirect_uri::is_acceptable(uri)) {
        assert!(redirect_uri::matches(uri, uri));
        assert!(!redirect_uri::form_action_source(uri).contains([';', ' ', ',']), "{uri}");
        assert!(!redirect_uri::destination(uri).is_empty());
    }
}

fn begin(tenant: &Tenant, form: &Parameters) -> Result<Outcome, Refusal> {
    let beginning = pin!(authorize::begin(tenant, form, tenant.issuer.url(), false));
    match beginning.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("nothing is fetched for a client that is known or not"),
    }
}

fn is_registered(redirect_uri: &str) -> bool {
    REDIRECT_URIS.iter().any(|registered| redirect_uri::matches(registered, redirect_uri))
}

/// Asserts that a location is the redirect URI, with an error in its query.
fn assert_leads_back(location: &str, redirect_uri: &str) {
    let (location, expected) = (Url::parse(location), Url::parse(redirect_uri));
    let (Ok(mut location), Ok(mut expected)) = (location, expected) else {
        panic!("the location or the redirect URI is not a URL");
    };
    assert!(location.query_pairs().any(|(name, _)| name == "error"), "{location}");
    location.set_query(None);
    expected.set_query(None);
    assert_eq!(location, expected);
}

/// Returns a tenant of two clients and the default users.
pub(crate) fn tenant() -> Tenant {
    let interactive = vec![GrantType::AuthorizationCode, GrantType::RefreshToken];
    let client = |id: &str, secret: Option<&str>, grant_types| Client {
        id: id.into(),
        name: id.into(),
        secret: secret.map(Secret::new),
        redirect_uris: REDIRECT_URIS.map(Into::into).to_vec(),
        logout_urls: Vec::new(),
        grant_types,
        permissions: Vec::new(),
        on_behalf_of: false,
        public_key: None,
    };
    // The fuzzer must not guess the secret, or it could get a token.
    let secret = "0a8c5d0e-0d8a-4f6e-9c39-4be1d3f4a7c2";
    let options = Options {
        clients: vec![
            client("public", None, interactive),
            client("confidential", Some(secret), vec![GrantType::ClientCredentials]),
        ],
        ..Options::default().with_api_identifier("http://localhost:3001/mcp")
    };
    let key = || {
        SigningKey::generate().unwrap_or_else(|| panic!("the operating system provides no random numbers"))
    };
    let tenant = Tenant::new(Issuer::new(options, 3002, KeyRing::new(key(), key())));
    tenant.unwrap_or_else(|| panic!("the operating system provides no random numbers"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::form_urlencoded;

    use super::*;

    #[test]
    fn the_seeds_hold() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/oauth_form");
        for seed in std::fs::read_dir(folder).unwrap() {
            oauth_form(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }

    const NAMES: [&str; 13] = [
        "client_id",
        "redirect_uri",
        "response_type",
        "code_challenge",
        "code_challenge_method",
        "state",
        "scope",
        "resource",
        "audience",
        "grant_type",
        "code",
        "code_verifier",
        "decision",
    ];
    const VALUES: [&str; 13] = [
        "public",
        "confidential",
        "https://app.example/cb?x=1",
        "http://127.0.0.1:5000/cb",
        "https://evil.example/cb",
        "code",
        "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "S256",
        "tool:greet openid",
        "http://localhost:3001/mcp",
        "authorization_code",
        "refresh_token",
        "allow",
    ];

    proptest! {
        #[test]
        fn any_parameters_hold(
            parameters in prop::collection::vec(
                (
                    prop::sample::select(&NAMES[..]),
                    prop_oneof![4 => prop::sample::select(&VALUES[..]).prop_map(str::to_owned), 1 => ".{0,12}"],
                ),
                0..10,
            ),
        ) {
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
            oauth_form(form.as_bytes());
        }
    }
}
