//! Reading a request's body within a size and a time.

use bytes::{Bytes, BytesMut};
use domain::Clock;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::problem::Problem;
use crate::settings::Limits;

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
        let Ok(data) = frame.map_err(|_| Problem::BodyBroken)?.into_data() else {
            continue;
        };
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
