//! The real binary, run as the README says, by a shell, with curl.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use base64::Engine as _;
use serde_json::{Value, json};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The binary of this workspace, built by the cargo that runs the tests.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--offline", "--package", "fastmcp-auth0", "--bin", "fastmcp-auth0"])
            .args(["--message-format", "json"])
            .current_dir(ROOT)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8(output.stdout).unwrap();
        let executable = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        executable
            .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
            .next_back()
            .unwrap()
    })
}

/// The binary in an empty folder and with an environment of its own.
pub(crate) fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    static EMPTY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = EMPTY.get_or_init(|| tempfile::tempdir().unwrap());
    let mut command = Command::new(binary());
    command.args(arguments).env_clear().envs(environment.iter().copied()).current_dir(folder.path());
    command
}

pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command(arguments, environment).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A running `dev`, killed when dropped.
pub(crate) struct Dev {
    child: Child,
    banner: String,
}

impl Dev {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_in(arguments, &[])
    }

    /// With an environment.
    pub(crate) fn start_in(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::spawn(&[&["dev", "--port", "0", "--tenant-port", "0"], arguments].concat(), environment)
    }

    /// Where another one was.
    fn start_at(port: &str, tenant_port: &str) -> Self {
        Self::spawn(&["dev", "--port", port, "--tenant-port", tenant_port], &[])
    }

    fn spawn(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let environment = [environment, &[("FASTMCP__LOG__LEVEL", "trace")]].concat();
        let mut child =
            command(arguments, &environment).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut banner = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !banner.contains("Ctrl-C") {
            banner.push_str(&lines.next().unwrap().unwrap());
            banner.push('\n');
        }
        Self { child, banner }
    }

    /// The word after `label` in the banner.
    fn word(&self, label: &str) -> &str {
        let line = self.banner.lines().find_map(|line| line.strip_prefix(label)).unwrap();
        line.split_whitespace().next().unwrap()
    }

    pub(crate) fn banner(&self) -> &str {
        &self.banner
    }

    pub(crate) fn endpoint(&self) -> &str {
        self.word("MCP endpoint")
    }

    pub(crate) fn tenant_port(&self) -> &str {
        self.word("Issuer").trim_end_matches('/').rsplit(':').next().unwrap()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.endpoint()
            .trim_start_matches("http://")
            .trim_end_matches("/mcp")
            .replace("localhost", "127.0.0.1")
    }

    /// An access token of its tenant.
    pub(crate) fn token(&self, user: &str) -> String {
        let issued = run(&["token", "--user", user, "--tenant-port", self.tenant_port()], &[]);
        text(&issued.stdout).trim().to_owned()
    }

    /// An access token of its tenant, for another endpoint than the first.
    pub(crate) fn token_for(&self, user: &str, endpoint: &str) -> String {
        let arguments =
            ["token", "--user", user, "--tenant-port", self.tenant_port(), "--audience", endpoint];
        text(&run(&arguments, &[]).stdout).trim().to_owned()
    }

    /// The log, for whoever reads it while the server runs.
    pub(crate) fn take_log(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// Completes when the process has ended.
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Stops it in order, and returns everything it logged.
    pub(crate) fn stop(mut self) -> String {
        self.signal("TERM");
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{log}");
        log
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn shell(line: &str) -> Output {
    Command::new("sh").args(["-c", line]).output().unwrap()
}

/// The README's shell blocks, in order.
fn readme_blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_readmes_first_commands_work_by_copy_and_paste() {
    let dev = Dev::start();
    let mut blocks = readme_blocks();
    // The first is about another server, which has to be fetched.
    assert!(blocks.remove(0).starts_with("cargo run -- dev -- npx "));
    assert_eq!(blocks[0].trim(), "cargo run -- dev");
    let here = |block: &str| {
        let token = format!("{} token --tenant-port {}", binary().display(), dev.tenant_port());
        block.replace("cargo run -q -- token", &token).replace("http://localhost:3001/mcp", dev.endpoint())
    };
    let greeted = shell(&here(&blocks[1]));
    let answer: Value = serde_json::from_slice(&greeted.stdout).unwrap();
    assert_eq!(answer["result"]["structuredContent"]["greeting"], "Hello, Ada (auth0|local-admin)!");
    let denied = text(&shell(&here(&blocks[2])).stdout);
    assert!(denied.starts_with("HTTP/1.1 403 "), "{denied}");
    assert!(
        denied.contains("error=\"insufficient_scope\"")
            && denied.contains("scope=\"tool:whoami tool:greet\""),
        "{denied}"
    );
}

#[test]
fn what_dev_prints_works_when_pasted() {
    let dev = Dev::start();
    for (user, scopes) in [("admin", "tool:greet tool:whoami"), ("user", "tool:whoami")] {
        let line = dev.banner.lines().find(|line| line.trim_start().starts_with(user)).unwrap();
        assert!(line.ends_with(scopes) || line.ends_with("tool:whoami tool:greet"), "{line}");
    }
    let curl = dev.banner.lines().find(|line| line.trim_start().starts_with("curl")).unwrap();
    let answer: Value = serde_json::from_slice(&shell(curl).stdout).unwrap();
    assert_eq!(answer["result"]["isError"], false);
    let token = dev.banner.lines().find(|line| line.trim_end().contains(" token --user admin")).unwrap();
    let token = text(&shell(token).stdout);
    assert_eq!(
        (token.lines().count(), token.trim().split('.').count()),
        (1, 3),
        "a token alone on standard output"
    );
    assert!(dev.banner.contains("npx @modelcontextprotocol/inspector@2.12.0"));
}

#[test]
fn no_token_and_no_claim_of_one_reaches_the_log_but_every_request_does() {
    let dev = Dev::start();
    let issued = run(&["token", "--user", "user", "--tenant-port", dev.tenant_port()], &[]);
    let token = text(&issued.stdout).trim().to_owned();
    let endpoint = dev.endpoint();
    for token in [token.as_str(), "opaque-token-text", &format!("{token}x")] {
        shell(&format!(
            "curl -s {endpoint}?access_token={token} -H 'Authorization: Bearer {token}' -d '{{}}'"
        ));
    }
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}"#;
    shell(&format!(
        "curl -s {endpoint} -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{call}'"
    ));
    let log = dev.stop();
    let parts: Vec<&str> = token.split('.').chain(["opaque-token-text"]).collect();
    assert!(parts.iter().all(|part| !log.contains(part)), "a part of a token is in the log");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    let reasons: Vec<&str> = requests.iter().map(|line| line["reason"].as_str().unwrap_or("-")).collect();
    assert_eq!(reasons, ["unsupported_media_type", "opaque_token", "malformed_token", "-"]);
    let last = requests[3];
    assert_eq!(
        (&last["method"], &last["path"], &last["status"]),
        (&"POST".into(), &"/mcp".into(), &200.into())
    );
    assert_eq!((&last["sub"], &last["client_id"]), (&"auth0|local-user".into(), &"local-tenant-cli".into()));
    assert_eq!((&last["rpc"], &last["tool"]), (&"tools/call".into(), &"whoami".into()));
    assert!(last["id"].is_string() && last["ms"].is_number());
}

#[test]
fn serve_without_a_tenant_says_what_is_missing_and_that_there_is_dev() {
    let output = run(&["serve"], &[]);
    assert_eq!(output.status.code(), Some(64));
    let said = text(&output.stderr);
    for part in ["AUTH0_DOMAIN", "AUTH0_AUDIENCE", "`fastmcp-auth0 dev`"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn check_prints_every_value_with_its_source() {
    let tenant = [("AUTH0_DOMAIN", "tenant.eu.auth0.com"), ("AUTH0_AUDIENCE", "urn:api"), ("PORT", "4000")];
    let output = run(&["check"], &tenant);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    let line = said.lines().find(|line| line.starts_with("server.port")).unwrap();
    assert_eq!(
        line.split_whitespace().collect::<Vec<_>>().join(" "),
        "server.port = 4000 # environment: PORT"
    );
    assert!(said.contains("endpoint http://localhost:4000/mcp"), "{said}");
    assert!(
        said.contains(
            "\n  greet         tool:greet\n  whoami        tool:whoami\n  get_datetime  (none: every"
        ),
        "{said}"
    );
    assert!(text(&output.stderr).starts_with("warning: the audience \"urn:api\" is neither"));
    let wrong = run(&["check", "--config", "/nowhere.toml"], &tenant);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(text(&wrong.stderr).contains("/nowhere.toml: can't be read"));
}

#[test]
fn check_asks_nobody() {
    let issuer = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", issuer.local_addr().unwrap());
    let output = run(&["check"], &[("AUTH0_ISSUER", &url), ("AUTH0_AUDIENCE", "urn:api")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    issuer.set_nonblocking(true).unwrap();
    assert_eq!(issuer.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn dev_listens_on_loopback_only_and_says_so() {
    let output = run(&["dev", "--port", "0", "--tenant-port", "0"], &[("FASTMCP__SERVER__BIND", "0.0.0.0")]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("loopback only"), "{}", text(&output.stderr));
}

#[test]
fn ports_that_are_taken_are_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["dev", "--port", &port, "--tenant-port", "0"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains(&format!("can't listen on 127.0.0.1:{port}")),
        "{}",
        text(&output.stderr)
    );
    drop(taken);
    let output = run(&["token", "--tenant-port", &port], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("no local tenant on 127.0.0.1:{port}")), "{said}");
}

#[test]
fn both_signals_stop_in_order_with_status_0() {
    for signal in ["TERM", "INT"] {
        let mut dev = Dev::start();
        dev.signal(signal);
        assert_eq!(dev.child.wait().unwrap().code(), Some(0), "{signal}");
    }
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut dev = Dev::start();
    // A request under way keeps the server from ending: its body never comes.
    let mut stream = std::net::TcpStream::connect(dev.address()).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: 5\r\n\r\n",
        dev.token("admin")
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut go_on = [0; 12];
    stream.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100");
    dev.signal("TERM");
    let mut log = BufReader::new(dev.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("stopping") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0);
    }
    dev.signal("TERM");
    assert_eq!(dev.child.wait().unwrap().code(), Some(1));
}

/// The next log line that holds `text`, as JSON.
fn logged(lines: &mut impl Iterator<Item = std::io::Result<String>>, text: &str) -> Value {
    let line = lines.find_map(|line| line.ok().filter(|line| line.contains(text)));
    serde_json::from_str(&line.unwrap_or_else(|| panic!("nothing logged {text:?}"))).unwrap()
}

/// The next log lines that hold these texts, in whichever order they come.
fn both_logged(lines: &mut impl Iterator<Item = std::io::Result<String>>, texts: [&str; 2]) -> [Value; 2] {
    let mut found = [const { None }; 2];
    while found.iter().any(Option::is_none) {
        let line = lines.next().unwrap_or_else(|| panic!("not logged: {texts:?}")).unwrap();
        for (text, found) in texts.iter().zip(&mut found).filter(|(text, _)| line.contains(**text)) {
            *found = Some(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{text}: {error}")));
        }
    }
    found.map(Option::unwrap)
}

#[test]
fn a_hangup_reads_the_configuration_again_and_a_bad_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    let configure = |tools: &str| std::fs::write(&file, tools).unwrap();
    configure("");
    // No tenant is there; what is tested needs none.
    let environment =
        [("AUTH0_ISSUER", "http://127.0.0.1:1/"), ("AUTH0_AUDIENCE", "http://localhost/mcp"), ("PORT", "0")];
    let mut serve = command(&["serve", "--config", file.to_str().unwrap()], &environment)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(serve.stderr.take().unwrap()).lines();
    let address = logged(&mut lines, "listening")["address"].as_str().unwrap().to_owned();
    let scopes = || {
        let document = shell(&format!("curl -s http://{address}/.well-known/oauth-protected-resource"));
        serde_json::from_slice::<Value>(&document.stdout).unwrap()["scopes_supported"].clone()
    };
    let hang_up = || {
        let sent = Command::new("kill").args(["-HUP", &serve.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    assert_eq!(scopes(), serde_json::json!(["tool:greet", "tool:whoami"]));

    configure("[tools.greet]\nscopes = [\"say:hello\"]\n");
    hang_up();
    let mut changed = Value::Null;
    for line in lines.by_ref().map_while(Result::ok) {
        assert!(!line.contains("state_keys"), "nothing on offer asks for input: {line}");
        if line.contains("was read again") {
            changed = serde_json::from_str::<Value>(&line).unwrap()["changed"].take();
            break;
        }
    }
    assert_eq!(changed, "tools.greet.scopes");
    assert_eq!(scopes(), serde_json::json!(["say:hello", "tool:whoami"]));

    // What is probably not meant is said again, and another secret is a change although it is never shown.
    let keys = folder.path().join("keys");
    let keyed = format!("[http]\nallowed_origins = [\"*\"]\n[mcp]\nstate_keys_file = {keys:?}\n");
    for (key, expected) in [
        ("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "mcp.state_keys, mcp.state_keys_file"),
        ("ZjEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "mcp.state_keys"),
    ] {
        std::fs::write(&keys, key).unwrap();
        configure(&format!("{keyed}[tools.greet]\nscopes = [\"say:hello\"]\n"));
        hang_up();
        let mut is_warned = false;
        let mut noted = lines.by_ref().inspect(|line| {
            is_warned |= line.as_ref().is_ok_and(|line| line.contains("every web page"));
        });
        let changed = logged(&mut noted, "was read again")["changed"].take();
        assert!(is_warned);
        assert_eq!(changed.as_str().unwrap().trim_start_matches("http.allowed_origins, "), expected);
    }

    // All of it is applied, or none.
    for (fixed, key) in
        [("[limits]\nconnections = 5", "limits.connections"), ("[log]\nlevel = \"debug\"", "log.level")]
    {
        configure(&format!("{fixed}\n[tools.greet]\nscopes = [\"say:bye\"]\n"));
        hang_up();
        let refused = logged(&mut lines, "is refused");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains(key) && message.contains("takes a restart"), "{message}");
        assert_eq!(scopes(), serde_json::json!(["say:hello", "tool:whoami"]));
    }

    configure("[tools.gret]\nscopes = []\n");
    hang_up();
    let refused = logged(&mut lines, "is refused");
    assert!(refused["message"].as_str().unwrap().contains("tools.gret"), "{refused}");
    assert_eq!(scopes(), serde_json::json!(["say:hello", "tool:whoami"]), "the old one serves on");

    let stopped = Command::new("kill").args(["-TERM", &serve.id().to_string()]).status().unwrap();
    assert!(stopped.success());
    assert_eq!(serve.wait().unwrap().code(), Some(0));
}

/// Issuer, audience, signing keys, metadata and scopes change as one; and where the new tenant's keys can't be had, none of
/// them does.
#[test]
fn a_hangup_that_names_another_tenant_changes_all_of_it_or_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let audiences = ["https://one.example/mcp", "https://two.example/mcp"];
    let tenants = audiences.map(|audience| {
        let options = local_tenant::Options::default().with_api_identifier(audience);
        runtime.block_on(local_tenant::LocalTenant::start(options)).unwrap()
    });
    let tokens = tenants.each_ref().map(|tenant| {
        let request = local_tenant::TokenRequest { user: "admin".into(), scope: None, audience: None };
        tenant.issue_token(&request).unwrap().access_token
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    let configure = |issuer: &str, audience: &str, more: &str| {
        let text = format!("[auth0]\nissuer = \"{issuer}\"\naudience = \"{audience}\"\n{more}");
        std::fs::write(&file, text).unwrap();
    };
    configure(tenants[0].issuer(), audiences[0], "");
    let mut serve = command(&["serve", "--config", file.to_str().unwrap()], &[("PORT", "0")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(serve.stderr.take().unwrap()).lines();
    // The keys may be there first.
    let [listening, _] = both_logged(&mut lines, ["listening", "the issuer's keys changed"]);
    let address = listening["address"].as_str().unwrap().to_owned();
    let hang_up = || {
        assert!(Command::new("kill").args(["-HUP", &serve.id().to_string()]).status().unwrap().success());
    };
    let status = |token: &str| {
        let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let answer = shell(&format!(
            "curl -s -D - -o /dev/null http://{address}/mcp -H 'content-type: application/json' \
             -H 'authorization: Bearer {token}' -d '{ping}'"
        ));
        text(&answer.stdout).split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let document = || {
        let document = shell(&format!("curl -s http://{address}/.well-known/oauth-protected-resource"));
        let document = serde_json::from_slice::<Value>(&document.stdout).unwrap();
        (document["resource"].clone(), document["authorization_servers"][0].clone())
    };
    let expect = |of: usize| {
        assert_eq!(document(), (audiences[of].into(), tenants[of].issuer().into()));
        assert_eq!((status(&tokens[of]), status(&tokens[1 - of])), ("200".to_owned(), "401".to_owned()));
    };
    expect(0);

    configure(tenants[1].issuer(), audiences[1], "");
    hang_up();
    assert_eq!(logged(&mut lines, "was read again")["changed"], "auth0.audience, auth0.issuer");
    expect(1);

    configure("http://127.0.0.1:1/", audiences[0], "[tools.greet]\nscopes = [\"x\"]\n");
    hang_up();
    let refused = logged(&mut lines, "is refused");
    assert!(refused["message"].as_str().unwrap().contains("keys can't be had"), "{refused}");
    expect(1);

    assert!(Command::new("kill").args(["-TERM", &serve.id().to_string()]).status().unwrap().success());
    assert_eq!(serve.wait().unwrap().code(), Some(0));
}

#[test]
fn check_shows_no_key() {
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let environment =
        [("AUTH0_DOMAIN", "t.example"), ("AUTH0_AUDIENCE", "x"), ("FASTMCP__MCP__STATE_KEYS", key)];
    let shown = run(&["check"], &environment);
    let text = text(&shown.stdout);
    assert!(text.contains("mcp.state_keys = [1 redacted]") && !text.contains(key), "{text}");
    let bad = run(&["check"], &[environment[0], environment[1], ("FASTMCP__MCP__STATE_KEYS", "c2hvcnQ=")]);
    let told = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert_eq!(bad.status.code(), Some(64));
    assert!(
        told.contains("mcp.state_keys") && told.contains("32 bytes") && !told.contains("c2hvcnQ="),
        "{told}"
    );
}

#[test]
fn check_prints_the_scopes_that_are_in_force() {
    let environment = [
        ("AUTH0_DOMAIN", "tenant.eu.auth0.com"),
        ("AUTH0_AUDIENCE", "http://localhost:3001/mcp"),
        ("FASTMCP__TOOLS__GREET__SCOPES", "say:hello,say:more"),
        ("FASTMCP__TOOLS__WHOAMI__ENABLED", "false"),
    ];
    let output = run(&["check"], &environment);
    let said = text(&output.stdout);
    let line = said.lines().find(|line| line.starts_with("  greet ")).unwrap();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(line, "greet say:hello say:more # environment: FASTMCP__TOOLS__GREET__SCOPES");
    assert!(said.contains("\n  whoami        (switched off)"), "{said}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn check_prints_which_scopes_stand_for_others_and_what_a_login_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    let table = "[scopes]\nlogin = [\"tool:whoami\"]\n[scopes.implies]\n\"tool:all\" = [\"tool:whoami\", \"tool:talk\"]\n\
                 \"tool:talk\" = [\"tool:greet\"]\n";
    std::fs::write(&file, table).unwrap();
    let check = |more: &[&str], variables: &[(&str, &str)]| {
        let tenant =
            [("AUTH0_DOMAIN", "tenant.eu.auth0.com"), ("AUTH0_AUDIENCE", "http://localhost:3001/mcp")];
        let output = run(
            &[&["check", "--config", file.to_str().unwrap()], more].concat(),
            &[&tenant[..], variables].concat(),
        );
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
        text(&output.stdout)
    };
    let said = check(&[], &[]);
    for expected in [
        "\nscopes.implies.\"tool:all\" = [\"tool:whoami\", \"tool:talk\"]  ",
        "\n  greet         tool:greet (or tool:all, tool:talk)\n  whoami        tool:whoami (or tool:all)\n  get_datetime  (none",
        "\n\na first login asks for tool:whoami\n\nissuer",
    ] {
        assert!(said.contains(expected), "{expected:?}: {said}");
    }
    let document: Value = serde_json::from_str(&check(&["--json"], &[])).unwrap();
    let tool = |index: usize| document["tools"][index]["implied_by"].clone();
    assert_eq!(tool(0), serde_json::json!({"tool:greet": ["tool:all", "tool:talk"]}));
    assert_eq!((tool(1), tool(2)), (serde_json::json!({"tool:whoami": ["tool:all"]}), Value::Null));
    assert_eq!(document["login_scopes"], serde_json::json!(["tool:whoami"]));
    let values = document["values"].as_array().unwrap();
    let value = values.iter().find(|value| value["key"] == "scopes.implies.\"tool:talk\"").unwrap();
    assert_eq!(value["value"], serde_json::json!(["tool:greet"]));

    let all = check(&[], &[("FASTMCP__SCOPES__LOGIN", "all"), ("FASTMCP__TOOLS__GREET__ENABLED", "false")]);
    assert!(all.contains("\na first login asks for tool:whoami\n"), "switched off, so not asked for: {all}");
    std::fs::write(&file, "[scopes]\nlogin = []\n").unwrap();
    assert!(check(&[], &[]).contains("\na first login asks for no scope\n"));
}

#[test]
fn check_tells_everything_as_one_json_document_without_secrets() {
    let key = "dzHF8dbAAX8KLEJwi69e/jLB9/3Ai02sJYE/3CTFoy0=";
    let environment = [
        ("AUTH0_DOMAIN", "tenant.eu.auth0.com"),
        ("AUTH0_AUDIENCE", "urn:api"),
        ("AUTH0_ISUER", "x"),
        ("PORT", "4000"),
        ("FASTMCP__MCP__STATE_KEYS", key),
        ("FASTMCP__TOOLS__GREET__SCOPES", "say:hello"),
    ];
    let output = run(&["check", "--json"], &environment);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let said = text(&output.stdout);
    assert!(!said.contains(&key[..8]), "{said}");
    let document: Value = serde_json::from_str(&said).unwrap();
    let value = |key: &str| {
        let values = document["values"].as_array().unwrap();
        let value = values.iter().find(|value| value["key"] == key).unwrap();
        (value["value"].clone(), value["source"].clone())
    };
    assert_eq!(value("server.port"), (4000.into(), "environment: PORT".into()));
    assert_eq!(value("log.level"), ("info".into(), "config/default.toml, built in".into()));
    assert_eq!(value("http.allowed_hosts").0, serde_json::json!([]));
    assert_eq!(value("mcp.state_keys").0, serde_json::json!({"redacted": 1}));
    assert_eq!(
        document["tools"],
        serde_json::json!([
            {"name": "greet", "enabled": true, "scopes": ["say:hello"],
             "source": "environment: FASTMCP__TOOLS__GREET__SCOPES"},
            {"name": "whoami", "enabled": true, "scopes": ["tool:whoami"]},
            {"name": "get_datetime", "enabled": true, "scopes": []},
        ])
    );
    assert_eq!(document["valid"], true);
    let endpoint = json!({
        "url": "http://localhost:4000/mcp",
        "metadata": "http://localhost:4000/.well-known/oauth-protected-resource/mcp",
        "audience": "urn:api",
    });
    assert_eq!(document["endpoints"], json!([endpoint]));
    assert_eq!(document["issuer"], "https://tenant.eu.auth0.com/");
    assert_eq!(
        document["warnings"][0],
        "nothing reads AUTH0_ISUER (environment): did you mean AUTH0_ISSUER?"
    );
    assert!(document["warnings"][1].as_str().unwrap().starts_with("the audience \"urn:api\""));

    let refused = run(&["check", "--json"], &[environment[1], ("FASTMCP__MCP__STATE_KEYS", &key[1..])]);
    assert_eq!(refused.status.code(), Some(64));
    assert!(text(&refused.stderr).contains("auth0.domain"), "told to people, too");
    assert_eq!(
        serde_json::from_slice::<Value>(&refused.stdout).unwrap(),
        serde_json::json!({
            "valid": false,
            "problems": [
                {"key": "auth0.domain", "source": "config/default.toml, built in",
                 "message": "is not set: AUTH0_DOMAIN is your tenant's host, such as my-tenant.eu.auth0.com"},
                {"key": "mcp.state_keys", "source": "environment: FASTMCP__MCP__STATE_KEYS",
                 "message": "item 1 must be a key of 32 bytes in base64: openssl rand -base64 32"},
            ],
            "warnings": [],
        })
    );
}

#[test]
fn the_default_configuration_is_printed_and_is_one() {
    let output = run(&["config", "default"], &[]);
    assert_eq!(output.status.code(), Some(0));
    let shipped = std::fs::read_to_string(Path::new(ROOT).join("config/default.toml")).unwrap();
    assert_eq!(text(&output.stdout), shipped);
}

#[test]
fn serve_and_check_warn_of_what_is_probably_not_meant() {
    let environment = [
        ("AUTH0_ISSUER", "http://127.0.0.1:1/"),
        ("AUTH0_AUDIENCE", "http://localhost/mcp"),
        ("PORT", "0"),
        ("MCP_SERVER_ULR", "https://mcp.tenant.dev"),
        ("FASTMCP__HTTP__ALLOWED_ORIGINS", "*"),
    ];
    let checked = text(&run(&["check"], &environment).stderr);
    assert!(
        checked.contains("warning: http.allowed_origins (") && checked.contains("every web page"),
        "{checked}"
    );
    let mut serve = command(&["serve"], &environment).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(serve.stderr.take().unwrap()).lines();
    logged(&mut lines, "listening");
    terminate(&serve.id().to_string());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    serve.wait().unwrap();
    let warning = logged(&mut rest.iter().cloned().map(Ok), "every web page may call");
    assert_eq!(warning["level"], "WARN");
    let warning = logged(&mut rest.into_iter().map(Ok), "MCP_SERVER_ULR");
    assert_eq!(warning["level"], "WARN");
    assert_eq!(
        warning["message"],
        "nothing reads MCP_SERVER_ULR (environment): did you mean MCP_SERVER_URL?"
    );
}

fn terminate(process: &str) {
    assert!(Command::new("kill").args(["-TERM", process]).status().unwrap().success());
}

/// A command line in a terminal of its own, what it shows being this process's to read.
fn in_a_terminal(line: &str, environment: &[(&str, &str)]) -> Child {
    Command::new("script")
        .args(["--quiet", "--command", line, "/dev/null"])
        .env_clear()
        .envs([("TERM", "xterm"), ("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/sh")])
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn the_command_lines_colors_are_turned_off_by_no_color() {
    for arguments in ["--help", "serve --nonsense"] {
        let line = format!("{} {arguments}", binary().display());
        let shown = |environment: &[(&str, &str)]| {
            text(&in_a_terminal(&line, environment).wait_with_output().unwrap().stdout)
        };
        assert!(shown(&[]).contains('\u{1b}'), "{arguments}");
        let plain = shown(&[("NO_COLOR", "1")]);
        assert!(plain.contains("Usage") && !plain.contains('\u{1b}'), "{plain}");
    }
}

#[test]
fn the_logs_colors_are_turned_off_by_no_color() {
    let tenant = [("AUTH0_ISSUER", "http://127.0.0.1:1/"), ("AUTH0_AUDIENCE", "urn:a"), ("PORT", "0")];
    // The terminal's process ends with the server, whose own number the line tells.
    let line = format!("echo $$; exec {} serve", binary().display());
    for (environment, colored) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let mut terminal = in_a_terminal(&line, &[&tenant[..], environment].concat());
        let mut lines = BufReader::new(terminal.stdout.take().unwrap()).lines().map_while(Result::ok);
        let server = lines.next().unwrap();
        let listening = lines.find(|line| line.contains("listening")).unwrap();
        // Before anything is judged: a server that outlives its test would hold the test's output open.
        terminate(server.trim());
        let rest: Vec<String> = lines.collect();
        terminal.wait().unwrap();
        assert_eq!(listening.contains('\u{1b}'), colored, "{listening}");
        assert_eq!(rest.concat().contains('\u{1b}'), colored, "{rest:?}");
    }
}

/// Of several, the newest that is running is found; nobody needs to know its port.
#[test]
fn token_finds_the_running_dev_on_whatever_port_it_took() {
    let folder = tempfile::tempdir().unwrap();
    let environment = [("XDG_RUNTIME_DIR", folder.path().to_str().unwrap())];
    let issuer_of_token = || {
        let token = text(&run(&["token"], &environment).stdout);
        let claims =
            token.split('.').nth(1).map(|part| base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap());
        claims.map(|claims| {
            serde_json::from_slice::<Value>(&claims).unwrap()["iss"].as_str().unwrap().to_owned()
        })
    };
    // What lies there is replaced, and not written through.
    let (mine, place) = (folder.path().join("mine"), folder.path().join("fastmcp-auth0"));
    std::fs::write(&mine, "mine").unwrap();
    std::fs::create_dir(&place).unwrap();
    std::os::unix::fs::symlink(&mine, place.join("dev-tenant-port")).unwrap();
    let first = Dev::start_in(&[], &environment);
    assert_eq!(std::fs::read_to_string(&mine).unwrap(), "mine");
    assert_eq!(issuer_of_token().unwrap(), first.word("Issuer"));
    let second = Dev::start_in(&[], &environment);
    assert_eq!(issuer_of_token().unwrap(), second.word("Issuer"));
    drop(first.stop());
    assert_eq!(issuer_of_token().unwrap(), second.word("Issuer"), "it does not take the other's place away");
    drop(second.stop());
    assert_eq!(std::fs::read_dir(folder.path().join("fastmcp-auth0")).unwrap().count(), 0);
}

/// Its keys are new, and none of the old ones is known: the client logs in again.
#[test]
fn an_old_token_is_refused_by_a_dev_that_was_started_again() {
    let dev = Dev::start();
    let (token, address) = (dev.token("admin"), dev.address());
    let (port, tenant_port) = (address.rsplit(':').next().unwrap().to_owned(), dev.tenant_port().to_owned());
    drop(dev.stop());
    let dev = Dev::start_at(&port, &tenant_port);
    let answer = shell(&format!(
        "curl -s -i {} -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{{}}'",
        dev.endpoint()
    ));
    let answer = text(&answer.stdout);
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("unknown_key"), "{answer}");
}

#[test]
fn the_command_line_completes_and_documents_itself() {
    for (shell, expected) in [
        ("bash", "_fastmcp__auth0()"),
        ("zsh", "#compdef fastmcp-auth0"),
        ("fish", "complete -c fastmcp-auth0"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[fastmcp-auth0]"),
    ] {
        let output = run(&["completions", shell], &[]);
        assert!(output.status.success() && text(&output.stdout).contains(expected), "{shell}");
    }
    let page = text(&run(&["man"], &[]).stdout);
    assert!(page.contains(".TH fastmcp-auth0 1") && page.contains("fastmcp\\-auth0\\-serve(1)"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    assert!(run(&["man", "--output", folder.path().to_str().unwrap()], &[]).status.success());
    assert!(folder.path().join("fastmcp-auth0-config-default.1").is_file());
    let missing = run(&["man", "--output", "no/such/folder"], &[]);
    assert!(
        text(&missing.stderr).contains("error: the pages can't be written to no/such/folder"),
        "{missing:?}"
    );
}

/// What the MCP registry is told is of this version.
#[test]
fn the_registrys_document_has_the_version_of_the_package() {
    let document: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{ROOT}/server.json")).unwrap()).unwrap();
    let chart = std::fs::read_to_string(format!("{ROOT}/deploy/helm/fastmcp-auth0/Chart.yaml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(document["version"], version);
    let image = document["packages"][0]["identifier"].as_str().unwrap();
    assert!(image.ends_with(&format!(":{version}")), "{image}");
    assert!(chart.contains(&format!("\nversion: {version}\nappVersion: \"{version}\"\n")), "{chart}");
}
