//! Routes requests: checks the `Host`, then the path, the `Origin` where it matters, and the method.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, DATE, HeaderName, HeaderValue, ORIGIN};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::sender::{check_host, is_from_browser};
use crate::control;
use crate::http::body;
use crate::http::problem::Problem;
use crate::http::response::{self, DOCUMENT_CACHING, NO_STORE};
use crate::management;
use crate::model::faults::{ExchangeAnswer, KeysAnswer};
use crate::oauth::authorize::{self, Outcome, Refusal};
use crate::oauth::error::OAuthError;
use crate::oauth::parameters::Parameters;
use crate::oauth::tenant::Tenant;
use crate::oauth::{account, discovery, log, registration, token_endpoint, token_exchange};
use crate::pages;

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
/// More than any verifier reads.
const HUGE_PADDING_BYTES: usize = 2 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Discovery,
    Keys,
    Token,
    Register,
    UserInfo,
    Revoke,
    Authorize,
    Consent,
    Style,
    Logout,
    ControlToken,
    ControlFault,
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => {
                Self::Discovery
            }
            "/.well-known/jwks.json" => Self::Keys,
            "/oauth/token" => Self::Token,
            "/oidc/register" => Self::Register,
            "/userinfo" => Self::UserInfo,
            "/oauth/revoke" => Self::Revoke,
            "/authorize" => Self::Authorize,
            "/u/consent" => Self::Consent,
            "/u/style.css" => Self::Style,
            "/v2/logout" => Self::Logout,
            control::token::PATH => Self::ControlToken,
            control::faults::PATH => Self::ControlFault,
            _ => return None,
        })
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Discovery | Self::Keys => "GET, HEAD, OPTIONS",
            Self::Token | Self::Register | Self::Revoke => "POST, OPTIONS",
            Self::UserInfo => "GET, POST, OPTIONS",
            Self::Authorize => "GET, POST",
            Self::Style | Self::Logout => "GET",
            Self::Consent | Self::ControlToken | Self::ControlFault => "POST",
        }
    }

    /// Returns whether any web page may read the response. None may read a consent page, which contains the transaction id.
    const fn is_readable_by_pages(self) -> bool {
        match self {
            Self::Discovery | Self::Keys | Self::Token | Self::Register | Self::UserInfo | Self::Revoke => {
                true
            }
            Self::Authorize
            | Self::Consent
            | Self::Style
            | Self::Logout
            | Self::ControlToken
            | Self::ControlFault => false,
        }
    }

    const fn is_control(self) -> bool {
        matches!(self, Self::ControlToken | Self::ControlFault)
    }
}

