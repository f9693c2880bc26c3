//! The stages that a change has to pass: `cargo xtask STAGE...` runs some, `.ci/run` all of them, on a machine of its own.
//!
//! A stage is a list of commands, run from the repository's root until one fails. It installs nothing: `.ci/install` does.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

type Result<T = ()> = std::result::Result<T, String>;

struct Stage {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result,
}

const STAGES: [Stage; 30] = [
    Stage { name: "fmt", about: "formatting", run: fmt },
    Stage { name: "lint", about: "lints, without warnings", run: lint },
    Stage { name: "docs", about: "documentation, without warnings", run: docs },
    Stage { name: "deny", about: "what may be in the dependency tree, and advisories", run: deny },
    Stage { name: "build", about: "every binary, with the features that users get", run: build },
    Stage { name: "test", about: "the README's test command", run: test },
    Stage { name: "package", about: "what can be published, built from its packages", run: package },
    Stage { name: "fuzz", about: "every fuzz target, for some seconds", run: fuzz },
    Stage { name: "bench", about: "that the benchmark runs: nothing of speed", run: bench },
    Stage { name: "soak", about: "a mixed load for a minute", run: soak },
    Stage { name: "attack", about: "hostile clients beside honest ones", run: attack },
    Stage { name: "conformance", about: "the official conformance suite", run: conformance },
    Stage { name: "inspector", about: "MCP Inspector's command line", run: inspector },
    Stage { name: "typescript", about: "the TypeScript SDK", run: typescript },
    Stage { name: "python", about: "the Python SDK; Auth0's SDK for APIs exchanges tokens", run: python },
    Stage { name: "fastmcp", about: "the Python library fastmcp", run: fastmcp },
    Stage {
        name: "compare",
        about: "that the benchmark drives other servers: nothing of speed",
        run: compare,
    },
    Stage { name: "management", about: "Auth0's SDKs against the local Management API", run: management },
    Stage { name: "tenant", about: "a new tenant, its traps, and logins once it is set up", run: tenant },
    Stage {
        name: "tenant-files",
        about: "Terraform's parser and auth0-deploy-cli, at exported files",
        run: tenant_files,
    },
    Stage { name: "upstreams", about: "other MCP servers behind this one, by both SDKs", run: upstreams },
    Stage {
        name: "upstream-conformance",
        about: "the suite against servers alone and behind this one",
        run: upstream_conformance,
    },
    Stage { name: "new", about: "a crate that `new` writes, and a client of its server", run: new },
    Stage { name: "observe", about: "metrics, alerts and dashboard, checked by promtool", run: observe },
    Stage { name: "traces", about: "traces at an OpenTelemetry collector, rotel", run: traces },
    Stage { name: "redis", about: "replicas that share a Redis, also while it is away", run: redis },
    Stage { name: "listeners", about: "TLS, Unix sockets, and the units of systemd", run: listeners },
    Stage { name: "ship", about: "what is published: archive, image, manifests, chart, pages", run: ship },
    Stage {
        name: "replicas",
        about: "three of them behind nginx and HAProxy, restarted and killed",
        run: replicas,
    },
    Stage { name: "browser", about: "logins in Chromium, with screenshots in .ci/out", run: browser },
];

