//! MCP as a way to reach the hexagon: JSON-RPC and both eras of the protocol. Bytes in, a neutral [`Reply`] out.
//!
//! This crate knows no HTTP library and no runtime. What it needs of HTTP reaches it as [`RequestFields`]; what it
//! wants of HTTP it says with [`Status`] and [`Body`]. Specification: `modelcontextprotocol`,
//! `docs/specification/2026-07-28` (modern) and `2025-11-25`, `2025-06-18`, `2025-03-26`, `2024-11-05` (legacy).
//!
//! - `message`, `params`, `fields`, `mirror`: what comes in, and whether headers and body agree
//! - `batch`: several messages in one body
//! - `modern`, `legacy`: which method means what, in each era
//! - `listing`, `results`, `content`, `version`: what goes out
//! - `job`, `streaming`, `feedback`, `questions`, `seal`: what takes its time, and talks with its client meanwhile
//! - `listen`: news of changes

mod batch;
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

use arc_swap::ArcSwapOption;
use domain::{
    Announcer, CallError, Change, ClientCapabilities, CompletionRef, Exhausted, Icon, InputResponses, Memory,
    NoopFeedback, Pool, Principal, RequestContext, Service,
};
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use syntax::strict_json::{Json, MapAccess, Members, Unparsed, Unread};

pub use fields::{Field, RequestFields};
pub use listing::ListingError;
pub use reply::{Body, Messages, Note, Reply, Source, Status};
pub use seal::{KEY_BYTES, SealingKeys};

use crate::job::Job;
use crate::listing::{List, Listing, check_icons};
use crate::message::{Fault, Incoming, Parsed, Request};
use crate::params::{Params, bad_params, text};
use crate::questions::OpenQuestions;
use crate::reply::{Failure, code};
use crate::results::{Finished, Shape, introduction};

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
    /// What clients may show beside its title.
    #[serde(skip)]
    pub icons: Vec<Icon>,
}

/// What the protocol can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McpSettings {
    /// What the server says of itself.
    pub identity: Identity,
    /// The deepest nesting of a request, in levels; at most [`syntax::strict_json::MAX_DEPTH`].
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

impl Era {
    /// Refuses for want of scopes. A modern client asks for what it had and for what the challenge names (2026-07-28,
    /// authorization, "Step-Up Authorization Flow"). A legacy one asks for what the challenge names, so that must hold what
    /// the token has, or the client would lose it (2025-11-25, authorization, "Scope Challenge Handling").
    pub(crate) fn refuse(self, denied: domain::Denied) -> Refusal {
        Refusal::Denied(match self {
            Self::Modern => denied,
            Self::Legacy => denied.keeping_held(),
        })
    }
}

/// An MCP server. It has no sessions: every message stands alone, and is answered by the [`Snapshot`] that it is given.
pub struct McpServer {
    announcer: Announcer,
    questions: OpenQuestions,
    /// What replaced the first snapshot, for what lasts longer than a request; none while nothing has.
    present: ArcSwapOption<Snapshot>,
}

/// A service with its settings, and what of it was rendered once. A request is judged by one snapshot from its first to
/// its last step.
pub struct Snapshot {
    service: Arc<Service>,
    listing: Listing,
    settings: McpSettings,
    keys: Arc<SealingKeys>,
    /// The `_meta` of every modern result.
    meta: Box<RawValue>,
    /// The `_meta` of the one that says what the server is.
    introduction: Box<RawValue>,
}

/// One HTTP body, and what the transport knows of its sender.
pub struct Posted<'a> {
    /// Who sent it.
    pub who: &'a Principal,
    /// Its header fields.
    pub fields: &'a dyn RequestFields,
    /// The body.
    pub body: &'a [u8],
    /// Whether the client takes a stream.
    pub may_stream: bool,
    /// Where the memory of its work is counted; that of the body is counted already.
    pub memory: Memory,
}

/// The server as one request finds it.
pub(crate) struct Served<'a> {
    pub(crate) server: &'a Arc<McpServer>,
    pub(crate) snapshot: &'a Arc<Snapshot>,
}

/// What an era makes of a request.
pub(crate) enum Answer {
    Done(Finished),
    Job(Box<Job>),
    Listen,
}

