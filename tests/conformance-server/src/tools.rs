//! The suite's tools that answer at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    Announcer, CallToolResult, Change, Content, DynTool, LogLevel, LogMessage, Media, Outcome, Progress,
    ResourceBody, ResourceContents, SpecError, ToolCall, ToolResult, ToolSpec,
};
use serde_json::{Value, json};

use crate::interactive;

/// A PNG of one pixel.
pub(crate) const PNG: [u8; 67] = *b"\
    \x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00\x3a\x7e\x9b\x55\x00\x00\x00\x0a\x49\x44\x41\
    \x54\x78\x9c\x63\xf8\x0f\x00\x01\x01\x01\x00\xb1\x38\xf6\x14\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";
/// A WAV of no sound.
const WAV: [u8; 44] =
    *b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\0\0\0";
const PAUSE: Duration = Duration::from_millis(50);

/// Every tool.
pub(crate) fn all(announcer: &Announcer) -> Vec<Arc<dyn DynTool>> {
    let mut tools: Vec<Arc<dyn DynTool>> = vec![
        Arc::new(Fixed("test_simple_text", simple_text)),
        Arc::new(Fixed("test_image_content", image)),
        Arc::new(Fixed("test_audio_content", audio)),
        Arc::new(Fixed("test_embedded_resource", embedded)),
        Arc::new(Fixed("test_multiple_content_types", multiple)),
        Arc::new(Fixed("test_error_handling", error)),
        Arc::new(Fixed("test_streaming_elicitation", simple_text)),
        Arc::new(WithProgress),
        Arc::new(WithLogging("test_tool_with_logging")),
        Arc::new(WithLogging("test_logging_tool")),
        Arc::new(Schema),
        Arc::new(Headers),
        Arc::new(Trigger("test_trigger_tool_change", Change::Tools, announcer.clone())),
        Arc::new(Trigger("test_trigger_prompt_change", Change::Prompts, announcer.clone())),
    ];
    tools.extend(interactive::all());
    tools
}

/// A tool without arguments.
pub(crate) fn plain(name: &str) -> Result<ToolSpec, SpecError> {
    ToolSpec::with_schema(
        name,
        name,
        "A fixture of the conformance suite.",
        json!({"type": "object", "properties": {}}),
    )
}

fn simple_text() -> Vec<Content> {
    vec!["This is a simple text response for testing.".into()]
}

pub(crate) fn png() -> Content {
    Content::Image(Media { data: PNG.to_vec(), mime_type: "image/png".into() })
}

fn image() -> Vec<Content> {
    vec![png()]
}

fn audio() -> Vec<Content> {
    vec![Content::Audio(Media { data: WAV.to_vec(), mime_type: "audio/wav".into() })]
}

pub(crate) fn text_resource(uri: &str, mime_type: &str, text: &str) -> ResourceContents {
    ResourceContents {
        uri: uri.into(),
        mime_type: Some(mime_type.into()),
        body: ResourceBody::Text(text.into()),
    }
}

fn embedded() -> Vec<Content> {
    let text = "This is an embedded resource content.";
    vec![Content::Resource(text_resource("test://embedded-resource", "text/plain", text))]
}

fn multiple() -> Vec<Content> {
    let resource = r#"{"test":"data","value":123}"#;
    vec![
        "Multiple content types test:".into(),
        png(),
        Content::Resource(text_resource("test://mixed-content-resource", "application/json", resource)),
    ]
}

fn error() -> Vec<Content> {
    vec!["This tool intentionally returns an error for testing".into()]
}

struct Fixed(&'static str, fn() -> Vec<Content>);

#[async_trait]
impl DynTool for Fixed {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        plain(self.0)
    }

    async fn run(&self, _call: ToolCall<'_>) -> ToolResult {
        let is_error = self.0 == "test_error_handling";
        Ok(Outcome::Complete(CallToolResult { content: self.1(), structured_content: None, is_error }))
    }
}

struct WithProgress;

#[async_trait]
impl DynTool for WithProgress {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        plain("test_tool_with_progress")
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        for progress in [0.0, 50.0, 100.0] {
            call.context.feedback.progress(Progress::new(progress).of(100.0));
            call.context.clock.sleep(PAUSE).await;
        }
        CallToolResult::of(["The work is done."])
    }
}

struct WithLogging(&'static str);

#[async_trait]
impl DynTool for WithLogging {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        plain(self.0)
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        for text in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
            let data = Value::from(text);
            call.context.feedback.log(LogMessage::new(LogLevel::Info, data));
            call.context.clock.sleep(PAUSE).await;
        }
        CallToolResult::of(["Everything was logged."])
    }
}

struct Schema;

#[async_trait]
impl DynTool for Schema {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {
                "address": {
                    "$anchor": "addressDef",
                    "type": "object",
                    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
                },
            },
            "properties": {
                "name": {"type": "string"},
                "address": {"$ref": "#/$defs/address"},
                "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                "phone": {"type": "string"},
                "email": {"type": "string"},
            },
            "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
            "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
            "then": {"required": ["phone"]},
            "else": {"required": ["email"]},
            "additionalProperties": false,
        });
        ToolSpec::with_schema(
            "json_schema_2020_12_tool",
            "JSON Schema",
            "Tool with JSON Schema 2020-12 features.",
            schema,
        )
    }

    async fn run(&self, _call: ToolCall<'_>) -> ToolResult {
        CallToolResult::of(["It fits."])
    }
}

struct Headers;

#[async_trait]
impl DynTool for Headers {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let schema = json!({
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
            "required": ["region"],
        });
        ToolSpec::with_schema(
            "test_header_argument",
            "Header argument",
            "Mirrors its argument in a header.",
            schema,
        )
    }

    async fn run(&self, _call: ToolCall<'_>) -> ToolResult {
        CallToolResult::of(["The header agreed."])
    }
}

struct Trigger(&'static str, Change, Announcer);

#[async_trait]
impl DynTool for Trigger {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        plain(self.0)
    }

    async fn run(&self, _call: ToolCall<'_>) -> ToolResult {
        self.2.announce(&self.1);
        CallToolResult::of(["The change was announced."])
    }
}
