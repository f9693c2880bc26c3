//! The authorization endpoint (OAuth 2.1 section 4.1, PKCE by RFC 7636, RFC 8707, RFC 9207): it validates a request, waits for
//! the user's decision, and sends a code back to the client.
//!
//! Errors go to the redirect URI only after that is found to be registered for the client; until then a page shows them
//! (OAuth 2.1 section 4.1.2.1). Otherwise the tenant would be an open redirector.

use std::sync::Arc;

use syntax::scope_token::has_scope_characters;

use crate::model::client::ClientRecord;
use crate::model::directory::{Settings, State};
use crate::model::options::{GrantType, User};
use crate::model::redirect_uri;
use crate::model::scopes::{OFFLINE_ACCESS, STANDARD_SCOPES};
use crate::oauth::access::{Access, check_login, check_organization};
use crate::oauth::authorization::{Authorization, Subject};
use crate::oauth::codes::Code;
use crate::oauth::error::OAuthError;
use crate::oauth::log;
use crate::oauth::parameters::{Parameters, Repeated};
use crate::oauth::pending::AuthorizationRequest;
use crate::oauth::scopes::{grantable, may_be_offline, why_not_granted};
use crate::oauth::target::target_or_default;
use crate::oauth::tenant::Tenant;
use crate::pages::{Consent, RequestedScope, UserChoice};

/// The length of a SHA-256 in base64url (RFC 7636 section 4.2).
const CHALLENGE_LENGTH: usize = 43;

/// The reason why there is no code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An error page for the user.
    Page { title: &'static str, explanation: String },
    /// An error response to the client, by a redirect.
    Redirect { location: String, error: OAuthError },
}

/// The outcome of a valid request.
pub(crate) enum Outcome {
    /// The user has to decide on the consent page, whose form carries this transaction id.
    AskForConsent { transaction: String, request: AuthorizationRequest, state: Arc<State> },
    /// The browser is redirected to the client.
    Redirect(String),
}

/// Validates an authorization request.
pub(crate) async fn begin(
    tenant: &Tenant,
    parameters: &Parameters,
    issuer: String,
    from_browser: bool,
) -> Result<Outcome, Refusal> {
    log::login_started(parameters, from_browser);
    let state = tenant.directory.state();
    let (client, redirect_uri) = resolve_client(tenant, &state.settings, parameters, from_browser).await?;
    let refused = |error: OAuthError| {
        // Of a repeated state, none is sent back.
        let client_state = parameters.one("state").ok().flatten();
        error_response(&state.settings, &redirect_uri, client_state, &issuer, error)
    };
    let request = validate(&state, parameters, client, &redirect_uri, &issuer).map_err(refused)?;
    if let Some(user) = auto_consent_user(tenant, &request, from_browser) {
        log::decision_made(&request, Some(&user.key), "allow, by auto-consent");
        return issue_code(tenant, &state, &request, user).map(Outcome::Redirect).map_err(refused);
    }
    if parameters.one("prompt").ok().flatten() == Some("none") {
        let error =
            OAuthError::new("login_required", "this tenant keeps no session; every login needs the page");
        return Err(refused(error));
    }
    let transaction = tenant.pending.insert(request.clone(), tenant.now());
    let transaction = transaction.ok_or_else(|| refused(OAuthError::no_randomness()))?;
    log::page_shown(&request, why_no_auto_consent(tenant, from_browser));
    Ok(Outcome::AskForConsent { transaction, request, state })
}

/// Returns the user of `--auto-consent`, if that applies to the request. It does not apply to browsers, because any page or
/// link can send one here, nor to redirect URIs of web sites, because anybody can register one.
fn auto_consent_user<'a>(
    tenant: &'a Tenant,
    request: &AuthorizationRequest,
    from_browser: bool,
) -> Option<&'a User> {
    if from_browser || !redirect_uri::is_local(&request.redirect_uri) {
        return None;
    }
    tenant.options().user(tenant.options().auto_consent.as_deref()?)
}

fn why_no_auto_consent(tenant: &Tenant, from_browser: bool) -> Option<&'static str> {
    tenant.options().auto_consent.as_ref().map(|_| {
        if from_browser {
            "auto-consent does not apply to browsers"
        } else {
            "auto-consent does not apply to web sites"
        }
    })
}

/// Carries out the decision that the consent page's form brings, and returns the URL to redirect to.
pub(crate) fn decide(tenant: &Tenant, form: &Parameters) -> Result<String, Refusal> {
    let field = |name| form.one(name).ok().flatten();
    let request = field("transaction").and_then(|transaction| tenant.pending.take(transaction, tenant.now()));
    let Some(request) = request else {
        let explanation =
            "The page was already used, or has expired. Go back to the application and log in again.";
        return Err(Refusal::Page { title: "This login has ended", explanation: explanation.into() });
    };
    let state = tenant.directory.state();
    let user = field("user").and_then(|key| tenant.options().user(key));
    let outcome = match (field("decision"), user) {
        (Some("allow"), Some(user)) => {
            log::decision_made(&request, Some(&user.key), "allow");
            issue_code(tenant, &state, &request, user)
        }
        // Anything but an explicit permission is a denial.
        (_, user) => {
            log::decision_made(&request, user.map(|user| user.key.as_str()), "deny");
            Err(OAuthError::new("access_denied", "the user did not allow it"))
        }
    };
    outcome.map_err(|error| {
        let client_state = request.state.as_deref();
        error_response(&state.settings, &request.redirect_uri, client_state, &request.issuer, error)
    })
}

