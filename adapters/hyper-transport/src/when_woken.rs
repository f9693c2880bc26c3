//! A future that is polled only when it was woken. A connection waits for its deadline and for the end of the server beside its
//! requests; each request wakes it several times, and without this each time all of these would be polled.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Polls a future when it was woken, and else not.
pub(crate) struct WhenWoken<F> {
    future: F,
    alarm: Arc<Alarm>,
    /// Wakes by the alarm.
    waker: Waker,
    /// The task that the alarm knows.
    task: Option<Waker>,
}

struct Alarm {
    has_rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl<F: Future + Unpin> WhenWoken<F> {
    pub(crate) fn new(future: F) -> Self {
        // Rung, so that the first poll is one of the future.
        let alarm = Arc::new(Alarm { has_rung: AtomicBool::new(true), task: Mutex::default() });
        Self { future, waker: Waker::from(Arc::clone(&alarm)), alarm, task: None }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.wake_by_ref();
        }
    }
}

impl<F: Future + Unpin> Future for WhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        // Before the look at the alarm: what rings after that look wakes this task.
        if this.task.as_ref().is_none_or(|task| !task.will_wake(cx.waker())) {
            this.task = Some(cx.waker().clone());
            *this.alarm.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        }
        if !this.alarm.has_rung.load(Ordering::Acquire) || !this.alarm.has_rung.swap(false, Ordering::AcqRel)
        {
            return Poll::Pending;
        }
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn it_is_polled_at_first_and_when_it_was_woken_and_then_completes() {
        let (polls, notify) = (AtomicUsize::new(0), Notify::new());
        let notified = notify.notified();
        tokio::pin!(notified);
        let counted = poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            notified.as_mut().poll(cx)
        });
        let mut waiting = WhenWoken::new(counted);
        // Ten polls for other reasons.
        for _ in 0..10 {
            let is_pending = poll_fn(|cx| Poll::Ready(Pin::new(&mut waiting).poll(cx).is_pending())).await;
            assert!(is_pending);
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        notify.notify_one();
        (&mut waiting).await;
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn it_wakes_the_task_that_polled_it_last() {
        let notify = Arc::new(Notify::new());
        let notified = Arc::clone(&notify);
        let mut waiting = WhenWoken::new(Box::pin(async move { notified.notified().await }));
        let mut first = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut waiting).poll(&mut first).is_pending());
        let elsewhere = tokio::spawn(waiting);
        tokio::task::yield_now().await;
        notify.notify_one();
        elsewhere.await.unwrap();
    }
}
