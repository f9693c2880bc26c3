//! From a request to its response.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;

use crate::browser::{is_addressed, is_from_page};
use crate::negotiation::Format;
use crate::{Administered, LevelError};

/// The longest body: a level's name, with room for spaces.
const MAX_BODY: usize = 64;
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const LEVELS_ARE_NOT_OURS: &str = "this program has a log of its own";

type Answer = Response<Full<Bytes>>;

/// Answers a request.
pub(crate) async fn respond(administered: &dyn Administered, request: Request<Incoming>) -> Answer {
    if is_from_page(request.headers()) {
        return refused("requests of browsers are refused (Origin, Sec-Fetch-*)");
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match (request.uri().path(), request.method()) {
        ("/metrics", _) if is_read => {
            let format = Format::accepted(request.headers());
            answer(StatusCode::OK, format.content_type(), administered.metrics(format))
        }
        ("/health", _) if is_read => answer(StatusCode::OK, JSON, json!({"status": "ok"}).to_string()),
        ("/ready", _) if is_read => ready(administered),
        ("/log-level", _) if is_read => log_level(administered),
        ("/log-level", &Method::PUT) => set_log_level(administered, request).await,
        ("/log-level", _) => not_allowed("GET, HEAD, PUT"),
        ("/metrics" | "/health" | "/ready", _) => not_allowed("GET, HEAD"),
        _ => answer(StatusCode::NOT_FOUND, TEXT, "there are /metrics, /health, /ready and /log-level\n"),
    }
}

fn ready(administered: &dyn Administered) -> Answer {
    match administered.not_ready() {
        None => answer(StatusCode::OK, JSON, json!({"status": "ready"}).to_string()),
        Some(reason) => {
            let body = json!({"status": "not ready", "reason": reason}).to_string();
            answer(StatusCode::SERVICE_UNAVAILABLE, JSON, body)
        }
    }
}

fn log_level(administered: &dyn Administered) -> Answer {
    match administered.log_level() {
        Some(level) => answer(StatusCode::OK, TEXT, format!("{level}\n")),
        None => answer(StatusCode::NOT_FOUND, TEXT, format!("{LEVELS_ARE_NOT_OURS}\n")),
    }
}

async fn set_log_level(administered: &dyn Administered, request: Request<Incoming>) -> Answer {
    if !is_addressed(request.headers()) {
        return refused(
            "call the server by its address, or as localhost: under a name it could be a page that calls",
        );
    }
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return answer(StatusCode::PAYLOAD_TOO_LARGE, TEXT, "the body is the name of a level\n");
        }
        Err(_) => return answer(StatusCode::BAD_REQUEST, TEXT, "the body broke off\n"),
    };
    let level = std::str::from_utf8(&body).unwrap_or_default().trim();
    match administered.set_log_level(level) {
        Ok(()) | Err(LevelError::NotOurs) => log_level(administered),
        Err(LevelError::Unknown { known }) => {
            answer(StatusCode::BAD_REQUEST, TEXT, format!("the body must be one of {known}\n"))
        }
    }
}

fn refused(why: &str) -> Answer {
    answer(StatusCode::FORBIDDEN, TEXT, format!("{why}\n"))
}

fn not_allowed(allow: &'static str) -> Answer {
    let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, format!("this path takes {allow}\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
