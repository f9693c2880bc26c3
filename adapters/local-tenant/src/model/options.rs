//! The options of a tenant: the `[tenant]` table of config/local.toml. They decide nothing about tokens: what they say of
//! settings, APIs and roles is what the tenant's directory begins with.

use std::collections::BTreeMap;
use std::fmt;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod seed;
mod validation;

pub(crate) use self::seed::THIRD_PARTY_CLIENTS;

/// Auth0's default lifetime of an API's access tokens.
pub(crate) const DAY: u64 = 24 * 60 * 60;
/// Auth0's default lifetime of access tokens for third parties.
pub(crate) const HOUR: u64 = 60 * 60;
/// Auth0's maximum lifetime of access tokens, in seconds.
pub(crate) const MAX_LIFETIME: u64 = 30 * DAY;
/// The statuses after which browsers send a GET, whatever they sent before. The first is Auth0's.
const REDIRECT_STATUSES: [u16; 2] = [302, 303];

/// Users, roles, clients and the API of a tenant. The default is Auth0's MCP sample: an administrator and a user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The port on 127.0.0.1; 0, the default, takes a free one.
    #[serde(skip)]
    pub port: u16,
    /// The key of the user who consents to everything without a page. This is for clients without a browser: browsers get the
    /// page, and so do clients with an https redirect URI.
    #[serde(skip)]
    pub auto_consent: Option<String>,
    /// Whether the tenant begins as a new one of Auth0's does: with its defaults for all settings, without APIs, grants and
    /// roles, and without a connection or an organization for third-party clients. All of that can be changed by the
    /// Management API. Users and clients are those of the options, without their roles and permissions.
    #[serde(skip)]
    pub fresh: bool,
    /// Auth0's setting of this name, which its dashboard calls "Include Issuer in Authorization Responses": `iss` in every
    /// authorization response (RFC 9207), announced in the metadata. Off, as in a new tenant of Auth0's.
    pub authorization_response_iss_parameter_supported: bool,
    /// The status of the redirects that end a login or a logout: 302, as Auth0 sends it, or 303.
    pub redirect_status: u16,
    /// What clients get that registered themselves or have a metadata document.
    pub third_party_security_mode: ThirdPartySecurityMode,
    /// The custom claim of users' access tokens that says when they logged in, as an Action of the tenant's would set it; empty:
    /// none does.
    pub auth_time_claim: String,
    /// Everyone who can log in.
    pub users: Vec<User>,
    /// The roles that users can have.
    pub roles: Vec<Role>,
    /// The API that tokens are for.
    pub api: Api,
    /// Other APIs of the tenant, for tests of how the server refuses tokens that are not for it.
    pub other_apis: Vec<Api>,
    /// Clients that exist from the start, like those of Auth0's dashboard. Others register themselves.
    pub clients: Vec<Client>,
}

/// A client that exists from the start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// The name on the consent page.
    pub name: String,
    /// The secret of a confidential client. Without one the client is public, and only PKCE protects it.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// The redirect URIs, which are compared exactly except for the port of those on loopback.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// The URLs that `/v2/logout` may redirect to, compared exactly.
    #[serde(default)]
    pub logout_urls: Vec<String>,
    /// The grants that the client may use.
    #[serde(default = "interactive")]
    pub grant_types: Vec<GrantType>,
    /// The scopes that the client gets on its own behalf, by `client_credentials`.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Whether it is the client of the first API (Auth0's Custom API Client), and exchanges users' tokens for that API for tokens
    /// of the other APIs, for each of which it has a grant (Auth0's On-Behalf-Of Token Exchange). It has no other grant type.
    #[serde(default)]
    pub on_behalf_of: bool,
    /// The RSA key, in PEM, of a confidential client that proves itself by assertions (`private_key_jwt`) and has no secret.
    #[serde(default)]
    pub public_key: Option<PublicKey>,
}

/// A client's public key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// Reads a key in PEM (`BEGIN PUBLIC KEY`); `None` if there is none.
    #[must_use]
    pub fn from_pem(pem: &str) -> Option<Self> {
        let key = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
        Some(Self(key.to_vec()))
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for PublicKey {
    type Error = &'static str;

    fn try_from(pem: String) -> Result<Self, Self::Error> {
        Self::from_pem(&pem).ok_or("public_key is no public key in PEM")
    }
}

/// The supported grants of RFC 6749.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantType {
    /// Section 4.1, with PKCE.
    AuthorizationCode,
    /// Section 6.
    RefreshToken,
    /// Section 4.4: a client on its own behalf.
    ClientCredentials,
}

fn interactive() -> Vec<GrantType> {
    vec![GrantType::AuthorizationCode, GrantType::RefreshToken]
}

