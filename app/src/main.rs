//! The service binary: the shipped tools, and everything that [`fastmcp_auth0::Server`] has around tools.

use std::process::ExitCode;

use domain::tools::{GetDatetime, Greet, Whoami};
use fastmcp_auth0::Server;

fn main() -> ExitCode {
    Server::builder()
        .sample(Greet)
        .sample(Whoami)
        .sample(GetDatetime)
        .describe_scope("tool:whoami", "Read who you are")
        .describe_scope("tool:greet", "Greet you by name")
        .local_permission("Tool User", "tool:whoami")
        .run()
}
