//! Responses: JSON, pages, redirects.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use serde::Serialize;

/// Auth0's value. It must be short: a tenant that starts again on the same port has other keys.
pub(crate) const DOCUMENT_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=15");
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// No credentials are involved, so `*` covers every header but the one that it never covers (Fetch section 3.3.4).
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static("*, Authorization");
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// Returns the `Date` of a response that is made then, in seconds since 1970 (RFC 9110 section 6.6.1).
pub(crate) fn date(seconds: i64) -> Option<HeaderValue> {
    let time = Timestamp::from_second(seconds).ok()?;
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&time).ok()?;
    HeaderValue::from_str(&text).ok()
}

pub(crate) fn preflight(methods: &'static str) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    response
}

pub(crate) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Returns the status of a failure: this one if it is one, otherwise 500.
pub(crate) fn failure_status(status: u16) -> StatusCode {
    StatusCode::from_u16(status)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(crate) fn json(body: &impl Serialize, caching: HeaderValue) -> Response<Full<Bytes>> {
    // Serializing strings, numbers and arrays of them can't fail.
    let body = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, caching);
    response
}

/// Creates the response to a registration (RFC 7591 section 3.2.1).
pub(crate) fn created(body: &impl Serialize) -> Response<Full<Bytes>> {
    let mut response = json(body, NO_STORE);
    *response.status_mut() = StatusCode::CREATED;
    response
}

/// Creates a page that loads only its stylesheet, can't be framed, and has a form that leads to the tenant and, by the
/// redirect that follows, to `form_action`.
pub(crate) fn html(page: String, form_action: &str) -> Response<Full<Bytes>> {
    let policy = format!(
        "default-src 'none'; style-src 'self'; form-action 'self' {form_action}; frame-ancestors 'none'; base-uri 'none'"
    );
    let mut response = Response::new(Full::new(Bytes::from(page)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, NO_STORE);
    // An origin or a scheme, as the URL parser writes them.
    let policy = HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // `no-referrer` would make the form's own Origin "null".
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Creates an error page.
pub(crate) fn bad_page(page: String) -> Response<Full<Bytes>> {
    let mut response = html(page, "");
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

pub(crate) fn style(sheet: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(sheet.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/css; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, DOCUMENT_CACHING);
    response
}

/// Creates a redirect with 302 or 303. After both, browsers send a GET, so that no form reaches the client (Fetch section 4.4,
/// RFC 9700 section 4.12).
pub(crate) fn redirect(location: &str, status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = empty(status);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    // The URL parser's text is visible ASCII.
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
