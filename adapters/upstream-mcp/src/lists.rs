//! [`Lists`]: what an upstream has, as it wrote it, and what is offered of it by the rules.

use std::collections::HashSet;
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
    CompleteRequestParams, Extensions, GetPromptRequest, GetPromptRequestParams, ReadResourceRequest,
    ReadResourceRequestParams, Reference,
};
use serde_json::{Map, Value};

use crate::connection::{Connection, RequestError};
use crate::options::{Limits, Options};
use crate::relay::{Relay, Resumption};
use crate::report::{ReportedDecision, ReportedTool, Uncovered};
use crate::rules::{Decision, Offered};

/// The error code of an upstream for a resource that is not there, before and since 2026-07-28.
const RESOURCE_NOT_FOUND: i32 = -32002;
const INVALID_PARAMS: i32 = -32602;

/// What an upstream has.
#[derive(Default)]
pub(crate) struct Lists {
    tools: Vec<UpstreamTool>,
    /// Those that are offered.
    pub(crate) resources: Vec<Listed>,
    pub(crate) templates: Vec<Listed>,
    pub(crate) prompts: Vec<Listed>,
    /// The URIs of all resources: what is listed is not read through a template.
    uris: Arc<HashSet<String>>,
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
            lists.uris = Arc::new(resources.iter().filter_map(|resource| resource.read("uri")).collect());
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
        let listed = |definition: RawObject| {
            Some(Listed { key: definition.read(member)?, definition, scopes: scopes.clone() })
        };
        items.into_iter().filter_map(listed).collect()
    }

    /// Logs what is not offered.
    pub(crate) fn log(&self, upstream: &str) {
        for tool in &self.tools {
            let name = &tool.name;
            match &tool.decision {
                Err(ReportedDecision::Uncovered) => {
                    tracing::warn!(upstream, tool = name, "a tool is not offered: no rule covers it");
                }
                Err(ReportedDecision::Unusable(reason)) => {
                    tracing::warn!(upstream, tool = name, "a tool is not offered: {reason}");
                }
                _ => {}
            }
        }
        for what in &self.left_out {
            tracing::warn!(upstream, "not offered: {what}");
        }
    }

    pub(crate) fn reported_tools(&self) -> Vec<ReportedTool> {
        let reported = |tool: &UpstreamTool| ReportedTool {
            upstream_name: tool.name.clone(),
            name: tool.shown.clone(),
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
                listed_uris: Arc::clone(&self.uris),
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
    listed_uris: Arc<HashSet<String>>,
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
        // A resource of the list that is not offered must not be had through a template.
        if self.is_template && self.listed_uris.contains(call.uri) {
            return Err(ReadError::NotFound);
        }
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
        let params = CompleteRequestParams::new(reference, ArgumentInfo::new(argument, typed));
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
