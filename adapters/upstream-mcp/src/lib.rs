//! Other MCP servers as a source of tools, resources and prompts: child processes over stdio, or addresses over Streamable HTTP.
//!
//! rmcp, the official SDK, is the client. This crate decides what of an upstream is offered to whom ([`rules`], `lists`), keeps
//! it running (`upstream`), brings a caller's requests there and back (`relay`, `parked`), and has many callers share a connection
//! without seeing each other's answers (`wire`). It knows neither the transport nor the verifier.

mod caller;
mod child;
mod connection;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod http;
mod incoming;
mod legacy;
mod lines;
mod lists;
pub mod options;
mod parked;
mod quota;
mod relay;
mod report;
pub mod rules;
mod scan;
mod sse;
mod stderr;
mod trace;
mod upstream;

mod wire;

pub use options::Options;
pub use report::{Report, ReportedDecision, ReportedTool, Uncovered};
pub use upstream::{StartError, Upstream};
