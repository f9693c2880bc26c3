//! The hexagon's one door: authenticate, list, call.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Either, Ready, poll_immediate, ready, select};
use serde_json::{Map, Value};

use crate::audit::{Auditor, Decision, NotRecorded, PolicyVersion, Recording};
use crate::catalog::{Catalog, CatalogTool};
use crate::completion::Completion;
use crate::content::ResourceContents;
use crate::context::{Cancellation, Context, Feedback};
use crate::downstream::Downstream;
use crate::input::{ClientCapabilities, InputResponses, Message, Outcome};
use crate::method::{MethodCall, MethodError};
use crate::observer::{Event, Observer};
use crate::policy::ScopePolicy;
use crate::pool::Exhausted;
use crate::principal::{Principal, Rejection, TokenPolicy};
use crate::prompt::{PromptArgument, PromptCall, PromptSpec};
use crate::provider::Provider;
use crate::resource::{Address, ReadCall, ReadError, ResourceSpec, Watch};
use crate::rules::{self, AccessRequest, AccessRules, Denial, Judged, Target};
use crate::scope::ScopeSet;
use crate::throttle::{Operation, Throttle};
use crate::time::Clock;
use crate::token::{BearerToken, NotReady, TokenVerifier, VerifyError};
use crate::tool::{CallToolResult, ToolCall, ToolName, ToolSpec};
use crate::tool_error::ToolError;
use crate::trace::{RequestTrace, Span, Step, Tracer};

/// The ports and policies behind every request.
pub struct Service {
    /// Verifies signatures.
    pub verifier: Arc<dyn TokenVerifier>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Is told what happens.
    pub observer: Arc<dyn Observer>,
    /// Bounds how often a principal, and an address, may ask; `None`: as often as they like.
    pub throttle: Option<Arc<dyn Throttle>>,
    /// Keeps decisions.
    pub auditor: Arc<dyn Auditor>,
    /// Records spans; `None`: there are none.
    pub tracer: Option<Arc<dyn Tracer>>,
    /// The version of the rules that decide, for the auditor.
    pub policy_version: PolicyVersion,
    /// The rules for tokens.
    pub tokens: TokenPolicy,
    /// The tools, resources, prompts and methods.
    pub catalog: Catalog,
    /// The scopes that they require.
    pub scopes: ScopePolicy,
    /// Rules beyond scopes; `None`: there are none.
    pub rules: Option<Arc<dyn AccessRules>>,
    /// The maximum duration of one call.
    pub tool_deadline: Duration,
    /// The way to tokens for other APIs, exchanged for callers'; `None`: no caller's token is kept.
    pub downstream: Option<Downstream>,
    /// What [`Service::ready`] asks beside the verifier.
    pub providers: Vec<Arc<dyn Provider>>,
}

/// Why a request has no principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It has no token.
    #[error("no access token")]
    NoToken,
    /// Its token was rejected.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Its token can't be judged at the moment.
    #[error("the issuer's keys are not available")]
    KeysUnavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

impl AuthError {
    /// Returns the reason code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::Rejected(rejection) => rejection.code(),
            Self::KeysUnavailable { .. } => "keys_unavailable",
        }
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No tool has that name.
    #[error("there is no tool of that name")]
    UnknownTool,
    /// No resource has that URI.
    #[error("there is no such resource")]
    UnknownResource,
    /// No prompt has that name.
    #[error("there is no prompt of that name")]
    UnknownPrompt,
    /// No method of the server's own has that name.
    #[error("there is no method of that name")]
    UnknownMethod,
    /// The token lacks scopes, or a rule refuses.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// It is permitted, but the decision can't be kept, and nothing may be done without.
    #[error("the server can't write its audit log at the moment; try again")]
    NotAudited,
    /// The arguments do not fit the tool's schema; the text says where.
    #[error("invalid arguments: {0}")]
    InvalidArguments(String),
    /// The tool failed.
    #[error(transparent)]
    Failed(#[from] ToolError),
    /// The tool panicked. The panic's message is in no answer.
    #[error("the tool failed unexpectedly")]
    Panicked,
    /// The tool exceeded the deadline.
    #[error("the tool took longer than {} s", .0.as_secs_f64())]
    DeadlineExceeded(Duration),
    /// The tool's structured result does not fit its own output schema.
    #[error("the tool gave a result that does not fit its output schema")]
    InvalidOutput,
}

