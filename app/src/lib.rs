//! An MCP server secured by Auth0, and the library to build one's own on.
//!
//! [`Server::builder`] takes tools and runs the command line: `serve`, `dev`, `check`, `token`. Below it, [`config`] turns
//! sources into [`Settings`], and [`wiring`] turns settings and [`Ports`] into a server: the only place that knows every
//! adapter.

pub mod commands;
pub mod config;
pub mod identity;
mod live;
mod logging;
pub mod server;
mod signals;
#[cfg(feature = "testing")]
pub mod testing;
mod tool_list;
pub mod wiring;

pub use config::{Settings, Sources};
pub use domain::{
    Announcer, CallToolResult, Change, Clock, Completion, Content, Context, CreateMessageParams, DynTool,
    ElicitResult, Feedback, FnTool, Icon, InputRequest, InputRequired, InputResponses, Json, LogLevel,
    LogMessage, MAX_INPUT_ROUNDS, Media, Message, Method, MethodCall, MethodError, MethodSpec, Outcome,
    Principal, Progress, Prompt, PromptArgument, PromptCall, PromptSpec, ReadCall, ReadError,
    ReadResourceResult, Resource, ResourceContents, ResourceLink, ResourceSpec, Role, Scope, ScopeSet,
    SpecError, Tool, ToolCall, ToolError, ToolHints, ToolName, ToolOutput, ToolProvider, ToolResult,
    ToolSpec, async_trait, tool_fn,
};
pub use server::{Server, ServerBuilder, Setup};
pub use tool_list::ToolList;
pub use wiring::{Offer, Ports};
