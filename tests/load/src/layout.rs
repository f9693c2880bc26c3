//! Which functions a server runs, for the linker, which puts them beside each other in this order (app/build.rs), and what a server
//! is to run that counts for the compiler (deploy/profile).
//!
//! valgrind's callgrind tells which function calls which, in parts: from the start to the first request, while tools are called,
//! while tokens come that the server has not seen, and the rest. The names are those of this very build: other dependencies,
//! another compiler or another profile give most functions other ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::Args;
use local_tenant::LocalTenant;
use serde_json::json;

use crate::measure::{AUDIENCE, PUBLIC_URL, SERVER_CORE, answer, ask};
use crate::process::{Process, free_port};
use crate::requests::{Era, HOST, tokens, tokens_with};

/// How often each request is sent for the list.
const REPEATED: u64 = 50;
/// How many tokens are new to a server that counts.
const TRAINED: usize = 2000;

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
    let parts = folder.path().join("profile");
    // As the profile names it.
    let server = &server.canonicalize()?;
    run(server, tenant, &parts, &folder.path().join("log"))?;
    let part = |suffix: &str| std::fs::read_to_string(format!("{}{suffix}", parts.display()));
    let (start, calls, unseen, rest) = (part(".1")?, part(".2")?, part(".3")?, part("")?);
    let (program, mut list) = (server.display().to_string(), List::default());
    for (part, at_least) in [(&calls, REPEATED), (&unseen, REPEATED), (&rest, 0), (&start, 0)] {
        list.add(&Profile::parse(part, &program), at_least);
    }
    anyhow::ensure!(!list.names.is_empty(), "the profile has no function of {program}");
    std::fs::write(&options.list, list.names.join("\n") + "\n")?;
    Ok(())
}

/// Has a server answer what it gets in service, often: one that counts what it runs, and writes that down when it ends.
///
/// # Errors
/// When the server does not answer.
pub(crate) fn train(server: &Path, tenant: &LocalTenant) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let running = Running::start(server, &["serve".as_ref()], tenant, &folder.path().join("log"))?;
    let tokens = tokens(tenant, TRAINED)?;
    let (seen, unseen) = tokens.split_first().context("the tenant gives no token")?;
    let calls = Era::BOTH.map(|era| era.request(seen));
    let others = others(tenant, seen)?;
    for token in unseen {
        let new = Era::BOTH.map(|era| era.request(token));
        ask_on_one_connection(&running.process, calls.iter().chain(&new).chain(&others))?;
    }
    // After all of that it still greets.
    Era::Legacy.check(&ask(running.process.address, &calls[0])?)?;
    running.scrape()?;
    running.process.stop()
}

/// A server with metrics and audit events.
struct Running {
    process: Process,
    admin: String,
}

impl Running {
    fn start(program: &Path, arguments: &[&OsStr], tenant: &LocalTenant, log: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let (port_text, admin) = (port.to_string(), format!("127.0.0.1:{}", free_port()?));
        let audit = log.with_extension("audit").display().to_string();
        let environment = [
            ("PORT", port_text.as_str()),
            ("AUTH0_ISSUER", tenant.issuer()),
            ("AUTH0_AUDIENCE", AUDIENCE),
            ("FASTMCP__SERVER__URL", PUBLIC_URL),
            ("FASTMCP__ADMIN__BIND", admin.as_str()),
            ("FASTMCP__AUDIT__TO", "file"),
            ("FASTMCP__AUDIT__FILE", audit.as_str()),
        ];
        let process = Process::start(program, arguments, &environment, port, &[SERVER_CORE], log)?;
        Ok(Self { process, admin })
    }

    fn scrape(&self) -> anyhow::Result<()> {
        ask(self.admin.parse()?, &get("/metrics", &self.admin)).map(drop)
    }
}

