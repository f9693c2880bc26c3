//! The servers that are not ours: `tests/load/adapters`, each in its ecosystem's usual way.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use clap::builder::PossibleValuesParser;

use crate::compare::CompareOptions;
use crate::requests::Era;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/adapters");

/// What runs an adapter.
#[derive(Clone, Copy)]
enum Kind {
    Rmcp,
    TypeScript,
    Python(&'static str),
}

/// One of the other servers.
pub(crate) struct Adapter {
    name: &'static str,
    pub(crate) title: &'static str,
    kind: Kind,
    /// Without sessions and with JSON as answers, in both revisions; otherwise as it is by itself, which differs in the older one.
    is_lean: bool,
}

impl Kind {
    const fn folder(self) -> &'static str {
        match self {
            Self::Rmcp => "rmcp",
            Self::TypeScript => "typescript",
            Self::Python(_) => "python",
        }
    }
}

const fn adapter(name: &'static str, title: &'static str, kind: Kind, is_lean: bool) -> Adapter {
    Adapter { name, title, kind, is_lean }
}

const ALL: [Adapter; 8] = [
    adapter("rmcp", "rmcp, axum", Kind::Rmcp, true),
    adapter("rmcp-default", "rmcp, axum: sessions, SSE", Kind::Rmcp, false),
    adapter("typescript", "TypeScript SDK, Express", Kind::TypeScript, true),
    adapter("typescript-default", "TypeScript SDK, Express: SSE", Kind::TypeScript, false),
    adapter("fastmcp", "fastmcp, uvicorn", Kind::Python("fastmcp_server.py"), true),
    adapter("fastmcp-default", "fastmcp, uvicorn: sessions, SSE", Kind::Python("fastmcp_server.py"), false),
    adapter("python", "Python SDK, uvicorn", Kind::Python("mcp_server.py"), true),
    adapter("python-default", "Python SDK, uvicorn: sessions, SSE", Kind::Python("mcp_server.py"), false),
];

/// Parses an adapter's name.
pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(ALL.iter().map(|adapter| adapter.name))
}

/// Returns the named adapters, or all of them if none is named.
pub(crate) fn named(names: &[String]) -> Vec<&'static Adapter> {
    let is_named =
        |adapter: &&Adapter| names.is_empty() || names.iter().any(|name| name.as_str() == adapter.name);
    ALL.iter().filter(is_named).collect()
}

impl Adapter {
    pub(crate) fn eras(&self) -> &'static [Era] {
        if self.is_lean { &Era::BOTH } else { &[Era::Legacy] }
    }

    /// The last of its arguments.
    pub(crate) fn mode(&self) -> &'static str {
        if self.is_lean { "json" } else { "default" }
    }

    /// Returns the command that runs it with these arguments: PORT ISSUER AUDIENCE MODE, or `versions`.
    pub(crate) fn command(&self, options: &CompareOptions, arguments: &[&str]) -> (PathBuf, Vec<OsString>) {
        let file = |path: &str| PathBuf::from(format!("{FOLDER}/{}/{path}", self.kind.folder()));
        let given_or = |given: &Option<PathBuf>, path| given.clone().unwrap_or_else(|| file(path));
        let (program, script) = match self.kind {
            Kind::Rmcp => (given_or(&options.rmcp, "target/release/rmcp-adapter"), None),
            Kind::TypeScript => (given_or(&options.node, "node_modules/.bin/node"), Some(file("server.mjs"))),
            Kind::Python(script) => (given_or(&options.python, "venv/bin/python"), Some(file(script))),
        };
        let script = script.into_iter().map(OsString::from);
        (program, script.chain(arguments.iter().map(OsString::from)).collect())
    }

    /// Returns what it is made of.
    ///
    /// # Errors
    /// An adapter that is not installed.
    pub(crate) fn versions(&self, options: &CompareOptions) -> anyhow::Result<String> {
        let (program, arguments) = self.command(options, &["versions"]);
        let advice = || {
            format!(
                "the adapter {} is not installed, {} can't run it: `tests/load/adapters/install {}`, or name others by --only",
                self.name,
                program.display(),
                self.kind.folder()
            )
        };
        let output = Command::new(&program).args(arguments).output().with_context(advice)?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{}\n{complaint}", advice());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}