/// A client secret. Its `Debug` leaves it out.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Creates a secret from a text that is not empty.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Compares in constant time.
    pub(crate) fn matches(&self, given: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.0.as_bytes(), given.as_bytes()).is_ok()
    }

    /// Returns the secret's text, for the client that authenticates with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(redacted)")
    }
}

/// A person who can log in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The user's name in commands and tests.
    pub key: String,
    /// The token's `sub`.
    pub sub: String,
    /// The token's `name`.
    #[serde(default)]
    pub name: Option<String>,
    /// The token's `email`.
    #[serde(default)]
    pub email: Option<String>,
    /// The organization that the user logs in through: the token's `org_id`.
    #[serde(default)]
    pub org_id: Option<String>,
    /// Custom claims of the user's access tokens, by their URLs, as an Action of the tenant's would set them.
    #[serde(default)]
    pub claims: BTreeMap<String, Value>,
    /// Names of [`Role`]s.
    #[serde(default)]
    pub roles: Vec<String>,
}

/// A named set of the API's permissions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// The role's name.
    pub name: String,
    /// Names of [`ApiScope`]s.
    pub permissions: Vec<String>,
    /// Whether the role also has every scope that [`Options::with_scope`] adds.
    #[serde(default)]
    pub added_scopes: bool,
}

impl Role {
    fn add_permission(&mut self, name: &str) {
        if !self.permissions.iter().any(|permission| permission == name) {
            self.permissions.push(name.to_owned());
        }
    }
}

/// An API that tokens are for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Auth0's "API identifier": the tokens' `aud`, and for MCP the endpoint's URL. Needed for a start; `dev` sets the
    /// first API's itself.
    pub identifier: Option<String>,
    /// The name on the consent page.
    pub name: String,
    /// The scopes that the API defines, in the order in which tokens have them.
    pub scopes: Vec<ApiScope>,
    /// The format of its access tokens.
    pub dialect: Dialect,
    /// Auth0's "Allow Offline Access": whether a client that asks for `offline_access` gets a refresh token. Off, as for a
    /// new API of Auth0's.
    pub allow_offline_access: bool,
    /// From `iat` to `exp`, in seconds.
    pub token_lifetime_seconds: u64,
    /// The same for third parties: clients that registered themselves or have a metadata document.
    pub third_party_token_lifetime_seconds: u64,
    /// The lifetime of refresh tokens, in seconds.
    pub refresh_token_lifetime_seconds: u64,
}

/// A scope of the API; a "permission" in Auth0's dashboard.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiScope {
    /// A scope-token (RFC 6749 section 3.3).
    pub name: String,
    /// What the scope allows, for the consent page.
    pub description: String,
}

/// Auth0's access token profiles ("token dialect" in its Management API).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Auth0's own: `typ: JWT`, `azp`, `gty`.
    AccessToken,
    /// Auth0's own, with `permissions`.
    AccessTokenAuthz,
    /// RFC 9068: `typ: at+jwt`, `client_id`, `jti`.
    #[serde(rename = "rfc9068_profile")]
    Rfc9068Profile,
    /// RFC 9068, with `permissions`.
    #[default]
    #[serde(rename = "rfc9068_profile_authz")]
    Rfc9068ProfileAuthz,
}

/// Auth0's `dynamic_client_registration_security_mode`. In both modes these clients use PKCE, the grants
/// `authorization_code` and `refresh_token`, and ask for consent every time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThirdPartySecurityMode {
    /// Ids begin with `tpc_`, and there are no scopes of OpenID Connect, so no ID token and no userinfo. The mode of a new
    /// tenant, and always that of clients with a metadata document.
    #[default]
    Strict,
    /// Scopes, ID token and userinfo as for other clients. The mode of tenants that already had such clients.
    Permissive,
}

impl Options {
    /// Adds an API like the first one, with another identifier, unless there is one with that identifier.
    #[must_use]
    pub fn with_same_api(mut self, identifier: &str) -> Self {
        if !self.apis().any(|api| api.identifier.as_deref() == Some(identifier)) {
            let api = Api { identifier: Some(identifier.to_owned()), ..self.api.clone() };
            self.other_apis.push(api);
        }
        self
    }

    /// Sets the first API's [`Api::identifier`].
    #[must_use]
    pub fn with_api_identifier(mut self, identifier: &str) -> Self {
        self.api.identifier = Some(identifier.to_owned());
        self
    }

    /// Adds a scope to the API, and to the roles with [`Role::added_scopes`].
    #[must_use]
    pub fn with_scope(mut self, name: &str, description: &str) -> Self {
        if !self.api.scopes.iter().any(|scope| scope.name == name) {
            self.api.scopes.push(ApiScope { name: name.to_owned(), description: description.to_owned() });
        }
        for role in self.roles.iter_mut().filter(|role| role.added_scopes) {
            role.add_permission(name);
        }
        self
    }

