//! Other MCP servers as a source of tools, resources and prompts: child processes over stdio, or addresses over Streamable HTTP.
//!
//! rmcp, the official SDK, is the client. This crate decides what of an upstream is offered to whom ([`rules`]), keeps it
//! running, and has many callers share it without seeing each other's answers ([`wire`]). It knows neither the transport nor
//! the verifier.

pub mod options;
pub mod rules;
mod upstream;
mod wire;

pub use options::Options;
pub use upstream::{Report, ReportedDecision, ReportedTool, StartError, Upstream};
