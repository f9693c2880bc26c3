//! `[auth0]`: whose tokens are accepted, and for which audience.

use std::sync::Arc;

use jwks_verifier::IdentityProvider;
use url::Url;

use super::context::Context;
use crate::config::addresses::{self, Issuer, issuer_at, refuse_placeholder, warn_of_documentation};
use crate::config::key::{Key, Reload, Text, Texts};
use crate::config::reader::Reader;
use crate::config::shown;

static DOMAIN: Key<Text> = Key::new(
    "auth0.domain",
    Text("host"),
    Reload::FetchesKeys,
    "the tenant; required unless `auth0.issuer` is set",
)
.variable("AUTH0_DOMAIN");
static AUDIENCE: Key<Text> =
    Key::new("auth0.audience", Text("text"), Reload::Applied, "the API identifier, required")
        .variable("AUTH0_AUDIENCE");
pub(super) static ISSUER: Key<Text> = Key::new(
    "auth0.issuer",
    Text("URL with its trailing slash"),
    Reload::FetchesKeys,
    "instead of `https://DOMAIN/`, for a custom domain. If both are set, they must agree",
)
.variable("AUTH0_ISSUER");
static ADDITIONAL_ISSUERS: Key<Texts> =
    Key::new("auth0.additional_issuers", Texts("URLs"), Reload::Applied, "further accepted values of `iss`");
static ADDITIONAL_AUDIENCES: Key<Texts> = Key::new(
    "auth0.additional_audiences",
    Texts("texts"),
    Reload::Applied,
    "further accepted values of `aud`",
);

pub(super) const KEYS: &[&Key] = &[&DOMAIN, &AUDIENCE, &ISSUER, &ADDITIONAL_ISSUERS, &ADDITIONAL_AUDIENCES];

/// Whose tokens are accepted, and for which audience.
#[derive(Debug, Clone)]
pub struct Auth0 {
    /// The issuer whose keys are used, as `iss` must name it.
    pub issuer: String,
    /// The issuer as a URL, which may have a slash more.
    pub issuer_url: Url,
    /// The protected resource's identifier: what tokens must have in `aud`.
    pub audience: Arc<str>,
    /// Further values of `iss` that are accepted.
    pub additional_issuers: Vec<String>,
    /// Further values of `aud` that are accepted.
    pub additional_audiences: Vec<String>,
}

pub(super) fn read(read: &mut Reader, context: &Context<'_>) -> Auth0 {
    let provider = &*context.provider;
    // A placeholder keeps the reading going; with the problem noted, it is never used.
    let issuer = issuer(read, provider).unwrap_or_else(|| Issuer::at(addresses::localhost(), provider));
    let audience = audience(read, provider);
    let additional_issuers = read.texts(&ADDITIONAL_ISSUERS);
    for text in &additional_issuers {
        issuer_at(read, ADDITIONAL_ISSUERS.name, text, provider);
    }
    Auth0 {
        issuer: issuer.text,
        issuer_url: issuer.url,
        audience: audience.into(),
        additional_issuers,
        additional_audiences: read.texts(&ADDITIONAL_AUDIENCES),
    }
}

/// Reads the issuer, from `auth0.issuer` or else `auth0.domain`.
fn issuer(read: &mut Reader, provider: &dyn IdentityProvider) -> Option<Issuer> {
    let (domain, issuer) = (read.text(&DOMAIN), read.text(&ISSUER));
    if domain.is_empty() && issuer.is_empty() {
        read.problem(
            DOMAIN.name,
            "is not set: AUTH0_DOMAIN is your tenant's host, such as my-tenant.eu.auth0.com",
        );
        return None;
    }
    let of_domain = if domain.is_empty() { None } else { domain_url(read, &domain) };
    let of_domain = of_domain.map(|url| Issuer::at(url, provider));
    if issuer.is_empty() {
        return of_domain;
    }
    let found = issuer_at(read, ISSUER.name, &issuer, provider)?;
    warn_of_documentation(read, ISSUER.name, &found.url);
    if of_domain.is_some_and(|of_domain| of_domain.text != found.text) {
        let (domain, issuer) = (shown::text(&domain), shown::text(&issuer));
        read.problem(
            ISSUER.name,
            format!(
                "is {issuer}, and auth0.domain is {domain}: they name different issuers, so set one of them; behind a \
                 custom domain that is auth0.issuer, with the tenant's own one in auth0.additional_issuers"
            ),
        );
    }
    Some(found)
}

fn domain_url(read: &mut Reader, domain: &str) -> Option<Url> {
    if refuse_placeholder(read, DOMAIN.name, domain) {
        return None;
    }
    let url = Url::parse(&format!("https://{domain}/")).ok().filter(addresses::is_origin);
    let url = url.filter(|url| url.host_str() == Some(&domain.to_ascii_lowercase()));
    if url.is_none() {
        let value = shown::text(domain);
        read.problem(
            DOMAIN.name,
            format!(
                "must be a host name alone, such as my-tenant.eu.auth0.com, without https:// and slashes, not {value}"
            ),
        );
    }
    url
}

fn audience(read: &mut Reader, provider: &dyn IdentityProvider) -> String {
    let audience = read.text(&AUDIENCE);
    if audience.is_empty() {
        let name = provider.hints().audience;
        read.problem(
            AUDIENCE.name,
            format!("is not set: AUTH0_AUDIENCE is your {name}, best the endpoint's own URL"),
        );
    }
    refuse_placeholder(read, AUDIENCE.name, &audience);
    audience
}
