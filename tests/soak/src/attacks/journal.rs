//! What came of an attack's requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use hyper::header::RETRY_AFTER;
use hyper::http::response::Parts;

use crate::requests::Answer;

/// The number of violations that are reported in full; all are counted.
const MAX_REPORTED: usize = 3;

/// The counts of one attack.
#[derive(Default)]
pub(crate) struct Entry {
    pub(crate) sent: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Requests that ended with their connection or stream, without an answer.
    pub(crate) closed: u64,
    pub(crate) violations: u64,
    pub(crate) reported: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Journal(Mutex<Entry>);

impl Journal {
    pub(crate) fn sent(&self) {
        self.lock().sent += 1;
    }

    /// Counts what came of a request.
    pub(crate) fn ended(&self, answer: &anyhow::Result<Answer>) {
        match answer {
            Ok(answer) => self.answered(answer.status, answer.retry_after),
            Err(_) => self.closed(),
        }
    }

    /// Counts an answer of which the head has come.
    pub(crate) fn began(&self, head: &Parts) {
        self.answered(head.status.as_u16(), head.headers.contains_key(RETRY_AFTER));
    }

    pub(super) fn answered(&self, status: u16, retry_after: bool) {
        *self.lock().statuses.entry(status).or_default() += 1;
        let is_busy = status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE;
        if is_busy && !retry_after {
            self.violation(&format!("{status} without Retry-After"));
        }
        if status >= 500 && !is_busy {
            self.violation(&format!("a server error: {status}"));
        }
    }

    pub(crate) fn closed(&self) {
        self.lock().closed += 1;
    }

    /// Notes what must not happen.
    pub(crate) fn violation(&self, what: &str) {
        let mut entry = self.lock();
        entry.violations += 1;
        if entry.reported.len() < MAX_REPORTED {
            entry.reported.push(what.to_owned());
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Entry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_need_a_retry_after_and_server_errors_are_violations() {
        for (status, retry_after, violations) in [
            (200, false, 0),
            (400, false, 0),
            (429, true, 0),
            (429, false, 1),
            (503, true, 0),
            (503, false, 1),
            (500, false, 1),
        ] {
            let journal = Journal::default();
            journal.answered(status, retry_after);
            assert_eq!(journal.lock().violations, violations, "{status}");
        }
    }
}
