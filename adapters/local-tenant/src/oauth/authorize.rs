//! The authorization endpoint (OAuth 2.1 section 4.1, PKCE by RFC 7636, RFC 8707, RFC 9207): a request is judged, someone
//! decides, and a code goes back to the client.
//!
//! An error goes to the redirect URI only once client and redirect URI are known to belong together; until then a page
//! tells it (OAuth 2.1 section 4.1.2.1), so that the tenant redirects nobody to where a stranger likes.

use std::sync::Arc;

use syntax::scope_token::has_scope_characters;

use crate::model::client::ClientRecord;
use crate::model::options::{Api, GrantType, User};
use crate::model::redirect_uri;
use crate::model::scopes::{OFFLINE_ACCESS, STANDARD_SCOPES};
use crate::oauth::authorization::{Authorization, Subject};
use crate::oauth::codes::Code;
use crate::oauth::error::OAuthError;
use crate::oauth::log;
use crate::oauth::parameters::{Parameters, Repeated};
use crate::oauth::pending::AuthorizationRequest;
use crate::oauth::scopes::{grantable, may_be_offline, why_not_granted};
use crate::oauth::target::target;
use crate::oauth::tenant::Tenant;
use crate::pages::{Consent, RequestedScope, UserChoice};

/// RFC 7636 section 4.2: the base64url of a SHA-256.
const CHALLENGE_LENGTH: usize = 43;
/// Why there is no code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// For whoever sits before the browser.
    Page { title: &'static str, explanation: String },
    /// For the client: where the browser goes, and what it tells there.
    Redirect { location: String, error: OAuthError },
}

/// What comes after a good request.
pub(crate) enum Next {
    /// The decision of whoever sits before the browser, under this transaction.
    Ask { transaction: String, request: AuthorizationRequest },
    /// The browser goes back to the client.
    Return(String),
}

/// Judges a request.
pub(crate) async fn begin(
    tenant: &Tenant,
    parameters: &Parameters,
    issuer: String,
    from_browser: bool,
) -> Result<Next, Refusal> {
    log::login_begun(parameters, from_browser);
    let (client, redirect_uri) = whom_to_answer(tenant, parameters, from_browser).await?;
    let refused = |error: OAuthError| {
        // A state that is there twice is not repeated at all.
        let state = parameters.one("state").ok().flatten();
        refuse(tenant, &redirect_uri, state, &issuer, error)
    };
    let request = judge(tenant, parameters, client, &redirect_uri, &issuer).map_err(refused)?;
    if let Some(user) = automatic_user(tenant, &request, from_browser) {
        log::decided(&request, Some(&user.key), "allow, by auto-consent");
        return allow(tenant, &request, user).map(Next::Return).map_err(refused);
    }
    if parameters.one("prompt").ok().flatten() == Some("none") {
        let error = OAuthError::new("login_required", "this tenant keeps no session: it always asks");
        return Err(refused(error));
    }
    let transaction = tenant.pending.keep(request.clone(), tenant.now());
    let no_randomness = || refused(OAuthError::new("server_error", "the machine gives no randomness"));
    let transaction = transaction.ok_or_else(no_randomness)?;
    log::page_shown(&request, why_not_automatic(tenant, from_browser));
    Ok(Next::Ask { transaction, request })
}

/// The user who consented beforehand, if that covers the request. Whoever brings a browser here, by a page or by a link in a
/// mail, would get a code for the asking; and whoever registered a web site's redirect URI would get it sent there.
fn automatic_user<'a>(
    tenant: &'a Tenant,
    request: &AuthorizationRequest,
    from_browser: bool,
) -> Option<&'a User> {
    if from_browser || !redirect_uri::is_local(&request.redirect_uri) {
        return None;
    }
    tenant.options().user(tenant.options().auto_consent.as_deref()?)
}

fn why_not_automatic(tenant: &Tenant, from_browser: bool) -> Option<&'static str> {
    tenant.options().auto_consent.as_ref().map(|_| {
        if from_browser { "auto-consent is not for browsers" } else { "auto-consent is not for web sites" }
    })
}

