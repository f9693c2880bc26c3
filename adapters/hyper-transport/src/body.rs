//! Reading a request's body, bounded in size and time.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use domain::{Exhausted, Holder, Memory};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use crate::head::Single;
use crate::problem::Problem;
use crate::shared::Shared;

/// The maximum length of a body that is read although its request was refused, in bytes.
const MAX_DISCARDED: usize = 16 * 1024;

/// Checks that the body has no transfer coding but chunked.
///
/// RFC 9112 section 6.1: chunked is applied once, and unknown codings are refused. hyper looks at the
/// last coding only, so it would read one layer and hand on the next, which a proxy in front may have read otherwise.
///
/// # Errors
/// [`Problem::BadCoding`].
pub(crate) fn check_coding(transfer_encoding: Single<'_>) -> Result<(), Problem> {
    match transfer_encoding {
        Single::Absent => Ok(()),
        Single::Once(coding) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        Single::Once(_) | Single::Repeated => Err(Problem::BadCoding),
    }
}

/// Reads the whole body to its verified end, and counts its memory, and the head's, which is held as long.
///
/// # Errors
/// [`Problem::BodyTooLarge`] before anything is read where the length is announced, [`Problem::BodyTooSlow`],
/// [`Problem::BodyBroken`], [`Problem::Exhausted`].
pub(crate) async fn read(
    shared: &Shared,
    body: &mut Incoming,
    head_bytes: usize,
    holder: Holder,
) -> Result<(Bytes, Memory), Problem> {
    let (limits, limiter) = (&shared.limits, &shared.limiter);
    // Not reading is also not sending "100 Continue".
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(Problem::BodyTooLarge { limit: limits.body_bytes });
    }
    let mut memory = limiter.memory(holder);
    let exhausted = |exhausted| limiter.refused("limits.memory_bytes", exhausted);
    memory.add(head_bytes).map_err(exhausted)?;
    let body = {
        let mut reading = pin!(collect(body, limits.body_bytes, &mut memory, &exhausted));
        match at_once(reading.as_mut()).await {
            Some(read) => read?,
            // In a box of its own: a body that follows its head at once needs no timer, and is not among the slow ones.
            None => Box::pin(slowly(shared, holder, reading)).await?,
        }
    };
    Ok((body, memory))
}

/// Reads a body that its client is still sending.
async fn slowly(
    shared: &Shared,
    holder: Holder,
    reading: impl Future<Output = Result<Bytes, Problem>>,
) -> Result<Bytes, Problem> {
    let _receiving = shared.limiter.try_acquire_receiving(holder)?;
    tokio::select! {
        biased;
        read = reading => read,
        () = shared.clock().sleep(shared.limits.body_read) => Err(Problem::BodyTooSlow),
    }
}

/// Returns the output of a future that is ready within two polls: hyper reads a body only after it was asked for.
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

/// The maximum number of frames that are discarded.
const MAX_DISCARDED_FRAMES: usize = 16;

/// Discards an unread body that is small and already there; returns whether it was read to its verified end, so that the next
/// request follows it. It never waits.
pub(crate) async fn discard(body: &mut Incoming) -> bool {
    // Not reading is also not sending "100 Continue".
    if body.size_hint().lower() > MAX_DISCARDED as u64 {
        return false;
    }
    let mut discarded = 0;
    // Each frame costs the same, however small it is.
    for _ in 0..MAX_DISCARDED_FRAMES {
        if discarded > MAX_DISCARDED {
            return false;
        }
        let Some(frame) = at_once(pin!(body.frame())).await else {
            return false;
        };
        // As in `collect`: what broke off or has trailers has no verified end.
        match frame.map(|frame| frame.map(hyper::body::Frame::into_data)) {
            None => return true,
            Some(Ok(Ok(data))) => discarded += data.len(),
            Some(Ok(Err(_)) | Err(_)) => return false,
        }
    }
    false
}

async fn collect(
    body: &mut Incoming,
    limit: usize,
    memory: &mut Memory,
    exhausted: &(impl Fn(Exhausted) -> Problem + Sync),
) -> Result<Bytes, Problem> {
    let mut collected = Bytes::new();
    let mut more = BytesMut::new();
    while let Some(frame) = body.frame().await {
        // Trailers are refused. hyper takes a bare LF for the end of their section and swallows what follows,
        // up to the next empty line: a request of its own to a proxy that does the same (RFC 9112 sections 7.1.2, 11.2).
        let data = frame.ok().and_then(|frame| frame.into_data().ok()).ok_or(Problem::BodyBroken)?;
        if collected.len() + more.len() + data.len() > limit {
            return Err(Problem::BodyTooLarge { limit });
        }
        // The buffer below grows by doubling.
        memory.add(2 * data.len()).map_err(exhausted)?;
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