/// Writes the parts of the profile: `parts` with the suffix `.1` and so on, the last without one.
fn run(server: &Path, tenant: &LocalTenant, parts: &Path, log: &Path) -> anyhow::Result<()> {
    let out = format!("--callgrind-out-file={}", parts.display());
    let valgrind = ["--tool=callgrind", "--demangle=no", "--dump-instr=yes", out.as_str()].map(OsStr::new);
    let arguments = [&valgrind[..], &[server.as_os_str(), OsStr::new("serve")]].concat();
    let running = Running::start(Path::new("valgrind"), &arguments, tenant, log)?;
    let process = &running.process;
    let repeated = usize::try_from(REPEATED)?;
    let tokens = tokens(tenant, 1 + repeated)?;
    let (seen, unseen) = tokens.split_first().context("the tenant gives no token")?;
    let greet = Era::BOTH.map(|era| era.request(seen));
    ask_on_one_connection(process, greet.iter().take(1))?;
    end_part(process)?;
    ask_on_one_connection(process, greet.iter().cycle().take(greet.len() * repeated))?;
    end_part(process)?;
    let requests: Vec<Vec<u8>> = unseen.iter().map(|token| Era::Legacy.request(token)).collect();
    ask_on_one_connection(process, &requests)?;
    end_part(process)?;
    ask_on_one_connection(process, &others(tenant, seen)?)?;
    running.scrape()?;
    running.process.stop()
}

/// A request of each kind but calls of `greet` that succeed.
fn others(tenant: &LocalTenant, token: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let poor = tokens_with(Some("tool:whoami"), tenant, 1)?;
    let mut requests = vec![get("/ready", HOST), get("/.well-known/oauth-protected-resource/mcp", HOST)];
    for era in Era::BOTH {
        requests.extend(["no.such.token", forged.as_str(), poor[0].as_str()].map(|token| era.request(token)));
        requests.push(era.ask("tools/list", None, json!({}), token));
        requests.extend(["whoami", "get_datetime", "unknown"].map(|tool| era.call(tool, token)));
    }
    let client = json!({"protocolVersion": Era::Legacy.name(), "capabilities": {}, "clientInfo": {"name": "load", "version": "1"}});
    requests.push(Era::Legacy.ask("initialize", None, client, token));
    requests.push(Era::Legacy.ask("ping", None, json!({}), token));
    requests.push(Era::Modern.ask("server/discover", None, json!({}), token));
    Ok(requests)
}

fn get(path: &str, host: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes()
}

fn ask_on_one_connection<'r>(
    process: &Process,
    requests: impl IntoIterator<Item = &'r Vec<u8>>,
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(process.address)?;
    for request in requests {
        stream.write_all(request)?;
        answer(&mut stream)?;
    }
    Ok(())
}

/// Has callgrind write what it has counted since the last part.
fn end_part(process: &Process) -> anyhow::Result<()> {
    let mut command = Command::new("callgrind_control");
    let output = command.arg("--dump").arg(process.id().to_string()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success() && said.contains("OK"), "callgrind_control failed: {said}");
    Ok(())
}

/// The program's own functions in a part of a profile.
#[derive(Default)]
struct Profile<'p>(BTreeMap<&'p str, Function<'p>>);

#[derive(Default)]
struct Function<'p> {
    /// How often it was called.
    calls: u64,
    /// What it calls, by the addresses of the calls.
    callees: BTreeSet<(u64, &'p str)>,
}

