//! An MCP server secured by Auth0, and the library to build one's own on.
//!
//! [`Server::builder`] takes tools and runs the command line: `serve`, `dev`, `check`, `token`, `explain`. Below it, [`config`] turns
//! sources into [`Settings`], and [`wiring`] turns settings and [`Ports`] into a server: the only place that knows every
//! adapter.

pub mod admin;
mod certificates;
mod commands;
mod commit;
pub mod config;
pub mod identity;
mod live;
mod logging;
pub mod server;
mod signals;
mod specified_tool;
mod systemd;
#[cfg(feature = "testing")]
pub mod testing;
mod tool_list;
mod upstream_rules;
pub mod wiring;

pub use config::{Settings, Sources};
pub use domain::{
    Announcer, CallToolResult, Cancellation, Change, Claims, ClientCapabilities, Clock, Completion, Content,
    Context, CreateMessageParams, CustomClaimError, DownstreamError, DownstreamToken, DynTool, ElicitResult,
    Feedback, FnTool, GetPromptResult, Icon, IconTheme, InputKind, InputRequest, InputRequired,
    InputResponses, InvalidScope, Json, LogLevel, LogMessage, MAX_INPUT_ROUNDS, Media, Message, Method,
    MethodCall, MethodError, MethodResult, MethodSpec, MethodSpecError, Outcome, Principal, Progress, Prompt,
    PromptArgument, PromptCall, PromptSpec, Provider, RawObject, ReadCall, ReadError, ReadResourceResult,
    Resource, ResourceBody, ResourceContents, ResourceLink, ResourceSpec, ResourceSpecError, Role, Schema,
    SchemaError, Scope, ScopeSet, SpecError, StructuredContent, TokenVerifier, Tool, ToolCall, ToolError,
    ToolHints, ToolName, ToolOutput, ToolResult, ToolSpec, UnixMillis, UnixSeconds, Watch, async_trait,
    tool_fn,
};
pub use hyper_transport::Drained;
pub use jwks_verifier::{self, IdentityProvider};
pub use server::{Server, ServerBuilder, Setup};
pub use tool_list::ToolList;
pub use upstream_mcp;
pub use wiring::{Offer, Ports};
