//! The modern era (2026-07-28): no handshake, every request carries its version and capabilities.

use domain::{InputResponses, Principal};
use serde_json::json;
use syntax::strict_json::{Json, Unparsed};

use crate::fields::{Field, PROTOCOL_VERSION, RequestFields};
use crate::job::{Arguments, Job, Target, job_memory};
use crate::listing::List;
use crate::message::Request;
use crate::mirror::{self, Presence};
use crate::params::{Params, bad_params, required_text, text};
use crate::reply::{Failure, Note, Status, code};
use crate::results::Finished;
use crate::seal::Binding;
use crate::version::{MODERN, capabilities, supported, unsupported_version};
use crate::{Answer, Era, Refusal, Served, Snapshot};

/// Whether the `MCP-Protocol-Version` header is this era's.
pub(crate) fn declared_by(fields: &dyn RequestFields) -> bool {
    fields.field(PROTOCOL_VERSION) == Field::Value(MODERN)
}

/// Whether a request's `_meta` has a member that only this era has.
pub(crate) fn declared_in(params: &Params<'_>) -> bool {
    params.meta.as_ref().is_some_and(|meta| {
        meta.version.is_some() || meta.capabilities.is_some() || meta.client_info.is_some()
    })
}

pub(crate) async fn answer(
    served: &Served<'_>,
    who: &Principal,
    fields: &dyn RequestFields,
    request: &mut Request<'_>,
    note: &Note,
) -> Result<Answer, Refusal> {
    check_request(fields, request)?;
    let params = &mut request.params;
    match request.method.as_ref() {
        method if !served.serves(method) => Err(not_found().into()),
        "server/discover" => Ok(Answer::Done(discovered(served))),
        "tools/list" => served.list(List::Tools, who, params, Era::Modern),
        "resources/list" => served.list(List::Resources, who, params, Era::Modern),
        "resources/templates/list" => served.list(List::Templates, who, params, Era::Modern),
        "prompts/list" => served.list(List::Prompts, who, params, Era::Modern),
        "tools/call" => {
            let name = required_text("name", params.name.as_ref())?;
            check_param_headers(served.snapshot, fields, &name, params.arguments()?.map(Unparsed::text))?;
            let arguments = Arguments::of(params)?;
            job(served, who, request, Target::Tool { name, arguments }, note)
        }
        "resources/read" => {
            let uri = required_text("uri", params.uri.as_ref())?;
            job(served, who, request, Target::Resource { uri }, note)
        }
        "prompts/get" => {
            let (name, arguments) = (required_text("name", params.name.as_ref())?, Arguments::of(params)?);
            job(served, who, request, Target::Prompt { name, arguments }, note)
        }
        "completion/complete" => served.complete(who, params, Era::Modern).await,
        "subscriptions/listen" => Ok(Answer::Listen),
        _ => Err(not_found().into()),
    }
}

fn discovered(served: &Served<'_>) -> Finished {
    let identity = &served.snapshot.settings.identity;
    let mut discovered = json!({
        "supportedVersions": supported(),
        "capabilities": capabilities(&served.snapshot.service, Era::Modern),
    });
    if !identity.instructions.is_empty() {
        discovered["instructions"] = identity.instructions.as_str().into();
    }
    served.shape(Era::Modern).introduced(&discovered)
}

fn job(
    served: &Served<'_>,
    who: &Principal,
    request: &mut Request<'_>,
    target: Target,
    note: &Note,
) -> Result<Answer, Refusal> {
    let params = &mut request.params;
    let mut memory = job_memory(request.memory.take(), &target)?;
    let mut input_responses = InputResponses::new(params.answers(&mut memory)?);
    let mut request_state = None;
    if let Some(sealed) = &params.request_state {
        let binding = Binding::new(who, target.method(), target.name());
        let now = served.snapshot.service.clock.now().seconds();
        let opened = sealed.text().and_then(|sealed| served.snapshot.keys.open(sealed, &binding, now));
        let opened = opened.ok_or_else(unknown_state)?;
        if opened.arguments == target.arguments_digest() {
            request_state = Some(opened.state);
        } else {
            // What was answered was asked about other arguments: the call starts anew.
            input_responses = InputResponses::default();
        }
    }
    let meta = params.meta.take().unwrap_or_default();
    let job = Job {
        server: served.server.clone(),
        snapshot: served.snapshot.clone(),
        who: who.clone(),
        era: Era::Modern,
        id: request.id.to_owned(),
        capabilities: meta.declared(),
        input_responses,
        answers_bytes: 0,
        request_state,
        progress_token: meta.progress_token(),
        log_level: meta.log_level()?,
        target,
        note: note.clone(),
        memory,
    };
    Ok(Answer::Job(Box::new(job)))
}

/// Changed, foreign or too old: it is not told which.
fn unknown_state() -> Refusal {
    bad_params("params.requestState is not one that this server gave out for this request")
}

fn check_param_headers(
    snapshot: &Snapshot,
    fields: &dyn RequestFields,
    name: &str,
    arguments: Option<&str>,
) -> Result<(), Failure> {
    match snapshot.listing.param_headers.get(name) {
        Some(headers) => headers.check(fields, arguments, Presence::Required),
        None => Ok(()),
    }
}

/// The order matters to clients: `_meta`, then headers against body, then the version.
fn check_request(fields: &dyn RequestFields, request: &Request<'_>) -> Result<(), Failure> {
    let version = check_meta(request)?;
    mirror::check(fields, PROTOCOL_VERSION, "MCP-Protocol-Version", Some(version), false)?;
    mirror::check_method(fields, request)?;
    mirror::check_name(fields, request)?;
    if version == MODERN { Ok(()) } else { Err(unsupported_version(version)) }
}

/// Checks the `_meta`, and says which version it names.
fn check_meta<'r>(request: &'r Request<'_>) -> Result<&'r str, Failure> {
    let missing = |what: &str| {
        Failure::malformed(code::INVALID_PARAMS, format!("params._meta is missing or has no valid {what}"))
    };
    let meta = request.params.meta.as_ref().ok_or_else(|| missing("object form"))?;
    let version =
        text(meta.version.as_ref()).ok_or_else(|| missing("io.modelcontextprotocol/protocolVersion"))?;
    match meta.capabilities {
        Some(Json::Object(_)) => Ok(version),
        _ => Err(missing("io.modelcontextprotocol/clientCapabilities")),
    }
}

/// Clients of this era never answer: the server asks by results, not by requests.
pub(crate) fn refused_response() -> Failure {
    Failure::malformed(code::INVALID_REQUEST, "responses are not accepted in this protocol version")
}

fn not_found() -> Failure {
    Failure { status: Status::NotFound, ..Failure::inline(code::METHOD_NOT_FOUND, "method not found") }
}
