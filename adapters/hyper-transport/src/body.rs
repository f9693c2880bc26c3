//! Reading a request's body within a size and a time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

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
    let mut reading = pin!(collect(body, limits.body_bytes));
    // A body that follows its head at once needs no timer.
    if let Some(read) = at_once(reading.as_mut()).await {
        return read;
    }
    tokio::select! {
        biased;
        read = reading => read,
        () = clock.sleep(limits.body_read) => Err(Problem::BodyTooSlow),
    }
}

/// What a future comes to if it does so in two polls: hyper reads a body only after somebody has asked for it.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut asked = false;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if asked => Poll::Ready(None),
        Poll::Pending => {
            asked = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
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
