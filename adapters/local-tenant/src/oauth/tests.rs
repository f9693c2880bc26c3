//! What the directory's state makes of logins and tokens: each trap of a real tenant, before and after it is mended.

use std::convert::Infallible;
use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::model::client::{AuthMethod, ClientRecord, Trust};
use crate::model::directory::{
    AccessPolicy, ClientGrant, LoginExperience, ResourceParameterProfile, ResourceServer, SigningAlg, State,
    SubjectType, ThirdPartyClientAccess,
};
use crate::model::keys::{KeyRing, SigningKey};
use crate::model::options::{Client, GrantType, Options, Secret, ThirdPartySecurityMode};
use crate::oauth::authorize::{self, Outcome, Refusal};
use crate::oauth::clients::InsertError;
use crate::oauth::error::OAuthError;
use crate::oauth::issuer::Issuer;
use crate::oauth::parameters::Parameters;
use crate::oauth::tenant::Tenant;
use crate::oauth::{discovery, registration, token_endpoint};

const API: &str = "http://localhost:3001/mcp";
const MANAGEMENT_API: &str = "http://127.0.0.1:3002/api/v2/";
const CALLBACK: &str = "http://127.0.0.1:49152/cb";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const ALL_SCOPES: &str = "tool:whoami tool:greet offline_access openid";

/// A tenant with the first-party clients `app` and `machine`.
fn options() -> Options {
    let client = |id: &str, grant_types| Client {
        id: id.into(),
        name: id.into(),
        secret: None,
        redirect_uris: vec![CALLBACK.into()],
        logout_urls: Vec::new(),
        grant_types,
        permissions: Vec::new(),
        on_behalf_of: false,
        public_key: None,
    };
    let mut options = Options::default().with_api_identifier(API);
    options.api.allow_offline_access = true;
    options.users[1].org_id = Some("org_1".into());
    options.clients = vec![
        client("app", vec![GrantType::AuthorizationCode, GrantType::RefreshToken]),
        Client {
            secret: Some(Secret::new("s")),
            permissions: vec!["tool:whoami".into()],
            ..client("machine", vec![GrantType::ClientCredentials])
        },
    ];
    options
}

fn tenant_of(options: Options) -> Tenant {
    // Making keys takes most of a start.
    static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().unwrap());
    Tenant::new(Issuer::new(options, 3002, KeyRing::new(KEY.clone(), KEY.clone()))).unwrap()
}

fn tenant() -> Tenant {
    tenant_of(options())
}

/// What spoils a state.
type Change = fn(&mut State);

fn change(tenant: &Tenant, change: impl FnOnce(&mut State)) {
    let changed: Result<(), Infallible> = tenant.directory.change(|state| {
        change(state);
        Ok(())
    });
    changed.unwrap();
}

/// Changes the API that logins are for.
fn change_api(tenant: &Tenant, change_it: impl FnOnce(&mut ResourceServer)) {
    change(tenant, |state| change_it(state.apis.iter_mut().find(|api| api.identifier == API).unwrap()));
}

fn registered_as(tenant: &Tenant, trust: Trust) -> String {
    let client = ClientRecord {
        redirect_uris: vec![CALLBACK.into()],
        grant_types: vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
        ..ClientRecord::new(&trust.new_id().unwrap(), "Registered", trust)
    };
    tenant.clients.register(client).id.clone()
}

/// Adds a client as those that registered themselves.
fn third_party(tenant: &Tenant) -> String {
    registered_as(tenant, Trust::ThirdParty(ThirdPartySecurityMode::Strict))
}

fn grant(scope: &[&str], subject_type: SubjectType) -> ClientGrant {
    ClientGrant {
        id: "cgr_test".into(),
        client_id: None,
        default_for: Some("third_party_clients".into()),
        audience: API.into(),
        scope: scope.iter().map(|&scope| scope.into()).collect(),
        allow_all_scopes: false,
        subject_type,
        others: serde_json::Map::new(),
    }
}

fn grant_to(client: &str, scope: &[&str], subject_type: SubjectType) -> ClientGrant {
    ClientGrant { client_id: Some(client.into()), default_for: None, ..grant(scope, subject_type) }
}

fn form(pairs: &[(&str, &str)]) -> Parameters {
    Parameters::parse(Serializer::new(String::new()).extend_pairs(pairs).finish().as_bytes())
}

