//! Requests a token from a running local tenant, for the `token` command.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use syntax::strict_json;
use tokio::net::TcpStream;

use super::token;
use crate::control::token::TokenResponse;
use crate::http::problem::ErrorBody;
use crate::oauth::token::{IssuedToken, TokenRequest};

/// The time for the whole exchange, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of a response; a tenant's are much smaller.
const MAX_RESPONSE_BYTES: usize = 64 * 1024;

/// The reason why there is no token, for people.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens on the port.
    #[error("no local tenant on 127.0.0.1:{port}; start one with `fastmcp-auth0 dev`")]
    NotRunning {
        /// The requested port.
        port: u16,
    },
    /// Another program listens on the port.
    #[error("what listens on 127.0.0.1:{port} is not a local tenant")]
    NotATenant {
        /// The requested port.
        port: u16,
    },
    /// The tenant refuses the request.
    #[error("{description}")]
    Refused {
        /// The OAuth error code.
        error: String,
        /// The tenant's explanation.
        description: String,
    },
    /// The tenant does not respond in time.
    #[error("the local tenant on 127.0.0.1:{port} did not answer within 5 seconds")]
    TimedOut {
        /// The requested port.
        port: u16,
    },
    /// Connecting fails for another reason.
    #[error("can't connect to 127.0.0.1:{port}: {cause}")]
    Connect {
        /// The requested port.
        port: u16,
        /// The operating system's error.
        cause: io::Error,
    },
}

/// Requests a token from the local tenant on 127.0.0.1.
///
/// # Errors
/// [`ClientError`].
pub async fn request_token(port: u16, request: &TokenRequest) -> Result<IssuedToken, ClientError> {
    let exchange = async {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.map_err(|cause| {
            if cause.kind() == io::ErrorKind::ConnectionRefused {
                ClientError::NotRunning { port }
            } else {
                ClientError::Connect { port, cause }
            }
        })?;
        // A tenant does not break off an exchange.
        let (status, body) = exchange(stream, port, request).await.ok_or(ClientError::NotATenant { port })?;
        parse_response(status, &body).unwrap_or(Err(ClientError::NotATenant { port }))
    };
    tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or(Err(ClientError::TimedOut { port }))
}

async fn exchange(stream: TcpStream, port: u16, request: &TokenRequest) -> Option<(StatusCode, Bytes)> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // Ends when `sender` and the response are dropped.
    tokio::spawn(connection);
    let request = Request::post(token::PATH)
        .header(HOST, format!("127.0.0.1:{port}"))
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(serde_json::to_vec(request).ok()?)))
        .ok()?;
    let (head, body) = sender.send_request(request).await.ok()?.into_parts();
    let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await.ok()?;
    Some((head.status, body.to_bytes()))
}

/// Parses a tenant's response; `None` if it is not one.
fn parse_response(status: StatusCode, body: &[u8]) -> Option<Result<IssuedToken, ClientError>> {
    match status {
        StatusCode::OK => {
            let token: TokenResponse = strict_json::parse(body).ok()?;
            Some(Ok(token.into()))
        }
        // Other servers have errors of this shape, too, but not this path, or they demand authentication.
        StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::METHOD_NOT_ALLOWED => None,
        _ => {
            let ErrorBody { error, error_description } = strict_json::parse(body).ok()?;
            Some(Err(ClientError::Refused { error, description: error_description }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_servers_answers_are_not_mistaken_for_a_tenants() {
        let error = br#"{"error": "not_found", "error_description": "nothing here"}"#;
        let cases: [(StatusCode, &[u8]); 5] = [
            (StatusCode::OK, b"<html>"),
            (StatusCode::OK, br#"{"access_token": "t"}"#),
            (StatusCode::NOT_FOUND, error),
            (StatusCode::UNAUTHORIZED, error),
            (StatusCode::BAD_GATEWAY, b"bad gateway"),
        ];
        for (status, body) in cases {
            assert!(parse_response(status, body).is_none(), "{status}");
        }
    }
}
