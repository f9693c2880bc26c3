//! MCP as a way to reach the hexagon: JSON-RPC and both eras of the protocol. Bytes in, a neutral [`Reply`] out.
//!
//! This crate knows no HTTP library and no runtime. What it needs of HTTP reaches it as [`RequestFields`]; what it
//! wants of HTTP it says with [`Status`] and [`Body`]. Specification: `modelcontextprotocol`,
//! `docs/specification/2026-07-28` (modern) and `2025-11-25`, `2025-06-18`, `2025-03-26` (legacy).
//!
//! - `message`, `params`, `fields`, `mirror`: what comes in, and whether headers and body agree
//! - `modern`, `legacy`: which method means what, in each era
//! - `listing`, `results`, `content`, `version`: what goes out
//! - `job`, `streaming`, `feedback`, `questions`, `seal`: what takes its time, and talks with its client meanwhile
//! - `listen`: news of changes

mod content;
mod feedback;
mod fields;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod job;
mod legacy;
mod listen;
mod listing;
mod message;
mod mirror;
mod modern;
mod params;
mod questions;
mod reply;
mod results;
mod seal;
mod streaming;
mod version;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::{
    Announcer, Answers, Asking, CallError, Change, ClientCapabilities, CompletionOf, Principal, Service,
    Unheard,
};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

pub use fields::{Field, RequestFields};
pub use listing::ListingError;
pub use reply::{Body, Messages, Note, Reply, Source, Status};
pub use seal::{KEY_BYTES, SealingKeys};

use crate::job::Job;
use crate::listing::{List, Listing};
use crate::message::{Incoming, Request};
use crate::params::{Params, bad_params};
use crate::questions::OpenQuestions;
use crate::reply::{Failure, code};
use crate::results::{Finished, Shape};

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
    /// How many items a page of a list has.
    pub page_size: usize,
    /// How long a legacy client may take to answer a question.
    pub answer_timeout: Duration,
}

/// The protocol's two eras.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Modern,
    Legacy,
}

/// An MCP server over a [`Service`]. It has no sessions: every message stands alone.
pub struct McpServer {
    offer: ArcSwap<Offer>,
    settings: McpSettings,
    keys: SealingKeys,
    announcer: Announcer,
    questions: OpenQuestions,
    /// The `_meta` of every modern result.
    meta: Box<RawValue>,
}

/// A service, and what of it was rendered once.
pub(crate) struct Offer {
    pub(crate) service: Arc<Service>,
    pub(crate) listing: Listing,
}

/// The server as one request finds it: what is on offer does not change under it.
pub(crate) struct Served<'a> {
    pub(crate) server: &'a Arc<McpServer>,
    pub(crate) offer: &'a Offer,
}

/// What an era makes of a request.
pub(crate) enum Answer {
    Done(Finished),
    Job(Box<Job>),
    Listen,
}

impl McpServer {
    /// Renders once whatever does not change between requests.
    ///
    /// # Errors
    /// [`ListingError`] when something on offer can't be shown to clients.
    pub fn new(
        service: Arc<Service>,
        settings: McpSettings,
        keys: SealingKeys,
        announcer: Announcer,
    ) -> Result<Self, ListingError> {
        let listing = Listing::render(&service)?;
        let offer = ArcSwap::from_pointee(Offer { service, listing });
        let meta = to_raw_value(&json!({"io.modelcontextprotocol/serverInfo": settings.identity}))?;
        Ok(Self { offer, settings, keys, announcer, questions: OpenQuestions::default(), meta })
    }

    /// The service behind it, as it is now.
    #[must_use]
    pub fn service(&self) -> Arc<Service> {
        Arc::clone(&self.offer.load().service)
    }

    /// Offers something else from now on, and tells whoever listens what has changed. Requests under way go on with what
    /// they found.
    ///
    /// # Errors
    /// [`ListingError`]; then nothing changes.
    pub fn replace(&self, service: Arc<Service>) -> Result<(), ListingError> {
        let listing = Listing::render(&service)?;
        let before = self.offer.swap(Arc::new(Offer { service, listing }));
        let now = self.offer.load();
        let changes = [Change::Tools, Change::Prompts, Change::Resources];
        for (change, _) in
            changes.iter().zip(now.listing.differs(&before.listing)).filter(|(_, differs)| *differs)
        {
            self.announcer.announce(change);
        }
        Ok(())
    }

    /// Ends every subscription in order.
    pub fn end_subscriptions(&self) {
        self.announcer.announce(&Change::Ending);
    }

