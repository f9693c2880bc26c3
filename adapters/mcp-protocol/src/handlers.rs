//! The handlers of the methods that both eras have.

use std::collections::BTreeMap;

use domain::{
    CallError, ClientCapabilities, Exhausted, InputResponses, Memory, NoopFeedback, RequestContext,
};
use serde_json::Value;
use syntax::strict_json::{Json, Unparsed};

use crate::era::Era;
use crate::exchange::Exchange;
use crate::job::{Arguments, Target};
use crate::listing::List;
use crate::mirror::Presence;
use crate::params::{CompletionContext, bad_params, members, required_text, text};
use crate::reply::{Failure, Refusal, RenderedResult, code};

/// Handles `tools/list`, `resources/list`, `resources/templates/list` and `prompts/list`.
pub(crate) fn list(exchange: &mut Exchange<'_, '_>, list: List) -> Result<RenderedResult, Refusal> {
    let snapshot = exchange.served.snapshot;
    let cursor = exchange.request.params.more().and_then(|more| more.cursor.as_ref());
    let size = snapshot.settings.page_size;
    let (items, next) = snapshot.listing.page(list, snapshot.service(), exchange.principal, cursor, size)?;
    Ok(exchange.renderer().list(list.member(), &items, next))
}

/// Handles `tools/call`.
pub(crate) fn call_tool(exchange: &mut Exchange<'_, '_>) -> Result<Target, Refusal> {
    let params = &exchange.request.params;
    let name = required_text("name", params.name.as_ref())?;
    let arguments = params.arguments()?;
    if let Some(headers) = exchange.served.snapshot.listing.param_headers.get(name.as_str()) {
        let presence = match exchange.era {
            Era::Modern => Presence::Required,
            Era::Legacy => Presence::Optional,
        };
        headers.check(exchange.fields, arguments.map(Unparsed::text), presence)?;
    }
    Ok(Target::Tool { name, arguments: Arguments::of(params)? })
}

/// Handles `resources/read`.
pub(crate) fn read_resource(exchange: &mut Exchange<'_, '_>) -> Result<Target, Refusal> {
    let uri = required_text("uri", exchange.request.params.uri.as_ref())?;
    Ok(Target::Resource { uri })
}

/// Handles `prompts/get`.
pub(crate) fn get_prompt(exchange: &mut Exchange<'_, '_>) -> Result<Target, Refusal> {
    let params = &exchange.request.params;
    let name = required_text("name", params.name.as_ref())?;
    Ok(Target::Prompt { name, arguments: Arguments::of(params)? })
}

/// Handles the methods of the catalog.
pub(crate) fn call_method(exchange: &mut Exchange<'_, '_>) -> Result<Target, Refusal> {
    let params = exchange.request.all_params(exchange.served.snapshot.settings.json_depth)?;
    Ok(Target::Method { name: exchange.request.method.to_string(), params: Arguments::from(params) })
}

/// Handles `completion/complete`.
pub(crate) async fn complete(exchange: &mut Exchange<'_, '_>) -> Result<RenderedResult, Refusal> {
    let malformed = || bad_params("params.ref or params.argument is missing or malformed");
    let params = exchange.request.params.take_more();
    let reference = params.reference.and_then(Json::object).ok_or_else(malformed)?;
    let argument = params.argument.and_then(Json::object).ok_or_else(malformed)?;
    let reference = reference.parse().ok_or_else(malformed)?;
    let (name, value) = (text(argument.name.as_ref()), text(argument.value.as_ref()));
    let (name, value) = name.zip(value).ok_or_else(malformed)?;
    let filled = filled_arguments(params.context, exchange.request.memory.as_mut())?;
    let context = RequestContext {
        request_id: exchange.served.request_id,
        principal: exchange.principal,
        capabilities: ClientCapabilities::default(),
        input_responses: &InputResponses::default(),
        request_state: None,
        filled_arguments: &filled,
        feedback: &NoopFeedback,
        span: &*exchange.span,
        would_refuse: &exchange.would_refuse,
    };
    match exchange.served.snapshot.service().complete(&context, reference, name, value).await {
        Ok(completion) => Ok(exchange.renderer().completion(completion)),
        Err(CallError::Denied(denied)) => Err(exchange.era.refuse(denied)),
        Err(CallError::NotAudited) => Err(Failure::not_audited().into()),
        Err(CallError::UnknownPrompt | CallError::UnknownResource) => {
            Err(bad_params("params.ref names nothing that is on offer"))
        }
        Err(error) => Err(Failure::inline(code::INTERNAL_ERROR, error.to_string()).into()),
    }
}

/// Returns the arguments that are filled already, as far as they are texts.
fn filled_arguments(
    context: Option<Json<'_, CompletionContext<'_>>>,
    memory: Option<&mut Memory>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let arguments = context.and_then(Json::object).and_then(|context| context.arguments);
    let Some(arguments) = arguments else { return Ok(BTreeMap::new()) };
    // Given back with the request.
    memory.ok_or(Exhausted::Pool)?.add(arguments.tree_bytes())?;
    let text = |(name, value)| match value {
        Value::String(text) => Some((name, text)),
        _ => None,
    };
    Ok(members(arguments.parse()).into_iter().filter_map(text).collect())
}
