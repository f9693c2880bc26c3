//! The [`Resource`] port: data that clients read, at one URI or at all URIs of a template.

use std::any::Any;
use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::completion::Completion;
use crate::content::ResourceContents;
use crate::context::Context;
use crate::icon::Icon;
use crate::input::Outcome;
use crate::raw::RawObject;
use crate::scope::{InvalidScope, ScopeSet};
use crate::tool_error::ToolError;

/// The description of a resource for clients, and the scopes that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceSpec {
    /// Its URI or template.
    pub address: Address,
    /// The name for programs.
    pub name: String,
    /// The name for people.
    pub title: String,
    /// The description.
    pub description: String,
    /// The media type, such as `text/plain`.
    pub mime_type: Option<String>,
    /// The icons that clients may show.
    pub icons: Vec<Icon>,
    /// The scopes that are required to see and to read it.
    pub scopes: ScopeSet,
    /// The definition as another server wrote it (`Resource` or `ResourceTemplate` in MCP's schema). Clients see this, under the spec's
    /// address, instead of what the other fields would make.
    pub definition: Option<RawObject>,
}

/// One URI, or all URIs of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Exactly this URI.
    Uri(String),
    /// Every URI that fits.
    Template(UriTemplate),
}

/// A URI template of RFC 6570 level 1: `{name}` stands for one or more characters without a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
    /// An expression beyond level 1: whatever is there.
    Anything,
}

/// Why a resource's spec is invalid; for the developer who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceSpecError {
    /// Not a template of level 1.
    #[error("not a URI template of RFC 6570 level 1: {0:?}")]
    Template(String),
    /// Not a scope.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
}

impl Address {
    /// Returns the URI or the template's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Uri(uri) => uri,
            Self::Template(template) => template.as_str(),
        }
    }
}