impl<'p> Profile<'p> {
    /// Reads valgrind's "Callgrind Format Specification".
    fn parse(text: &'p str, program: &str) -> Self {
        let mut profile = Self::default();
        let (mut objects, mut names) = (BTreeMap::new(), BTreeMap::new());
        let (mut object, mut own, mut called_object, mut called) = ("", "", None, "");
        let (mut calls, mut address): (Option<u64>, u64) = (None, 0);
        for line in text.lines() {
            match line.split_once('=') {
                Some(("ob", value)) => object = named(&mut objects, value),
                Some(("cob", value)) => called_object = Some(named(&mut objects, value)),
                Some(("fn", value)) => {
                    called_object = None;
                    own = function(named(&mut names, value));
                    if object == program {
                        profile.0.entry(own).or_default();
                    }
                }
                Some(("cfn", value)) => called = function(named(&mut names, value)),
                // The next line has the address of the call.
                Some(("calls", value)) => {
                    calls = value.split(' ').next().and_then(|count| count.parse().ok());
                }
                Some(_) => {}
                None => {
                    address = moved(address, line).unwrap_or(address);
                    let Some(count) = calls.take() else { continue };
                    if called_object.take().unwrap_or(object) != program {
                        continue;
                    }
                    profile.0.entry(called).or_default().calls += count;
                    if object == program {
                        profile.0.entry(own).or_default().callees.insert((address, called));
                    }
                }
            }
        }
        profile
    }
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

/// A function that calls itself has several entries: `f`, `f'2`.
fn function(name: &str) -> &str {
    name.split_once('\'').map_or(name, |(name, _)| name)
}

/// Returns whether a function has no symbol: `(below main)`, or its address.
fn is_described(name: &str) -> bool {
    name.starts_with('(') || name.starts_with("0x")
}

/// Returns the address that a line begins with: `0x12`, or relative to the one before `+12`, `-12`, `*`.
fn moved(before: u64, line: &str) -> Option<u64> {
    let first = line.split(' ').next()?;
    if let Some(address) = first.strip_prefix("0x") {
        return u64::from_str_radix(address, 16).ok();
    }
    let by: i64 = if first == "*" { 0 } else { first.parse().ok()? };
    before.checked_add_signed(by)
}

/// Names in the order that the linker shall put them.
#[derive(Default)]
struct List {
    names: Vec<String>,
    listed: BTreeSet<String>,
}

impl List {
    /// Adds the functions that were called so often: each before those that it calls, these in the order of their calls, so that
    /// what is executed one after the other lies so.
    fn add(&mut self, profile: &Profile<'_>, at_least: u64) {
        let is_often = |name: &str| profile.0.get(name).is_some_and(|function| function.calls >= at_least);
        let often: Vec<&str> = profile.0.keys().copied().filter(|name| is_often(name)).collect();
        let callees = |name: &str| profile.0.get(name).into_iter().flat_map(|function| &function.callees);
        let called: BTreeSet<&str> =
            often.iter().flat_map(|name| callees(name)).map(|(_, name)| *name).collect();
        let (inner, outer): (Vec<&str>, Vec<&str>) = often.iter().partition(|name| called.contains(*name));
        // The inner ones again, since some call each other in a circle.
        let mut visited = BTreeSet::new();
        for first in outer.into_iter().chain(inner) {
            let mut next = vec![first];
            while let Some(name) = next.pop() {
                if visited.insert(name) {
                    if !is_described(name) && self.listed.insert(name.to_owned()) {
                        self.names.push(name.to_owned());
                    }
                    next.extend(callees(name).rev().map(|(_, name)| *name).filter(|name| is_often(name)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "\
version: 1
positions: instr line
ob=(1) /bin/server
fn=(1) start
0x100 12 5
cfn=(2) often
calls=60 0
+8 13 600
cob=(2) /lib/libc.so
cfn=(3) malloc
calls=99 0
* 14 7
cfn=(4) begin
calls=1 0
-4 15 8

fn=(2)
0x200 1 1
cfn=(2)
calls=3 0
+4 1 1

fn=(4)
0x300 1 1

fn=(5) begin'2
0x300 1 1

fn=(7) (below main)
0x400 1 1

fn=(8) 0x0000000000000440
0x440 1 1

ob=(2)
fn=(3)
0x500 9 9
cob=(1)
cfn=(6) back
calls=50 0
+4 1 1
";

    #[test]
    fn functions_are_in_the_order_of_calls_and_those_of_libraries_are_left_out() {
        let mut list = List::default();
        list.add(&Profile::parse(PROFILE, "/bin/server"), 0);
        assert_eq!(list.names, ["back", "start", "begin", "often"]);
    }

    #[test]
    fn those_that_are_called_often_come_first() {
        let (mut list, profile) = (List::default(), Profile::parse(PROFILE, "/bin/server"));
        list.add(&profile, 50);
        assert_eq!(list.names, ["back", "often"]);
        list.add(&profile, 0);
        assert_eq!(list.names, ["back", "often", "start", "begin"]);
    }
}