    /// Gives a role a scope of the API, where both exist.
    #[must_use]
    pub fn with_permission(mut self, role: &str, scope: &str) -> Self {
        let is_defined = self.api.scope_names().any(|defined| defined == scope);
        for role in self.roles.iter_mut().filter(|known| is_defined && known.name == role) {
            role.add_permission(scope);
        }
        self
    }

    /// Adds an API with these scopes, unless there is one with that identifier, and gives the scopes to the roles with
    /// [`Role::added_scopes`].
    #[must_use]
    pub fn with_api<'a>(
        mut self,
        identifier: &str,
        name: &str,
        scopes: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        if self.apis().any(|api| api.identifier.as_deref() == Some(identifier)) {
            return self;
        }
        let scope = |name: &str| ApiScope { name: name.to_owned(), description: name.to_owned() };
        let scopes: Vec<ApiScope> = scopes.into_iter().map(scope).collect();
        for role in self.roles.iter_mut().filter(|role| role.added_scopes) {
            for scope in &scopes {
                role.add_permission(&scope.name);
            }
        }
        let (identifier, name) = (Some(identifier.to_owned()), name.to_owned());
        self.other_apis.push(Api { identifier, name, scopes, ..self.api.clone() });
        self
    }

    /// Adds the client of the first API that exchanges tokens ([`Client::on_behalf_of`]).
    #[must_use]
    pub fn with_on_behalf_of_client(mut self, id: &str, secret: &str) -> Self {
        self.clients.push(Client {
            id: id.to_owned(),
            name: id.to_owned(),
            secret: Some(Secret::new(secret)),
            redirect_uris: Vec::new(),
            logout_urls: Vec::new(),
            grant_types: Vec::new(),
            permissions: Vec::new(),
            on_behalf_of: true,
            public_key: None,
        });
        self
    }

    /// Sets the port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets the user who consents to everything without a page.
    #[must_use]
    pub fn with_auto_consent(mut self, user_key: &str) -> Self {
        self.auto_consent = Some(user_key.to_owned());
        self
    }

    /// Begins as a new tenant of Auth0's does ([`Options::fresh`]).
    #[must_use]
    pub fn with_fresh_state(mut self) -> Self {
        self.fresh = true;
        self
    }

    /// Returns everyone who can log in.
    #[must_use]
    pub fn users(&self) -> &[User] {
        &self.users
    }

    pub(crate) fn user(&self, key: &str) -> Option<&User> {
        self.users.iter().find(|user| user.key == key)
    }

    pub(crate) fn user_keys(&self) -> Vec<&str> {
        self.users.iter().map(|user| user.key.as_str()).collect()
    }

    /// Returns all APIs, the server's first.
    pub(crate) fn apis(&self) -> impl Iterator<Item = &Api> {
        std::iter::once(&self.api).chain(&self.other_apis)
    }
}

impl Api {
    pub(crate) fn scope_names(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(|scope| scope.name.as_str())
    }
}

impl Default for Options {
    fn default() -> Self {
        let user = |key: &str, sub: &str, name: &str, role: &str| User {
            key: key.into(),
            sub: sub.into(),
            name: Some(name.into()),
            email: Some(format!("{key}@example.com")),
            org_id: None,
            claims: BTreeMap::new(),
            roles: vec![role.into()],
        };
        let role = |name: &str, permissions: &[&str]| Role {
            name: name.into(),
            permissions: permissions.iter().map(|&permission| permission.into()).collect(),
            added_scopes: false,
        };
        Self {
            port: 0,
            auto_consent: None,
            fresh: false,
            authorization_response_iss_parameter_supported: false,
            redirect_status: REDIRECT_STATUSES[0],
            third_party_security_mode: ThirdPartySecurityMode::default(),
            auth_time_claim: String::new(),
            users: vec![
                user("admin", "auth0|local-admin", "Ada Admin", "Tool Administrator"),
                user("user", "auth0|local-user", "Uma User", "Tool User"),
            ],
            roles: vec![
                role("Tool Administrator", &["tool:whoami", "tool:greet"]),
                role("Tool User", &["tool:whoami"]),
            ],
            api: Api::default(),
            other_apis: Vec::new(),
            clients: Vec::new(),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        let scope =
            |name: &str, description: &str| ApiScope { name: name.into(), description: description.into() };
        Self {
            identifier: None,
            name: "Local MCP server".into(),
            scopes: vec![scope("tool:whoami", "Read who you are"), scope("tool:greet", "Greet you by name")],
            dialect: Dialect::default(),
            allow_offline_access: false,
            token_lifetime_seconds: DAY,
            third_party_token_lifetime_seconds: HOUR,
            refresh_token_lifetime_seconds: MAX_LIFETIME,
        }
    }
}

#[cfg(test)]
mod tests;