impl CallError {
    /// Returns the reason code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownTool => "unknown_tool",
            Self::UnknownResource => "unknown_resource",
            Self::UnknownPrompt => "unknown_prompt",
            Self::UnknownMethod => "method_not_found",
            Self::Denied(denial) => denial.code(),
            Self::NotAudited => "audit_unavailable",
            Self::InvalidArguments(_) => "invalid_arguments",
            Self::Failed(_) => "tool_failed",
            Self::Panicked => "tool_panicked",
            Self::DeadlineExceeded(_) => "tool_deadline_exceeded",
            Self::InvalidOutput => "invalid_tool_output",
        }
    }
}

/// A tool that runs, and tells the observer once it does no more.
struct ToolRun<'s> {
    service: &'s Service,
    tool: &'s ToolName,
    began: Duration,
    outcome: &'static str,
}

impl<'s> ToolRun<'s> {
    /// Returns `None` where nobody observes: to look at the clock would be the most of it.
    fn begin(service: &'s Service, tool: &'s ToolName) -> Option<Self> {
        let begin = || Self { service, tool, began: service.clock.uptime(), outcome: "cancelled" };
        service.observer.is_on().then(begin)
    }
}

impl Drop for ToolRun<'_> {
    fn drop(&mut self) {
        let took = self.service.clock.uptime().saturating_sub(self.began);
        self.service.observer.observe(Event::ToolCalled { tool: self.tool, outcome: self.outcome, took });
    }
}