/// Returns what the consent page shows of a request that was valid in this state.
pub(crate) fn consent_page<'a>(
    tenant: &'a Tenant,
    state: &'a State,
    transaction: &'a str,
    request: &'a AuthorizationRequest,
    return_to: &'a str,
) -> Consent<'a> {
    let access = Access::for_user(state, &request.client, request.audience.as_deref()).unwrap_or_default();
    let has_descriptions = state.settings.flags.use_scope_descriptions_for_consent;
    let scopes = requested_scopes(access, request, has_descriptions);
    let users = tenant.options().users.iter().map(|user| {
        let granted = grantable(state, access, user, &request.client, request.scope.as_deref());
        let granted =
            scopes.iter().map(|scope| scope.name).filter(|name| granted.iter().any(|it| it == name));
        UserChoice {
            key: &user.key,
            name: user.name.as_deref().unwrap_or(&user.key),
            email: user.email.as_deref().unwrap_or_default(),
            granted: granted.collect(),
        }
    });
    Consent {
        transaction,
        client_name: &request.client.name,
        // A document's URL says whose the client is.
        client_id: request.client.external_client_id.as_ref().unwrap_or(&request.client.id),
        return_to,
        is_third_party: request.client.is_third_party(),
        api_name: access.api.map_or("your account", |api| &api.name),
        users: users.collect(),
        scopes,
    }
}

/// Returns the CSP source for the redirect that follows the page's form.
pub(crate) fn form_action_source(request: &AuthorizationRequest) -> String {
    redirect_uri::form_action_source(&request.redirect_uri)
}

/// Returns where the browser goes afterwards, as the page shows it.
pub(crate) fn destination(request: &AuthorizationRequest) -> String {
    redirect_uri::destination(&request.redirect_uri)
}

/// Returns the requested scopes that exist for the client, whether or not a user can grant them.
fn requested_scopes<'a>(
    access: Access<'a>,
    request: &AuthorizationRequest,
    has_descriptions: bool,
) -> Vec<RequestedScope<'a>> {
    let defined = access.scopes().map(|scope| RequestedScope {
        name: &scope.value,
        description: scope.description.as_deref().filter(|_| has_descriptions),
    });
    let Some(requested) = &request.scope else {
        return defined.collect();
    };
    let standard = STANDARD_SCOPES.into_iter().filter(|(name, _)| match *name {
        OFFLINE_ACCESS => may_be_offline(access, &request.client),
        _ => request.client.may_identify_users(),
    });
    let standard =
        standard.map(|(name, description)| RequestedScope { name, description: Some(description) });
    defined
        .chain(standard)
        .filter(|scope| requested.split_ascii_whitespace().any(|name| name == scope.name))
        .collect()
}

/// Returns the client, and the redirect URI, which is registered for it.
async fn resolve_client(
    tenant: &Tenant,
    settings: &Settings,
    parameters: &Parameters,
    from_browser: bool,
) -> Result<(Arc<ClientRecord>, String), Refusal> {
    let page = |title, explanation| Refusal::Page { title, explanation };
    let one = |name| {
        let repeated =
            |Repeated(name)| page("An invalid request", format!("{name} is there more than once."));
        let missing = || page("An invalid request", format!("The application sent no {name}."));
        parameters.one(name).map_err(repeated).and_then(|value| value.ok_or_else(missing))
    };
    let id = one("client_id")?;
    let client = tenant.clients.find(id, settings, tenant.now(), from_browser).await;
    let client = client.map_err(|error| page("An unknown application", format!("{id}: {error}")))?;
    let redirect_uri = one("redirect_uri")?;
    if !client.redirect_uris.iter().any(|registered| redirect_uri::matches(registered, redirect_uri)) {
        let explanation = format!(
            "{redirect_uri} is not registered for this application; it has {}.",
            client.redirect_uris.join(", ")
        );
        return Err(page("An unknown redirect URI", explanation));
    }
    Ok((client, redirect_uri.to_owned()))
}

