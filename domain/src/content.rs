//! What tools, prompts and resources give back: pieces that a model or a person can read.

/// A piece of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// A picture.
    Image(Media),
    /// A sound.
    Audio(Media),
    /// Where a resource is, for the client to read when it wants to.
    Link(ResourceLink),
    /// A resource itself.
    Resource(ResourceContents),
}

/// Bytes of some media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The bytes themselves; the wire encodes them.
    pub data: Vec<u8>,
    /// Such as `image/png`.
    pub mime_type: String,
}

/// A resource that is not in the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceLink {
    /// Its URI.
    pub uri: String,
    /// For programs.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Such as `text/plain`.
    pub mime_type: Option<String>,
}

/// A resource's content at one URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceContents {
    /// Whose content it is.
    pub uri: String,
    /// Such as `text/plain`.
    pub mime_type: Option<String>,
    /// The content.
    pub body: ResourceBody,
}

/// Text or bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Bytes; the wire encodes them.
    Blob(Vec<u8>),
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}
