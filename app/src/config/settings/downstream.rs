//! `[downstream]`: other APIs that tools may call on behalf of callers, and the client that exchanges callers' tokens. No message
//! repeats a secret or a key.

use auth0_token_exchange::{Algorithm, ClientSecret, Credentials, Options, SigningKey};
use domain::{DownstreamApi, ScopeSet};
use url::Url;

use super::auth0::Auth0;
use super::context::Context;
use super::endpoints::NamedEndpoint;
use crate::config::addresses::refuse_placeholder;
use crate::config::key::{Key, Reload, Text, Texts, Whole, Words, count, seconds};
use crate::config::reader::Reader;
use crate::config::shown;

static CLIENT_ID: Key<Text> = Key::new(
    "downstream.client_id",
    Text("text"),
    Reload::Applied,
    "the client of this server's API at the tenant (\"Custom API Client\") that exchanges callers' tokens",
);
static CLIENT_SECRET: Key<Text> = Key::new(
    "downstream.client_secret",
    Text("text"),
    Reload::Applied,
    "its secret; this, `client_secret_file` or `private_key_file`",
)
.secret();
static CLIENT_SECRET_FILE: Key<Text> = Key::new(
    "downstream.client_secret_file",
    Text("path"),
    Reload::Applied,
    "the same, from a file, without the white space at its ends; a reload reads it again",
);
static PRIVATE_KEY_FILE: Key<Text> = Key::new(
    "downstream.private_key_file",
    Text("path"),
    Reload::Applied,
    "an RSA key in PEM that signs what the client proves itself with (`private_key_jwt`); a reload reads it again",
);
static KEY_ID: Key<Text> = Key::new(
    "downstream.key_id",
    Text("text"),
    Reload::Applied,
    "the `kid` of that key at the tenant; empty: none is named",
);
static SIGNING_ALGORITHM: Key<Words<Algorithm>> = Key::new(
    "downstream.signing_algorithm",
    Words(&[("RS256", Algorithm::Rs256), ("RS384", Algorithm::Rs384), ("PS256", Algorithm::Ps256)]),
    Reload::Applied,
    "the algorithm of that key, as the tenant has it",
);
static TIMEOUT: Key<Whole> = Key::new(
    "downstream.timeout_seconds",
    seconds(1, 60),
    Reload::Applied,
    "for one exchange, and as long for its turn where many are under way",
);
static KEPT_TOKENS: Key<Whole> = Key::new(
    "downstream.kept_tokens",
    count(1, 1_000_000),
    Reload::Applied,
    "tokens that are kept, and exchanges under way; beyond it those leave that expire first",
);
static AUDIENCE: Key<Text> = Key::new(
    "downstream.apis.NAME.audience",
    Text("text"),
    Reload::Applied,
    "the identifier of an API that tools may have tokens for; tools ask by it, or by the name",
);
static SCOPES: Key<Texts> = Key::new(
    "downstream.apis.NAME.scopes",
    Texts("scopes"),
    Reload::Applied,
    "the most that tools may ask for there",
);

pub(super) const KEYS: &[&Key] = &[
    &CLIENT_ID,
    &CLIENT_SECRET,
    &CLIENT_SECRET_FILE,
    &PRIVATE_KEY_FILE,
    &KEY_ID,
    &SIGNING_ALGORITHM,
    &TIMEOUT,
    &KEPT_TOKENS,
    &AUDIENCE,
    &SCOPES,
];

/// The maximum length of an API's name.
const MAX_NAME: usize = 32;

/// Other APIs that tools may call on behalf of callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downstream {
    /// The APIs; one at least.
    pub apis: Vec<DownstreamApi>,
    /// Where tokens are exchanged, and as whom.
    pub exchange: Options,
}

/// Reads the section; `None` where no token is exchanged.
pub(super) fn read(
    read: &mut Reader,
    context: &Context<'_>,
    auth0: &Auth0,
    endpoints: &[NamedEndpoint],
) -> Option<Downstream> {
    let own: Vec<&str> = std::iter::once(&auth0.audience)
        .chain(endpoints.iter().filter_map(|endpoint| endpoint.audience.as_ref()))
        .map(AsRef::as_ref)
        .chain(auth0.additional_audiences.iter().map(String::as_str))
        .collect();
    let apis = apis(read, &own);
    let client_id = read.text(&CLIENT_ID);
    let given = Given::read(read);
    let (timeout, kept_tokens) = (read.seconds(&TIMEOUT), read.whole(&KEPT_TOKENS));
    if apis.is_empty() {
        return None;
    }
    if client_id.is_empty() {
        let message = "is not set, and [downstream.apis] has APIs: it is the client of this server's own API at the tenant";
        read.problem(CLIENT_ID.name, message);
    }
    refuse_placeholder(read, CLIENT_ID.name, &client_id);
    let credentials = given.credentials(read)?;
    let token_endpoint = token_endpoint(read, context, &auth0.issuer)?;
    let issuer = auth0.issuer.clone();
    let exchange = Options { issuer, token_endpoint, client_id, credentials, timeout, kept_tokens };
    Some(Downstream { apis, exchange })
}

