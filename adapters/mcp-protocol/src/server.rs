//! The MCP server: from the body of one HTTP POST to its reply.

use std::sync::Arc;

use domain::{Announcer, InUse, Memory, Pool, Principal, Replicas, RequestTrace};

use crate::exchange::Served;
use crate::fields::{PROTOCOL_VERSION, RequestFields};
use crate::input_requests::PendingInputRequests;
use crate::message::{self, Incoming, InvalidMessage, Parsed};
use crate::reply::{Failure, LogFields, Reply};
use crate::snapshot::ProtocolSnapshot;
use crate::subscriptions::Subscriptions;
use crate::{batch, dispatch, forwarding, modern, version};

/// An MCP server. It has no sessions: every message stands alone, and is answered by the [`ProtocolSnapshot`] that it is given.
pub struct McpServer {
    input_requests: Arc<PendingInputRequests>,
    subscriptions: Arc<Subscriptions>,
}

/// An HTTP POST to the MCP endpoint.
pub struct PostRequest<'a> {
    /// The authenticated sender.
    pub principal: &'a Principal,
    /// The header fields.
    pub fields: &'a dyn RequestFields,
    /// The body.
    pub body: &'a [u8],
    /// Whether the client takes a stream.
    pub may_stream: bool,
    /// The id of the request in the log.
    pub request_id: &'a str,
    /// Where the memory of the work is counted; that of the body is counted already.
    pub memory: Memory,
    /// Where the spans of its requests begin; `None` where nothing is traced.
    pub trace: Option<&'a mut RequestTrace>,
}

impl McpServer {
    /// Creates a server whose pending requests for input are counted in this pool.
    #[must_use]
    pub fn new(announcer: Announcer, input_requests: Arc<Pool>) -> Self {
        Self {
            input_requests: Arc::new(PendingInputRequests::new(input_requests)),
            subscriptions: Arc::new(Subscriptions::new(announcer)),
        }
    }

    /// Has responses of legacy clients reach the replica that waits for them.
    #[must_use]
    pub fn with_replicas(self, replicas: &Arc<dyn Replicas>) -> Self {
        self.input_requests.set_replicas(Arc::clone(replicas));
        let (requests, subscriptions) =
            (Arc::downgrade(&self.input_requests), Arc::clone(&self.subscriptions));
        replicas.on_message(Box::new(move |key, message| {
            if let Some(requests) = requests.upgrade() {
                requests.receive(key, message, subscriptions.present_keys().as_deref());
            }
        }));
        self
    }

    /// Judges subscriptions by another snapshot from now on. Subscribers are notified of the lists that differ for them, and
    /// of nothing that they may not see any longer.
    pub fn reloaded(&self, snapshot: &Arc<ProtocolSnapshot>) {
        self.subscriptions.reloaded(snapshot);
    }

    /// Returns how many requests for input are pending, beside how many can be.
    #[must_use]
    pub fn pending_input_requests(&self) -> InUse {
        self.input_requests.usage()
    }

    /// Ends every subscription in order.
    pub fn end_subscriptions(&self) {
        self.subscriptions.end();
    }

    /// Answers one POST.
    pub async fn answer(&self, snapshot: &Arc<ProtocolSnapshot>, post: PostRequest<'_>) -> Reply {
        let PostRequest { principal, fields, body, may_stream, request_id, memory, trace } = post;
        let (input_requests, subscriptions) = (&self.input_requests, &self.subscriptions);
        let served = Served { snapshot, request_id, input_requests, subscriptions };
        // Matched in its place: what is moved takes its room twice.
        let mut parsed = message::parse(body, snapshot.settings.json_depth);
        let outcome = match &mut parsed {
            Ok(Parsed::One(Incoming::Request(request))) => {
                request.memory = Some(memory);
                return dispatch::answer(served, principal, fields, request, may_stream, trace).await;
            }
            // In a box of its own: rare, and no room for it in the future of every request.
            Ok(Parsed::Batch(parts)) => {
                let parts = std::mem::take(parts);
                return Box::pin(batch::answer(served, principal, fields, parts, memory, trace)).await;
            }
            Ok(Parsed::One(Incoming::Response { id, result })) => match may_respond(fields) {
                Ok(()) => {
                    let respond =
                        forwarding::respond(served, principal, id.as_deref(), result.as_ref(), memory);
                    // In a box for the same reason.
                    match Box::pin(respond).await {
                        Ok(()) => Ok(()),
                        Err(not_passed_on) => return not_passed_on.reply(),
                    }
                }
                Err(failure) => Err(failure),
            },
            // Both eras answer a notification with 202 and nothing else; none changes anything here.
            Ok(Parsed::One(Incoming::Notification)) => version::check_header(fields.field(PROTOCOL_VERSION)),
            Err(InvalidMessage { id, failure }) => {
                return Reply::failure(*id, failure, LogFields::default());
            }
        };
        match outcome {
            Ok(()) => Reply::accepted(LogFields::default()),
            Err(failure) => Reply::failure(None, &failure, LogFields::default()),
        }
    }
}

/// Checks that a message may be a response in the version that its header names.
fn may_respond(fields: &dyn RequestFields) -> Result<(), Failure> {
    let version = fields.field(PROTOCOL_VERSION);
    if modern::declared_by(version) {
        Err(modern::refused_response())
    } else {
        version::check_header(version)
    }
}