/// Responds to any request.
pub(crate) async fn respond(tenant: &Arc<Tenant>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if path.starts_with(management::PREFIX) {
        return match check_management(&request) {
            Ok(()) => management::respond(tenant, request).await,
            Err(problem) => refuse(&path, problem),
        };
    }
    let route = Route::of(&path);
    let mut response =
        dispatch(tenant, route, request).await.unwrap_or_else(|problem| refuse(&path, problem));
    if let Some(date) = response::date(tenant.now()) {
        response.headers_mut().insert(DATE, date);
    }
    if route.is_some_and(Route::is_readable_by_pages) {
        response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

fn refuse(path: &str, problem: Problem) -> Response<Full<Bytes>> {
    log::refused(path, problem.error(), &problem.description());
    problem.into_response()
}

/// Checks that a request of the Management API comes from a command on this machine, and from no web page: not even an image's
/// address, which has no `Origin`, may use up the limit of requests.
fn check_management<B>(request: &Request<B>) -> Result<(), Problem> {
    check_host(request)?;
    if is_from_browser(request.headers()) { Err(Problem::ForeignOrigin) } else { Ok(()) }
}

async fn dispatch(
    tenant: &Arc<Tenant>,
    route: Option<Route>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Problem> {
    let host = check_host(&request)?.to_owned();
    let route = route.ok_or(Problem::NotFound)?;
    if route.is_control() && request.headers().contains_key(ORIGIN) {
        return Err(Problem::ForeignOrigin);
    }
    let (method, allow) = (request.method(), route.methods());
    if *method == Method::OPTIONS && route.is_readable_by_pages() {
        return Ok(response::preflight(allow));
    }
    if !allow.split(", ").any(|allowed| method == allowed) {
        return Err(Problem::MethodNotAllowed { allow });
    }
    let issuer = tenant.issuer.url_for(&host);
    match route {
        Route::Discovery => Ok(response::json(
            &discovery::document(&issuer, &tenant.directory.state().settings),
            DOCUMENT_CACHING,
        )),
        Route::Keys => Ok(keys(tenant).await),
        Route::Style => Ok(response::style(pages::STYLE)),
        Route::Logout => Ok(logout(tenant, request.uri().query())),
        Route::UserInfo => {
            let info = account::userinfo(tenant, header(request.headers(), AUTHORIZATION), &issuer)?;
            Ok(response::json(&info, NO_STORE))
        }
        Route::Authorize => {
            let from_browser = is_from_browser(request.headers());
            Ok(authorize(tenant, &parameters(request).await?, issuer, from_browser).await)
        }
        Route::Consent => consent(tenant, &host, request).await,
        Route::Token => {
            let authorization = header(request.headers(), AUTHORIZATION).map(str::to_owned);
            let form = token_request(request).await?;
            if form.one("grant_type").ok().flatten() == Some(token_exchange::GRANT) {
                exchange_fault(tenant).await?;
            }
            let answer = token_endpoint::handle(tenant, &form, authorization.as_deref(), issuer)?;
            Ok(response::json(&answer, NO_STORE))
        }
        Route::Revoke => {
            let authorization = header(request.headers(), AUTHORIZATION).map(str::to_owned);
            account::revoke(tenant, &form(request).await?, authorization.as_deref())?;
            Ok(response::empty(StatusCode::OK))
        }
        Route::Register => {
            let body = json_body(request).await?;
            let state = tenant.directory.state();
            let registered = registration::register(&tenant.clients, &state.settings, &body, tenant.now())?;
            Ok(response::created(&registered))
        }
        Route::ControlToken => {
            let body = json_body(request).await?;
            control::token::handle(tenant, &body, issuer).map(|token| response::json(&token, NO_STORE))
        }
        Route::ControlFault => {
            control::faults::handle(tenant, &json_body(request).await?).await?;
            Ok(response::empty(StatusCode::NO_CONTENT))
        }
    }
}

/// Responds to a request that exchanges a token as the fault in force demands, if there is one.
async fn exchange_fault(tenant: &Tenant) -> Result<(), Problem> {
    Err(match tenant.issuer.faults().wait_for_exchange_answer().await {
        ExchangeAnswer::Good | ExchangeAnswer::Hang => return Ok(()),
        ExchangeAnswer::Refuse { error } => {
            OAuthError::new(error.code(), "on demand").with_status(StatusCode::FORBIDDEN.as_u16()).into()
        }
        ExchangeAnswer::Limit { retry_after_seconds } => Problem::TooManyRequests(retry_after_seconds),
        ExchangeAnswer::Status { status } => Problem::Failing(response::failure_status(status)),
    })
}

async fn keys(tenant: &Tenant) -> Response<Full<Bytes>> {
    let answer = tenant.issuer.faults().wait_for_keys_answer().await;
    let mut published = tenant.issuer.keys().jwks();
    match answer {
        KeysAnswer::Good | KeysAnswer::Slow { .. } | KeysAnswer::Hang => {}
        KeysAnswer::Status { status } => return response::empty(response::failure_status(status)),
        KeysAnswer::Garbage => return response::html("<h1>Not a key in sight</h1>".to_owned(), ""),
        KeysAnswer::Empty => published = serde_json::json!({"keys": []}),
        KeysAnswer::Huge => published["padding"] = "x".repeat(HUGE_PADDING_BYTES).into(),
    }
    response::json(&published, DOCUMENT_CACHING)
}

async fn authorize(
    tenant: &Tenant,
    parameters: &Parameters,
    issuer: String,
    from_browser: bool,
) -> Response<Full<Bytes>> {
    match authorize::begin(tenant, parameters, issuer, from_browser).await {
        Ok(Outcome::Redirect(location)) => redirect(tenant, &location),
        Ok(Outcome::AskForConsent { transaction, request, state }) => {
            let return_to = authorize::destination(&request);
            let page = authorize::consent_page(tenant, &state, &transaction, &request, &return_to);
            response::html(pages::consent(&page), &authorize::form_action_source(&request))
        }
        Err(refusal) => refused(tenant, "/authorize", refusal),
    }
}

/// Handles the consent page's form. Another site's page can't submit it: it does not know the transaction id, and it has
/// another origin.
async fn consent(
    tenant: &Tenant,
    host: &str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Problem> {
    let own = format!("http://{host}");
    if header(request.headers(), ORIGIN).is_some_and(|origin| !origin.eq_ignore_ascii_case(&own)) {
        return Err(Problem::ForeignOrigin);
    }
    let form = form(request).await?;
    Ok(match authorize::decide(tenant, &form) {
        Ok(location) => redirect(tenant, &location),
        Err(refusal) => refused(tenant, "/u/consent", refusal),
    })
}

fn refused(tenant: &Tenant, path: &str, refusal: Refusal) -> Response<Full<Bytes>> {
    match refusal {
        Refusal::Redirect { location, error } => {
            log::refused(path, error.code, &error.description);
            redirect(tenant, &location)
        }
        Refusal::Page { title, explanation } => {
            // Not sent to any client, but this is OAuth's code for it.
            log::refused(path, "invalid_request", &explanation);
            response::bad_page(pages::failure(title, &explanation))
        }
    }
}

fn redirect(tenant: &Tenant, location: &str) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(tenant.options().redirect_status).unwrap_or(StatusCode::FOUND);
    response::redirect(location, status)
}

fn logout(tenant: &Tenant, query: Option<&str>) -> Response<Full<Bytes>> {
    match account::logout(tenant, &Parameters::parse(query.unwrap_or_default().as_bytes())) {
        Ok(Some(location)) => redirect(tenant, &location),
        Ok(None) => response::html(pages::signed_out(), ""),
        Err(explanation) => {
            log::refused("/v2/logout", "invalid_request", &explanation);
            response::bad_page(pages::failure("An unknown logout URL", &explanation))
        }
    }
}

/// Returns the parameters in the query, or, of a POST, in the form (OpenID Connect Core section 3.1.2.1).
async fn parameters(request: Request<Incoming>) -> Result<Parameters, Problem> {
    if request.method() == Method::POST {
        return form(request).await;
    }
    Ok(Parameters::parse(request.uri().query().unwrap_or_default().as_bytes()))
}

async fn form(request: Request<Incoming>) -> Result<Parameters, Problem> {
    let (head, body) = request.into_parts();
    body::read(&head.headers, FORM, body).await.map(|body| Parameters::parse(&body))
}

/// Reads a token request: a form (RFC 6749 section 4.1.3), or, as Auth0 takes it as well, JSON.
async fn token_request(request: Request<Incoming>) -> Result<Parameters, Problem> {
    if !body::has_type(request.headers(), JSON) {
        return form(request).await;
    }
    let parameters = Parameters::parse_json(&json_body(request).await?);
    parameters.ok_or_else(|| Problem::BadRequest("the body is a JSON object of texts".into()))
}

async fn json_body(request: Request<Incoming>) -> Result<Bytes, Problem> {
    let (head, body) = request.into_parts();
    body::read(&head.headers, JSON, body).await
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_of_a_browser_reaches_the_management_api() {
        let check = |name: &str, value: &str| {
            let request = Request::builder().header("host", "127.0.0.1:3002").header(name, value).body(());
            check_management(&request.unwrap())
        };
        assert!(check("authorization", "Bearer x").is_ok());
        // Node's.
        assert!(check("sec-fetch-mode", "cors").is_ok());
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "no-cors"),
            ("referer", "https://evil.example/"),
        ] {
            assert!(matches!(check(name, value), Err(Problem::ForeignOrigin)), "{name}: {value}");
        }
    }

    #[test]
    fn pages_never_read_the_control_endpoint_or_a_consent_page() {
        for path in [control::token::PATH, control::faults::PATH, "/authorize", "/u/consent", "/v2/logout"] {
            assert!(!Route::of(path).unwrap().is_readable_by_pages(), "{path}");
        }
    }
}
