//! Why a job has no result: what its client, the access log and the operator's log see of that.

use std::error::Error;

use domain::{CallError, RelayedError, ToolError, ToolName};

use crate::era::Era;
use crate::reply::{Failure, LogFields, Refusal, code};

/// The codes by which a client learns something of this server: how to speak to it, and that it may or should not now. From
/// another server they are about that one's client, which is this server.
const OF_THIS_SERVER: [i32; 7] = [
    code::PARSE_ERROR,
    code::HEADER_MISMATCH,
    code::UNSUPPORTED_PROTOCOL_VERSION,
    code::UNAUTHORIZED,
    code::FORBIDDEN,
    code::OVERLOADED,
    code::TOO_MANY_REQUESTS,
];
/// The maximum length of another server's text in the log, in characters.
const MAX_LOGGED: usize = 1000;

/// Returns another server's error as the client's own, with the HTTP status that the client's era has for it.
pub(super) fn relayed(failure: &ToolError, era: Era) -> Refusal {
    let Some(RelayedError { code, message, data }) = failure.as_relayed() else {
        return Failure::inline(code::INTERNAL_ERROR, failure.to_string()).into();
    };
    if OF_THIS_SERVER.contains(code) {
        return Failure::inline(code::INTERNAL_ERROR, message.clone()).into();
    }
    let failure = match (*code, era) {
        (code::MISSING_CAPABILITY, Era::Modern) => Failure::malformed(*code, message.clone()),
        _ => Failure::inline(*code, message.clone()),
    };
    match data {
        Some(data) => failure.with_data(data.clone()).into(),
        None => failure.into(),
    }
}

/// Returns the failure for an unknown tool. A name that could be a tool's is repeated; anything else a client sends is not.
pub(super) fn unknown_tool(name: &str) -> Failure {
    let message = match ToolName::parse(name) {
        Ok(name) => format!("unknown tool: {name}"),
        Err(_) => "unknown tool: not a tool name".to_owned(),
    };
    Failure::inline(code::INVALID_PARAMS, message)
}

/// Logs what the client does not learn. A client's mistakes are in the access log alone.
pub(super) fn log_failure(log: &LogFields, error: &CallError) {
    let tool = log.tool.as_ref().map(ToolName::as_str);
    match error {
        CallError::UnknownTool
        | CallError::UnknownResource
        | CallError::UnknownPrompt
        | CallError::UnknownMethod
        | CallError::Denied(_)
        | CallError::InvalidArguments(_)
        // Whoever can't write says so.
        | CallError::NotAudited => {}
        CallError::Failed(failure) if failure.as_relayed().is_some() => {
            tracing::warn!(tool, "a tool failed: {}", logged(&failure.to_string()));
        }
        CallError::Failed(failure) => {
            tracing::warn!(tool, cause = causes(failure), "a tool failed: {failure}");
        }
        CallError::DeadlineExceeded(_) => tracing::warn!(tool, "{error}"),
        CallError::Panicked | CallError::InvalidOutput => tracing::error!(tool, "{error}"),
    }
}

/// Returns the beginning of another server's text, on one line.
fn logged(text: &str) -> String {
    let mut logged = String::new();
    for char in text.chars().take(MAX_LOGGED) {
        if char.is_control()
            || matches!(char, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            logged.extend(char.escape_default());
        } else {
            logged.push(char);
        }
    }
    logged
}

fn causes(failure: &ToolError) -> Option<String> {
    let mut texts = Vec::new();
    let mut next = failure.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    (!texts.is_empty()).then(|| texts.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Status;

    #[test]
    fn another_servers_error_has_the_status_of_the_clients_era() {
        for (code, era, status) in [
            (code::MISSING_CAPABILITY, Era::Modern, Status::BadRequest),
            (code::MISSING_CAPABILITY, Era::Legacy, Status::Ok),
            (code::INVALID_PARAMS, Era::Modern, Status::Ok),
        ] {
            let error = RelayedError { code, message: "no".to_owned(), data: None };
            let Refusal::Failure(failure) = relayed(&ToolError::relayed(error), era) else {
                panic!("not a JSON-RPC error")
            };
            assert_eq!((failure.status, failure.code), (status, code), "{code}, {era:?}");
        }
    }

    #[test]
    fn an_error_of_another_servers_keeps_its_code_unless_it_says_something_of_this_server() {
        for (given, seen) in
            [(-32042, -32042), (-32601, -32601), (-32020, -32603), (-32022, -32603), (403, -32603)]
        {
            let error = RelayedError { code: given, message: "no".into(), data: Some(1.into()) };
            let Refusal::Failure(failure) = relayed(&ToolError::relayed(error), Era::Modern) else {
                panic!("no failure")
            };
            assert_eq!((failure.code, failure.message.as_str()), (seen, "no"));
            assert_eq!(failure.data.is_some(), given == seen);
        }
    }

    #[test]
    fn another_servers_text_is_one_line_of_the_log() {
        assert_eq!(logged("a\nb\u{1b}[2J"), r"a\nb\u{1b}[2J");
        assert_eq!(logged(&"é".repeat(5000)).chars().count(), MAX_LOGGED);
    }
}