impl Service {
    /// Authenticates the bearer of a token for the protected resource of this identifier. Admission is never cached.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn authenticate(
        &self,
        token: Option<&BearerToken>,
        resource: &Arc<str>,
        mut trace: Option<&mut RequestTrace>,
    ) -> Result<Principal, AuthError> {
        let token = token.ok_or(AuthError::NoToken)?;
        let verify = begin(trace.as_deref(), "verify");
        let verified = self.verifier.verify(token).await.map_err(|error| match error {
            VerifyError::Untrusted(reason) => AuthError::Rejected(Rejection::Untrusted(reason)),
            VerifyError::KeysUnavailable { retry_after } => AuthError::KeysUnavailable { retry_after },
        });
        let claims = end(trace.as_deref_mut(), verify, verified)?;
        let admit = begin(trace.as_deref(), "admit");
        // After the wait for keys, not before: a token may expire meanwhile.
        let admitted = self.tokens.admit(&claims, resource, self.clock.now().seconds());
        let principal = end(trace, admit, admitted.map_err(AuthError::from))?;
        Ok(if self.downstream.is_some() { principal.with_token(token) } else { principal })
    }

    /// Returns the tools that a principal may call, in the catalog's order: all, or from the named one on, which need not be
    /// among them. None if there is no such tool. Each comes with its place in the catalog.
    pub fn tools_for<'a>(
        &'a self,
        principal: &'a Principal,
        from: Option<&str>,
    ) -> impl Iterator<Item = (usize, &'a ToolSpec)> + use<'a> {
        let permitted =
            self.catalog.tools.iter_from(from).filter(|tool| self.scopes.permits(principal, tool));
        permitted.map(|tool| (tool.index, &tool.spec))
    }

    /// Returns the resources that a principal may read, from a URI or template on, as [`Service::tools_for`] does.
    pub fn resources_for<'a>(
        &'a self,
        principal: &'a Principal,
        from: Option<&str>,
    ) -> impl Iterator<Item = (usize, &'a ResourceSpec)> + use<'a> {
        self.catalog.resources.specs_from(from).filter(|(_, spec)| principal.holds_all(&spec.scopes))
    }

    /// Returns whether there is a resource at this URI that a principal may read.
    #[must_use]
    pub fn may_read(&self, principal: &Principal, uri: &str) -> bool {
        self.catalog.resources.at(uri).is_some_and(|(spec, _)| principal.holds_all(&spec.scopes))
    }

    /// Says that a client waits for updates of what is at this URI, for as long as it keeps what this returns.
    #[must_use]
    pub fn watch(&self, uri: &str) -> Option<Watch> {
        self.catalog.resources.at(uri).and_then(|(_, resource)| resource.watch(uri))
    }

    /// Returns the prompts that a principal may get, as [`Service::tools_for`] does.
    pub fn prompts_for<'a>(
        &'a self,
        principal: &'a Principal,
        from: Option<&str>,
    ) -> impl Iterator<Item = (usize, &'a PromptSpec)> + use<'a> {
        self.catalog.prompts.specs_from(from).filter(|(_, spec)| principal.holds_all(&spec.scopes))
    }

    /// Checks that requests can be authenticated now.
    ///
    /// # Errors
    /// [`NotReady`] with the reason.
    pub fn ready(&self) -> Result<(), NotReady> {
        self.verifier.ready()?;
        self.providers.iter().try_for_each(|provider| provider.ready())
    }

    /// Calls a tool of the catalog, `None` where none has the name. `arguments` is called only once the call is permitted.
    ///
    /// # Errors
    /// [`CallError`], or that of `arguments`. Scopes are judged before arguments, and so are rules on anything else: a caller that
    /// is denied learns nothing of them.
    pub async fn call<E: From<CallError> + Send>(
        &self,
        request: &RequestContext<'_>,
        tool: Option<&CatalogTool>,
        arguments: impl FnOnce() -> Result<Value, E> + Send,
    ) -> Result<Outcome<CallToolResult>, E> {
        let Some(tool) = tool else {
            return Err(self.unknown(request, TOOLS_CALL, CallError::UnknownTool).await.into());
        };
        let (decided, fitted) = self.judge_call(request, tool, arguments);
        decided.await?;
        let arguments = fitted?;
        let mut run = ToolRun::begin(self, tool.name());
        let mut span = request.span.child("tool");
        span.set("gen_ai.tool.name", tool.name().as_str());
        let outcome = self.run(request, tool, &arguments, &span).await;
        if let Some(run) = &mut run {
            run.outcome = outcome.as_ref().map_or_else(CallError::code, |_| "ok");
        }
        if span.is_recorded() && outcome.as_ref().is_ok_and(Outcome::is_error) {
            span.end(Err(TOOL_ERROR.into()));
            return Ok(outcome?);
        }
        Ok(ended(span, outcome)?)
    }

    /// Judges a call, and returns whether it may be done, and the arguments as the tool gets them.
    fn judge_call<'s, E: From<CallError>, A: FnOnce() -> Result<Value, E>>(
        &'s self,
        request: &RequestContext<'_>,
        tool: &CatalogTool,
        arguments: A,
    ) -> (Kept<'s, CallError>, Result<Value, E>) {
        let policy = request.span.child(POLICY);
        let (target, needed) = (Target::Tool(tool.name().as_str()), self.scopes.required(tool));
        let mut judged = self.judge(request.principal, target, needed, None);
        let fitted = match &judged.denial {
            Some(denial) => Err(CallError::Denied(denial.clone()).into()),
            None => fitted(tool, arguments),
        };
        if let (Ok(arguments), false) = (&fitted, judged.undecided.is_empty()) {
            judged = self.judge(request.principal, target, needed, Some(arguments));
        }
        let asked = Asked::of(TOOLS_CALL, target.name(), needed);
        (self.decide(request, policy, asked, judged), fitted)
    }

    async fn run(
        &self,
        request: &RequestContext<'_>,
        tool: &CatalogTool,
        arguments: &Value,
        span: &Span,
    ) -> Result<Outcome<CallToolResult>, CallError> {
        let watch = CancelOnDrop::default();
        let call = ToolCall::new(self.context(request, &watch, span), arguments);
        let outcome = settle(self.bounded(tool.tool.run(call)).await?)?;
        if let Outcome::Complete(output) = &outcome {
            check_output(&tool.spec, output)?;
        }
        Ok(outcome)
    }

    /// Reads a resource.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn read(
        &self,
        request: &RequestContext<'_>,
        uri: &str,
    ) -> Result<Outcome<Vec<ResourceContents>>, CallError> {
        let Some((spec, resource)) = self.catalog.resources.at(uri) else {
            return Err(self.unknown(request, RESOURCES_READ, CallError::UnknownResource).await);
        };
        self.check(request, RESOURCES_READ, Target::Resource(spec.address.as_str()), &spec.scopes).await?;
        let variables = match &spec.address {
            Address::Template(template) => template.variables(uri).unwrap_or_default(),
            Address::Uri(_) => BTreeMap::new(),
        };
        let span = request.span.child("resource");
        let watch = CancelOnDrop::default();
        let call = ReadCall { context: self.context(request, &watch, &span), uri, variables };
        let outcome = self.bounded(resource.read(call)).await.and_then(|read| match read {
            Err(ReadError::NotFound) => Err(CallError::UnknownResource),
            Err(ReadError::Failed(error)) => settle(Err(error)),
            Ok(outcome) => Ok(outcome),
        });
        ended(span, outcome)
    }

    /// Gets a prompt. `arguments` is called only once that is permitted.
    ///
    /// # Errors
    /// [`CallError`], or that of `arguments`.
    pub async fn prompt<E: From<CallError>>(
        &self,
        request: &RequestContext<'_>,
        name: &str,
        arguments: impl FnOnce() -> Result<BTreeMap<String, String>, E> + Send,
    ) -> Result<Outcome<Vec<Message>>, E> {
        let Some((spec, prompt)) = self.catalog.prompts.named(name) else {
            return Err(self.unknown(request, PROMPTS_GET, CallError::UnknownPrompt).await.into());
        };
        self.check(request, PROMPTS_GET, Target::Prompt(&spec.name), &spec.scopes).await?;
        let arguments = &arguments()?;
        let missing =
            |argument: &&PromptArgument| argument.required && !arguments.contains_key(&argument.name);
        if let Some(missing) = spec.arguments.iter().find(missing) {
            let text = format!("the argument {} is missing", missing.name);
            return Err(CallError::InvalidArguments(text).into());
        }
        let mut span = request.span.child("prompt");
        span.set("gen_ai.prompt.name", spec.name.as_str());
        let watch = CancelOnDrop::default();
        let call = PromptCall { context: self.context(request, &watch, &span), arguments };
        let outcome = self.bounded(prompt.get(call)).await.and_then(settle);
        Ok(ended(span, outcome)?)
    }

    /// Calls a method of the server's own. `params` is called only once that is permitted.
    ///
    /// # Errors
    /// [`CallError`], or that of `params`.
    pub async fn call_method<E: From<CallError>>(
        &self,
        request: &RequestContext<'_>,
        name: &str,
        params: impl FnOnce() -> Result<Map<String, Value>, E> + Send,
    ) -> Result<Outcome<Map<String, Value>>, E> {
        let (spec, method) = self.catalog.methods.named(name).ok_or(CallError::UnknownMethod)?;
        self.check(request, spec.name(), Target::Method(spec.name()), &spec.scopes).await?;
        let params = &params()?;
        let span = request.span.child("method");
        let watch = CancelOnDrop::default();
        let call = MethodCall { context: self.context(request, &watch, &span), params };
        let outcome = self.bounded(method.call(call)).await.and_then(|called| match called {
            Err(MethodError::InvalidParams(text)) => Err(CallError::InvalidArguments(text)),
            Err(MethodError::Failed(error)) => settle(Err(error)),
            Ok(outcome) => Ok(outcome),
        });
        Ok(ended(span, outcome)?)
    }

    /// Suggests values of an argument.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn complete(
        &self,
        request: &RequestContext<'_>,
        of: CompletionRef<'_>,
        argument: &str,
        typed: &str,
    ) -> Result<Completion, CallError> {
        let watch = CancelOnDrop::default();
        match of {
            CompletionRef::Prompt(name) => {
                let Some((spec, prompt)) = self.catalog.prompts.named(name) else {
                    return Err(self.unknown(request, COMPLETE, CallError::UnknownPrompt).await);
                };
                self.check(request, COMPLETE, Target::Prompt(&spec.name), &spec.scopes).await?;
                let span = request.span.child(COMPLETION);
                let context = self.context(request, &watch, &span);
                let completed = self.bounded(prompt.complete(context, argument, typed)).await;
                ended(span, completed)
            }
            CompletionRef::Template(template) => {
                let Some((spec, resource)) = self.catalog.resources.with_template(template) else {
                    return Err(self.unknown(request, COMPLETE, CallError::UnknownResource).await);
                };
                self.check(request, COMPLETE, Target::Resource(spec.address.as_str()), &spec.scopes).await?;
                let span = request.span.child(COMPLETION);
                let context = self.context(request, &watch, &span);
                let completed = self.bounded(resource.complete(context, argument, typed)).await;
                ended(span, completed)
            }
        }
    }

    /// Keeps that a principal may have a stream of changes, of which each is judged by itself.
    ///
    /// # Errors
    /// [`CallError::NotAudited`].
    pub async fn listen(
        &self,
        principal: &Principal,
        request_id: &str,
        method: &str,
    ) -> Result<(), CallError> {
        let asked = Asked { method: Some(method), ..Asked::default() };
        self.account(principal, request_id, asked, Ok(())).await
    }

    /// Keeps that a request for the protected resource of this identifier is refused before anything is known of its sender.
    pub async fn refused(&self, request_id: &str, resource: &str, reason: &'static str) {
        // It stays refused.
        let _ = self.kept(request_id, (None, resource), Asked::default(), Some(reason), &[]).await;
    }

    /// Keeps that a request is refused because its sender asks too often.
    pub async fn throttled(
        &self,
        principal: &Principal,
        request_id: &str,
        operation: Operation<'_>,
        exhausted: Exhausted,
    ) {
        let target = operation.tool.map(ToolName::as_str);
        let asked = Asked { method: operation.method, target, ..Asked::default() };
        let who = (Some(principal), principal.resource());
        // It stays refused.
        let _ = self.kept(request_id, who, asked, Some(exhausted.code()), &[]).await;
    }

    /// Judges whether a principal may have what needs these scopes, and keeps nothing.
    fn judge(
        &self,
        principal: &Principal,
        target: Target<'_>,
        needed: Option<&ScopeSet>,
        arguments: Option<&Value>,
    ) -> Judged {
        rules::judge(&self.scopes, self.rules.as_deref(), needed, principal, || {
            let now = self.clock.now().seconds();
            AccessRequest { principal, is_token_whole: true, target, arguments, now }
        })
    }

    /// Decides whether a principal may have what is on offer, by the scopes that it takes and by rules.
    async fn check(
        &self,
        request: &RequestContext<'_>,
        method: &str,
        target: Target<'_>,
        needed: &ScopeSet,
    ) -> Result<(), CallError> {
        let policy = request.span.child(POLICY);
        let judged = self.judge(request.principal, target, Some(needed), None);
        self.decide(request, policy, Asked::of(method, target.name(), Some(needed)), judged).await
    }

    /// Keeps that something is asked for that is not on offer, and returns its error.
    async fn unknown(&self, request: &RequestContext<'_>, method: &str, error: CallError) -> CallError {
        let asked = Asked { method: Some(method), ..Asked::default() };
        let verdict = self.account(request.principal, request.request_id, asked, Err(error)).await;
        verdict.err().unwrap_or(CallError::NotAudited)
    }

    /// Keeps what was judged, and returns it.
    fn decide<'s>(
        &'s self,
        request: &RequestContext<'_>,
        policy: Span,
        asked: Asked<'_>,
        judged: Judged,
    ) -> Kept<'s, CallError> {
        let refusing = judged.denial.as_ref().map_or(&[][..], Denial::rules);
        for (rules, is_shadow) in [(refusing, false), (&judged.would_refuse, true)] {
            for rule in rules {
                self.observer.observe(Event::RuleRefused { rule, is_shadow });
            }
        }
        if !judged.would_refuse.is_empty() {
            let _ = request.would_refuse.set(judged.would_refuse.clone());
        }
        let asked = Asked { would_refuse: &judged.would_refuse, ..asked };
        let verdict = judged.denial.map_or(Ok(()), |denial| Err(denial.into()));
        let accounted = self.account(request.principal, request.request_id, asked, verdict);
        then(accounted, |accounted| ended(policy, accounted))
    }

    /// Keeps a decision, and returns it: what can't be kept may not be allowed.
    fn account<'s>(
        &'s self,
        principal: &Principal,
        request_id: &str,
        asked: Asked<'_>,
        verdict: Result<(), CallError>,
    ) -> Kept<'s, CallError> {
        let refused = verdict.as_ref().err().map(CallError::code);
        let who = (Some(principal), principal.resource());
        let rules = if let Err(CallError::Denied(denial)) = &verdict { denial.rules() } else { &[] };
        let kept = self.kept(request_id, who, asked, refused, rules);
        then(kept, |kept| verdict.and(kept.map_err(|NotRecorded| CallError::NotAudited)))
    }

    /// Keeps a decision.
    fn kept<'s>(
        &'s self,
        request_id: &str,
        (principal, audience): (Option<&Principal>, &str),
        Asked { method, target, needed, would_refuse }: Asked<'_>,
        refused: Option<&'static str>,
        rules: &[Arc<str>],
    ) -> Kept<'s, NotRecorded> {
        let record = || {
            let (at, policy) = (self.clock.now(), &self.policy_version);
            self.auditor.record(&Decision {
                at,
                request_id,
                principal,
                audience,
                method,
                target,
                refused,
                needed,
                rules,
                would_refuse,
                policy,
            })
        };
        let recording = if self.auditor.is_on() { record() } else { Recording::GoesOn };
        match recording {
            Recording::GoesOn => Either::Left(ready(Ok(()))),
            Recording::Failed => Either::Left(ready(Err(NotRecorded))),
            Recording::Waits(recorded) => Either::Right(Box::pin(async move {
                match select(recorded, self.clock.sleep(AUDIT_PATIENCE)).await {
                    Either::Left((recorded, _)) => recorded,
                    Either::Right(_) => Err(NotRecorded),
                }
            })),
        }
    }

    fn context<'a>(
        &'a self,
        request: &'a RequestContext<'_>,
        watch: &'a CancelOnDrop,
        span: &'a Span,
    ) -> Context<'a> {
        Context {
            principal: request.principal,
            clock: self.clock.as_ref(),
            capabilities: &request.capabilities,
            input_responses: request.input_responses,
            request_state: request.request_state,
            filled_arguments: request.filled_arguments,
            feedback: request.feedback,
            cancellation: &watch.0,
            span,
            downstream: self.downstream.as_ref(),
        }
    }

    /// Runs code of the catalog's: a panic, or a missed deadline, fails this call and nothing else.
    async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, CallError> {
        let mut running = std::pin::pin!(AssertUnwindSafe(work).catch_unwind());
        // Most of it is done at once, and needs no timer.
        let ended = match poll_immediate(&mut running).await {
            Some(ended) => ended,
            None => match select(running, self.clock.sleep(self.tool_deadline)).await {
                Either::Left((ended, _)) => ended,
                Either::Right(((), _)) => return Err(CallError::DeadlineExceeded(self.tool_deadline)),
            },
        };
        ended.map_err(|_panic| CallError::Panicked)
    }
}

