//! The middle of the hexagon: what a tool is, who may call it, and when a token is acceptable.
//!
//! A tour, in the order of a request:
//!
//! 1. A [`BearerToken`] arrives. A [`TokenVerifier`] (a port) proves who signed it and returns its [`Claims`].
//! 2. [`TokenPolicy::admit`] judges the claims at the [`Clock`]'s (a port) present time. A [`Principal`] cannot be had
//!    any other way.
//! 3. [`ScopePolicy::check`] compares the principal's [`ScopeSet`], and what that implies by the [`ScopeHierarchy`], with
//!    what a tool requires; [`AccessRules`] (a port), if there are any, may refuse what that permits.
//! 4. A [`DynTool`] (a port) from the [`Catalog`] runs, or a [`Resource`], a [`Prompt`] or a [`Method`] (ports, too).
//!
//! [`Service`] is the one door to all of it. This crate does no I/O and knows no HTTP, no JSON-RPC and no Auth0.

pub mod announcer;
pub mod audit;
pub mod catalog;
pub mod completion;
pub mod content;
pub mod context;
pub mod downstream;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod hierarchy;
pub mod icon;
pub mod input;
pub mod method;
pub mod observer;
pub mod policy;
pub mod pool;
pub mod principal;
pub mod prompt;
#[cfg(test)]
mod properties;
pub mod provider;
pub mod quota;
pub mod raw;
pub mod replicas;
pub mod resource;
pub mod rules;
pub mod schema;
pub mod scope;
pub mod service;
pub mod throttle;
pub mod time;
pub mod token;
pub mod tool;
pub mod tool_error;
pub mod tools;
pub mod trace;

/// For the ports with asynchronous methods.
pub use async_trait::async_trait;

pub use announcer::{Announcer, Change, Subscription};
pub use audit::{Auditor, Decision, NoopAuditor, NotRecorded, PolicyVersion, Recording};
pub use catalog::{Catalog, CatalogError, MethodCatalog, PromptCatalog, ResourceCatalog, ToolCatalog};
pub use completion::Completion;
pub use content::{Content, Media, ResourceBody, ResourceContents, ResourceLink};
pub use context::{
    Cancellation, Context, Feedback, LogLevel, LogMessage, MAX_INPUT_ROUNDS, NoopFeedback, Progress,
};
pub use downstream::{
    Downstream, DownstreamApi, DownstreamError, DownstreamToken, ExchangeRequest, TokenExchange,
};
pub use hierarchy::{HierarchyError, ScopeHierarchy};
pub use icon::{Icon, IconTheme};
pub use input::{
    ClientCapabilities, CreateMessageParams, ElicitResult, InputKind, InputRequest, InputRequired,
    InputResponses, Message, Outcome, Role,
};
pub use method::{Method, MethodCall, MethodError, MethodResult, MethodSpec, MethodSpecError};
pub use observer::{Event, NoopObserver, Observer};
pub use policy::{Denied, LoginScopes, PolicyError, ScopePolicy};
pub use pool::{Exhausted, Holder, InUse, Lease, Memory, Pool, Shares};
pub use principal::{Principal, Rejection, ScopeAuthority, TokenCheck, TokenPolicy};
pub use prompt::{GetPromptResult, Prompt, PromptArgument, PromptCall, PromptSpec};
pub use provider::Provider;
pub use quota::{NotARate, Quota, Rate, Rates, Standing, ToolQuota};
pub use raw::RawObject;
pub use replicas::{MessageReceiver, ReplicaId, Replicas, Unreachable};
pub use resource::{
    Address, ReadCall, ReadError, ReadResourceResult, Resource, ResourceSpec, ResourceSpecError, UriTemplate,
    Watch,
};
pub use rules::{
    AccessRequest, AccessRules, Denial, Judged, LoginDemand, Refused, Remedy, RuleDenied, RuleJudgment,
    StepUp, Target, Unmet,
};
pub use schema::{Schema, SchemaError};
pub use scope::{InvalidScope, Scope, ScopeSet};
pub use service::{AuthError, CallError, CompletionRef, RequestContext, Service};
pub use throttle::{Allowance, Answer, Operation, Throttle, Verdict};
pub use time::{Clock, UnixMicros, UnixMillis, UnixSeconds};
pub use token::{
    Actor, BearerToken, Claims, CustomClaimError, CustomClaims, ExtraClaims, NotReady, TokenVerifier,
    Untrusted, UnverifiedClaims, VerifyError,
};
pub use tool::{
    CallToolResult, DynTool, FnTool, Json, SpecError, Tool, ToolCall, ToolHints, ToolName, ToolOutput,
    ToolResult, ToolSpec, tool_fn,
};
pub use tool_error::{RelayedError, ToolError};
pub use trace::{RequestTrace, Span, SpanData, SpanId, TraceContext, TraceId, Tracer};
