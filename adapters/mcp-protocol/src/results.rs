//! The results of each method, and what the modern era adds to all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::{CallToolResult, Completion, Message, RawObject, ResourceContents};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::content::{ContentWire, ContentsWire, InputRequestWire, MessageWire};
use crate::era::Era;
use crate::reply::{RenderedResult, rendered};
use crate::snapshot::ProtocolSnapshot;

/// The maximum number of values of one completion (server/utilities/completion).
const MAX_VALUES: usize = 100;

/// Renders results in an era's form.
pub(crate) struct Renderer {
    pub(crate) era: Era,
    pub(crate) snapshot: Arc<ProtocolSnapshot>,
}

/// Whether a client may cache a result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// For a while, and privately, since results depend on the token.
    Private,
    None,
}

/// A result with the members that its era adds.
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
struct CallToolWire {
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

/// `ListToolsResult` and the like, whose items are in a member that is named after them.
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
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    input_requests: BTreeMap<String, InputRequestWire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_state: Option<String>,
}

impl Renderer {
    /// Renders what a tool returned.
    pub(crate) fn tool_result(&self, output: CallToolResult) -> RenderedResult {
        let content = output.content.into_iter().map(Into::into).collect();
        let result = CallToolWire {
            content,
            is_error: output.is_error,
            structured_content: output.structured_content,
        };
        self.complete(&result, Caching::None)
    }

    /// Renders a tool's failure, for the model to read and to act on.
    pub(crate) fn tool_error(&self, text: String) -> RenderedResult {
        let content = vec![ContentWire::Text { text }];
        self.complete(&CallToolWire { content, is_error: true, structured_content: None }, Caching::None)
    }

    /// Renders what a resource holds.
    pub(crate) fn resource_contents(&self, contents: Vec<ResourceContents>) -> RenderedResult {
        let contents = contents.into_iter().map(Into::into).collect();
        self.complete(&Read { contents }, Caching::Private)
    }

    /// Renders a prompt's messages.
    pub(crate) fn prompt_messages(&self, messages: Vec<Message>) -> RenderedResult {
        let messages = messages.into_iter().map(Into::into).collect();
        self.complete(&Prompted { messages }, Caching::None)
    }

    /// Renders what a method of the catalog returned, without the members that an era adds.
    pub(crate) fn method_result(&self, mut result: Map<String, Value>) -> RenderedResult {
        if self.era == Era::Modern {
            result.remove("_meta");
            result.remove("resultType");
        }
        self.complete(&result, Caching::None)
    }

    /// Renders another server's result: its members as they are, but for those that an era adds or does not have. A result that
    /// others may cache was made for the server's one client, which is this server, not for every caller behind it.
    pub(crate) fn relayed(&self, mut result: RawObject, caching: Caching) -> RenderedResult {
        result.remove("resultType");
        result.remove("cacheScope");
        let ttl = result.remove("ttlMs");
        if self.era == Era::Legacy {
            return rendered(&result);
        }
        let mut meta: RawObject = result.read("_meta").unwrap_or_default();
        let own: RawObject = serde_json::from_str(self.snapshot.meta.get()).unwrap_or_default();
        for (name, value) in own.iter() {
            meta.insert(name, value.to_owned());
        }
        let mut members = vec![("resultType", to_raw_value("complete")), ("_meta", to_raw_value(&meta))];
        if caching == Caching::Private {
            let ttl = ttl.map_or_else(|| to_raw_value(&self.snapshot.settings.list_ttl_ms), Ok);
            members.extend([("ttlMs", ttl), ("cacheScope", to_raw_value("private"))]);
        }
        for (name, value) in members {
            // None of these values can fail to be JSON.
            if let Ok(value) = value {
                result.insert(name, value);
            }
        }
        rendered(&result)
    }

    /// Renders suggestions.
    pub(crate) fn completion(&self, completion: Completion) -> RenderedResult {
        let has_more = completion.has_more || completion.values.len() > MAX_VALUES;
        let values: Vec<String> = completion.values.into_iter().take(MAX_VALUES).collect();
        let total = completion.total.unwrap_or(values.len() as u64);
        let completion = CompletionWire { values, total, has_more };
        self.complete(&Completed { completion }, Caching::None)
    }

    /// Renders a page of a list.
    pub(crate) fn list(
        &self,
        member: &'static str,
        items: &[&RawValue],
        next: Option<String>,
    ) -> RenderedResult {
        self.complete(&Listed { member, items, next }, Caching::Private)
    }

    /// Renders requests for input, which come before a result.
    pub(crate) fn input_required(
        &self,
        input_requests: BTreeMap<String, InputRequestWire>,
        state: Option<String>,
    ) -> RenderedResult {
        rendered(&InputRequired {
            result_type: "input_required",
            meta: &self.snapshot.meta,
            input_requests,
            request_state: state,
        })
    }

    /// Renders what the server is and can do, with all that it says of itself.
    pub(crate) fn discovery(&self, result: &impl Serialize) -> RenderedResult {
        self.with_meta(result, Caching::Private, &self.snapshot.introduction)
    }

    /// Renders a result that needs no further round.
    fn complete(&self, result: &impl Serialize, caching: Caching) -> RenderedResult {
        self.with_meta(result, caching, &self.snapshot.meta)
    }

    fn with_meta(&self, result: &impl Serialize, caching: Caching, meta: &RawValue) -> RenderedResult {
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