impl UriTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// [`ResourceSpecError::Template`] for unbalanced braces, operators, or two variables side by side.
    pub fn parse(text: &str) -> Result<Self, ResourceSpecError> {
        let invalid = || ResourceSpecError::Template(text.to_owned());
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(invalid)?;
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !is_name || (literal.is_empty() && !parts.is_empty()) {
                return Err(invalid());
            }
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        parts.push(Part::Literal(rest.to_owned()));
        if text.matches('}').count() != parts.len() / 2 {
            return Err(invalid());
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Reads a template of any level. An expression beyond level 1 stands for any text, with no variable.
    ///
    /// # Errors
    /// [`ResourceSpecError::Template`] for unbalanced braces, or a template that begins with such an expression.
    pub fn parse_any_level(text: &str) -> Result<Self, ResourceSpecError> {
        if let Ok(template) = Self::parse(text) {
            return Ok(template);
        }
        let invalid = || ResourceSpecError::Template(text.to_owned());
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((literal, after)) = rest.split_once('{') {
            let (_, after) = after.split_once('}').ok_or_else(invalid)?;
            if literal.is_empty() && parts.is_empty() {
                return Err(invalid());
            }
            parts.push(Part::Literal(literal.to_owned()));
            parts.push(Part::Anything);
            rest = after;
        }
        parts.push(Part::Literal(rest.to_owned()));
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Returns the template's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the text before the first variable.
    pub(crate) fn beginning(&self) -> &str {
        match self.parts.first() {
            Some(Part::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// Returns the variables' values as they are in `uri`; `None` if it does not fit.
    #[must_use]
    pub fn variables(&self, uri: &str) -> Option<BTreeMap<String, String>> {
        let mut values = BTreeMap::new();
        let mut rest = uri;
        let mut parts = self.parts.iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Part::Anything => {
                    let is_last = parts.len() == 1;
                    // A literal follows: the last one ends the URI, another is taken where it is first.
                    let Some(Part::Literal(next)) = parts.peek() else { return None };
                    let at =
                        if is_last { rest.len().checked_sub(next.len())? } else { rest.find(next.as_str())? };
                    rest = rest.get(at..)?;
                }
                Part::Variable(name) => {
                    let end = match parts.peek() {
                        Some(Part::Literal(next)) if !next.is_empty() => rest.find(next.as_str())?,
                        _ => rest.len(),
                    };
                    let (value, after) = rest.split_at(end);
                    if value.is_empty() || value.contains('/') {
                        return None;
                    }
                    values.insert(name.clone(), value.to_owned());
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(values)
    }
}

impl ResourceSpec {
    /// Creates the spec of a resource at one URI that asks for no scope.
    #[must_use]
    pub fn at(uri: &str, name: &str, title: &str, description: &str) -> Self {
        Self::new(Address::Uri(uri.to_owned()), name, title, description)
    }

    /// Creates the spec of a resource at every URI of a template that asks for no scope.
    ///
    /// # Errors
    /// [`ResourceSpecError::Template`].
    pub fn template(
        template: &str,
        name: &str,
        title: &str,
        description: &str,
    ) -> Result<Self, ResourceSpecError> {
        Ok(Self::new(Address::Template(UriTemplate::parse(template)?), name, title, description))
    }

    fn new(address: Address, name: &str, title: &str, description: &str) -> Self {
        Self {
            address,
            name: name.to_owned(),
            title: title.to_owned(),
            description: description.to_owned(),
            mime_type: None,
            icons: Vec::new(),
            scopes: ScopeSet::EMPTY,
            definition: None,
        }
    }

    /// Sets the media type, such as `text/plain`.
    #[must_use]
    pub fn of_type(mut self, mime_type: &str) -> Self {
        self.mime_type = Some(mime_type.to_owned());
        self
    }

    /// Adds an icon.
    #[must_use]
    pub fn icon(mut self, icon: Icon) -> Self {
        self.icons.push(icon);
        self
    }

    /// Asks for these scopes, all of them.
    ///
    /// # Errors
    /// [`ResourceSpecError::Scope`].
    pub fn requires<'a>(
        mut self,
        scopes: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ResourceSpecError> {
        self.scopes = ScopeSet::parse_all(scopes)?;
        Ok(self)
    }
}

/// A call of [`Resource::read`].
#[non_exhaustive]
pub struct ReadCall<'a> {
    /// The caller and its client.
    pub context: Context<'a>,
    /// The URI.
    pub uri: &'a str,
    /// The template's variables, as they are in the URI.
    pub variables: BTreeMap<String, String>,
}

/// The result of [`Resource::read`].
pub type ReadResourceResult = Result<Outcome<Vec<ResourceContents>>, ReadError>;

/// Why a resource can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A template fits the URI, but no resource is there.
    #[error("there is no such resource")]
    NotFound,
    /// Reading it failed.
    #[error(transparent)]
    Failed(#[from] ToolError),
}

/// A request to watch a resource, which ends when this is dropped.
pub type Watch = Box<dyn Any + Send + Sync>;

/// The port for every resource.
#[async_trait]
pub trait Resource: Send + Sync {
    /// Returns its spec. Asked once, when the catalog is built.
    ///
    /// # Errors
    /// [`ResourceSpecError`]; it stops the start.
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError>;

    /// Returns its contents.
    ///
    /// # Errors
    /// [`ReadError`].
    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult;

    /// Says that a client waits for updates of what is at `uri`, for as long as it keeps what this returns. Whatever announces
    /// an update need not know; a source that is asked to watch does.
    fn watch(&self, _uri: &str) -> Option<Watch> {
        None
    }

    /// Suggests values of a template's variable, for what was typed so far.
    async fn complete(&self, _context: Context<'_>, _variable: &str, _typed: &str) -> Completion {
        Completion::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_fits_whole_uris_and_gives_their_variables() {
        let template = UriTemplate::parse("db://{table}/rows/{id}").unwrap();
        let values = template.variables("db://users/rows/42").unwrap();
        assert_eq!((values["table"].as_str(), values["id"].as_str()), ("users", "42"));
        for other in ["db://users/rows/", "db:///rows/1", "db://a/b/rows/1", "db://users/rows/1/2", "x", ""] {
            assert_eq!(template.variables(other), None, "{other}");
        }
        assert_eq!(UriTemplate::parse("a:b").unwrap().variables("a:b"), Some(BTreeMap::new()));
    }

    #[test]
    fn templates_beyond_level_1_are_refused() {
        let files = UriTemplate::parse_any_level("file:///{+path}?x{&y}/end").unwrap();
        assert!(files.variables("file:///a/b?x&y=1/end").is_some_and(|variables| variables.is_empty()));
        for other in ["file:///a/b", "http://a?x/end", "file:///a?x/ended", ""] {
            assert_eq!(files.variables(other), None, "{other}");
        }
        assert!(UriTemplate::parse_any_level("a:{+path}").unwrap().variables("a:").is_some());
        for bad in ["a:{", "{+any}", "{+any}/x"] {
            assert!(UriTemplate::parse_any_level(bad).is_err(), "{bad}");
        }
        for bad in ["a:{", "a:}", "a:{}", "a:{+path}", "a:{a}{b}", "a:{a,b}", "a:{{a}}"] {
            assert!(UriTemplate::parse(bad).is_err(), "{bad}");
        }
    }
}