impl Snapshot {
    /// Renders once whatever does not change between requests.
    ///
    /// # Errors
    /// [`ListingError`] when something on offer can't be shown to clients.
    pub fn new(
        service: Arc<Service>,
        settings: McpSettings,
        keys: Arc<SealingKeys>,
    ) -> Result<Self, ListingError> {
        let listing = Listing::render(&service)?;
        check_icons("the server", &settings.identity.icons)?;
        let meta = |with_icons| {
            let identity = introduction(&settings.identity, with_icons);
            to_raw_value(&json!({"io.modelcontextprotocol/serverInfo": identity}))
        };
        let (meta, introduction) = (meta(false)?, meta(true)?);
        Ok(Self { service, listing, settings, keys, meta, introduction })
    }

    /// The service behind it.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The keys that seal what tools want remembered.
    #[must_use]
    pub fn sealing_keys(&self) -> &Arc<SealingKeys> {
        &self.keys
    }
}

impl McpServer {
    /// A server whose open questions are counted in this pool.
    #[must_use]
    pub fn new(announcer: Announcer, questions: Arc<Pool>) -> Self {
        Self { announcer, questions: OpenQuestions::new(questions), present: ArcSwapOption::empty() }
    }

    /// Judges subscriptions by another snapshot from now on. Whoever listens is told of the lists that differ for them, and
    /// nothing more of what they may not see any longer.
    pub fn reloaded(&self, now: &Arc<Snapshot>) {
        self.present.store(Some(Arc::clone(now)));
        self.announcer.announce(&Change::Reloaded);
    }

    /// Ends every subscription in order.
    pub fn end_subscriptions(&self) {
        self.announcer.announce(&Change::Ending);
    }

    /// Answers one HTTP body for an authenticated principal.
    pub async fn answer(self: &Arc<Self>, snapshot: &Arc<Snapshot>, posted: Posted<'_>) -> Reply {
        let Posted { who, fields, body, may_stream, memory } = posted;
        let mut note = Note::default();
        let served = Served { server: self, snapshot };
        let incoming = match message::parse(body, snapshot.settings.json_depth) {
            Ok(Parsed::One(incoming)) => incoming,
            // In a box of its own: rare, and no room for it in the future of every request.
            Ok(Parsed::Batch(parts)) => {
                return Box::pin(batch::answer(&served, who, fields, parts, memory)).await;
            }
            Err(Fault { id, failure }) => return Reply::failure(id, &failure, note),
        };
        let outcome = match incoming {
            Incoming::Request(request) => {
                note.method = message::known_method(&request.method);
                let request = Request { memory: Some(memory), ..request };
                return served.answer_request(who, fields, request, note, may_stream).await;
            }
            Incoming::Response { .. } if modern::declared_by(fields) => Err(modern::refused_response()),
            Incoming::Response { id, result } => version::check_header(fields).map(|()| {
                self.take_answer(who, id.as_deref(), result.as_ref(), memory);
            }),
            // Both eras answer a notification with 202 and nothing else; none changes anything here.
            Incoming::Notification => version::check_header(fields),
        };
        match outcome {
            Ok(()) => Reply::accepted(note),
            Err(failure) => Reply::failure(None, &failure, note),
        }
    }

    fn take_answer(
        &self,
        who: &Principal,
        id: Option<&str>,
        result: Option<&Unparsed<&RawValue>>,
        memory: Memory,
    ) {
        if let Some(id) = id {
            // An error is an answer too: nothing that the asker could read.
            self.questions.answer(who, id, result, memory);
        }
    }
}