/// What the keys of credentials say.
struct Given {
    secret: Option<String>,
    secret_file: Option<String>,
    key_file: Option<String>,
    key_id: String,
    algorithm: Algorithm,
    /// The keys that are set, whether they can be used or not.
    set: Vec<&'static str>,
}

impl Given {
    fn read(read: &mut Reader) -> Self {
        let secret = read.secret_of(&CLIENT_SECRET, &[]).filter(|secret| !secret.trim().is_empty());
        let (has_secret_file, secret_file) = file(read, &CLIENT_SECRET_FILE);
        let (has_key_file, key_file) = file(read, &PRIVATE_KEY_FILE);
        let set = [
            (secret.is_some(), CLIENT_SECRET.name),
            (has_secret_file, CLIENT_SECRET_FILE.name),
            (has_key_file, PRIVATE_KEY_FILE.name),
        ];
        Self {
            secret,
            secret_file,
            key_file,
            key_id: read.text(&KEY_ID),
            algorithm: read.choice(&SIGNING_ALGORITHM).unwrap_or(Algorithm::Rs256),
            set: set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect(),
        }
    }

    fn credentials(self, read: &mut Reader) -> Option<Credentials> {
        match self.set[..] {
            [_] => {}
            [] => {
                let message = "is not set, nor client_secret_file, nor private_key_file: the tenant exchanges tokens for no \
                               client that proves nothing";
                read.problem(CLIENT_SECRET.name, message);
            }
            [first, second, ..] => {
                read.problem(second, format!("can't be set together with {first}: choose one"));
                return None;
            }
        }
        if let Some(secret) = self.secret.or(self.secret_file) {
            return Some(Credentials::Secret(ClientSecret::new(secret.trim())));
        }
        let id = Some(self.key_id).filter(|id| !id.is_empty());
        match SigningKey::from_pem(self.key_file?.as_bytes(), self.algorithm, id) {
            Ok(key) => Some(Credentials::PrivateKey(key)),
            Err(error) => {
                read.problem(PRIVATE_KEY_FILE.name, format!("names a file that {error}"));
                None
            }
        }
    }
}

/// Reads the file that a key names, and whether it names one.
fn file(read: &mut Reader, key: &Key<Text>) -> (bool, Option<String>) {
    if read.is_empty_text(key) {
        read.text(key);
        return (false, None);
    }
    (true, read.secret_file_of(key, &[]))
}

/// Reads the APIs. One with a fault is left out, and the fault is noted.
fn apis(read: &mut Reader, own: &[&str]) -> Vec<DownstreamApi> {
    let mut apis: Vec<DownstreamApi> = Vec::new();
    for name in read.tables(&["downstream", "apis"]) {
        let Some(api) = api(read, &name, own) else { continue };
        let key = shown::key(&AUDIENCE.path(&[&name]));
        let other = apis.iter().find(|other| {
            other.audience == api.audience || other.name == api.audience || other.audience == api.name
        });
        match other {
            Some(other) => {
                read.problem(&key, format!("is another API's audience or name, too: see {}", other.name));
            }
            None => apis.push(api),
        }
    }
    apis
}

fn api(read: &mut Reader, name: &str, own: &[&str]) -> Option<DownstreamApi> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
        let message = format!("must be a name of letters, digits, `_` and `-`, at most {MAX_NAME} of them");
        read.reject_table(&["downstream", "apis", name].map(str::to_owned), message);
        return None;
    }
    let audience = read.text_of(&AUDIENCE, &[name]).unwrap_or_default();
    let texts = read.texts_of(&SCOPES, &[name]).unwrap_or_default();
    let (audience_key, scopes_key) = (shown::key(&AUDIENCE.path(&[name])), shown::key(&SCOPES.path(&[name])));
    if audience.is_empty() {
        read.problem(&audience_key, "is not set: it is the API's identifier at the tenant");
    }
    refuse_placeholder(read, &audience_key, &audience);
    if own.contains(&audience.as_str()) {
        read.problem(&audience_key, "is this server's own, whose tokens its tools have no use for");
    }
    let scopes = ScopeSet::parse_all(texts.iter().map(String::as_str));
    match scopes {
        Ok(scopes) if scopes.is_empty() => {
            let message =
                "is not set: without scopes a token would have all that the user's roles allow there";
            read.problem(&scopes_key, message);
            None
        }
        Ok(scopes) => Some(DownstreamApi { name: name.to_owned(), audience, scopes }),
        Err(error) => {
            read.problem(&scopes_key, error.to_string());
            None
        }
    }
}

/// Returns where the identity provider exchanges tokens.
fn token_endpoint(read: &mut Reader, context: &Context<'_>, issuer: &str) -> Option<Url> {
    let metadata = context.provider.metadata(issuer);
    let endpoint = metadata.get("token_endpoint").and_then(|endpoint| endpoint.as_str());
    let endpoint = endpoint.and_then(|endpoint| endpoint.parse().ok());
    if endpoint.is_none() {
        read.problem(CLIENT_ID.name, "is of no use: the identity provider's metadata has no token_endpoint");
    }
    endpoint
}
