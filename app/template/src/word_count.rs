//! `word_count`: a small tool, as a function. It asks for no scope: every authenticated caller may call it.

use fastmcp_auth0::{DynTool, Json, Principal, ToolHints, tool_fn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
struct Input {
    /// The text to count in.
    text: String,
}

#[derive(Serialize, JsonSchema)]
struct Output {
    /// The number of words.
    words: usize,
}

pub fn tool() -> impl DynTool {
    let count = |input: Input, _caller: Principal| async move {
        Ok(Json(Output {
            words: input.text.split_whitespace().count(),
        }))
    };
    tool_fn("word_count", "Counts the words of a text.", count)
        .title("Count words")
        .hints(ToolHints::UNKNOWN.read_only().closed_world())
}