/// Carries a decision out; the form's answer is where the browser goes.
pub(crate) fn decide(tenant: &Tenant, form: &Parameters) -> Result<String, Refusal> {
    let field = |name| form.one(name).ok().flatten();
    let taken = field("transaction").and_then(|transaction| tenant.pending.take(transaction, tenant.now()));
    let Some(request) = taken else {
        let explanation =
            "This page was used before, or is too old. Go back to the application and log in again.";
        return Err(Refusal::Page { title: "Nothing to decide", explanation: explanation.into() });
    };
    let user = field("user").and_then(|key| tenant.options().user(key));
    let outcome = match (field("decision"), user) {
        (Some("allow"), Some(user)) => {
            log::decided(&request, Some(&user.key), "allow");
            allow(tenant, &request, user)
        }
        // Whatever is not a clear yes is a no.
        (_, user) => {
            log::decided(&request, user.map(|user| user.key.as_str()), "deny");
            Err(OAuthError::new("access_denied", "the user did not allow it"))
        }
    };
    outcome.map_err(|error| {
        let state = request.state.as_deref();
        refuse(tenant, &request.redirect_uri, state, &request.issuer, error)
    })
}

/// What the page shows.
pub(crate) fn consent<'a>(
    tenant: &'a Tenant,
    transaction: &'a str,
    request: &'a AuthorizationRequest,
    return_to: &'a str,
) -> Consent<'a> {
    let options = tenant.options();
    let api = tenant.issuer.api(Some(&request.audience)).unwrap_or(&options.api);
    let scopes = requested_scopes(api, request);
    let users = options.users.iter().map(|user| {
        let granted = grantable(tenant.options(), api, user, &request.client, request.scope.as_deref());
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
        client_id: &request.client.id,
        return_to,
        is_third_party: request.client.is_third_party(),
        api_name: &api.name,
        users: users.collect(),
        scopes,
    }
}

/// Where the page's form may lead, for its CSP.
pub(crate) fn form_action_source(request: &AuthorizationRequest) -> String {
    redirect_uri::form_action_source(&request.redirect_uri)
}

/// Where the page says that the browser goes afterwards.
pub(crate) fn destination(request: &AuthorizationRequest) -> String {
    redirect_uri::destination(&request.redirect_uri)
}

/// Everything that anybody could grant: what is asked for and known.
fn requested_scopes<'a>(api: &'a Api, request: &AuthorizationRequest) -> Vec<RequestedScope<'a>> {
    let defined =
        api.scopes.iter().map(|scope| RequestedScope { name: &scope.name, description: &scope.description });
    let Some(requested) = &request.scope else {
        return defined.collect();
    };
    let own = STANDARD_SCOPES.into_iter().filter(|(name, _)| match *name {
        OFFLINE_ACCESS => may_be_offline(api, &request.client),
        _ => request.client.may_identify_users(),
    });
    let own = own.map(|(name, description)| RequestedScope { name, description });
    defined
        .chain(own)
        .filter(|scope| requested.split_ascii_whitespace().any(|name| name == scope.name))
        .collect()
}

