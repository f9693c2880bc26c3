//! The tools that the binary ships; its `main` registers them. Tools of others stand in crates of their own: docs/add-a-tool.md.

mod get_datetime;
mod greet;
mod whoami;

use std::sync::Arc;

pub use get_datetime::GetDatetime;
pub use greet::Greet;
pub use whoami::Whoami;

use crate::tool::DynTool;

/// Every shipped tool, in the order in which clients see them.
#[must_use]
pub fn shipped() -> Vec<Arc<dyn DynTool>> {
    vec![Arc::new(Greet), Arc::new(Whoami), Arc::new(GetDatetime)]
}

/// The arguments of a tool that takes none; those that are given all the same are ignored.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
pub struct NoArguments {}
