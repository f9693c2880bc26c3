//! `[audit]`: where audit events go, and what happens when one can't be written.

use audit_log::{Destination, OnFailure, Options};

use super::context::Context;
use crate::config::key::{Key, Reload, Text, Whole, Words, count};
use crate::config::reader::Reader;

/// What `audit.to` can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Off,
    Stdout,
    File,
}

static TO: Key<Words<To>> = Key::new(
    "audit.to",
    Words(&[("off", To::Off), ("stdout", To::Stdout), ("file", To::File)]),
    Reload::RestartRequired,
    "where an event for each decision goes ([observe.md](observe.md#audit-events))",
);
static FILE: Key<Text> = Key::new(
    "audit.file",
    Text("path"),
    Reload::RestartRequired,
    "the file, for `file`: added to, created for its owner alone, opened anew at SIGHUP",
);
static ON_FAILURE: Key<Words<OnFailure>> = Key::new(
    "audit.on_failure",
    Words(&[("count", OnFailure::Count), ("refuse", OnFailure::Refuse)]),
    Reload::RestartRequired,
    "what happens when an event can't be written: `count` it as lost and go on, or `refuse` what it is about (503), for \
     which every request waits for its event",
);
static QUEUED: Key<Whole> = Key::new(
    "audit.queued_events",
    count(2, 1_000_000),
    Reload::RestartRequired,
    "events that may wait to be written, half of them without an accepted token; what is beyond can't be",
);

pub(super) const KEYS: &[&Key] = &[&TO, &FILE, &ON_FAILURE, &QUEUED];

/// Reads the section; `None` where there are no audit events.
pub(super) fn read(read: &mut Reader, _: &Context<'_>) -> Option<Options> {
    let (to, file) = (read.choice(&TO).unwrap_or(To::Off), read.text(&FILE));
    let on_failure = read.choice(&ON_FAILURE).unwrap_or(OnFailure::Refuse);
    let queued_events = read.whole(&QUEUED);
    if to == To::File && file.is_empty() {
        read.problem(FILE.name, "is not set, and audit.to is \"file\": name the file");
    }
    if to != To::File && !file.is_empty() {
        read.warn(FILE.name, "is not written to, since audit.to is not \"file\"".to_owned());
    }
    let to = match to {
        To::Off => return None,
        To::Stdout => Destination::Stdout,
        To::File => Destination::File(file.into()),
    };
    Some(Options { to, on_failure, queued_events })
}
