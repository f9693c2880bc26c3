//! MCP as a way to reach the hexagon: JSON-RPC and both eras of the protocol. Bytes in, a neutral [`Reply`] out.
//!
//! This crate knows no HTTP library and no runtime. What it needs of HTTP reaches it as [`RequestFields`]; what it
//! wants of HTTP it says with [`Status`]. Specification: `modelcontextprotocol`, `docs/specification/2026-07-28`
//! (modern) and `2025-11-25`, `2025-06-18`, `2025-03-26` (legacy).

mod call;
mod fields;
mod legacy;
mod listing;
mod message;
mod mirror;
mod modern;
mod reply;
mod version;

use std::sync::Arc;

use domain::{Principal, Service};
use serde::Serialize;

pub use fields::{Field, RequestFields};
pub use reply::{Note, Reply, Status};

use crate::listing::ToolListing;
use crate::message::{Incoming, Request};
use crate::reply::Failure;

/// What the server says of itself (`Implementation` in the schema).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// For programs.
    pub name: String,
    /// For people.
    pub title: String,
    /// Of the server software.
    pub version: String,
    /// How a model should use the server; none when empty.
    #[serde(skip)]
    pub instructions: String,
}

/// What the protocol can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpSettings {
    /// What the server says of itself.
    pub identity: Identity,
    /// The deepest nesting of a request, in levels; at most [`domain::strict_json::MAX_DEPTH`].
    pub json_depth: usize,
    /// How long a client may keep a list, in milliseconds (`ttlMs`).
    pub list_ttl_ms: u64,
}

/// An MCP server over a [`Service`]. It has no sessions: every message stands alone.
pub struct McpServer {
    service: Arc<Service>,
    settings: McpSettings,
    listing: ToolListing,
}

impl McpServer {
    /// Renders once whatever does not change between requests.
    ///
    /// # Errors
    /// A [`serde_json::Error`] when a tool's description can't be given as JSON.
    pub fn new(service: Arc<Service>, settings: McpSettings) -> Result<Self, serde_json::Error> {
        let listing = ToolListing::render(&service)?;
        Ok(Self { service, settings, listing })
    }

    /// The service behind it.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// Answers one HTTP body for an authenticated principal.
    pub async fn answer(&self, who: &Principal, fields: &dyn RequestFields, body: &[u8]) -> Reply {
        let mut note = Note::default();
        let outcome = match message::parse(body, self.settings.json_depth) {
            Ok(Incoming::Request(request)) => {
                note.method = message::known_method(&request.method);
                return self.answer_request(who, fields, &request, note).await;
            }
            Ok(Incoming::Response) if modern::declared_by(fields) => Err(modern::refused_response()),
            // Both eras answer a notification with 202 and nothing else; none changes anything here.
            Ok(Incoming::Notification | Incoming::Response) => Ok(()),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => Reply::accepted(note),
            Err(failure) => Reply::failure(None, &failure, note),
        }
    }

    async fn answer_request(
        &self,
        who: &Principal,
        fields: &dyn RequestFields,
        request: &Request<'_>,
        mut note: Note,
    ) -> Reply {
        let outcome = if modern::declared_by(fields) || request.params.meta.is_some_and(modern::declared_in) {
            modern::answer(self, who, fields, request, &mut note).await
        } else {
            legacy::answer(self, who, fields, request, &mut note).await
        };
        match outcome {
            Ok(result) => Reply::success(request.id, &result, note),
            Err(Refusal::Denied(denied)) => Reply::denied(denied, note),
            Err(Refusal::Failure(failure)) => Reply::failure(Some(request.id), &failure, note),
        }
    }
}

/// Why a request has no result.
pub(crate) enum Refusal {
    /// A JSON-RPC error.
    Failure(Failure),
    /// The token lacks scopes; that is HTTP's to say (403), not JSON-RPC's.
    Denied(domain::Denied),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

/// A result in its era's form.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum EraResult<'a> {
    Legacy(legacy::LegacyResult<'a>),
    Modern(modern::ModernResult<'a>),
}