/// Begins a login, which `parameters` say the scope and the API of.
async fn begin(tenant: &Tenant, client: &str, parameters: &[(&str, &str)]) -> Result<Outcome, Refusal> {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let always = [
        ("client_id", client),
        ("redirect_uri", CALLBACK),
        ("response_type", "code"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    authorize::begin(tenant, &form(&[&always, parameters].concat()), tenant.issuer.url(), true).await
}

/// Returns the error that a refusal tells the client.
fn told(refusal: Refusal) -> OAuthError {
    match refusal {
        Refusal::Redirect { error, .. } => error,
        Refusal::Page { title, explanation } => panic!("a page: {title}: {explanation}"),
    }
}

/// Logs a user in, up to the code.
async fn code(
    tenant: &Tenant,
    client: &str,
    user: &str,
    parameters: &[(&str, &str)],
) -> Result<String, OAuthError> {
    let Outcome::AskForConsent { transaction, .. } = begin(tenant, client, parameters).await.map_err(told)?
    else {
        panic!("nobody was asked");
    };
    let decision = form(&[("transaction", &transaction), ("user", user), ("decision", "allow")]);
    let location = Url::parse(&authorize::decide(tenant, &decision).map_err(told)?).unwrap();
    let code = location.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    Ok(code)
}

/// Sends a token request.
fn token(tenant: &Tenant, pairs: &[(&str, &str)]) -> Result<Value, OAuthError> {
    let response = token_endpoint::handle(tenant, &form(pairs), None, tenant.issuer.url())?;
    Ok(serde_json::to_value(&response).unwrap())
}

fn redeemed(tenant: &Tenant, client: &str, code: &str) -> Result<Value, OAuthError> {
    token(
        tenant,
        &[
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("code", code),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
        ],
    )
}

fn refreshed(tenant: &Tenant, client: &str, response: &Value) -> Result<Value, OAuthError> {
    let token_text = response["refresh_token"].as_str().unwrap();
    token(tenant, &[("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token_text)])
}

/// Logs the administrator in, and returns the token response.
async fn login(tenant: &Tenant, client: &str, parameters: &[(&str, &str)]) -> Result<Value, OAuthError> {
    redeemed(tenant, client, &code(tenant, client, "admin", parameters).await?)
}

/// Logs the administrator in for the API, as an MCP client does.
async fn mcp_login(tenant: &Tenant, client: &str) -> Result<Value, OAuthError> {
    login(tenant, client, &[("resource", API), ("scope", ALL_SCOPES)]).await
}

/// Returns one of the parts of a JWT that are JSON.
fn part(response: &Value, index: usize) -> Value {
    let text = response["access_token"].as_str().unwrap().split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

fn is_opaque(response: &Value) -> bool {
    let text = response["access_token"].as_str().unwrap();
    text.len() == 32 && !text.contains('.')
}

fn error(code: &'static str, description: &str) -> OAuthError {
    OAuthError::new(code, description)
}

fn not_authorized(client: &str, api: &str) -> OAuthError {
    let description = format!("Client \"{client}\" is not authorized to access resource server \"{api}\"");
    error("unauthorized_client", &description)
}

fn machine(tenant: &Tenant, pairs: &[(&str, &str)]) -> Result<Value, OAuthError> {
    let always = [("grant_type", "client_credentials"), ("client_id", "machine"), ("client_secret", "s")];
    token(tenant, &[&always, pairs].concat())
}

fn management(tenant: &Tenant, audience: &str) -> Result<Value, OAuthError> {
    let client = tenant.management_client();
    token(
        tenant,
        &[
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", client.secret.expose()),
            ("audience", audience),
        ],
    )
}

#[tokio::test]
async fn a_client_that_was_registered_by_its_document_logs_in_with_the_documents_url() {
    let tenant = tenant();
    let url = "https://client.example/client.json";
    let trust = Trust::ThirdParty(ThirdPartySecurityMode::Strict);
    let client = ClientRecord {
        external_client_id: Some(url.into()),
        redirect_uris: vec![CALLBACK.into()],
        grant_types: vec![GrantType::AuthorizationCode],
        ..ClientRecord::new("tpc_document", "Document", trust)
    };
    tenant.clients.insert(client.clone()).unwrap();
    let response = mcp_login(&tenant, url).await.unwrap();
    assert_eq!(part(&response, 1)["client_id"], "tpc_document");
    let again = ClientRecord { id: "tpc_again".into(), ..client };
    assert_eq!(tenant.clients.insert(again), Err(InsertError::Exists), "one for each document");
}

#[tokio::test]
async fn a_new_tenant_lets_an_mcp_client_in_once_everything_is_mended() {
    let tenant = tenant_of(options().with_fresh_state());
    let client = third_party(&tenant);
    // `resource` is not read.
    let userinfo = error("invalid_request", "The userinfo audience is not allowed for third party clients");
    assert_eq!(mcp_login(&tenant, &client).await, Err(userinfo));
    change(&tenant, |state| {
        state.settings.resource_parameter_profile = ResourceParameterProfile::Compatibility;
    });
    assert_eq!(
        mcp_login(&tenant, &client).await,
        Err(error("invalid_target", &format!("Service not found: {API}")))
    );
    // The API of a tenant that began otherwise.
    let like = tenant_of(options()).directory.state();
    let api = like.apis.iter().find(|api| api.identifier == API).unwrap().clone();
    change(&tenant, |state| state.apis.push(api));
    assert_eq!(mcp_login(&tenant, &client).await, Err(not_authorized(&client, API)));
    change(&tenant, |state| {
        state.grants.push(ClientGrant { allow_all_scopes: true, ..grant(&[], SubjectType::User) });
    });
    let no_connection = error("invalid_request", "no connections enabled for the client");
    assert_eq!(mcp_login(&tenant, &client).await, Err(no_connection));
    change(&tenant, |state| state.connections[0].is_domain_connection = true);
    let without_roles = mcp_login(&tenant, &client).await.unwrap();
    assert_eq!(without_roles["scope"], "offline_access", "a login works, but there are no tools");
    change(&tenant, |state| {
        state.roles.clone_from(&like.roles);
        state.assignments.clone_from(&like.assignments);
    });
    let mended = mcp_login(&tenant, &client).await.unwrap();
    assert_eq!(mended["scope"], "tool:whoami tool:greet offline_access");
    assert_eq!(part(&mended, 1)["aud"], API);
}

#[tokio::test]
async fn without_the_compatibility_profile_only_audience_names_an_api() {
    let tenant = tenant();
    let client = third_party(&tenant);
    change(&tenant, |state| {
        state.settings.resource_parameter_profile = ResourceParameterProfile::Audience;
        state.settings.default_audience.clear();
    });
    let refused = error("invalid_request", "The userinfo audience is not allowed for third party clients");
    assert_eq!(mcp_login(&tenant, &client).await, Err(refused.clone()));
    let by_audience =
        [("audience", API), ("resource", "https://ignored.test/"), ("resource", "https://x.test/")];
    assert_eq!(part(&login(&tenant, &client, &by_audience).await.unwrap(), 1)["aud"], API);
    // Others get a token for userinfo.
    let permissive = registered_as(&tenant, Trust::ThirdParty(ThirdPartySecurityMode::Permissive));
    for client in ["app", &permissive] {
        let opaque = mcp_login(&tenant, client).await.unwrap();
        assert!(is_opaque(&opaque), "{client}");
        assert_eq!((&opaque["scope"], opaque.get("refresh_token")), (&json!("openid"), None), "{client}");
    }
    change(&tenant, |state| state.settings.default_audience = API.into());
    assert_eq!(part(&mcp_login(&tenant, &client).await.unwrap(), 1)["aud"], API);
    // The profile alone reads `resource`, and does not make up for one that is missing.
    change(&tenant, |state| {
        state.settings.resource_parameter_profile = ResourceParameterProfile::Compatibility;
        state.settings.default_audience.clear();
    });
    assert_eq!(part(&mcp_login(&tenant, &client).await.unwrap(), 1)["aud"], API);
    assert_eq!(login(&tenant, &client, &[]).await, Err(refused));
    assert!(is_opaque(&login(&tenant, "app", &[]).await.unwrap()));
}

#[tokio::test]
async fn of_audience_and_resource_audience_wins() {
    let tenant = tenant_of(options().with_same_api("https://other.test/"));
    let both = [("audience", API), ("resource", "https://other.test/")];
    assert_eq!(part(&login(&tenant, "app", &both).await.unwrap(), 1)["aud"], API);
    let wrong = [("audience", "https://unknown.test/"), ("resource", API)];
    let not_found = Err(error("invalid_target", "Service not found: https://unknown.test/"));
    assert_eq!(login(&tenant, "app", &wrong).await, not_found);
    assert_eq!(machine(&tenant, &wrong), not_found);
    change(&tenant, |state| state.settings.default_audience = "https://unknown.test/".into());
    assert_eq!(login(&tenant, "app", &[]).await, not_found);
    assert_eq!(machine(&tenant, &[]), not_found);
}

#[tokio::test]
async fn third_parties_need_a_grant_for_users() {
    let tenant = tenant();
    let client = third_party(&tenant);
    assert_eq!(mcp_login(&tenant, &client).await.unwrap()["scope"], "tool:whoami tool:greet offline_access");
    let others = grant_to("somebody-else", &["tool:greet"], SubjectType::User);
    let elsewhere = ClientGrant { audience: "https://x.test/".into(), ..grant(&[], SubjectType::User) };
    for useless in [grant(&["tool:greet"], SubjectType::Client), others, elsewhere] {
        change(&tenant, |state| state.grants = vec![useless]);
        assert_eq!(mcp_login(&tenant, &client).await, Err(not_authorized(&client, API)));
    }
    change(&tenant, |state| state.grants = vec![grant(&["tool:greet"], SubjectType::User)]);
    assert_eq!(mcp_login(&tenant, &client).await.unwrap()["scope"], "tool:greet offline_access");
    // The default is not for first parties, and does not limit them.
    assert_eq!(mcp_login(&tenant, "app").await.unwrap()["scope"], ALL_SCOPES_IN_ORDER);
    // A client's own grant counts instead of the default.
    change(&tenant, |state| state.grants.push(grant_to(&client, &["tool:whoami"], SubjectType::User)));
    assert_eq!(mcp_login(&tenant, &client).await.unwrap()["scope"], "tool:whoami offline_access");
    let unasked = login(&tenant, &client, &[("resource", API)]).await.unwrap();
    assert_eq!(unasked["scope"], "tool:whoami");
}

/// [`ALL_SCOPES`] as they are granted.
const ALL_SCOPES_IN_ORDER: &str = "tool:whoami tool:greet openid offline_access";

#[tokio::test]
async fn the_apis_policy_decides_for_first_parties() {
    let tenant = tenant();
    let client = third_party(&tenant);
    let policy = |policy| change_api(&tenant, |api| api.subject_type_authorization.user.policy = policy);
    policy(AccessPolicy::RequireClientGrant);
    assert_eq!(mcp_login(&tenant, "app").await, Err(not_authorized("app", API)));
    assert!(mcp_login(&tenant, &client).await.is_ok(), "it has the default grant");
    change(&tenant, |state| state.grants.push(grant_to("app", &["tool:greet"], SubjectType::User)));
    assert_eq!(mcp_login(&tenant, "app").await.unwrap()["scope"], "tool:greet openid offline_access");
    policy(AccessPolicy::DenyAll);
    assert_eq!(mcp_login(&tenant, "app").await, Err(not_authorized("app", API)));
    assert_eq!(mcp_login(&tenant, &client).await, Err(not_authorized(&client, API)));
    policy(AccessPolicy::AllowAll);
    assert_eq!(mcp_login(&tenant, "app").await.unwrap()["scope"], ALL_SCOPES_IN_ORDER);
}

#[tokio::test]
async fn a_grant_that_ends_ends_codes_and_refresh_tokens() {
    let tenant = tenant();
    let client = third_party(&tenant);
    let parameters = [("resource", API), ("scope", ALL_SCOPES)];
    let code = code(&tenant, &client, "admin", &parameters).await.unwrap();
    let response = mcp_login(&tenant, &client).await.unwrap();
    let grants = tenant.directory.state().grants.clone();
    change(&tenant, |state| state.grants.clear());
    assert_eq!(redeemed(&tenant, &client, &code), Err(not_authorized(&client, API)));
    assert_eq!(refreshed(&tenant, &client, &response), Err(not_authorized(&client, API)));
    change(&tenant, |state| state.grants = grants);
    assert_eq!(refreshed(&tenant, &client, &response).unwrap()["scope"], response["scope"]);
}

#[tokio::test]
async fn a_refreshed_token_is_as_old_as_its_login() {
    let at = "https://a.example/at";
    let tenant = tenant_of(Options { auth_time_claim: at.into(), ..options() });
    let response = mcp_login(&tenant, "app").await.unwrap();
    let logged_in = part(&response, 1)[at].clone();
    tenant.issuer.clock().set_offset(1000);
    let later = part(&refreshed(&tenant, "app", &response).unwrap(), 1);
    assert_eq!(later[at], logged_in);
    assert!(later["iat"].as_i64() > logged_in.as_i64());
}

#[tokio::test]
async fn a_refresh_brings_no_scope_whose_role_is_gone() {
    let tenant = tenant();
    let response = mcp_login(&tenant, "app").await.unwrap();
    let roles = tenant.directory.state().roles.clone();
    change(&tenant, |state| {
        state.roles[0].permissions.retain(|permission| permission.permission_name != "tool:greet");
    });
    let less = refreshed(&tenant, "app", &response).unwrap();
    assert_eq!(less["scope"], "tool:whoami openid offline_access");
    assert_eq!(part(&less, 1)["permissions"], json!(["tool:whoami"]));
    change(&tenant, |state| state.roles = roles);
    assert_eq!(refreshed(&tenant, "app", &less).unwrap()["scope"], ALL_SCOPES_IN_ORDER);
}

#[tokio::test]
async fn third_parties_need_a_domain_level_connection() {
    let tenant = tenant();
    let client = third_party(&tenant);
    let none = Err(error("invalid_request", "no connections enabled for the client"));
    change(&tenant, |state| state.connections[0].is_domain_connection = false);
    assert_eq!(mcp_login(&tenant, &client).await, none);
    assert!(mcp_login(&tenant, "app").await.is_ok(), "any connection will do");
    change(&tenant, |state| state.connections[0].is_domain_connection = true);
    assert!(mcp_login(&tenant, &client).await.is_ok());
    change(&tenant, |state| state.connections.clear());
    assert_eq!(mcp_login(&tenant, "app").await, none);
}

#[tokio::test]
async fn a_decision_is_judged_by_the_state_that_it_meets() {
    let tenant = tenant();
    let client = third_party(&tenant);
    let parameters = [("resource", API), ("scope", ALL_SCOPES)];
    let spoil: [(Change, &str); 3] = [
        (|state| state.apis.retain(|api| api.is_system), "invalid_target"),
        (|state| state.grants.clear(), "unauthorized_client"),
        (|state| state.connections.clear(), "invalid_request"),
    ];
    for (spoil, expected) in spoil {
        let Ok(Outcome::AskForConsent { transaction, .. }) = begin(&tenant, &client, &parameters).await
        else {
            panic!("no page");
        };
        let before = tenant.directory.state();
        change(&tenant, spoil);
        let decision = form(&[("transaction", &transaction), ("user", "admin"), ("decision", "allow")]);
        assert_eq!(told(authorize::decide(&tenant, &decision).unwrap_err()).code, expected);
        change(&tenant, |state| *state = State::clone(&before));
    }
    assert!(mcp_login(&tenant, &client).await.is_ok());
}

#[tokio::test]
async fn strict_third_parties_do_not_go_with_rules_hooks_and_the_classic_login() {
    let tenant = tenant();
    let strict = third_party(&tenant);
    let permissive = registered_as(&tenant, Trust::ThirdParty(ThirdPartySecurityMode::Permissive));
    let classic: Change = |state| state.prompts.universal_login_experience = LoginExperience::Classic;
    let obstacles: [(Change, &str); 3] = [
        (|state| state.rules = vec!["add claim".into(), "x".into()], "Rules are active: add claim, x"),
        (|state| state.hooks = vec!["signup".into()], "Hooks are active: signup"),
        (classic, "the Classic Login experience is active"),
    ];
    for (obstruct, what) in obstacles {
        change(&tenant, obstruct);
        let text = format!("third-party clients in strict mode can't log users in while {what}");
        assert_eq!(mcp_login(&tenant, &strict).await, Err(error("invalid_request", &text)));
        for client in ["app", &permissive] {
            assert!(mcp_login(&tenant, client).await.is_ok(), "{client}, {what}");
        }
        change(&tenant, |state| {
            state.rules.clear();
            state.hooks.clear();
            state.prompts.universal_login_experience = LoginExperience::New;
        });
        assert!(mcp_login(&tenant, &strict).await.is_ok(), "{what}");
    }
}

#[tokio::test]
async fn an_organization_may_block_third_parties() {
    let tenant = tenant();
    let client = third_party(&tenant);
    let parameters = [("resource", API), ("scope", ALL_SCOPES)];
    let response = redeemed(&tenant, &client, &code(&tenant, &client, "user", &parameters).await.unwrap());
    let blocked = Some(error("invalid_request", "parameter organization is invalid: org_1"));
    change(&tenant, |state| {
        state.organizations[0].third_party_client_access = ThirdPartyClientAccess::Block;
    });
    assert_eq!(code(&tenant, &client, "user", &parameters).await.err(), blocked);
    assert_eq!(refreshed(&tenant, &client, &response.unwrap()).err(), blocked);
    assert!(code(&tenant, &client, "admin", &parameters).await.is_ok(), "no member");
    assert!(code(&tenant, "app", "user", &parameters).await.is_ok(), "a first party");
    change(&tenant, |state| {
        state.organizations[0].third_party_client_access = ThirdPartyClientAccess::Allow;
    });
    assert!(code(&tenant, &client, "user", &parameters).await.is_ok());
    change(&tenant, |state| state.organizations.clear());
    assert_eq!(code(&tenant, &client, "user", &parameters).await.err(), blocked);
}

#[tokio::test]
async fn without_rbac_a_user_grants_whatever_the_api_defines() {
    let tenant = tenant();
    let parameters = [("resource", API), ("scope", "tool:greet tool:fly")];
    for (rbac, scope) in [(true, ""), (false, "tool:greet"), (true, "")] {
        change_api(&tenant, |api| api.enforce_policies = rbac);
        let code = code(&tenant, "app", "user", &parameters).await.unwrap();
        assert_eq!(redeemed(&tenant, "app", &code).unwrap()["scope"], scope, "{rbac}");
    }
}

#[tokio::test]
async fn a_permission_is_for_one_api() {
    const OTHER: &str = "https://other.test/";
    let tenant = tenant_of(options().with_same_api(OTHER));
    for (api, scope) in [(API, "tool:whoami tool:greet"), (OTHER, "tool:whoami tool:greet")] {
        assert_eq!(login(&tenant, "app", &[("resource", api)]).await.unwrap()["scope"], scope);
    }
    change(&tenant, |state| {
        for role in &mut state.roles {
            role.permissions.retain(|permission| permission.resource_server_identifier == OTHER);
        }
    });
    for (api, scope) in [(API, ""), (OTHER, "tool:whoami tool:greet")] {
        assert_eq!(login(&tenant, "app", &[("resource", api)]).await.unwrap()["scope"], scope);
    }
}

#[test]
fn a_client_authenticates_by_its_method() {
    let tenant = tenant();
    let method = |method| {
        let changed = tenant.clients.update("machine", |client| {
            client.token_endpoint_auth_method = method;
            Ok::<_, ()>(())
        });
        assert!(changed.unwrap().is_some());
    };
    let without_secret = || {
        let asked = [("grant_type", "client_credentials"), ("client_id", "machine"), ("audience", API)];
        token(&tenant, &asked).map_err(|error| error.code)
    };
    let with_secret = || machine(&tenant, &[("audience", API)]).map_err(|error| error.code);
    let refused = Err("invalid_client");
    assert_eq!((with_secret().is_ok(), without_secret()), (true, refused.clone()));
    method(AuthMethod::None);
    assert_eq!((with_secret(), without_secret().is_ok()), (refused.clone(), true));
    method(AuthMethod::ClientSecretBasic);
    assert_eq!((with_secret().is_ok(), without_secret()), (true, refused.clone()));
    // One that has lost its secret is not open to everyone.
    let changed = tenant.clients.update("machine", |client| {
        client.secret = None;
        Ok::<_, ()>(())
    });
    assert!(changed.is_ok());
    assert_eq!((with_secret(), without_secret()), (refused.clone(), refused));
}

#[tokio::test]
async fn the_apis_settings_shape_its_tokens() {
    let tenant = tenant();
    let client = third_party(&tenant);
    let lifetime = |claims: &Value| claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    for (alg, name) in [
        (SigningAlg::HS256, "HS256"),
        (SigningAlg::RS512, "RS512"),
        (SigningAlg::PS256, "PS256"),
        (SigningAlg::RS256, "RS256"),
    ] {
        change_api(&tenant, |api| api.signing_alg = alg);
        let response = mcp_login(&tenant, &client).await.unwrap();
        assert_eq!(part(&response, 0)["alg"], name);
        let verified = tenant.issuer.keys().verified_claims(response["access_token"].as_str().unwrap());
        assert_eq!(verified.is_some(), alg == SigningAlg::RS256, "{name}");
        assert_eq!(part(&response, 0).get("kid").is_some(), alg != SigningAlg::HS256, "{name}");
    }
    change_api(&tenant, |api| api.token_encryption = Some(json!({"format": "compact-nested-jwe"})));
    let encrypted = mcp_login(&tenant, &client).await.unwrap();
    assert_eq!(encrypted["access_token"].as_str().unwrap().split('.').count(), 5);
    change_api(&tenant, |api| {
        (api.token_encryption, api.token_dialect, api.token_lifetime) = (None, None, 77);
        api.allow_offline_access = false;
    });
    let response = mcp_login(&tenant, "app").await.unwrap();
    assert_eq!(
        (part(&response, 0)["typ"].clone(), part(&response, 1)["azp"].clone()),
        ("JWT".into(), "app".into())
    );
    assert_eq!(part(&response, 1).get("permissions"), None);
    assert_eq!((lifetime(&part(&response, 1)), &response["expires_in"]), (77, &json!(77)));
    assert_eq!(response.get("refresh_token"), None);
}

#[test]
fn registration_is_off_unless_the_flag_is_on() {
    let tenant = tenant();
    let body = json!({"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"}).to_string();
    let register = || {
        let state = tenant.directory.state();
        let answer = registration::register(&tenant.clients, &state.settings, body.as_bytes(), 0);
        answer.map(|answer| serde_json::to_value(&answer).unwrap()["client_id"].as_str().unwrap().to_owned())
    };
    change(&tenant, |state| state.settings.flags.enable_dynamic_client_registration = false);
    let refused = register().unwrap_err();
    assert_eq!(refused.code, "access_denied");
    assert!(refused.description.contains("dynamic client registration is not enabled"));
    let known = tenant.clients.all().len();
    change(&tenant, |state| state.settings.flags.enable_dynamic_client_registration = true);
    assert!(register().unwrap().starts_with("tpc_"));
    assert_eq!(tenant.clients.all().len(), known + 1);
    change(&tenant, |state| {
        state.settings.dynamic_client_registration_security_mode = ThirdPartySecurityMode::Permissive;
    });
    assert!(!register().unwrap().starts_with("tpc_"));
}

#[tokio::test]
async fn with_documents_off_only_registered_urls_are_clients() {
    let tenant = tenant();
    let url = "https://client.test/metadata.json";
    change(&tenant, |state| state.settings.client_id_metadata_document_supported = false);
    let Err(Refusal::Page { title, explanation }) = begin(&tenant, url, &[("resource", API)]).await else {
        panic!("an unknown client");
    };
    assert_eq!(title, "An unknown application");
    assert!(explanation.contains("client_id_metadata_document_supported is off"), "{explanation}");
    let not_a_client = redeemed(&tenant, url, "code").unwrap_err();
    assert_eq!(not_a_client.code, "invalid_client");
    let record = ClientRecord {
        external_client_id: Some(url.into()),
        redirect_uris: vec![CALLBACK.into()],
        grant_types: vec![GrantType::AuthorizationCode],
        ..ClientRecord::new(url, "Known", Trust::ThirdParty(ThirdPartySecurityMode::Strict))
    };
    tenant.clients.insert(record).unwrap();
    assert!(mcp_login(&tenant, url).await.is_ok());
    tenant.clients.remove(url);
    assert!(matches!(begin(&tenant, url, &[]).await, Err(Refusal::Page { .. })));
}

#[test]
fn the_metadata_advertise_what_is_on() {
    let tenant = tenant();
    let (documents, iss) =
        ("client_id_metadata_document_supported", "authorization_response_iss_parameter_supported");
    for on in [false, true, false] {
        change(&tenant, |state| {
            state.settings.client_id_metadata_document_supported = on;
            state.settings.authorization_response_iss_parameter_supported = on;
            state.settings.flags.enable_dynamic_client_registration = on;
        });
        let document = discovery::document("http://x/", &tenant.directory.state().settings);
        for name in [documents, iss] {
            assert_eq!(document.get(name), on.then_some(&json!(true)), "{name}");
        }
        assert!(document.get("registration_endpoint").is_some(), "Auth0 always names it");
    }
}

#[tokio::test]
async fn responses_name_the_issuer_where_the_setting_is_on() {
    let tenant = tenant();
    for on in [false, true, false] {
        change(&tenant, |state| state.settings.authorization_response_iss_parameter_supported = on);
        let Err(Refusal::Redirect { location, .. }) = begin(&tenant, "app", &[("prompt", "none")]).await
        else {
            panic!("nobody is logged in");
        };
        assert_eq!(location.contains("&iss="), on);
    }
}

#[tokio::test]
async fn the_page_has_descriptions_where_the_flag_is_on() {
    let tenant = tenant();
    for on in [true, false, true] {
        change(&tenant, |state| state.settings.flags.use_scope_descriptions_for_consent = on);
        let Ok(Outcome::AskForConsent { transaction, request, state }) =
            begin(&tenant, "app", &[("resource", API), ("scope", "tool:greet openid")]).await
        else {
            panic!("no page");
        };
        let page = authorize::consent_page(&tenant, &state, &transaction, &request, "there");
        let shown: Vec<_> = page.scopes.iter().map(|scope| (scope.name, scope.description)).collect();
        let greet = ("tool:greet", on.then_some("Greet you by name"));
        assert_eq!(shown, [greet, ("openid", Some("Know who you are"))]);
    }
}

#[test]
fn machines_get_what_their_grant_has() {
    let tenant = tenant();
    let api = [("audience", API)];
    let response = machine(&tenant, &api).unwrap();
    assert_eq!(
        (&response["scope"], &part(&response, 1)["permissions"]),
        (&json!("tool:whoami"), &json!(["tool:whoami"]))
    );
    change(&tenant, |state| state.grants = vec![grant_to("machine", &["tool:greet"], SubjectType::User)]);
    assert_eq!(machine(&tenant, &api), Err(not_authorized("machine", API)), "a grant for users");
    change(&tenant, |state| state.grants.push(grant_to("machine", &["tool:greet"], SubjectType::Client)));
    let response = machine(&tenant, &api).unwrap();
    assert_eq!(
        (&response["scope"], &part(&response, 1)["permissions"]),
        (&json!("tool:greet"), &json!(["tool:greet"]))
    );
    change_api(&tenant, |api| api.subject_type_authorization.client.policy = AccessPolicy::DenyAll);
    assert_eq!(machine(&tenant, &api), Err(not_authorized("machine", API)));
    change(&tenant, |state| state.settings.default_audience.clear());
    assert_eq!(machine(&tenant, &[]).unwrap_err().code, "invalid_request");
}

#[tokio::test]
async fn the_management_api_is_for_its_client_alone() {
    for options in [options(), options().with_fresh_state()] {
        let tenant = tenant_of(options);
        let response = management(&tenant, MANAGEMENT_API).unwrap();
        let [header, claims] = [0, 1].map(|index| part(&response, index));
        assert_eq!((&header["alg"], &claims["aud"]), (&json!("RS256"), &json!(MANAGEMENT_API)));
        assert_eq!(response["expires_in"], 86_400);
        let scope: Vec<&str> = claims["scope"].as_str().unwrap().split(' ').collect();
        assert_eq!(scope.len(), tenant.directory.state().apis[0].scopes.len(), "all of them");
        for expected in ["read:tenant_settings", "create:client_grants", "update:connections", "delete:roles"]
        {
            assert!(scope.contains(&expected), "{expected}");
        }
        assert_eq!(
            machine(&tenant, &[("audience", MANAGEMENT_API)]),
            Err(not_authorized("machine", MANAGEMENT_API))
        );
        let asked = [("audience", MANAGEMENT_API), ("scope", "delete:clients")];
        for client in ["app", &third_party(&tenant)] {
            assert_eq!(login(&tenant, client, &asked).await, Err(not_authorized(client, MANAGEMENT_API)));
        }
        change(&tenant, |state| state.grants.clear());
        let id = &tenant.management_client().id;
        assert_eq!(management(&tenant, MANAGEMENT_API), Err(not_authorized(id, MANAGEMENT_API)));
    }
}
