//! What a job calls, with its arguments as text.

use std::collections::BTreeMap;

use domain::{Exhausted, Memory};
use serde_json::{Map, Value};
use syntax::strict_json::Unparsed;

use crate::params::{Params, members};
use crate::reply::Refusal;
use crate::seal::ArgumentsDigest;

/// What is called.
pub(crate) enum Target {
    Tool { name: String, arguments: Arguments },
    Resource { uri: String },
    Prompt { name: String, arguments: Arguments },
    Method { name: String, params: Arguments },
}

/// Arguments as text: a tree of them can take a hundred times as much, and is made only while it is needed. `None` is `{}`.
pub(crate) struct Arguments(Option<Unparsed<Box<str>>>);

impl Arguments {
    /// Copies the arguments out of a request's params.
    pub(crate) fn of(params: &Params<'_>) -> Result<Self, Refusal> {
        Ok(Self(params.arguments()?.map(Unparsed::to_owned)))
    }

    /// Returns the params of a method of the catalog, without the members that are the protocol's.
    pub(super) fn params(&self) -> Map<String, Value> {
        let mut params = if let Value::Object(params) = self.parse() { params } else { Map::new() };
        for member in ["_meta", "inputResponses", "requestState"] {
            params.remove(member);
        }
        params
    }

    pub(super) fn tree_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Unparsed::tree_bytes)
    }

    /// Returns the tree, an object.
    pub(super) fn parse(&self) -> Value {
        self.0.as_ref().map_or_else(|| Value::Object(serde_json::Map::new()), Unparsed::parse)
    }

    /// Returns a prompt's arguments, which are texts.
    pub(super) fn texts(&self) -> Result<BTreeMap<String, String>, NotTexts> {
        let text = |(name, value)| match value {
            Value::String(text) => Ok((name, text)),
            _ => Err(NotTexts),
        };
        // As for a tool, null is absence.
        members(self.parse()).into_iter().filter(|(_, value)| !value.is_null()).map(text).collect()
    }

    fn text_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |arguments| arguments.text().len())
    }
}

impl From<Option<Unparsed<&str>>> for Arguments {
    fn from(text: Option<Unparsed<&str>>) -> Self {
        Self(text.as_ref().map(Unparsed::to_owned))
    }
}

/// A prompt's arguments are not all texts.
pub(super) struct NotTexts;

/// Returns the memory of a job, which has copies of what it needs of the request's body.
pub(super) fn job_memory(memory: Option<Memory>, target: &Target) -> Result<Memory, Refusal> {
    // The memory of a request is taken once.
    let mut memory = memory.ok_or(Exhausted::Pool)?;
    let arguments = match target {
        Target::Tool { arguments, .. } | Target::Prompt { arguments, .. } => arguments.text_bytes(),
        Target::Method { params, .. } => params.text_bytes(),
        Target::Resource { .. } => 0,
    };
    memory.add(target.name().len() + arguments)?;
    Ok(memory)
}

impl Target {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Tool { name, .. } | Self::Prompt { name, .. } | Self::Method { name, .. } => name,
            Self::Resource { uri } => uri,
        }
    }

    pub(super) fn tree_bytes(&self) -> usize {
        match self {
            Self::Tool { arguments, .. } | Self::Prompt { arguments, .. } => arguments.tree_bytes(),
            Self::Method { params, .. } => params.tree_bytes(),
            Self::Resource { .. } => 0,
        }
    }

    /// Returns what state is bound to: a client that brings it with other arguments starts anew. Without a state there is
    /// nothing to compare with; [`domain::Context::input`] counts no response then.
    pub(super) fn arguments_digest(&self) -> ArgumentsDigest {
        match self {
            Self::Tool { arguments, .. } | Self::Prompt { arguments, .. } => {
                ArgumentsDigest::of(&arguments.parse())
            }
            Self::Method { params, .. } => ArgumentsDigest::of(&Value::Object(params.params())),
            Self::Resource { .. } => ArgumentsDigest::of(&Value::Null),
        }
    }
}
