//! The command line: `serve`, `dev`, `check`, `token`, `config`.

use std::process::ExitCode;

fn main() -> ExitCode {
    {{crate}}::server().run()
}
