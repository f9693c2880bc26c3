//! Results in their era's form: the modern one says of each its kind and who made it, and of what can be kept for how long.

use std::sync::Arc;

use domain::{Completion, Message, ResourceContents, ToolOutput};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::content::{ContentWire, ContentsWire, MessageWire};
use crate::{Era, McpServer};

/// The most values that one completion shows (server/utilities/completion).
const MOST_VALUES: usize = 100;

/// A result, ready to be sent.
pub(crate) type Finished = Value;

/// How results look.
pub(crate) struct Shape {
    pub(crate) era: Era,
    pub(crate) server: Arc<McpServer>,
}

/// Whether a client may keep a result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// For a while, for itself: what the server says depends on the token, so nothing of it is public.
    Private,
    None,
}

impl Shape {
    /// `CallToolResult`.
    pub(crate) fn called(&self, output: ToolOutput) -> Finished {
        let content: Vec<ContentWire> = output.content.into_iter().map(Into::into).collect();
        let mut result = json!({"content": content, "isError": output.is_error});
        if let Some(structured) = output.structured {
            result["structuredContent"] = structured;
        }
        self.complete(result, Caching::None)
    }

    /// A tool's failure that the model can read and act on.
    pub(crate) fn tool_error(&self, text: String) -> Finished {
        let content = [ContentWire::Text { text }];
        self.complete(json!({"content": content, "isError": true}), Caching::None)
    }

    /// `ReadResourceResult`.
    pub(crate) fn read(&self, contents: Vec<ResourceContents>) -> Finished {
        let contents: Vec<ContentsWire> = contents.into_iter().map(Into::into).collect();
        self.complete(json!({"contents": contents}), Caching::Private)
    }

    /// `GetPromptResult`.
    pub(crate) fn prompted(&self, messages: Vec<Message>) -> Finished {
        let messages: Vec<MessageWire> = messages.into_iter().map(Into::into).collect();
        self.complete(json!({"messages": messages}), Caching::None)
    }

    /// `CompleteResult`.
    pub(crate) fn completed(&self, completion: Completion) -> Finished {
        let has_more = completion.has_more || completion.values.len() > MOST_VALUES;
        let values: Vec<String> = completion.values.into_iter().take(MOST_VALUES).collect();
        let total = completion.total.unwrap_or(values.len() as u64);
        let completion = json!({"values": values, "total": total, "hasMore": has_more});
        self.complete(json!({"completion": completion}), Caching::None)
    }

    /// `ListToolsResult` and its kind.
    pub(crate) fn listed(&self, member: &str, items: &[&RawValue], next: Option<String>) -> Finished {
        let mut result = json!({member: items});
        if let Some(next) = next {
            result["nextCursor"] = next.into();
        }
        self.complete(result, Caching::Private)
    }

    /// `InputRequiredResult`.
    pub(crate) fn input_required(&self, questions: Map<String, Value>, state: Option<String>) -> Finished {
        let mut result = json!({"resultType": "input_required", "_meta": self.meta()});
        if !questions.is_empty() {
            result["inputRequests"] = questions.into();
        }
        if let Some(state) = state {
            result["requestState"] = state.into();
        }
        result
    }

    /// A result that is all there is to say.
    pub(crate) fn complete(&self, mut result: Value, caching: Caching) -> Finished {
        if self.era == Era::Legacy {
            return result;
        }
        result["resultType"] = "complete".into();
        result["_meta"] = self.meta();
        if caching == Caching::Private {
            result["ttlMs"] = self.server.settings.list_ttl_ms.into();
            result["cacheScope"] = "private".into();
        }
        result
    }

    fn meta(&self) -> Value {
        json!({"io.modelcontextprotocol/serverInfo": self.server.settings.identity})
    }
}
