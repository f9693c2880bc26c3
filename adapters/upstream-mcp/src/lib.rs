//! Other MCP servers as a source of tools, resources and prompts: child processes over stdio, or addresses over Streamable HTTP.
//!
//! rmcp, the official SDK, is the client. This crate decides what of an upstream is offered to whom ([`rules`]), keeps it
//! running, and has many callers share it without seeing each other's answers ([`wire`]). It knows neither the transport nor
//! the verifier.

mod child;
mod http;
mod incoming;
mod lines;
pub mod options;
mod quota;
pub mod rules;
mod scan;
mod sse;
mod stderr;
mod wire;
