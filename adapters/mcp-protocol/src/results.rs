//! Results in each era: what the modern one adds to every result, and what a result of each method consists of.

use std::sync::Arc;

use domain::{CallToolResult, Completion, Message, ResourceContents};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::content::{ContentWire, ContentsWire, MessageWire, icons};
use crate::{Era, Identity, Snapshot};

/// The most values that one completion shows (server/utilities/completion).
const MOST_VALUES: usize = 100;

/// How long most results are, in bytes: what is made longer is moved as it grows.
const USUAL_BYTES: usize = 512;

/// A result, rendered: JSON text.
pub(crate) struct Finished(pub(crate) Vec<u8>);

/// How results look.
pub(crate) struct Shape {
    pub(crate) era: Era,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// Whether a client may keep a result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// For a while, for itself: what the server says depends on the token, so nothing of it is public.
    Private,
    None,
}

/// A result with what its era adds.
#[derive(Serialize)]
struct Complete<'a, R> {
    #[serde(flatten)]
    result: &'a R,
    #[serde(flatten)]
    modern: Modern<'a>,
}

/// `Result` and `CacheableResult` in the schema of 2026-07-28.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Modern<'a> {
    result_type: &'static str,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_scope: Option<&'static str>,
}

/// `CallToolResult` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Called {
    content: Vec<ContentWire>,
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<Value>,
}

/// `ReadResourceResult` in the schema.
#[derive(Serialize)]
struct Read {
    contents: Vec<ContentsWire>,
}

/// `GetPromptResult` in the schema.
#[derive(Serialize)]
struct Prompted {
    messages: Vec<MessageWire>,
}

/// `CompleteResult` in the schema.
#[derive(Serialize)]
struct Completed {
    completion: CompletionWire,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompletionWire {
    values: Vec<String>,
    total: u64,
    has_more: bool,
}

/// `ListToolsResult` and its kind, whose items stand in a member of their own name.
struct Listed<'a> {
    member: &'static str,
    items: &'a [&'a RawValue],
    next: Option<String>,
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry(self.member, self.items)?;
        if let Some(next) = &self.next {
            members.serialize_entry("nextCursor", next)?;
        }
        members.end()
    }
}

/// `InputRequiredResult` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InputRequired<'a> {
    result_type: &'static str,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
    #[serde(skip_serializing_if = "Map::is_empty")]
    input_requests: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<String>,
}

impl Shape {
    /// What a tool gave.
    pub(crate) fn called(&self, output: CallToolResult) -> Finished {
        let content = output.content.into_iter().map(Into::into).collect();
        let called =
            Called { content, is_error: output.is_error, structured_content: output.structured_content };
        self.complete(&called, Caching::None)
    }

    /// A tool's failure that the model can read and act on.
    pub(crate) fn tool_error(&self, text: String) -> Finished {
        let content = vec![ContentWire::Text { text }];
        self.complete(&Called { content, is_error: true, structured_content: None }, Caching::None)
    }

    /// What a resource holds.
    pub(crate) fn read(&self, contents: Vec<ResourceContents>) -> Finished {
        let contents = contents.into_iter().map(Into::into).collect();
        self.complete(&Read { contents }, Caching::Private)
    }

    /// What a prompt says.
    pub(crate) fn prompted(&self, messages: Vec<Message>) -> Finished {
        let messages = messages.into_iter().map(Into::into).collect();
        self.complete(&Prompted { messages }, Caching::None)
    }

    /// What could be typed.
    pub(crate) fn completed(&self, completion: Completion) -> Finished {
        let has_more = completion.has_more || completion.values.len() > MOST_VALUES;
        let values: Vec<String> = completion.values.into_iter().take(MOST_VALUES).collect();
        let total = completion.total.unwrap_or(values.len() as u64);
        let completion = CompletionWire { values, total, has_more };
        self.complete(&Completed { completion }, Caching::None)
    }

    /// A page of a list.
    pub(crate) fn listed(&self, member: &'static str, items: &[&RawValue], next: Option<String>) -> Finished {
        self.complete(&Listed { member, items, next }, Caching::Private)
    }

    /// What the client has to answer before there is a result.
    pub(crate) fn input_required(&self, questions: Map<String, Value>, state: Option<String>) -> Finished {
        rendered(&InputRequired {
            result_type: "input_required",
            meta: &self.snapshot.meta,
            input_requests: questions,
            request_state: state,
        })
    }

    /// What the server is and can do, with all that it says of itself.
    pub(crate) fn introduced(&self, result: &impl Serialize) -> Finished {
        self.with_meta(result, Caching::Private, &self.snapshot.introduction)
    }

    /// A result that is all there is to say.
    pub(crate) fn complete(&self, result: &impl Serialize, caching: Caching) -> Finished {
        self.with_meta(result, caching, &self.snapshot.meta)
    }

    fn with_meta(&self, result: &impl Serialize, caching: Caching, meta: &RawValue) -> Finished {
        if self.era == Era::Legacy {
            return rendered(result);
        }
        let kept = caching == Caching::Private;
        let modern = Modern {
            result_type: "complete",
            meta,
            ttl_ms: kept.then_some(self.snapshot.settings.list_ttl_ms),
            cache_scope: kept.then_some("private"),
        };
        rendered(&Complete { result, modern })
    }
}

/// `Implementation` in the schema. Icons stand only where a client asks what the server is, not in every result.
pub(crate) fn introduction(identity: &Identity, with_icons: bool) -> Value {
    let mut introduction = json!(identity);
    if with_icons && !identity.icons.is_empty() {
        introduction["icons"] = json!(icons(&identity.icons));
    }
    introduction
}

/// Texts, numbers and values made from JSON: rendering them can't fail, and if it did, the result would be `null`.
pub(crate) fn rendered(result: &impl Serialize) -> Finished {
    let mut text = Vec::with_capacity(USUAL_BYTES);
    if let Err(error) = serde_json::to_writer(&mut text, result) {
        tracing::error!(%error, "a result could not be rendered");
        return Finished(b"null".to_vec());
    }
    Finished(text)
}
