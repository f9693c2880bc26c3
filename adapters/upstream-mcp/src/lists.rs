//! [`Lists`]: what an upstream has, as it wrote it, and what is offered of it by the rules.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{
    CallToolResult, Completion, Context, DynTool, GetPromptResult, InvalidScope, Outcome, Prompt, PromptCall,
    PromptSpec, RawObject, ReadCall, ReadError, ReadResourceResult, Resource, ResourceSpec,
    ResourceSpecError, ScopeSet, SpecError, ToolCall, ToolError, ToolHints, ToolResult, ToolSpec,
    UriTemplate, Watch,
};
use rmcp::model::{
    ArgumentInfo, CallToolRequest, CallToolRequestParams, ClientRequest, CompleteRequest,
    CompleteRequestParams, CompletionContext, Extensions, GetPromptRequest, GetPromptRequestParams,
    ReadResourceRequest, ReadResourceRequestParams, Reference,
};
use serde_json::{Map, Value};
use syntax::strict_json;

use crate::connection::{Connection, RequestError};
use crate::options::{Limits, Options};
use crate::relay::{Relay, Resumption};
use crate::report::{ReportedDecision, ReportedTool, Uncovered};
use crate::rules::{Decision, Offered};
use crate::stderr::shown;

/// The error code of an upstream for a resource that is not there, before and since 2026-07-28.
const RESOURCE_NOT_FOUND: i32 = -32002;
const INVALID_PARAMS: i32 = -32602;
/// How deep a definition may be nested. It lies three levels deep in a list, and usual parsers read 64 to 128 levels.
const MAX_DEPTH: usize = 60;
/// How many tools that are not offered are named in the log.
const MAX_LOGGED: usize = 20;

/// What an upstream has.
#[derive(Default)]
pub(crate) struct Lists {
    tools: Vec<UpstreamTool>,
    /// Those that are offered.
    pub(crate) resources: Vec<Listed>,
    pub(crate) templates: Vec<Listed>,
    pub(crate) prompts: Vec<Listed>,
    /// What no rule covers, beside tools.
    pub(crate) uncovered: Uncovered,
    /// What was left out, for the log.
    left_out: Vec<String>,
}

/// A tool, and what becomes of it.
struct UpstreamTool {
    /// The name there, and the one that clients see.
    name: String,
    shown: String,
    definition: RawObject,
    decision: Result<Offered, ReportedDecision>,
}

/// A resource, a template or a prompt that is offered.
pub(crate) struct Listed {
    /// Its URI, template or name.
    key: String,
    definition: RawObject,
    scopes: ScopeSet,
}