/// Validates the rest of the request, whose errors go to the client.
fn validate(
    state: &State,
    parameters: &Parameters,
    client: Arc<ClientRecord>,
    redirect_uri: &str,
    issuer: &str,
) -> Result<AuthorizationRequest, OAuthError> {
    let invalid = |what: &str| OAuthError::new("invalid_request", what);
    let one = |name| parameters.one(name).map(|value| value.map(str::to_owned));
    if one("request")?.is_some() {
        return Err(OAuthError::new("request_not_supported", "request objects are not supported"));
    }
    if one("request_uri")?.is_some() {
        return Err(OAuthError::new("request_uri_not_supported", "request objects are not supported"));
    }
    match parameters.one("response_type")? {
        Some("code") => {}
        Some(_) => {
            return Err(OAuthError::new("unsupported_response_type", "the response_type must be code"));
        }
        None => return Err(invalid("response_type is missing")),
    }
    if parameters.one("response_mode")?.is_some_and(|mode| mode != "query") {
        return Err(invalid("the response_mode must be query"));
    }
    if !client.grant_types.contains(&GrantType::AuthorizationCode) {
        return Err(OAuthError::new("unauthorized_client", "this client may not use authorization_code"));
    }
    let challenge = code_challenge(parameters)?;
    let access = Access::for_user(state, &client, target_or_default(parameters, &state.settings)?)?;
    let scope = one("scope")?;
    if scope.as_ref().is_some_and(|scope| !has_scope_characters(scope)) {
        return Err(OAuthError::new("invalid_scope", "the scope is malformed (RFC 6749 section 3.3)"));
    }
    check_prompt(parameters)?;
    check_login(state, &client)?;
    Ok(AuthorizationRequest {
        client,
        redirect_uri: redirect_uri.to_owned(),
        state: one("state")?,
        scope,
        challenge,
        nonce: one("nonce")?,
        audience: access.api.map(|api| api.identifier.clone()),
        issuer: issuer.to_owned(),
    })
}

/// Returns PKCE's `code_challenge`. The only method is S256: `plain` does not protect against those who see the request.
fn code_challenge(parameters: &Parameters) -> Result<String, OAuthError> {
    let invalid = |what| Err(OAuthError::new("invalid_request", what));
    let Some(challenge) = parameters.one("code_challenge")? else {
        return invalid("code_challenge is missing: PKCE is required");
    };
    if parameters.one("code_challenge_method")? != Some("S256") {
        return invalid("the code_challenge_method must be S256");
    }
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if challenge.len() != CHALLENGE_LENGTH || !challenge.bytes().all(is_base64url) {
        return invalid("the code_challenge is not a SHA-256 in base64url");
    }
    Ok(challenge.to_owned())
}

fn check_prompt(parameters: &Parameters) -> Result<(), OAuthError> {
    let prompts: Vec<&str> = parameters.one("prompt")?.unwrap_or_default().split(' ').collect();
    let known = |prompt: &&str| ["", "none", "login", "consent", "select_account"].contains(prompt);
    if !prompts.iter().all(known) || (prompts.len() > 1 && prompts.contains(&"none")) {
        return Err(OAuthError::new(
            "invalid_request",
            "the prompt must be none, or any of login, consent, select_account",
        ));
    }
    Ok(())
}

fn issue_code(
    tenant: &Tenant,
    state: &State,
    request: &AuthorizationRequest,
    user: &User,
) -> Result<String, OAuthError> {
    // Once more: the state may have changed while the page was open.
    let access = Access::for_user(state, &request.client, request.audience.as_deref())?;
    check_login(state, &request.client)?;
    check_organization(state, &request.client, user)?;
    let scope = grantable(state, access, user, &request.client, request.scope.as_deref());
    let authorization = Authorization {
        actors: Vec::new(),
        subject: Subject::User(user.key.clone()),
        client: Arc::clone(&request.client),
        scope: scope.clone(),
        nonce: request.nonce.clone(),
        audience: request.audience.clone(),
        issuer: request.issuer.clone(),
        authenticated_at: Some(tenant.now()),
    };
    let code = tenant.grants.issue_code(
        Code {
            authorization,
            redirect_uri: request.redirect_uri.clone(),
            challenge: request.challenge.clone(),
        },
        tenant.now(),
    )?;
    let requested = request.scope.as_deref().unwrap_or_default().split_ascii_whitespace();
    let not_granted = requested.filter(|name| !scope.iter().any(|granted| granted == name));
    let not_granted = not_granted.map(|name| (name, why_not_granted(access, &request.client, name)));
    log::code_issued(request, &scope, &not_granted.collect::<Vec<_>>());
    let client_state = request.state.as_deref();
    let outcome = [("code", code.as_str())];
    Ok(response_location(&state.settings, &request.redirect_uri, &outcome, client_state, &request.issuer))
}

fn error_response(
    settings: &Settings,
    redirect_uri: &str,
    state: Option<&str>,
    issuer: &str,
    error: OAuthError,
) -> Refusal {
    let outcome = [("error", error.code), ("error_description", error.description.as_str())];
    Refusal::Redirect { location: response_location(settings, redirect_uri, &outcome, state, issuer), error }
}

/// Returns the URL of an authorization response.
fn response_location(
    settings: &Settings,
    redirect_uri: &str,
    outcome: &[(&str, &str)],
    state: Option<&str>,
    issuer: &str,
) -> String {
    let has_issuer = settings.authorization_response_iss_parameter_supported;
    let mut parameters = outcome.to_vec();
    parameters.extend(state.map(|state| ("state", state)));
    parameters.extend(has_issuer.then_some(("iss", issuer)));
    redirect_uri::with_parameters(redirect_uri, &parameters)
}