/// The client and its redirect URI: both known, and the one registered for the other.
async fn whom_to_answer(
    tenant: &Tenant,
    parameters: &Parameters,
    from_browser: bool,
) -> Result<(Arc<ClientRecord>, String), Refusal> {
    let page = |title, explanation| Refusal::Page { title, explanation };
    let one = |name| {
        let repeated = |Repeated(name)| page("A broken request", format!("{name} is there more than once."));
        let missing = || page("A broken request", format!("The application sent no {name}."));
        parameters.one(name).map_err(repeated).and_then(|value| value.ok_or_else(missing))
    };
    let id = one("client_id")?;
    let client = tenant.clients.find(id, tenant.now(), from_browser).await;
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

/// What the client can be told.
fn judge(
    tenant: &Tenant,
    parameters: &Parameters,
    client: Arc<ClientRecord>,
    redirect_uri: &str,
    issuer: &str,
) -> Result<AuthorizationRequest, OAuthError> {
    let invalid = |what: &str| OAuthError::new("invalid_request", what);
    let one = |name| parameters.one(name).map(|value| value.map(str::to_owned));
    if one("request")?.is_some() {
        return Err(OAuthError::new("request_not_supported", "request objects are not served"));
    }
    if one("request_uri")?.is_some() {
        return Err(OAuthError::new("request_uri_not_supported", "request objects are not served"));
    }
    match parameters.one("response_type")? {
        Some("code") => {}
        Some(_) => return Err(OAuthError::new("unsupported_response_type", "the response_type is code")),
        None => return Err(invalid("response_type is missing")),
    }
    if parameters.one("response_mode")?.is_some_and(|mode| mode != "query") {
        return Err(invalid("the response_mode is query"));
    }
    if !client.grant_types.contains(&GrantType::AuthorizationCode) {
        return Err(OAuthError::new("unauthorized_client", "this client may not use authorization_code"));
    }
    let challenge = challenge(parameters)?;
    let api = tenant.issuer.api(target(parameters)?)?;
    let scope = one("scope")?;
    if scope.as_ref().is_some_and(|scope| !has_scope_characters(scope)) {
        return Err(OAuthError::new("invalid_scope", "the scope is malformed (RFC 6749 section 3.3)"));
    }
    check_prompt(parameters)?;
    Ok(AuthorizationRequest {
        client,
        redirect_uri: redirect_uri.to_owned(),
        state: one("state")?,
        scope,
        challenge,
        nonce: one("nonce")?,
        audience: api.identifier.clone().unwrap_or_default(),
        issuer: issuer.to_owned(),
    })
}

/// PKCE, and S256 alone: `plain` protects against nobody who reads the request.
fn challenge(parameters: &Parameters) -> Result<String, OAuthError> {
    let invalid = |what| Err(OAuthError::new("invalid_request", what));
    let Some(challenge) = parameters.one("code_challenge")? else {
        return invalid("code_challenge is missing: PKCE is required");
    };
    if parameters.one("code_challenge_method")? != Some("S256") {
        return invalid("the code_challenge_method is S256");
    }
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if challenge.len() != CHALLENGE_LENGTH || !challenge.bytes().all(is_base64url) {
        return invalid("the code_challenge is no base64url of a SHA-256");
    }
    Ok(challenge.to_owned())
}

fn check_prompt(parameters: &Parameters) -> Result<(), OAuthError> {
    let prompts: Vec<&str> = parameters.one("prompt")?.unwrap_or_default().split(' ').collect();
    let known = |prompt: &&str| ["", "none", "login", "consent", "select_account"].contains(prompt);
    if !prompts.iter().all(known) || (prompts.len() > 1 && prompts.contains(&"none")) {
        return Err(OAuthError::new(
            "invalid_request",
            "the prompt is none, or of login, consent, select_account",
        ));
    }
    Ok(())
}

fn allow(tenant: &Tenant, request: &AuthorizationRequest, user: &User) -> Result<String, OAuthError> {
    let api = tenant.issuer.api(Some(&request.audience))?;
    let scope = grantable(tenant.options(), api, user, &request.client, request.scope.as_deref());
    let authorization = Authorization {
        subject: Subject::User(user.key.clone()),
        client: Arc::clone(&request.client),
        scope: scope.clone(),
        nonce: request.nonce.clone(),
        audience: request.audience.clone(),
        issuer: request.issuer.clone(),
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
    let not_granted = not_granted.map(|name| (name, why_not_granted(api, &request.client, name)));
    log::code_issued(request, &scope, &not_granted.collect::<Vec<_>>());
    let state = request.state.as_deref();
    Ok(location(tenant, &request.redirect_uri, &[("code", &code)], state, &request.issuer))
}

fn refuse(
    tenant: &Tenant,
    redirect_uri: &str,
    state: Option<&str>,
    issuer: &str,
    error: OAuthError,
) -> Refusal {
    let outcome = [("error", error.code), ("error_description", error.description.as_str())];
    Refusal::Redirect { location: location(tenant, redirect_uri, &outcome, state, issuer), error }
}

/// An authorization response.
fn location(
    tenant: &Tenant,
    redirect_uri: &str,
    outcome: &[(&str, &str)],
    state: Option<&str>,
    issuer: &str,
) -> String {
    let has_issuer = tenant.options().authorization_response_iss_parameter_supported;
    let mut parameters = outcome.to_vec();
    parameters.extend(state.map(|state| ("state", state)));
    parameters.extend(has_issuer.then_some(("iss", issuer)));
    redirect_uri::with_parameters(redirect_uri, &parameters)
}