/// Returns a call's arguments as its tool gets them.
fn fitted<E: From<CallError>>(
    tool: &CatalogTool,
    arguments: impl FnOnce() -> Result<Value, E>,
) -> Result<Value, E> {
    tool.spec.input.fit(arguments()?).map_err(|text| CallError::InvalidArguments(text).into())
}

/// Input that is required is an outcome, in whichever way it was asked for.
fn settle<T>(result: Result<Outcome<T>, ToolError>) -> Result<Outcome<T>, CallError> {
    result.or_else(|error| Ok(Outcome::InputRequired(error.into_input_required()?)))
}

/// Whether something may be done, once that is kept: most often at once. What has to wait for it is in a box, so that the future of
/// a request has no room for it.
type Kept<'s, E> = Either<Ready<Result<(), E>>, BoxFuture<'s, Result<(), E>>>;

/// Makes something of a decision once it is kept.
fn then<'s, E: Send + 's, F: Send + 's>(
    kept: Kept<'s, E>,
    make: impl FnOnce(Result<(), E>) -> Result<(), F> + Send + 's,
) -> Kept<'s, F> {
    match kept {
        Either::Left(kept) => Either::Left(ready(make(kept.into_inner()))),
        Either::Right(kept) => Either::Right(Box::pin(async move { make(kept.await) })),
    }
}

