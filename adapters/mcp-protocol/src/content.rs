//! Content, and requests for input, as the schema writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{
    Content, Icon, IconTheme, InputKind, InputRequest, Message, RawObject, ResourceBody, ResourceContents,
    ResourceLink, Role,
};
use serde::Serialize;
use serde_json::{Value, json};

/// `ContentBlock` in the schema.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum ContentWire {
    Text { text: String },
    Image { data: String, mime_type: String },
    Audio { data: String, mime_type: String },
    ResourceLink(LinkWire),
    Resource { resource: ContentsWire },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LinkWire {
    uri: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
}

/// `TextResourceContents` or `BlobResourceContents` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContentsWire {
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<String>,
    #[serde(flatten)]
    body: BodyWire,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum BodyWire {
    Text(String),
    Blob(String),
}

/// `Icon` in the schema.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IconWire<'a> {
    src: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    sizes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    theme: Option<&'static str>,
}

impl<'a> From<&'a Icon> for IconWire<'a> {
    fn from(icon: &'a Icon) -> Self {
        let Icon { src, mime_type, sizes, theme } = icon;
        let theme = theme.map(|theme| match theme {
            IconTheme::Light => "light",
            IconTheme::Dark => "dark",
        });
        Self { src, mime_type: mime_type.as_deref(), sizes, theme }
    }
}

pub(crate) fn icons(icons: &[Icon]) -> Vec<IconWire<'_>> {
    icons.iter().map(IconWire::from).collect()
}

/// `PromptMessage` and `SamplingMessage` in the schema.
#[derive(Serialize)]
pub(crate) struct MessageWire {
    role: &'static str,
    content: ContentWire,
}

impl From<Content> for ContentWire {
    fn from(content: Content) -> Self {
        match content {
            Content::Text(text) => Self::Text { text },
            Content::Image(media) => {
                Self::Image { data: STANDARD.encode(media.data), mime_type: media.mime_type }
            }
            Content::Audio(media) => {
                Self::Audio { data: STANDARD.encode(media.data), mime_type: media.mime_type }
            }
            Content::Link(link) => Self::ResourceLink(link.into()),
            Content::Resource(contents) => Self::Resource { resource: contents.into() },
        }
    }
}

impl From<ResourceLink> for LinkWire {
    fn from(link: ResourceLink) -> Self {
        let ResourceLink { uri, name, title, description, mime_type } = link;
        Self { uri, name, title, description, mime_type }
    }
}

impl From<ResourceContents> for ContentsWire {
    fn from(contents: ResourceContents) -> Self {
        let body = match contents.body {
            ResourceBody::Text(text) => BodyWire::Text(text),
            ResourceBody::Blob(data) => BodyWire::Blob(STANDARD.encode(data)),
        };
        Self { uri: contents.uri, mime_type: contents.mime_type, body }
    }
}

impl From<Message> for MessageWire {
    fn from(message: Message) -> Self {
        let role = match message.role {
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        Self { role, content: message.content.into() }
    }
}

/// `ElicitRequest`, `CreateMessageRequest` or `ListRootsRequest` in the schema.
#[derive(Serialize)]
pub(crate) struct InputRequestWire {
    pub(crate) method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) params: Option<InputParamsWire>,
}

#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum InputParamsWire {
    Made(Value),
    Relayed(RawObject),
}

/// Returns a request for input as the schema has it.
pub(crate) fn input_request(request: InputRequest, names_mode: bool) -> InputRequestWire {
    let method = request.kind().method();
    let params = match request {
        InputRequest::Elicit { message, schema } => {
            let mut params = json!({"message": message, "requestedSchema": schema});
            if names_mode {
                params["mode"] = "form".into();
            }
            Some(InputParamsWire::Made(params))
        }
        InputRequest::CreateMessage(sampling) => {
            let messages: Vec<MessageWire> = sampling.messages.into_iter().map(Into::into).collect();
            let mut params = json!({"messages": messages, "maxTokens": sampling.max_tokens});
            if let Some(prompt) = sampling.system_prompt {
                params["systemPrompt"] = prompt.into();
            }
            Some(InputParamsWire::Made(params))
        }
        InputRequest::ListRoots => None,
        InputRequest::Relayed { params, .. } => Some(InputParamsWire::Relayed(params)),
    };
    InputRequestWire { method, params }
}

/// Returns the client capability that a request needs, as `requiredCapabilities` names it.
pub(crate) const fn capability(request: &InputRequest) -> &'static str {
    match request.kind() {
        InputKind::Elicit => "elicitation",
        InputKind::CreateMessage => "sampling",
        InputKind::ListRoots => "roots",
    }
}
