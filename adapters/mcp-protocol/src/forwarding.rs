//! Responses of legacy clients to requests for input: to the call here that waits for it, or to the replica where it waits.
//!
//! What nothing waits for costs one look-up and counts by the sender's quota. Only a response of the subject and the client that
//! were asked goes to another replica, since the look-up is by a digest of them and of the unguessable id.

use domain::{Exhausted, Memory, Operation, Principal, Unreachable};
use syntax::strict_json::Unparsed;

use crate::exchange::Served;
use crate::input_requests::{Key, sealed_response};
use crate::reply::{Failure, LogFields, Reply, Status, code};

/// Passes a response on. One that nothing waits for, or that somebody else sends, changes nothing. `result` is `None` for an
/// error, which is a response, too.
///
/// # Errors
/// [`NotPassedOn`]; the response can be sent again.
pub(crate) async fn respond(
    served: Served<'_>,
    principal: &Principal,
    id: Option<&str>,
    result: Option<&Unparsed<&str>>,
    memory: Memory,
) -> Result<(), NotPassedOn> {
    let Some(id) = id else { return Ok(()) };
    let key = Key::of(id, principal);
    let Err(mut memory) = served.input_requests.respond(&key, result, memory) else { return Ok(()) };
    let Some(replicas) = served.input_requests.replicas() else { return Ok(()) };
    if let Some(throttle) = &served.snapshot.service().throttle {
        throttle.take(principal, Operation::default()).verdict().await?;
    }
    let Some(replica) = replicas.find(key.as_str()).await? else { return Ok(()) };
    // The text, sealed, and as a message.
    memory.add(3 * result.map_or(0, |result| result.text().len()))?;
    let sealed =
        sealed_response(&key, principal, result, served.snapshot.sealing_keys()).ok_or(Unreachable)?;
    Ok(replicas.send(&replica, key.as_str(), &sealed).await?)
}

/// Why a response could not be passed on.
pub(crate) enum NotPassedOn {
    Exhausted(Exhausted),
    Unreachable,
}

impl From<Exhausted> for NotPassedOn {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted(exhausted)
    }
}

impl From<Unreachable> for NotPassedOn {
    fn from(_: Unreachable) -> Self {
        Self::Unreachable
    }
}

impl NotPassedOn {
    /// Returns the reply: the client can send the response again.
    pub(crate) fn reply(self) -> Reply {
        match self {
            Self::Exhausted(exhausted) => Reply::exhausted(None, exhausted, LogFields::default()),
            Self::Unreachable => {
                let failure =
                    Failure::inline(code::OVERLOADED, format!("{Unreachable} at the moment; try again"));
                let failure = Failure { status: Status::Unavailable, ..failure };
                let log = LogFields { reason: Some("replica_unreachable"), ..LogFields::default() };
                Reply::failure(None, &failure, log)
            }
        }
    }
}