/// Begins a step of a request that is traced.
fn begin(trace: Option<&RequestTrace>, name: &'static str) -> Option<Step> {
    trace.map(|trace| trace.begin(name))
}

/// Ends such a step, and returns its result.
fn end<T>(
    trace: Option<&mut RequestTrace>,
    step: Option<Step>,
    result: Result<T, AuthError>,
) -> Result<T, AuthError> {
    if let (Some(trace), Some(step)) = (trace, step) {
        trace.end(step, result.as_ref().map(drop).map_err(AuthError::code));
    }
    result
}

/// Ends a span, and returns the result of what it is of.
fn ended<T>(span: Span, result: Result<T, CallError>) -> Result<T, CallError> {
    span.end(result.as_ref().map(drop).map_err(|error| error.code().into()));
    result
}

/// The names of spans that several methods have.
const POLICY: &str = "policy";
const COMPLETION: &str = "completion";
/// The `error.type` of a tool's result that says it is an error (OpenTelemetry's conventions for MCP).
const TOOL_ERROR: &str = "tool_error";

/// How long a request waits for its decision to be kept.
const AUDIT_PATIENCE: Duration = Duration::from_secs(5);

const TOOLS_CALL: &str = "tools/call";
const RESOURCES_READ: &str = "resources/read";
const PROMPTS_GET: &str = "prompts/get";
const COMPLETE: &str = "completion/complete";