fn main() -> ExitCode {
    let names: Vec<String> = env::args().skip(1).collect();
    let known = |name: &String| STAGES.iter().find(|stage| stage.name == name);
    let stages: Vec<&Stage> = names.iter().filter_map(known).collect();
    if stages.is_empty() || stages.len() < names.len() {
        eprintln!("usage: cargo xtask STAGE...\n");
        for Stage { name, about, .. } in &STAGES {
            eprintln!("  {name:<20} {about}");
        }
        return ExitCode::from(2);
    }
    for stage in stages {
        if let Err(error) = (stage.run)() {
            eprintln!("{}: {error}", stage.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn fmt() -> Result {
    cargo("fmt --all -- --check")
}

fn lint() -> Result {
    cargo("clippy --workspace --all-targets --locked -- -D warnings")
}

fn docs() -> Result {
    let mut command = command("cargo", "doc --workspace --no-deps --locked --quiet");
    run(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn deny() -> Result {
    cargo("deny --locked check bans licenses sources --hide-inclusion-graph")?;
    run(&mut command(root().join(".ci/test-advisories"), ""))?;
    run(&mut command(root().join(".ci/advisories"), ""))
}

fn build() -> Result {
    cargo("build --workspace --locked")
}

fn test() -> Result {
    let readme = fs::read_to_string(root().join("README.md")).map_err(|error| error.to_string())?;
    let shown = "cargo test --workspace";
    if !readme.lines().any(|line| line == shown) {
        return Err(format!("the README does not have `{shown}`"));
    }
    cargo("test --workspace --locked")
}

fn package() -> Result {
    run(&mut command(root().join(".ci/packages"), ""))
}

fn fuzz() -> Result {
    run(&mut command(root().join("fuzz/all"), "10"))
}

fn bench() -> Result {
    build()?;
    let few = "cost --seconds 0.5 --rounds 1 --tokens 200 --memory-tokens 200 --idle 64";
    let mut command = command(built("load")?, few);
    run(command.arg("--server").arg(server()?).arg("--floor").arg(built("floor")?))?;
    let mut command = self::command(built("load")?, "upstream --seconds 0.5 --rounds 1");
    run(command.arg("--server").arg(server()?).arg("--peer").arg(built("peer")?))?;
    let mut command = self::command(built("load")?, "growth --seconds 0.1 --rounds 1 --most 8");
    command.arg("--many").arg(built("many")?).arg("--floor").arg(built("floor")?);
    run(command.arg("--peer").arg(built("peer")?))
}

fn soak() -> Result {
    build()?;
    run(command(built("soak")?, "--seconds 60 --server").arg(server()?))
}

fn attack() -> Result {
    build()?;
    run(command(built("soak")?, "--attack --seconds 45 --server").arg(server()?))
}

fn conformance() -> Result {
    build()?;
    client(node("conformance.mjs").arg(server()?).arg(fixture()?))
}

fn inspector() -> Result {
    build()?;
    client(node("inspector.mjs").arg(server()?))
}

fn typescript() -> Result {
    build()?;
    client(node("typescript-client.mjs").arg(server()?))?;
    client(node("typescript-features.mjs").arg(fixture()?))
}

fn python() -> Result {
    build()?;
    client(venv("python_client.py").arg(server()?))?;
    client(venv("python_features.py").arg(fixture()?))?;
    client(venv("on_behalf_of_client.py").arg(server()?))
}

fn fastmcp() -> Result {
    build()?;
    client(venv("fastmcp_client.py").arg(server()?))
}

/// Without rmcp's adapter, whose build alone takes minutes.
fn compare() -> Result {
    build()?;
    let mut command = node("compare.mjs");
    command.arg(server()?).arg(built("load")?).arg(built("floor")?).arg(python_binary());
    client(&mut command)
}

fn management() -> Result {
    build()?;
    client(node("management-sdk.mjs").arg(server()?))?;
    client(venv("management_sdk.py").arg(server()?))
}

fn tenant() -> Result {
    build()?;
    client(node("tenant-setup.mjs").arg(server()?).arg(python_binary()))
}

fn tenant_files() -> Result {
    build()?;
    client(node("tenant-files.mjs").arg(server()?))
}

fn upstreams() -> Result {
    build()?;
    client(node("upstreams.mjs").arg(server()?).arg(python_binary()))
}

fn upstream_conformance() -> Result {
    build()?;
    client(node("upstream-conformance.mjs").arg(server()?).arg(fixture()?))
}

fn new() -> Result {
    build()?;
    let server = server()?;
    let target = server.ancestors().nth(2).ok_or("there is no target folder")?;
    client(node("own-server.mjs").arg(&server).arg(target))
}

fn observe() -> Result {
    build()?;
    let own = root().join(".ci/out/prometheus/usr/bin/promtool");
    let promtool = if own.is_file() { own } else { installed("promtool")? };
    client(node("observe.mjs").arg(server()?).arg(promtool).arg(python_binary()))
}

fn traces() -> Result {
    build()?;
    client(venv("traces.py").arg(server()?))
}

fn redis() -> Result {
    build()?;
    let (server, cli) = (installed("redis-server")?, installed("redis-cli")?);
    let mut command = node("redis.mjs");
    command.arg(built("replica")?).arg(built("redis-quotas")?).arg(server).arg(cli);
    client(command.arg(built("load")?).arg(self::server()?))
}

fn listeners() -> Result {
    build()?;
    for program in ["systemd-analyze", "systemd-socket-activate", "curl"] {
        installed(program)?;
    }
    client(node("listeners.mjs").arg(server()?).arg(installed("nginx")?))
}

fn ship() -> Result {
    build()?;
    for program in ["bash", "zsh", "fish", "mandoc", "buildah"] {
        installed(program)?;
    }
    let mut command = command(root().join(".ci/out/ship/bin/python"), "");
    client(command.arg(root().join(".ci/clients/ship.py")).arg(server()?))
}

fn replicas() -> Result {
    build()?;
    let redis = installed("redis-server")?;
    for proxy in ["nginx", "haproxy"] {
        let program = installed(proxy)?;
        client(node("replicas.mjs").arg(server()?).arg(&redis).arg(proxy).arg(&program))?;
        let clients = &mut node("replicated-clients.mjs");
        clients.arg(server()?).arg(fixture()?).arg(python_binary()).arg(&redis).arg(proxy).arg(&program);
        client(clients)?;
    }
    Ok(())
}

fn browser() -> Result {
    build()?;
    let browsers = ["chromium", "chromium-browser", "google-chrome"];
    let chromium =
        browsers.iter().find_map(|name| installed(name).ok()).ok_or("Chromium is not installed")?;
    client(node("browser.mjs").arg(server()?).arg(chromium).arg(out()?.join("screenshots")))
}

fn root() -> &'static Path {
    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    Path::new(ROOT)
}

/// Returns the folder for what stages leave behind.
fn out() -> Result<PathBuf> {
    let folder = root().join(".ci/out");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}

/// Returns a binary of this workspace: they lie beside this one.
fn built(name: &str) -> Result<PathBuf> {
    Ok(env::current_exe().map_err(|error| error.to_string())?.with_file_name(name))
}

fn server() -> Result<PathBuf> {
    built("fastmcp-auth0")
}

/// Returns the conformance suite's fixture.
fn fixture() -> Result<PathBuf> {
    built("conformance-server")
}

/// Returns where a program is that the machine has.
fn installed(name: &str) -> Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "where programs are to be found")]
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| format!("{name} is not installed"))
}

fn node(script: &str) -> Command {
    let clients = root().join(".ci/clients");
    let mut command = command(clients.join("node_modules/.bin/node"), "");
    command.arg(clients.join(script));
    command
}

/// Returns the Python that has the clients.
fn python_binary() -> PathBuf {
    root().join(".ci/out/python/bin/python")
}

fn venv(script: &str) -> Command {
    let mut command = command(python_binary(), "");
    command.arg(root().join(".ci/clients").join(script));
    command
}

/// Runs a client's script. Its standard error, which is the server's log too, is shown only when it fails.
fn client(command: &mut Command) -> Result {
    // Its own, since stages run beside each other.
    let script = command.get_args().next().map(Path::new).and_then(Path::file_stem).unwrap_or_default();
    let path = out()?.join(script).with_extension("log");
    let log = File::create(&path).map_err(|error| error.to_string())?;
    run(command.stderr(log)).inspect_err(|_| {
        eprintln!("{}", String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()));
    })
}

fn cargo(arguments: &str) -> Result {
    run(&mut command("cargo", arguments))
}

/// Makes a command from words with single spaces between them.
fn command(program: impl AsRef<Path>, arguments: &str) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(arguments.split_whitespace()).current_dir(root());
    command
}

fn run(command: &mut Command) -> Result {
    let program = command.get_program().display().to_string();
    let status = command.status().map_err(|error| format!("{program}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program}: {status}")) }
}
