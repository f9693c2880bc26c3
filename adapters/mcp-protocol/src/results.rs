//! The results of each method, and what the modern era adds to all of them.

use std::collections::BTreeMap;

use domain::{CallToolResult, Completion, Content, Message, RawObject, ResourceContents};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::content::{ContentWire, ContentsWire, InputRequestWire, MessageWire};
use crate::era::Era;
use crate::json_text::{push_string, push_value};
use crate::reply::{RenderedResult, rendered};
use crate::snapshot::ProtocolSnapshot;

/// The maximum number of values of one completion (server/utilities/completion).
const MAX_VALUES: usize = 100;

/// Renders results in an era's form.
pub(crate) struct Renderer<'r> {
    pub(crate) era: Era,
    pub(crate) snapshot: &'r ProtocolSnapshot,
}

/// Whether a client may cache a result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// For a while, and privately, since results depend on the token.
    Private,
    None,
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

impl Renderer<'_> {
    /// Renders what a tool returned (`CallToolResult` in the schema).
    pub(crate) fn tool_result(&self, result: CallToolResult) -> RenderedResult {
        let mut json = Vec::with_capacity(RenderedResult::USUAL_BYTES);
        json.extend_from_slice(br#"{"content":["#);
        for (index, content) in result.content.into_iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            push_content(&mut json, content);
        }
        json.extend_from_slice(if result.is_error {
            br#"],"isError":true"#
        } else {
            br#"],"isError":false"#
        });
        if let Some(structured) = result.structured_content {
            json.extend_from_slice(br#","structuredContent":"#);
            structured.write_json(&mut json);
        }
        json.push(b'}');
        self.with(json, &self.snapshot.modern.complete)
    }

    /// Renders a tool's failure, for the model to read and to act on.
    pub(crate) fn tool_error(&self, text: String) -> RenderedResult {
        let content = vec![Content::Text(text)];
        self.tool_result(CallToolResult { content, structured_content: None, is_error: true })
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

    /// Renders a page of a list (`ListToolsResult` and the like), whose items are in a member that is named after them. It may be
    /// large, and is written into memory that is allocated once.
    pub(crate) fn list(&self, member: &'static str, items: &[&str], next: Option<String>) -> RenderedResult {
        let bytes: usize = items.iter().map(|item| item.len() + 1).sum();
        let mut json = Vec::with_capacity(RenderedResult::USUAL_BYTES + bytes);
        json.push(b'{');
        push_string(&mut json, member);
        json.extend_from_slice(b":[");
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.extend_from_slice(item.as_bytes());
        }
        json.push(b']');
        if let Some(next) = next {
            json.extend_from_slice(br#","nextCursor":"#);
            push_string(&mut json, &next);
        }
        json.push(b'}');
        self.with(json, &self.snapshot.modern.cacheable)
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
        self.rendered_with(result, &self.snapshot.modern.introduction)
    }

    /// Renders a result that needs no further round.
    fn complete(&self, result: &impl Serialize, caching: Caching) -> RenderedResult {
        let modern = &self.snapshot.modern;
        self.rendered_with(
            result,
            match caching {
                Caching::Private => &modern.cacheable,
                Caching::None => &modern.complete,
            },
        )
    }

    fn rendered_with(&self, result: &impl Serialize, members: &str) -> RenderedResult {
        let mut json = Vec::with_capacity(RenderedResult::USUAL_BYTES);
        push_value(&mut json, result);
        self.with(json, members)
    }

    /// Adds the members of the modern era to an object, if this is it.
    fn with(&self, mut object: Vec<u8>, members: &str) -> RenderedResult {
        if self.era == Era::Modern && object.pop_if(|end| *end == b'}').is_some() {
            if object != b"{" {
                object.push(b',');
            }
            object.extend_from_slice(members.as_bytes());
            object.push(b'}');
        }
        RenderedResult::of_json(object)
    }
}

/// Appends a piece of content. Nearly all of it is text.
fn push_content(json: &mut Vec<u8>, content: Content) {
    match content {
        Content::Text(text) => {
            json.extend_from_slice(br#"{"type":"text","text":"#);
            push_string(json, &text);
            json.push(b'}');
        }
        other => push_value(json, &ContentWire::from(other)),
    }
}