    /// Answers one HTTP body for an authenticated principal. `may_stream` says whether the client takes a stream.
    pub async fn answer(
        self: &Arc<Self>,
        who: &Principal,
        fields: &dyn RequestFields,
        body: &[u8],
        may_stream: bool,
    ) -> Reply {
        let mut note = Note::default();
        let outcome = match message::parse(body, self.settings.json_depth) {
            Ok(Incoming::Request(request)) => {
                note.method = message::known_method(&request.method);
                return self.answer_request(who, fields, request, note, may_stream).await;
            }
            Ok(Incoming::Response { .. }) if modern::declared_by(fields) => Err(modern::refused_response()),
            Ok(Incoming::Response { id, result }) => {
                self.take_answer(who, id.as_deref(), result);
                Ok(())
            }
            // Both eras answer a notification with 202 and nothing else; none changes anything here.
            Ok(Incoming::Notification) => Ok(()),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(()) => Reply::accepted(note),
            Err(failure) => Reply::failure(None, &failure, note),
        }
    }

    fn take_answer(&self, who: &Principal, id: Option<&str>, result: Option<Value>) {
        if let Some(id) = id {
            // An error is an answer too: nothing that the asker could read.
            self.questions.answer(who, id, result.unwrap_or_default());
        }
    }

    async fn answer_request(
        self: &Arc<Self>,
        who: &Principal,
        fields: &dyn RequestFields,
        mut request: Request<'_>,
        note: Note,
        may_stream: bool,
    ) -> Reply {
        let (offer, id) = (self.offer.load_full(), request.id);
        let served = Served { server: self, offer: &offer };
        let outcome = if modern::declared_by(fields) || modern::declared_in(&request.params) {
            modern::answer(&served, who, fields, &mut request, &note).await
        } else {
            legacy::answer(&served, who, fields, &mut request, &note).await
        };
        let refusal = match outcome {
            Ok(Answer::Done(result)) => return Reply::success(id, &result, note),
            Ok(Answer::Job(job)) => return streaming::reply(*job, may_stream).await,
            Ok(Answer::Listen) if !may_stream => {
                bad_params("subscriptions/listen answers with a stream: accept text/event-stream")
            }
            Ok(Answer::Listen) => {
                let service = Arc::clone(&offer.service);
                match listen::open(self, service, who, request, note.clone()) {
                    Ok(reply) => return reply,
                    Err(refusal) => refusal,
                }
            }
            Err(refusal) => refusal,
        };
        match refusal {
            Refusal::Denied(denied) => Reply::denied(denied, note),
            Refusal::Failure(failure) => Reply::failure(Some(id), &failure, note),
        }
    }
}

impl Served<'_> {
    pub(crate) fn shape(&self, era: Era) -> Shape {
        Shape { era, server: Arc::clone(self.server) }
    }

    /// Whether something on offer answers to the method: what was not advertised is not served.
    pub(crate) fn serves(&self, method: &str) -> bool {
        let catalog = &self.offer.service.catalog;
        let (resources, prompts) =
            (catalog.resources.specs().next().is_some(), catalog.prompts.specs().next().is_some());
        match method.split('/').next() {
            Some("resources") => resources,
            Some("prompts") => prompts,
            Some("completion") => resources || prompts,
            _ => true,
        }
    }

    pub(crate) fn list(
        &self,
        list: List,
        who: &Principal,
        params: &Params<'_>,
        era: Era,
    ) -> Result<Answer, Refusal> {
        let (service, size) = (&self.offer.service, self.server.settings.page_size);
        let (items, next) = self.offer.listing.page(list, service, who, params.cursor.as_ref(), size)?;
        Ok(Answer::Done(self.shape(era).listed(list.member(), &items, next)))
    }

    pub(crate) async fn complete(
        &self,
        who: &Principal,
        params: &mut Params<'_>,
        era: Era,
    ) -> Result<Answer, Refusal> {
        let reference = params.reference.take().and_then(|value| Reference::deserialize(value).ok());
        let argument = params.argument.take().and_then(|value| Typed::deserialize(value).ok());
        let (Some(reference), Some(argument)) = (reference, argument) else {
            return Err(bad_params("params.ref or params.argument is missing or malformed"));
        };
        let asking = Asking {
            principal: who,
            capabilities: ClientCapabilities::default(),
            answers: &Answers::default(),
            state: None,
            feedback: &Unheard,
        };
        let of = match &reference {
            Reference::Prompt { name } => CompletionOf::Prompt(name),
            Reference::Resource { uri } => CompletionOf::Template(uri),
        };
        match self.offer.service.complete(&asking, of, &argument.name, &argument.value).await {
            Ok(completion) => Ok(Answer::Done(self.shape(era).completed(completion))),
            Err(CallError::Denied(denied)) => Err(Refusal::Denied(denied)),
            Err(CallError::UnknownPrompt | CallError::UnknownResource) => {
                Err(bad_params("params.ref names nothing that is on offer"))
            }
            Err(error) => Err(Failure::inline(code::INTERNAL_ERROR, error.to_string()).into()),
        }
    }
}

/// `PromptReference` and `ResourceTemplateReference` in the schema.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Reference {
    #[serde(rename = "ref/prompt")]
    Prompt { name: String },
    #[serde(rename = "ref/resource")]
    Resource { uri: String },
}

#[derive(Deserialize)]
struct Typed {
    name: String,
    value: String,
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
