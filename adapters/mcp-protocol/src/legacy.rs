//! The legacy era (2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25): `initialize`, then requests; here without a session.

use domain::{ClientCapabilities, InputResponses, LogLevel, Principal};
use serde_json::json;
use syntax::strict_json::Unparsed;

use crate::fields::{Field, METHOD, NAME, RequestFields};
use crate::job::{Arguments, Job, Target, job_memory};
use crate::listing::List;
use crate::message::Request;
use crate::mirror::{self, Presence};
use crate::params::{Meta, bad_params, level, required_text, text};
use crate::reply::{Failure, Note, code};
use crate::results::{Finished, introduction, rendered};
use crate::version::{LEGACY, capabilities, has_icons};
use crate::{Answer, Era, Refusal, Served, Snapshot};

/// Without a session nothing says which level a client has set, so everything that is worth a client's while is told.
const LEAST_LEVEL: LogLevel = LogLevel::Info;

pub(crate) async fn answer(
    served: &Served<'_>,
    who: &Principal,
    fields: &dyn RequestFields,
    request: &mut Request<'_>,
    note: &Note,
) -> Result<Answer, Refusal> {
    check_mirrors_if_present(fields, request)?;
    let params = &mut request.params;
    match request.method.as_ref() {
        method if !served.serves(method) => Err(not_found()),
        "initialize" => Ok(Answer::Done(initialized(served, request)?)),
        "ping" => Ok(Answer::Done(rendered(&json!({})))),
        "tools/list" => served.list(List::Tools, who, params, Era::Legacy),
        "resources/list" => served.list(List::Resources, who, params, Era::Legacy),
        "resources/templates/list" => served.list(List::Templates, who, params, Era::Legacy),
        "prompts/list" => served.list(List::Prompts, who, params, Era::Legacy),
        "tools/call" => {
            let name = required_text("name", params.name.as_ref())?;
            check_param_headers_if_present(
                served.snapshot,
                fields,
                &name,
                params.arguments()?.map(Unparsed::text),
            )?;
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
        "completion/complete" => served.complete(who, params, Era::Legacy).await,
        "logging/setLevel" => {
            let name = required_text("level", params.level.as_ref())?;
            let known = level(&name).ok_or_else(|| bad_params("params.level is no log level"))?;
            tracing::debug!(?known, "a client without a session set a log level");
            Ok(Answer::Done(rendered(&json!({}))))
        }
        "resources/subscribe" | "resources/unsubscribe" => {
            let uri = required_text("uri", params.uri.as_ref())?;
            if served.snapshot.service.may_read(who, &uri) {
                Ok(Answer::Done(rendered(&json!({}))))
            } else {
                let failure = Failure::inline(code::RESOURCE_NOT_FOUND, "resource not found");
                let uri: String = uri.chars().take(2048).collect();
                Err(failure.with_data(json!({"uri": uri})).into())
            }
        }
        _ => Err(not_found()),
    }
}

fn not_found() -> Refusal {
    Failure::inline(code::METHOD_NOT_FOUND, "method not found").into()
}

/// `InitializeResult` in the schema.
fn initialized(served: &Served<'_>, request: &Request<'_>) -> Result<Finished, Failure> {
    let requested = text(request.params.protocol_version.as_ref())
        .ok_or_else(|| Failure::inline(code::INVALID_PARAMS, "params.protocolVersion is not a string"))?;
    // 2025-11-25, basic/lifecycle: an unknown version is answered with the newest that the server has.
    let version = LEGACY.into_iter().find(|served| *served == requested).unwrap_or(LEGACY[0]);
    let identity = &served.snapshot.settings.identity;
    let mut initialized = json!({
        "protocolVersion": version,
        "capabilities": capabilities(&served.snapshot.service, Era::Legacy),
        "serverInfo": introduction(identity, has_icons(version)),
    });
    if !identity.instructions.is_empty() {
        initialized["instructions"] = identity.instructions.as_str().into();
    }
    Ok(rendered(&initialized))
}

fn job(
    served: &Served<'_>,
    who: &Principal,
    request: &mut Request<'_>,
    target: Target,
    note: &Note,
) -> Result<Answer, Refusal> {
    let meta = &request.params.meta;
    Ok(Answer::Job(Box::new(Job {
        server: served.server.clone(),
        snapshot: served.snapshot.clone(),
        memory: job_memory(request.memory.take(), &target)?,
        who: who.clone(),
        era: Era::Legacy,
        id: request.id.to_owned(),
        target,
        capabilities: ClientCapabilities::ALL,
        input_responses: InputResponses::default(),
        answers_bytes: 0,
        request_state: None,
        progress_token: meta.as_ref().and_then(Meta::progress_token),
        log_level: Some(LEAST_LEVEL),
        note: note.clone(),
    })))
}

/// This era has no such headers. A client that sends them all the same must not tell a gateway one thing and us another.
fn check_mirrors_if_present(fields: &dyn RequestFields, request: &Request<'_>) -> Result<(), Failure> {
    if fields.field(METHOD) != Field::Absent {
        mirror::check_method(fields, request)?;
    }
    if fields.field(NAME) != Field::Absent {
        mirror::check_name(fields, request)?;
    }
    Ok(())
}

fn check_param_headers_if_present(
    snapshot: &Snapshot,
    fields: &dyn RequestFields,
    name: &str,
    arguments: Option<&str>,
) -> Result<(), Failure> {
    match snapshot.listing.param_headers.get(name) {
        Some(headers) => headers.check(fields, arguments, Presence::Optional),
        None => Ok(()),
    }
}
