//! MCP as a way to reach the hexagon: JSON-RPC and both eras of the protocol. Bytes in, a neutral [`Reply`] out.
//!
//! This crate knows no HTTP library and no runtime. What it needs of HTTP reaches it as [`RequestFields`]; what it
//! wants of HTTP it says with [`Status`] and [`Body`]. Specification: `modelcontextprotocol`,
//! `docs/specification/2026-07-28` (modern) and `2025-11-25`, `2025-06-18`, `2025-03-26`, `2024-11-05` (legacy).
//!
//! Each module uses only modules of its own line and of the lines below it, and never in a circle:
//!
//! - `server`, `batch`, `dispatch`, `forwarding`: a POST, its messages, each message's method, where responses go
//! - `publish`: what a service must be like
//! - `methods`: the table of methods; a new one is an entry there and its handler
//! - `handlers`, `modern`, `legacy`, `listen`: what handles them, in both eras or in one
//! - `streaming`, `job`, `exchange`: calls that take their time, and what a handler is given
//! - `feedback`, `input_requests`, `subscriptions`: what reaches the client beside results
//! - `trace`: the spans of requests
//! - `results`, `snapshot`, `listing`, `seal`, `settings`: what requests are answered with
//! - `message`, `params`, `mirror`, `version`, `era`, `fields`: what comes in, and whether headers and body agree
//! - `content`, `reply`: what goes out

mod batch;
mod content;
mod dispatch;
mod era;
mod exchange;
mod feedback;
mod fields;
mod forwarding;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handlers;
mod input_requests;
mod job;
mod json_text;
mod legacy;
mod listen;
mod listing;
mod message;
mod methods;
mod mirror;
mod modern;
mod params;
mod publish;
mod reply;
mod results;
mod seal;
mod server;
mod settings;
mod snapshot;
mod streaming;
mod subscriptions;
mod trace;
mod version;

pub use fields::{Field, RequestFields};
pub use listing::{ListingError, check_tool};
pub use publish::PublishError;
pub use reply::{Body, LogFields, LoggedRules, Messages, Reply, Source, Status};
pub use seal::{KEY_BYTES, SealingKeys};
pub use server::{McpServer, PostRequest};
pub use settings::{Identity, McpSettings};
pub use snapshot::ProtocolSnapshot;