/// What a decision is about.
#[derive(Clone, Copy, Default)]
struct Asked<'a> {
    method: Option<&'a str>,
    /// As the catalog names it.
    target: Option<&'a str>,
    needed: Option<&'a ScopeSet>,
    would_refuse: &'a [Arc<str>],
}

impl<'a> Asked<'a> {
    const fn of(method: &'a str, target: &'a str, needed: Option<&'a ScopeSet>) -> Self {
        Self { method: Some(method), target: Some(target), needed, would_refuse: &[] }
    }
}

/// The part of a [`Context`] that comes from the request.
pub struct RequestContext<'a> {
    /// The id of the request in the log.
    pub request_id: &'a str,
    /// The caller.
    pub principal: &'a Principal,
    /// The client's capabilities.
    pub capabilities: ClientCapabilities,
    /// The responses to earlier requests for input.
    pub input_responses: &'a InputResponses,
    /// The state that the round before returned.
    pub request_state: Option<&'a Value>,
    /// The arguments that are filled already, in a request for completion; none elsewhere.
    pub filled_arguments: &'a BTreeMap<String, String>,
    /// Where progress and log messages go.
    pub feedback: &'a dyn Feedback,
    /// The request's span.
    pub span: &'a Span,
    /// Is told the names of the rules in shadow mode that would refuse the request, if there are any.
    pub would_refuse: &'a OnceLock<Vec<Arc<str>>>,
}

/// The prompt or template whose argument is being completed (`PromptReference` and `ResourceTemplateReference` in MCP's
/// schema).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionRef<'a> {
    /// A prompt, by its name.
    Prompt(&'a str),
    /// A resource template, by its text.
    Template(&'a str),
}

/// Cancels when the call's future is dropped, complete or not.
#[derive(Default)]
struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        std::mem::take(&mut self.0).cancel();
    }
}

/// Checks a structured result against the tool's output schema (MCP 2026-07-28, server/tools, "Output Schema"). A type is trusted to
/// fit the schema that it made, but with debug assertions, such as in tests ([`crate::Json`]).
fn check_output(spec: &ToolSpec, output: &CallToolResult) -> Result<(), CallError> {
    let fits = match (&spec.output, &output.structured_content) {
        (None, _) => true,
        (Some(schema), Some(content)) => content.fits(schema, !cfg!(debug_assertions)),
        (Some(_), None) => false,
    };
    if fits { Ok(()) } else { Err(CallError::InvalidOutput) }
}