impl Served<'_> {
    async fn answer_request(
        &self,
        who: &Principal,
        fields: &dyn RequestFields,
        mut request: Request<'_>,
        note: Note,
        may_stream: bool,
    ) -> Reply {
        let id = request.id;
        let outcome = match era(fields, &request) {
            Ok(Era::Modern) => modern::answer(self, who, fields, &mut request, &note).await,
            Ok(Era::Legacy) => legacy::answer(self, who, fields, &mut request, &note).await,
            Err(failure) => Err(failure.into()),
        };
        let refusal = match outcome {
            Ok(Answer::Done(result)) => return Reply::success(id, &result, note),
            Ok(Answer::Job(job)) => return streaming::reply(*job, may_stream).await,
            Ok(Answer::Listen) if !may_stream => {
                bad_params("subscriptions/listen answers with a stream: accept text/event-stream")
            }
            Ok(Answer::Listen) => match listen::open(self, who, request, note.clone()) {
                Ok(reply) => return reply,
                Err(refusal) => refusal,
            },
            Err(refusal) => refusal,
        };
        Reply::refused(id, refusal, note)
    }

    pub(crate) fn shape(&self, era: Era) -> Shape {
        Shape { era, snapshot: Arc::clone(self.snapshot) }
    }

    /// Whether something on offer answers to the method: what was not advertised is not served.
    pub(crate) fn serves(&self, method: &str) -> bool {
        let catalog = &self.snapshot.service.catalog;
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
        let Snapshot { service, listing, settings, .. } = &**self.snapshot;
        let (items, next) = listing.page(list, service, who, params.cursor.as_ref(), settings.page_size)?;
        Ok(Answer::Done(self.shape(era).listed(list.member(), &items, next)))
    }

    pub(crate) async fn complete(
        &self,
        who: &Principal,
        params: &mut Params<'_>,
        era: Era,
    ) -> Result<Answer, Refusal> {
        let malformed = || bad_params("params.ref or params.argument is missing or malformed");
        let reference = params.reference.take().and_then(Json::object).ok_or_else(malformed)?;
        let argument = params.argument.take().and_then(Json::object).ok_or_else(malformed)?;
        let of = reference.meant().ok_or_else(malformed)?;
        let (name, typed) = (text(argument.name.as_ref()), text(argument.value.as_ref()));
        let (name, typed) = name.zip(typed).ok_or_else(malformed)?;
        let asking = RequestContext {
            principal: who,
            capabilities: ClientCapabilities::default(),
            input_responses: &InputResponses::default(),
            request_state: None,
            feedback: &NoopFeedback,
        };
        match self.snapshot.service.complete(&asking, of, name, typed).await {
            Ok(completion) => Ok(Answer::Done(self.shape(era).completed(completion))),
            Err(CallError::Denied(denied)) => Err(era.refuse(denied)),
            Err(CallError::UnknownPrompt | CallError::UnknownResource) => {
                Err(bad_params("params.ref names nothing that is on offer"))
            }
            Err(error) => Err(Failure::inline(code::INTERNAL_ERROR, error.to_string()).into()),
        }
    }
}

/// Which era a request belongs to (2026-07-28, basic/versioning, "Backward Compatibility with Initialization-Based Versions").
fn era(fields: &dyn RequestFields, request: &Request<'_>) -> Result<Era, Failure> {
    let is_modern = modern::declared_in(&request.params);
    // A client can't know the version before it has initialized, so the header says nothing then.
    if request.method == "initialize" && !is_modern {
        return Ok(Era::Legacy);
    }
    let names_version = request.params.meta.as_ref().is_some_and(|meta| meta.version.is_some());
    if names_version || modern::declared_by(fields) {
        // The header is compared with the version in `_meta` before that is judged.
        return Ok(Era::Modern);
    }
    version::check_header(fields)?;
    Ok(if is_modern { Era::Modern } else { Era::Legacy })
}

/// `PromptReference` and `ResourceTemplateReference` in the schema.
#[derive(Default)]
pub(crate) struct Reference<'a> {
    kind: Option<Json<'a>>,
    name: Option<Json<'a>>,
    uri: Option<Json<'a>>,
}

impl<'a> Members<'a> for Reference<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
        match name {
            "type" => self.kind = Some(value.read()?),
            "name" => self.name = Some(value.read()?),
            "uri" => self.uri = Some(value.read()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

impl Reference<'_> {
    fn meant(&self) -> Option<CompletionRef<'_>> {
        match text(self.kind.as_ref())? {
            "ref/prompt" => text(self.name.as_ref()).map(CompletionRef::Prompt),
            "ref/resource" => text(self.uri.as_ref()).map(CompletionRef::Template),
            _ => None,
        }
    }
}

/// The `argument` of `CompleteRequestParams` in the schema: its name, and what was typed of its value.
#[derive(Default)]
pub(crate) struct Typed<'a> {
    name: Option<Json<'a>>,
    value: Option<Json<'a>>,
}

impl<'a> Members<'a> for Typed<'a> {
    fn take<A: MapAccess<'a>>(&mut self, name: &str, value: Unread<'_, A>) -> Result<(), A::Error> {
        match name {
            "name" => self.name = Some(value.read()?),
            "value" => self.value = Some(value.read()?),
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// Why a request has no result.
pub(crate) enum Refusal {
    /// A JSON-RPC error.
    Failure(Failure),
    /// The token lacks scopes; that is HTTP's to say (403), not JSON-RPC's.
    Denied(domain::Denied),
    /// There is no room for it.
    Exhausted(Exhausted),
}

impl From<Exhausted> for Refusal {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted(exhausted)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
