//! What an operation answers with.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::http::response::{self, NO_STORE};

/// A successful answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Option<Value>,
}

impl Answer {
    pub(super) fn ok(body: &impl Serialize) -> Self {
        Self { status: StatusCode::OK, body: Some(value(body)) }
    }

    pub(super) fn created(body: &impl Serialize) -> Self {
        Self { status: StatusCode::CREATED, body: Some(value(body)) }
    }

    pub(super) const fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: None }
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = match self.body {
            Some(body) => response::json(&body, NO_STORE),
            None => response::empty(self.status),
        };
        *response.status_mut() = self.status;
        response
    }

    /// Returns the status and the body, for tests.
    #[cfg(test)]
    pub(super) fn parts(self) -> (u16, Value) {
        (self.status.as_u16(), self.body.unwrap_or_default())
    }
}

/// Serializes an entity: strings, numbers, and arrays and objects of them, which can't fail.
pub(super) fn value(entity: &impl Serialize) -> Value {
    serde_json::to_value(entity).unwrap_or_default()
}