impl Lists {
    /// Reads all lists that the upstream says it has.
    pub(crate) async fn read(options: &Options, connection: &Connection) -> Result<Self, RequestError> {
        let bounds = &options.limits;
        let info = connection.info();
        let capabilities = info.map(|info| info.capabilities.clone()).unwrap_or_default();
        let mut lists = Self::default();
        if capabilities.tools.is_some() {
            let request = |params| ClientRequest::ListToolsRequest(optional(params));
            let (tools, more) = connection.list("tools", bounds, request).await?;
            lists.note_more("tools", bounds, more);
            lists.tools = tools.into_iter().filter_map(|tool| UpstreamTool::new(options, tool)).collect();
        }
        if capabilities.resources.is_some() {
            let request = |params| ClientRequest::ListResourcesRequest(optional(params));
            let (resources, more) = connection.list("resources", bounds, request).await?;
            lists.note_more("resources", bounds, more);
            lists.uncovered.resources = uncovered(options.rules.resources.as_ref(), &resources);
            lists.resources = lists.listed(resources, "uri", options.rules.resources.as_ref(), "resource");
            let request = |params| ClientRequest::ListResourceTemplatesRequest(optional(params));
            match connection.list("resourceTemplates", bounds, request).await {
                Ok((templates, more)) => {
                    lists.note_more("resource templates", bounds, more);
                    let scopes = options.rules.resources.as_ref();
                    lists.uncovered.templates = uncovered(scopes, &templates);
                    lists.templates = lists.listed(templates, "uriTemplate", scopes, "resource template");
                }
                // There is no capability for these alone.
                Err(RequestError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if capabilities.prompts.is_some() {
            let request = |params| ClientRequest::ListPromptsRequest(optional(params));
            let (prompts, more) = connection.list("prompts", bounds, request).await?;
            lists.note_more("prompts", bounds, more);
            lists.uncovered.prompts = uncovered(options.rules.prompts.as_ref(), &prompts);
            lists.prompts = lists.listed(prompts, "name", options.rules.prompts.as_ref(), "prompt");
        }
        Ok(lists)
    }

    fn note_more(&mut self, what: &str, bounds: &Limits, more: bool) {
        if more {
            let Limits { listed, message_bytes, .. } = bounds;
            self.left_out.push(format!("all {what} beyond {listed}, or beyond {message_bytes} bytes in all"));
        }
    }

    fn listed(
        &mut self,
        items: Vec<RawObject>,
        member: &str,
        scopes: Option<&ScopeSet>,
        what: &str,
    ) -> Vec<Listed> {
        let Some(scopes) = scopes else {
            match items.len() {
                0 => {}
                1 => self.left_out.push(format!("1 {what}, which no rule covers")),
                count => self.left_out.push(format!("{count} {what}s, which no rule covers")),
            }
            return Vec::new();
        };
        let count = items.len();
        let listed = |definition: RawObject| {
            is_unambiguous(&definition)
                .then(|| Some(Listed { key: definition.read(member)?, definition, scopes: scopes.clone() }))?
        };
        let listed: Vec<Listed> = items.into_iter().filter_map(listed).collect();
        if listed.len() < count {
            self.left_out.push(format!("{} {what}s whose definitions are malformed", count - listed.len()));
        }
        listed
    }

    /// Logs what is not offered.
    pub(crate) fn log(&self, upstream: &str) {
        let not_offered = self.not_offered();
        for (name, reason) in not_offered.iter().take(MAX_LOGGED) {
            tracing::warn!(upstream, tool = name, "a tool is not offered: {reason}");
        }
        if let Some(others) = not_offered.len().checked_sub(MAX_LOGGED).filter(|others| *others > 0) {
            tracing::warn!(upstream, others, "more tools are not offered");
        }
        for what in &self.left_out {
            tracing::warn!(upstream, "not offered: {what}");
        }
    }

    /// Logs what is not offered, unless it is the same as of the lists before.
    pub(crate) fn log_unless_as_before(&self, upstream: &str, before: &Self) {
        if self.not_offered() != before.not_offered() || self.left_out != before.left_out {
            self.log(upstream);
        }
    }

    /// Returns the tools that are not offered and not hidden, and why.
    fn not_offered(&self) -> Vec<(String, &str)> {
        let reason = |decision| match decision {
            &Err(ReportedDecision::Uncovered) => Some("no rule covers it"),
            Err(ReportedDecision::Unusable(reason)) => Some(reason.as_str()),
            _ => None,
        };
        self.tools.iter().filter_map(|tool| Some((shown(&tool.name), reason(&tool.decision)?))).collect()
    }

    pub(crate) fn reported_tools(&self) -> Vec<ReportedTool> {
        let reported = |tool: &UpstreamTool| ReportedTool {
            upstream_name: shown(&tool.name),
            name: shown(&tool.shown),
            decision: tool.decision.as_ref().map_or_else(Clone::clone, |_| ReportedDecision::Offered),
        };
        self.tools.iter().map(reported).collect()
    }

    pub(crate) fn tools(&self, relay: &Arc<Relay>) -> Vec<Arc<dyn DynTool>> {
        let offered = |tool: &UpstreamTool| {
            let offered = tool.decision.as_ref().ok()?;
            Some(Arc::new(RelayedTool {
                relay: Arc::clone(relay),
                name: tool.name.clone(),
                shown: tool.shown.clone(),
                definition: tool.definition.clone(),
                scopes: offered.scopes.clone(),
                timeout: offered.timeout.unwrap_or(relay.options.limits.call),
            }) as Arc<dyn DynTool>)
        };
        self.tools.iter().filter_map(offered).collect()
    }

    pub(crate) fn resources(&self, relay: &Arc<Relay>) -> Vec<Arc<dyn Resource>> {
        let relayed = |listed: &Listed, is_template| {
            Arc::new(RelayedResource {
                relay: Arc::clone(relay),
                address: listed.key.clone(),
                is_template,
                definition: listed.definition.clone(),
                scopes: listed.scopes.clone(),
            }) as Arc<dyn Resource>
        };
        let resources = self.resources.iter().map(|listed| relayed(listed, false));
        resources.chain(self.templates.iter().map(|listed| relayed(listed, true))).collect()
    }

    pub(crate) fn prompts(&self, relay: &Arc<Relay>) -> Vec<Arc<dyn Prompt>> {
        let relayed = |listed: &Listed| {
            Arc::new(RelayedPrompt {
                relay: Arc::clone(relay),
                name: listed.key.clone(),
                definition: listed.definition.clone(),
                scopes: listed.scopes.clone(),
            }) as Arc<dyn Prompt>
        };
        self.prompts.iter().map(relayed).collect()
    }
}

impl UpstreamTool {
    /// Judges a tool; one without a name is no tool.
    fn new(options: &Options, mut definition: RawObject) -> Option<Self> {
        let name: String = definition.read("name")?;
        let hints = ToolSpec::relayed("x", definition.clone()).map_or(ToolHints::UNKNOWN, |spec| spec.hints);
        let mut shown = format!("{}{name}", options.prefix);
        let decision = match options.rules.tool(&name, hints) {
            Decision::Hidden => Err(ReportedDecision::Hidden),
            Decision::Uncovered => Err(ReportedDecision::Uncovered),
            Decision::Offered(_) if !is_unambiguous(&definition) => {
                let reason =
                    "its definition is nested too deeply, or is not JSON that all clients read alike";
                Err(ReportedDecision::Unusable(reason.to_owned()))
            }
            Decision::Offered(offered) => {
                if let Some(other) = &offered.name {
                    shown = format!("{}{other}", options.prefix);
                }
                for (member, text) in [("title", &offered.title), ("description", &offered.description)] {
                    if let Some(text) = text {
                        // A text can be JSON.
                        let _ = definition.set(member, text);
                    }
                }
                let spec = ToolSpec::relayed(&shown, definition.clone());
                spec.map(|_| offered).map_err(|error| ReportedDecision::Unusable(error.to_string()))
            }
        };
        Some(Self { name, shown, definition, decision })
    }
}

/// Returns whether every client can read a definition: one that some can't would cost them the whole list, with what other
/// servers have in it.
fn is_unambiguous(definition: &RawObject) -> bool {
    let text = serde_json::to_vec(definition).unwrap_or_default();
    strict_json::check(&text, MAX_DEPTH).is_ok() && strict_json::parse::<Value>(&text).is_ok()
}

/// Returns how many items no rule covers.
fn uncovered(scopes: Option<&ScopeSet>, items: &[RawObject]) -> usize {
    if scopes.is_some() { 0 } else { items.len() }
}

/// A request for a page.
fn optional<M: Default>(
    params: Option<rmcp::model::PaginatedRequestParams>,
) -> rmcp::model::RequestOptionalParam<M, rmcp::model::PaginatedRequestParams> {
    rmcp::model::RequestOptionalParam { method: M::default(), params, extensions: Extensions::default() }
}

/// Checks that a result has the member that its method demands, as an array.
fn with_array<T>(outcome: Outcome<RawObject>, member: &str) -> Result<Outcome<T>, ToolError> {
    match outcome {
        Outcome::Complete(result) | Outcome::Relayed(result) => {
            if result.get(member).is_some_and(|value| value.get().starts_with('[')) {
                return Ok(Outcome::Relayed(result));
            }
            Err(ToolError::new(format!("the server's result has no list {member:?}, as MCP demands")))
        }
        Outcome::InputRequired(required) => Ok(Outcome::InputRequired(required)),
    }
}

struct RelayedTool {
    relay: Arc<Relay>,
    name: String,
    shown: String,
    definition: RawObject,
    scopes: ScopeSet,
    timeout: Duration,
}

#[async_trait]
impl DynTool for RelayedTool {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        let spec = ToolSpec::relayed(&self.shown, self.definition.clone())?;
        spec.requires(self.scopes.iter().map(domain::Scope::as_str))
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let mut params = CallToolRequestParams::new(self.name.clone());
        params.arguments = call.raw_arguments().as_object().cloned();
        let request = |resumption: Resumption| {
            params.input_responses = resumption.input_responses;
            params.request_state = resumption.request_state;
            ClientRequest::CallToolRequest(CallToolRequest::new(params))
        };
        let outcome = self.relay.relay(&call.context, self.timeout, request).await?;
        with_array::<CallToolResult>(outcome, "content")
    }
}

struct RelayedResource {
    relay: Arc<Relay>,
    address: String,
    is_template: bool,
    definition: RawObject,
    scopes: ScopeSet,
}

#[async_trait]
impl Resource for RelayedResource {
    fn spec(&self) -> Result<ResourceSpec, ResourceSpecError> {
        let text = |member: &str| self.definition.read::<String>(member).unwrap_or_default();
        let (name, title, description) = (text("name"), text("title"), text("description"));
        let mut spec = ResourceSpec::at(&self.address, &name, &title, &description);
        if self.is_template {
            spec.address = domain::Address::Template(UriTemplate::parse_any_level(&self.address)?);
        }
        spec.definition = Some(self.definition.clone());
        spec.requires(self.scopes.iter().map(domain::Scope::as_str))
    }

    async fn read(&self, call: ReadCall<'_>) -> ReadResourceResult {
        let mut params = ReadResourceRequestParams::new(call.uri);
        let request = |resumption: Resumption| {
            params.input_responses = resumption.input_responses;
            params.request_state = resumption.request_state;
            ClientRequest::ReadResourceRequest(ReadResourceRequest::new(params))
        };
        let outcome = self.relay.relay(&call.context, self.relay.options.limits.call, request).await;
        let outcome = outcome.map_err(|error| match error.as_relayed().map(|error| error.code) {
            Some(RESOURCE_NOT_FOUND | INVALID_PARAMS) => ReadError::NotFound,
            _ => ReadError::Failed(error),
        })?;
        Ok(with_array(outcome, "contents")?)
    }

    fn watch(&self, uri: &str) -> Option<Watch> {
        Some(self.relay.watch(uri))
    }

    async fn complete(&self, context: Context<'_>, variable: &str, typed: &str) -> Completion {
        let reference = Reference::for_resource(self.address.clone());
        self.relay.complete(&context, reference, variable, typed).await
    }
}

struct RelayedPrompt {
    relay: Arc<Relay>,
    name: String,
    definition: RawObject,
    scopes: ScopeSet,
}

#[async_trait]
impl Prompt for RelayedPrompt {
    fn spec(&self) -> Result<PromptSpec, InvalidScope> {
        let text = |member: &str| self.definition.read::<String>(member).unwrap_or_default();
        let name = format!("{}{}", self.relay.options.prefix, self.name);
        let mut spec = PromptSpec::new(&name, &text("title"), &text("description"));
        spec.definition = Some(self.definition.clone());
        spec.requires(self.scopes.iter().map(domain::Scope::as_str))
    }

    async fn get(&self, call: PromptCall<'_>) -> GetPromptResult {
        let mut params = GetPromptRequestParams::new(self.name.clone());
        let texts = call.arguments.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str())));
        let arguments: Map<String, Value> = texts.collect();
        params.arguments = (!arguments.is_empty()).then_some(arguments);
        let request = |resumption: Resumption| {
            params.input_responses = resumption.input_responses;
            params.request_state = resumption.request_state;
            ClientRequest::GetPromptRequest(GetPromptRequest::new(params))
        };
        let outcome = self.relay.relay(&call.context, self.relay.options.limits.call, request).await?;
        with_array(outcome, "messages")
    }

    async fn complete(&self, context: Context<'_>, argument: &str, typed: &str) -> Completion {
        self.relay.complete(&context, Reference::for_prompt(self.name.clone()), argument, typed).await
    }
}

impl Relay {
    async fn complete(
        &self,
        context: &Context<'_>,
        reference: Reference,
        argument: &str,
        typed: &str,
    ) -> Completion {
        let mut params = CompleteRequestParams::new(reference, ArgumentInfo::new(argument, typed));
        if !context.filled_arguments.is_empty() {
            let filled = context.filled_arguments.iter().map(|(name, value)| (name.clone(), value.clone()));
            params = params.with_context(CompletionContext::with_arguments(filled.collect()));
        }
        let request = ClientRequest::CompleteRequest(CompleteRequest::new(params));
        let result = self.ask(context, request).await;
        let completion = result.ok().and_then(|result| result.read::<RawObject>("completion"));
        let completion = completion.unwrap_or_default();
        Completion {
            values: completion.read("values").unwrap_or_default(),
            total: completion.read("total"),
            has_more: completion.read("hasMore").unwrap_or_default(),
        }
    }
}
