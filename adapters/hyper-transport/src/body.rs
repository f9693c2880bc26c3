//! Reading a request's body within a size and a time.

use bytes::{Bytes, BytesMut};
use domain::Clock;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::TRANSFER_ENCODING;

use crate::problem::Problem;
use crate::settings::Limits;

/// Checks that the body is as it is, or chunked.
///
/// RFC 9112 section 6.1: nobody applies chunked twice, and what no server here understands is refused. hyper looks at the
/// last coding only, so it would read one layer and hand on the next, which a proxy in front may have read otherwise.
///
/// # Errors
/// [`Problem::BadCoding`].
pub(crate) fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Problem::BadCoding),
    }
}

/// Reads the whole body.
///
/// # Errors
/// [`Problem::BodyTooLarge`] before anything is read where the length is announced, [`Problem::BodyTooSlow`],
/// [`Problem::BodyBroken`].
pub(crate) async fn read(body: Incoming, limits: &Limits, clock: &dyn Clock) -> Result<Bytes, Problem> {
    // Not reading is also not sending "100 Continue".
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(Problem::BodyTooLarge { limit: limits.body_bytes });
    }
    tokio::select! {
        biased;
        read = collect(body, limits.body_bytes) => read,
        () = clock.sleep(limits.body_read) => Err(Problem::BodyTooSlow),
    }
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Problem> {
    let mut collected = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers, which nobody here needs. hyper takes a bare LF for the end of their section and swallows what follows,
        // up to the next empty line: a request of its own to a proxy that does the same (RFC 9112 sections 7.1.2, 11.2).
        let data = frame.ok().and_then(|frame| frame.into_data().ok()).ok_or(Problem::BodyBroken)?;
        if collected.len() + more.len() + data.len() > limit {
            return Err(Problem::BodyTooLarge { limit });
        }
        // Most bodies come in one frame, which is then not copied.
        if collected.is_empty() && more.is_empty() {
            collected = data;
        } else {
            if more.is_empty() {
                more.extend_from_slice(&std::mem::take(&mut collected));
            }
            more.extend_from_slice(&data);
        }
    }
    Ok(if more.is_empty() { collected } else { more.freeze() })
}
