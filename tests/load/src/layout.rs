//! Which functions a server runs, for the linker, which puts them beside each other (app/build.rs).
//!
//! valgrind's callgrind counts the calls of every function, from the start of a server to its end. The names are those of this
//! very build: other dependencies, another compiler or another profile give most functions other ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use local_tenant::LocalTenant;
use serde_json::json;

use crate::measure::{AUDIENCE, PUBLIC_URL, SERVER_CORE, ask};
use crate::process::{Process, free_port};
use crate::requests::{Era, HOST, tokens};

/// How often each request is sent: a function that is called as often belongs to requests.
const REPEATED: u64 = 50;

#[derive(Args)]
pub(crate) struct LayoutOptions {
    /// The list that is written
    #[arg(value_name = "FILE")]
    list: PathBuf,
}

/// Runs a server with a tenant, and writes the list of its functions.
///
/// # Errors
/// Without valgrind, or when the server does not answer.
pub(crate) fn write(server: &Path, tenant: &LocalTenant, options: &LayoutOptions) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let profile = folder.path().join("profile");
    // As the profile names it.
    let server = &server.canonicalize()?;
    run(server, tenant, &profile, &folder.path().join("log"))?;
    let functions = functions(&std::fs::read_to_string(&profile)?, &server.display().to_string());
    anyhow::ensure!(!functions.is_empty(), "the profile has no function of {}", server.display());
    std::fs::write(&options.list, functions.join("\n") + "\n")?;
    Ok(())
}

fn run(server: &Path, tenant: &LocalTenant, profile: &Path, log: &Path) -> anyhow::Result<()> {
    let port = free_port()?;
    let (port_text, admin) = (port.to_string(), format!("127.0.0.1:{}", free_port()?));
    let environment = [
        ("PORT", port_text.as_str()),
        ("AUTH0_ISSUER", tenant.issuer()),
        ("AUTH0_AUDIENCE", AUDIENCE),
        ("FASTMCP__SERVER__URL", PUBLIC_URL),
        ("FASTMCP__ADMIN__BIND", admin.as_str()),
    ];
    let out = format!("--callgrind-out-file={}", profile.display());
    let valgrind = ["--tool=callgrind", "--demangle=no", out.as_str()].map(OsStr::new);
    let arguments = [&valgrind[..], &[server.as_os_str(), OsStr::new("serve")]].concat();
    let process = Process::start(Path::new("valgrind"), &arguments, &environment, port, &[SERVER_CORE], log)?;
    let token = tokens(tenant, 1)?.pop().context("the tenant gives no token")?;
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
    let mut requests = vec![
        get("/ready", HOST),
        get("/.well-known/oauth-protected-resource/mcp", HOST),
        Era::Modern.request("no.such.token"),
    ];
    for era in Era::BOTH {
        requests.push(era.ask("tools/list", None, json!({}), &token));
        requests.extend(["greet", "whoami", "get_datetime"].map(|tool| era.call(tool, &token)));
    }
    for _ in 0..REPEATED {
        for request in &requests {
            ask(process.address, request)?;
        }
    }
    ask(admin.parse()?, &get("/metrics", &admin))?;
    process.stop()
}

/// Returns the names of the program's own functions in a profile (valgrind's "Callgrind Format Specification"): first those of
/// requests, then the others.
fn functions(profile: &str, program: &str) -> Vec<String> {
    let (mut objects, mut names) = (BTreeMap::new(), BTreeMap::new());
    let (mut object, mut called_object, mut called) = ("", None, None);
    // How often each was called.
    let mut calls: BTreeMap<&str, u64> = BTreeMap::new();
    for line in profile.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        match key {
            "ob" => object = named(&mut objects, value),
            "cob" => called_object = Some(named(&mut objects, value)),
            "fn" => {
                let name = named(&mut names, value);
                if object == program {
                    calls.entry(name).or_default();
                }
            }
            "cfn" => called = Some(named(&mut names, value)),
            "calls" => {
                let count = value.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
                let is_own = called_object.take().unwrap_or(object) == program;
                if let Some(name) = called.take().filter(|_| is_own) {
                    *calls.entry(name).or_default() += count;
                }
            }
            _ => {}
        }
    }
    let (often, seldom): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(_, calls)| *calls >= REPEATED);
    // A function that calls itself has several entries: `f`, `f'2`.
    let names = often.into_iter().chain(seldom).filter_map(|(name, _)| name.split('\'').next());
    // What has no symbol is described: `(below main)`.
    let names = names.filter(|name| !name.starts_with('('));
    let mut listed = BTreeSet::new();
    names.filter(|name| listed.insert(*name)).map(str::to_owned).collect()
}

/// Returns a name, of which only the first occurrence is spelled out: `(12) name`, then `(12)`.
fn named<'p>(names: &mut BTreeMap<&'p str, &'p str>, value: &'p str) -> &'p str {
    match value.split_once(") ") {
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
        None => names.get(value.trim_end_matches(')')).copied().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_requests_come_first_and_those_of_libraries_not_at_all() {
        let profile = "\
version: 1
ob=(1) /bin/server
fn=(1) start
12 5
cfn=(2) often
calls=60 0
13 600
cob=(2) /lib/libc.so
cfn=(3) malloc
calls=99 0
14 7
cfn=(4) begin
calls=1 0

fn=(2)
1 1
cfn=(2)
calls=3 0

fn=(4)
1 1

fn=(5) begin'2
1 1

fn=(7) (below main)
1 1

ob=(2)
fn=(3)
9 9
cob=(1)
cfn=(6) back
calls=2 0
";
        assert_eq!(functions(profile, "/bin/server"), ["often", "back", "begin", "start"]);
    }
}
