//! Reads a request's body within limits of size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::CONTENT_TYPE;

use crate::http::problem::Problem;

const MAX_BODY_BYTES: usize = 64 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a body of this media type.
///
/// # Errors
/// A [`Problem`] if the body has another type, is too large, too slow or broken.
pub(crate) async fn read(
    headers: &HeaderMap,
    media_type: &'static str,
    body: Incoming,
) -> Result<Bytes, Problem> {
    read_up_to(headers, media_type, body, MAX_BODY_BYTES).await
}

/// Reads a body of this media type, with another limit of its size.
///
/// # Errors
/// Those of [`read`].
pub(crate) async fn read_up_to(
    headers: &HeaderMap,
    media_type: &'static str,
    body: Incoming,
    limit: usize,
) -> Result<Bytes, Problem> {
    if !has_type(headers, media_type) {
        return Err(Problem::UnsupportedMediaType { expected: media_type });
    }
    // Without a read, hyper does not send "100 Continue".
    if body.size_hint().lower() > limit as u64 {
        return Err(Problem::BodyTooLarge { limit });
    }
    tokio::time::timeout(BODY_TIMEOUT, collect(body, limit)).await.unwrap_or(Err(Problem::BodyTooSlow))
}

/// Returns whether a body has a media type.
pub(crate) fn has_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(media_type)
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Problem> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Problem::BodyBroken)?.into_data() else {
            continue;
        };
        if collected.len() + data.len() > limit {
            return Err(Problem::BodyTooLarge { limit });
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}
