//! `[limits]`: how much of anything there may be at a time, and for how long.

use std::time::Duration;

use domain::Shares;
use hyper_transport::Limits as HttpLimits;

use super::context::Context;
use crate::config::key::{DAY, GIB, HOUR, Key, MIB, Reload, Whole, bytes, count, seconds, whole};
use crate::config::reader::Reader;

static BODY_BYTES: Key<Whole> = Key::new(
    "limits.body_bytes",
    bytes(1024, GIB),
    Reload::RestartRequired,
    "a request's body; beyond it 413",
);
static HEADER_BYTES: Key<Whole> = Key::new(
    "limits.header_bytes",
    bytes(8192, MIB),
    Reload::RestartRequired,
    "a request's head; beyond it 431",
);
static HEADER_READ: Key<Whole> = Key::new(
    "limits.header_read_seconds",
    seconds(1, HOUR),
    Reload::RestartRequired,
    "for a head; beyond it the connection is closed",
);
static BODY_READ: Key<Whole> = Key::new(
    "limits.body_read_seconds",
    seconds(1, HOUR),
    Reload::RestartRequired,
    "for a body; beyond it 408",
);
static TOOL: Key<Whole> = Key::new(
    "limits.tool_seconds",
    seconds(1, DAY),
    Reload::Applied,
    "for one tool call; beyond it a result with `isError`",
);
static JSON_DEPTH: Key<Whole> = Key::new(
    "limits.json_depth",
    whole("levels", 8, 128),
    Reload::Applied,
    "nesting of a request's JSON; beyond it 400",
);
static CONNECTIONS: Key<Whole> = Key::new(
    "limits.connections",
    count(1, 1_000_000),
    Reload::RestartRequired,
    "connections at a time; beyond it 64 more for probes alone, everything else 503",
);
static REQUESTS: Key<Whole> = Key::new(
    "limits.requests",
    count(1, 1_000_000),
    Reload::RestartRequired,
    "requests to `/mcp` under way at a time, from the end of their body on, streams apart; beyond it 503",
);
static STREAMS: Key<Whole> = Key::new(
    "limits.streams",
    count(1, 1_000_000),
    Reload::RestartRequired,
    "answers at a time that have become streams; beyond it subscriptions get 503, and calls count among `limits.requests`",
);
static QUESTIONS: Key<Whole> = Key::new(
    "limits.questions",
    count(1, 1_000_000),
    Reload::RestartRequired,
    "questions of tools to clients of 2025-11-25 and before, open at a time; beyond it 503",
);
static MEMORY_BYTES: Key<Whole> = Key::new(
    "limits.memory_bytes",
    bytes(MIB, 64 * GIB),
    Reload::RestartRequired,
    "memory of all requests together: bodies, what is parsed of them, answers that clients have yet to take; beyond it 503",
);
static SUBJECT_PERCENT: Key<Whole> = Key::new(
    "limits.subject_percent",
    whole("percent", 1, 100),
    Reload::RestartRequired,
    "what one subject may have of requests, streams, questions and memory at a time; beyond it 429",
);
static CLIENT_PERCENT: Key<Whole> = Key::new(
    "limits.client_percent",
    whole("percent", 1, 100),
    Reload::RestartRequired,
    "the same for one OAuth client",
);
static ANSWER_STALL: Key<Whole> = Key::new(
    "limits.answer_stall_seconds",
    seconds(20, HOUR),
    Reload::RestartRequired,
    "how long an answer may wait without its client taking a byte of it; beyond it its stream is reset, or its connection \
     closed",
);
static KEEP_ALIVE: Key<Whole> = Key::new(
    "limits.keep_alive_seconds",
    seconds(1, DAY),
    Reload::RestartRequired,
    "how long a connection without a request stays open",
);
static DRAIN_DELAY: Key<Whole> = Key::new(
    "limits.drain_delay_seconds",
    seconds(0, 300),
    Reload::RestartRequired,
    "how long the server goes on once it is told to stop, not ready, before it stops listening",
);
static DRAIN: Key<Whole> = Key::new(
    "limits.drain_seconds",
    seconds(0, HOUR),
    Reload::RestartRequired,
    "for requests under way after that",
);

pub(super) const KEYS: &[&Key] = &[
    &BODY_BYTES,
    &HEADER_BYTES,
    &HEADER_READ,
    &BODY_READ,
    &TOOL,
    &JSON_DEPTH,
    &CONNECTIONS,
    &REQUESTS,
    &STREAMS,
    &QUESTIONS,
    &MEMORY_BYTES,
    &SUBJECT_PERCENT,
    &CLIENT_PERCENT,
    &ANSWER_STALL,
    &KEEP_ALIVE,
    &DRAIN_DELAY,
    &DRAIN,
];

/// What a body of the largest size takes while it is read and parsed, in bodies.
const BODIES_IN_A_SHARE: usize = 4;

/// How much of anything there may be at a time, and for how long.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bounds of the transport.
    pub http: HttpLimits,
    /// How long one tool call may take.
    pub tool_deadline: Duration,
    /// The deepest nesting of a request's JSON, in levels.
    pub json_depth: usize,
    /// How many questions of tools to clients of 2025-11-25 and before may be open at a time.
    pub questions: usize,
}

pub(super) fn read(read: &mut Reader, _: &Context<'_>) -> Limits {
    Limits {
        http: http(read),
        tool_deadline: read.seconds(&TOOL),
        json_depth: read.whole(&JSON_DEPTH),
        questions: read.whole(&QUESTIONS),
    }
}

fn http(read: &mut Reader) -> HttpLimits {
    let limits = HttpLimits {
        body_bytes: read.whole(&BODY_BYTES),
        header_bytes: read.whole(&HEADER_BYTES),
        header_read: read.seconds(&HEADER_READ),
        body_read: read.seconds(&BODY_READ),
        keep_alive: read.seconds(&KEEP_ALIVE),
        connections: read.whole(&CONNECTIONS),
        requests: read.whole(&REQUESTS),
        streams: read.whole(&STREAMS),
        answer_stall: read.seconds(&ANSWER_STALL),
        memory_bytes: read.whole(&MEMORY_BYTES),
        shares: Shares {
            subject_percent: read.whole(&SUBJECT_PERCENT),
            client_percent: read.whole(&CLIENT_PERCENT),
        },
        drain_delay: read.seconds(&DRAIN_DELAY),
        drain: read.seconds(&DRAIN),
    };
    let percent = limits.shares.subject_percent.min(limits.shares.client_percent);
    if limits.memory_bytes * percent / 100 < BODIES_IN_A_SHARE * limits.body_bytes {
        read.problem(
            MEMORY_BYTES.name,
            format!(
                "must be larger: {percent} percent of it, which one subject or client gets, must hold {BODIES_IN_A_SHARE} \
                 times limits.body_bytes"
            ),
        );
    }
    limits
}
