//! `[auth0.tenant]`: what the commands `tenant` ask of the Auth0 tenant beside what the tools need. Serving reads none of it.

use std::collections::BTreeMap;

use domain::ScopeSet;
use url::Url;

use super::auth0::Auth0;
use super::context::Context;
use super::tools::scopes_of;
use crate::config::key::{DAY, Flag, Key, Reload, Text, Texts, Whole, seconds};
use crate::config::reader::Reader;
use crate::config::{addresses, shown};

static DOMAIN: Key<Text> = Key::new(
    "auth0.tenant.domain",
    Text("host"),
    Reload::Applied,
    "the tenant's canonical host, where `auth0.domain` or `auth0.issuer` is a custom domain: the Management API is there; empty: the issuer's",
);
static REGISTRATION: Key<Texts> = Key::new(
    "auth0.tenant.registration",
    Texts("`dynamic`, `metadata_documents`"),
    Reload::Applied,
    "how clients without an id get one: by registering themselves (RFC 7591), by their metadata document (CIMD)",
);
static CLIENT_DOCUMENTS: Key<Texts> = Key::new(
    "auth0.tenant.client_documents",
    Texts("URLs"),
    Reload::Applied,
    "metadata documents of clients, to import",
);
static CONNECTIONS: Key<Texts> = Key::new(
    "auth0.tenant.connections",
    Texts("names"),
    Reload::Applied,
    "the connections by which third-party clients log users in",
);
static OFFLINE_ACCESS: Key<Flag> = Key::new(
    "auth0.tenant.offline_access",
    Flag,
    Reload::Applied,
    "whether clients can get refresh tokens; `false` leaves the API's setting alone",
);
static TOKEN_LIFETIME: Key<Whole> = Key::new(
    "auth0.tenant.token_lifetime_seconds",
    seconds(0, 30 * DAY),
    Reload::Applied,
    "of access tokens; 0 leaves the API's setting alone, which for a new one is 24 hours. Third-party clients' live an hour",
);
static ADMINISTRATOR_ROLE: Key<Text> = Key::new(
    "auth0.tenant.administrator_role",
    Text("name"),
    Reload::Applied,
    "the role with every scope that something on offer asks for; empty: none",
);
static ROLE_SCOPES: Key<Texts> =
    Key::new("auth0.tenant.roles.\"NAME\".scopes", Texts("scopes"), Reload::Applied, "what a role permits")
        .or("none");
static ROLE_DESCRIPTION: Key<Text> = Key::new(
    "auth0.tenant.roles.\"NAME\".description",
    Text("text"),
    Reload::Applied,
    "the description of a role that is made",
)
.or("its name");
static ROLE_USERS: Key<Texts> = Key::new(
    "auth0.tenant.roles.\"NAME\".users",
    Texts("user ids or email addresses"),
    Reload::Applied,
    "users that are given the role; nobody loses it",
)
.or("none");
static SCOPE_DESCRIPTION: Key<Text> = Key::new(
    "auth0.tenant.scopes.\"SCOPE\"",
    Text("text"),
    Reload::Applied,
    "what a scope permits, for whoever consents",
)
.or("by the tools that ask for it");

pub(super) const KEYS: &[&Key] = &[
    &DOMAIN,
    &REGISTRATION,
    &CLIENT_DOCUMENTS,
    &CONNECTIONS,
    &OFFLINE_ACCESS,
    &TOKEN_LIFETIME,
    &ADMINISTRATOR_ROLE,
    &ROLE_SCOPES,
    &ROLE_DESCRIPTION,
    &ROLE_USERS,
    &SCOPE_DESCRIPTION,
];

/// The words of `registration`.
const DYNAMIC: &str = "dynamic";
const METADATA_DOCUMENTS: &str = "metadata_documents";

/// The longest URL of a document that Auth0 takes.
const MAX_DOCUMENT_BYTES: usize = 120;

