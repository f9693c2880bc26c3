//! `[mcp]`: how the server presents itself to clients, and how it serves lists and questions.

mod state_keys;

use std::time::Duration;

use domain::Icon;
use mcp_protocol::Identity;

pub use self::state_keys::StateKeys;
use super::context::Context;
use crate::config::key::{DAY, Key, Reload, Text, Texts, Whole, count, seconds, whole};
use crate::config::reader::Reader;

static NAME: Key<Text> =
    Key::new("mcp.name", Text("text"), Reload::Applied, "the server's name for programs");
static TITLE: Key<Text> =
    Key::new("mcp.title", Text("text"), Reload::Applied, "its name for people; also `resource_name`");
static STATE_KEYS: Key<Texts> = Key::new(
    "mcp.state_keys",
    Texts("32 bytes in base64"),
    Reload::Applied,
    "seal what a tool wants remembered; the first seals, all open; the same for all replicas",
)
.secret();
static STATE_KEYS_FILE: Key<Text> = Key::new(
    "mcp.state_keys_file",
    Text("path"),
    Reload::Applied,
    "a file with these keys instead, one a line; blank lines and white space around a key are ignored",
);
static ICONS: Key<Texts> = Key::new(
    "mcp.icons",
    Texts("`https://` URLs or `data:` URIs of images"),
    Reload::Applied,
    "what clients may show beside the title; in a variable, which is cut at commas, URLs only",
);
static INSTRUCTIONS: Key<Text> =
    Key::new("mcp.instructions", Text("text"), Reload::Applied, "how a model should use the server");
static LIST_TTL: Key<Whole> = Key::new(
    "mcp.list_ttl_ms",
    whole("milliseconds", 0, DAY * 1000),
    Reload::Applied,
    "how long a client may keep a list",
);
static PAGE_SIZE: Key<Whole> =
    Key::new("mcp.page_size", count(1, 10_000), Reload::Applied, "items on one page of a list");
static ANSWER: Key<Whole> = Key::new(
    "mcp.answer_seconds",
    seconds(1, DAY),
    Reload::Applied,
    "how long a client of 2025-11-25 and before may take to answer all that one call asks",
);

pub(super) const KEYS: &[&Key] =
    &[&NAME, &TITLE, &STATE_KEYS, &STATE_KEYS_FILE, &ICONS, &INSTRUCTIONS, &LIST_TTL, &PAGE_SIZE, &ANSWER];

/// How the server presents itself to clients, and how it serves lists and questions.
#[derive(Debug, Clone)]
pub struct Mcp {
    /// What the server says of itself.
    pub identity: Identity,
    /// How long a client may keep a list, in milliseconds (`ttlMs`).
    pub list_ttl_ms: u64,
    /// How many items a page of a list has.
    pub page_size: usize,
    /// How long a client of 2025-11-25 and before may take to answer a question.
    pub answer_timeout: Duration,
    /// Keys that seal what a tool wants remembered, the newest first; without any, the process makes one.
    pub state_keys: StateKeys,
}

pub(super) fn read(read: &mut Reader, _: &Context<'_>) -> Mcp {
    Mcp {
        identity: identity(read),
        list_ttl_ms: read.whole(&LIST_TTL),
        page_size: read.whole(&PAGE_SIZE),
        answer_timeout: read.seconds(&ANSWER),
        state_keys: state_keys::read(read, &STATE_KEYS, &STATE_KEYS_FILE),
    }
}

fn identity(read: &mut Reader) -> Identity {
    let identity = Identity {
        name: read.text(&NAME),
        title: read.text(&TITLE),
        version: env!("CARGO_PKG_VERSION").into(),
        instructions: read.text(&INSTRUCTIONS),
        icons: read.texts(&ICONS).iter().map(|src| Icon::new(src)).collect(),
    };
    if identity.icons.iter().any(|icon| !icon.is_acceptable()) {
        read.problem(ICONS.name, "must be https:// URLs, or data: URIs of images");
    }
    for (key, text) in [(&NAME, &identity.name), (&TITLE, &identity.title)] {
        if text.is_empty() {
            read.problem(key.name, "must not be empty");
        }
    }
    identity
}