/// What the commands `tenant` ask of the Auth0 tenant beside what the tools need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedTenant {
    /// The tenant's canonical URL, where the Management API is.
    pub url: Url,
    /// Whether clients register themselves.
    pub dynamic_registration: bool,
    /// Whether clients are known by metadata documents.
    pub metadata_documents: bool,
    /// Documents to import.
    pub client_documents: Vec<String>,
    /// The names of connections for third-party clients.
    pub connections: Vec<String>,
    /// Whether clients can get refresh tokens.
    pub offline_access: bool,
    /// The lifetime of access tokens in seconds, if it is to be set.
    pub token_lifetime: Option<u64>,
    /// Roles by their names.
    pub roles: BTreeMap<String, ManagedRole>,
    /// The name of the role that has every scope.
    pub administrator_role: Option<String>,
    /// Descriptions of scopes.
    pub scopes: BTreeMap<String, String>,
}

/// A role of the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedRole {
    /// What it permits.
    pub scopes: ScopeSet,
    /// The description of a new one.
    pub description: String,
    /// The users that are given it.
    pub users: Vec<String>,
}

pub(super) fn read(read: &mut Reader, _: &Context<'_>, auth0: &Auth0) -> ManagedTenant {
    let url = url(read, auth0);
    let registration = read.texts(&REGISTRATION);
    for word in registration.iter().filter(|word| ![DYNAMIC, METADATA_DOCUMENTS].contains(&word.as_str())) {
        let word = shown::text(word);
        read.problem(
            REGISTRATION.name,
            format!("has \"{DYNAMIC}\" and \"{METADATA_DOCUMENTS}\", not {word}"),
        );
    }
    let has = |word: &str| registration.iter().any(|it| it == word);
    let client_documents = read.texts(&CLIENT_DOCUMENTS);
    for document in client_documents.iter().filter(|document| !is_document(document)) {
        let document = shown::text(document);
        read.problem(
            CLIENT_DOCUMENTS.name,
            format!(
                "must have https URLs with a path and without a query, of {MAX_DOCUMENT_BYTES} bytes at most, not {document}"
            ),
        );
    }
    let lifetime: u64 = read.whole(&TOKEN_LIFETIME);
    let administrator_role = read.text(&ADMINISTRATOR_ROLE);
    ManagedTenant {
        url,
        dynamic_registration: has(DYNAMIC),
        metadata_documents: has(METADATA_DOCUMENTS),
        client_documents,
        connections: read.texts(&CONNECTIONS),
        offline_access: read.flag_of(&OFFLINE_ACCESS, &[]).unwrap_or(true),
        token_lifetime: (lifetime > 0).then_some(lifetime),
        roles: roles(read),
        administrator_role: (!administrator_role.is_empty()).then_some(administrator_role),
        scopes: scopes(read),
    }
}

/// Returns whether Auth0 takes a URL as that of a client's metadata document.
fn is_document(text: &str) -> bool {
    let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.path() != "/");
    text.len() <= MAX_DOCUMENT_BYTES
        && url.is_some_and(|url| url.query().is_none() && url.fragment().is_none())
}

fn url(read: &mut Reader, auth0: &Auth0) -> Url {
    let domain = read.text(&DOMAIN);
    if domain.is_empty() || addresses::refuse_placeholder(read, DOMAIN.name, &domain) {
        return auth0.issuer_url.clone();
    }
    let url = Url::parse(&format!("https://{domain}/")).ok().filter(addresses::is_origin);
    url.unwrap_or_else(|| {
        let value = shown::text(&domain);
        read.problem(
            DOMAIN.name,
            format!("must be a host name alone, such as my-tenant.eu.auth0.com, not {value}"),
        );
        auth0.issuer_url.clone()
    })
}

fn roles(read: &mut Reader) -> BTreeMap<String, ManagedRole> {
    let names = read.tables(&["auth0", "tenant", "roles"]);
    let mut role = |name: String| {
        let at = [name.as_str()];
        let role = ManagedRole {
            scopes: scopes_of(read, &ROLE_SCOPES, &at).unwrap_or_default(),
            description: read.text_of(&ROLE_DESCRIPTION, &at).unwrap_or_else(|| name.clone()),
            users: read.texts_of(&ROLE_USERS, &at).unwrap_or_default(),
        };
        (name, role)
    };
    names.into_iter().map(&mut role).collect()
}

fn scopes(read: &mut Reader) -> BTreeMap<String, String> {
    let names = read.names(&["auth0", "tenant", "scopes"]);
    let described = |name: String| {
        let description = read.text_of(&SCOPE_DESCRIPTION, &[&name])?;
        Some((name, description))
    };
    names.into_iter().filter_map(described).collect()
}
