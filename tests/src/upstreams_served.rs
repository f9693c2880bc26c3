//! Other MCP servers, offered through this one by configuration alone: in a server of somebody's own, and by the binary.

use std::io::{BufRead as _, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use bytes::Bytes;
use fastmcp_auth0::testing::{Answer, TestServer};
use fastmcp_auth0::{Principal, Server, ServerBuilder, Sources, tool_fn};
use http_body_util::Full;
use hyper::Request;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::binary::{Dev, command, run, text};
use crate::explain::{explain_in, now};
use crate::harness::{ADMIN, Choices, soon};
use crate::key_server::SigningKey;

/// A server over stdio, as a script: `read` only reads, `write` says nothing of itself, and `a b` has no name that clients take.
/// It writes `ended` to the file that its first argument names, once its input is closed.
const FILES: &str = r#"
while IFS= read -r line; do
  rest=${line#*'"id":'}
  id=${rest%%[,\}]*}
  case $line in
    *'"method":"initialize"'*)
      result='{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"files","version":"1.2.3"}}' ;;
    *'"method":"tools/list"'*)
      object='"inputSchema":{"type":"object"}'
      result='{"tools":[{"name":"read",'$object',"annotations":{"readOnlyHint":true}},{"name":"write",'$object'}'
      result=$result',{"name":"a b",'$object',"annotations":{"readOnlyHint":true}}]}' ;;
    *'"method":"tools/call"'*)
      result='{"content":[{"type":"text","text":"'$GREETING'"}]}' ;;
    *'"method":"ping"'*)
      result='{}' ;;
    *'"id":'*)
      printf '{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}\n' "$id"
      continue ;;
    *)
      continue ;;
  esac
  printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
[ -z "$1" ] || echo ended > "$1"
"#;

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

fn named(name: &'static str) -> impl fastmcp_auth0::DynTool {
    tool_fn(name, "A tool.", move |_: Nothing, _: Principal| async move { Ok(name) })
}

fn builder() -> ServerBuilder {
    Server::builder().tool(named("own")).sample(named("sample"))
}

/// The upstream of [`FILES`], whose end is written to a file.
fn files(sources: Sources, ended: &Path) -> Sources {
    let command = ["/bin/sh", "-c", FILES, "sh", ended.to_str().unwrap()].map(str::to_owned);
    sources
        .set("test", "upstreams.files.command", command.to_vec())
        .set("test", "upstreams.files.env.GREETING", "hello")
        .set("test", "upstreams.files.prefix", "files_")
        .set("test", "upstreams.files.scopes.read", vec!["files:read"])
}

async fn ready(server: &TestServer) -> Answer {
    let request = Request::get("/ready").header("host", "localhost").body(Full::new(Bytes::new())).unwrap();
    server.send(request).await.unwrap()
}

#[tokio::test]
async fn an_upstreams_tools_are_offered_by_rules_beside_the_servers_own_and_it_ends_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let ended = folder.path().join("ended");
    let server = soon(TestServer::start_with(builder(), |sources| files(sources, &ended))).await.unwrap();
    let (reader, nobody) = (server.token("files:read"), server.token("other"));
    // `write` is not covered, and the sample makes room for what is real.
    assert_eq!(server.tools(&reader).await.unwrap(), ["own", "files_read"]);
    assert_eq!(server.tools(&nobody).await.unwrap(), ["own"]);
    let answer = server.call(&reader, "files_read", json!({})).await.unwrap();
    assert_eq!(answer.text(), "hello");
    let refused = server.call(&nobody, "files_read", json!({})).await.unwrap();
    assert_eq!((refused.status, refused.json().unwrap()["scope"].clone()), (403, json!("files:read")));
    let hidden = server.call(&reader, "files_write", json!({})).await.unwrap().json().unwrap();
    assert_eq!(hidden["error"]["code"], -32602, "{hidden}");
    assert_eq!(ready(&server).await.status, 200);
    assert!(!ended.exists());
    soon(server.stop()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&ended).unwrap(), "ended\n");
}

#[tokio::test]
async fn a_rule_under_tools_counts_for_an_upstreams_tool_and_names_it_as_clients_do() {
    let folder = tempfile::tempdir().unwrap();
    let configure = |sources: Sources| {
        files(sources, &folder.path().join("ended"))
            .set("test", "upstreams.files.tools.write.scopes", vec!["files:write"])
            .set("test", "tools.files_write.scopes", vec!["more"])
            .set("test", "tools.files_read.enabled", false)
    };
    let server = soon(TestServer::start_with(builder(), configure)).await.unwrap();
    assert_eq!(server.tools(&server.token("more")).await.unwrap(), ["own", "files_write"]);
    assert_eq!(server.tools(&server.token("files:read files:write")).await.unwrap(), ["own"]);
    soon(server.stop()).await.unwrap();
}

#[tokio::test]
async fn samples_are_on_offer_as_long_as_there_is_no_upstream() {
    let server = TestServer::start(builder()).await.unwrap();
    assert_eq!(server.tools(&server.token("")).await.unwrap(), ["own", "sample"]);
}

/// The upstream is another server of ours, with a token of its own for this one.
#[tokio::test]
async fn an_upstream_at_an_address_gets_this_servers_key_and_never_the_callers_token() {
    let upstream = Choices::new().start().await;
    let configure = |sources: Sources| {
        sources
            .set("test", "upstreams.us.url", format!("http://{}/mcp", upstream.address))
            .set("test", "upstreams.us.headers.Authorization", format!("Bearer {ADMIN}"))
            .set("test", "upstreams.us.scopes.read", vec!["us:read"])
    };
    let server = soon(TestServer::start_with(builder(), configure)).await.unwrap();
    let reader = server.token("us:read");
    assert_eq!(server.tools(&reader).await.unwrap(), ["own", "greet", "whoami", "get_datetime"]);
    let answer = server.call(&reader, "greet", json!({"name": "Ada"})).await.unwrap();
    assert!(answer.text().contains("Ada"), "{answer:?}");
    soon(server.stop()).await.unwrap();
}

#[tokio::test]
async fn a_server_without_one_of_its_upstreams_serves_the_rest_and_is_not_ready() {
    let configure = |sources: Sources| {
        sources.set("test", "upstreams.gone.command", vec!["/no/such/program"]).set(
            "test",
            "upstreams.gone.scopes.read",
            vec!["gone:read"],
        )
    };
    let server = soon(TestServer::start_with(builder(), configure)).await.unwrap();
    assert_eq!(server.tools(&server.token("")).await.unwrap(), ["own"]);
    let answer = ready(&server).await;
    assert_eq!(answer.status, 503);
    assert!(answer.json().unwrap().to_string().contains("gone"), "{answer:?}");
    soon(server.stop()).await.unwrap();
}

/// With the environment of a developer's terminal, as far as it matters here.
const TERMINAL: [(&str, &str); 3] =
    [("PATH", "/usr/bin:/bin"), ("GREETING", "of-the-terminal"), ("SECRET_OF_THIS_SHELL", "s3cr3t")];

#[test]
fn dev_offers_a_commands_tools_without_any_configuration_and_says_who_may_call_which() {
    let environment = [&TERMINAL[..], &[("XDG_RUNTIME_DIR", "/run")]].concat();
    let mut dev =
        Dev::start_in(&["--env", "GREETING", "--env", "NOT_SET", "--", "sh", "-c", FILES], &environment);
    let mut log = BufReader::new(dev.take_log()).lines().map(Result::unwrap);
    let warning = log.next().unwrap();
    assert!(
        warning.contains("WARN") && warning.contains("NOT_SET") && warning.contains("is not set in"),
        "{warning}"
    );
    assert_eq!(log.next().unwrap(), "Starting sh ... (at most 30 s)");
    // Whoever does not read it on stops the server.
    std::thread::spawn(move || log.count());
    let banner = dev.banner();
    for expected in [
        "Upstream       server: files 1.2.3, MCP 2025-11-25: 2 tools\n  read   mcp:read         admin, user\n  \
         write  mcp:destructive  admin\nNot offered of it\n  a b  ",
        "\n  [upstreams.server]\n  command = [\"sh\", \"-c\", ",
        "\n  inherit_env = [\"PATH\", \"XDG_RUNTIME_DIR\", \"GREETING\"]\n  cwd = \"/",
        "\n  scopes.read = [\"mcp:read\"]\n  scopes.write = [\"mcp:write\"]\n  scopes.destructive = [\"mcp:destructive\"]\n",
        "\"name\":\"read\"",
    ] {
        assert!(banner.contains(expected), "no {expected:?} in\n{banner}");
    }
    assert!(!banner.contains("greet\"") && !banner.contains("s3cr3t"), "{banner}");
    let call = |user: &str, tool: &str| {
        let authorization = format!("Authorization: Bearer {}", dev.token(user));
        let body =
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool}}).to_string();
        let output = std::process::Command::new("curl")
            .args([
                "-s",
                dev.endpoint(),
                "-H",
                &authorization,
                "-H",
                "Content-Type: application/json",
                "-d",
                &body,
            ])
            .output()
            .unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(call("user", "read")["result"]["content"][0]["text"], "of-the-terminal");
    assert_eq!(call("user", "write")["scope"], "mcp:read mcp:destructive");
    assert_eq!(call("admin", "write")["result"]["content"][0]["text"], "of-the-terminal");
}

#[test]
fn dev_offers_what_is_at_an_address_with_the_key_that_a_variable_has() {
    let upstream = Dev::start();
    let key = format!("Bearer {}", upstream.token("admin"));
    let variables = [("FASTMCP__UPSTREAMS__UPSTREAM__HEADERS__AUTHORIZATION", key.as_str())];
    let dev = Dev::start_in(&["--upstream-url", upstream.endpoint()], &variables);
    let banner = dev.banner();
    let url = format!("\n  url = \"{}\"\n  scopes.read", upstream.endpoint());
    for expected in ["\n  greet         mcp:read  admin, user\n", url.as_str()] {
        assert!(banner.contains(expected), "no {expected:?} in\n{banner}");
    }
    assert!(!banner.contains(&key) && !banner.contains("Not offered"), "{banner}");
}

#[test]
fn dev_fails_with_the_reason_if_its_command_is_no_server() {
    for (command, name) in
        [(&["/no/such/program"][..], "program"), (&["sh", "-c", "echo out of order >&2; exit 3"], "server")]
    {
        let output = run(&[&["dev", "--port", "0", "--tenant-port", "0", "--"], command].concat(), &TERMINAL);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("error: the upstream {name}: ")), "{said}");
        assert_eq!(said.contains("out of order"), command.len() > 1, "{said}");
    }
    let output = run(&["dev", "--port", "0", "--", "npx -y server s3cr3t"], &TERMINAL);
    let said = text(&output.stderr);
    let expected = "upstreams.server.command (the command line of dev): is one text, and there is no such program: the program and \
                    its arguments are separate items: [\"npx\", ...]";
    assert!(
        output.status.code() == Some(64) && said.contains(expected) && !said.contains("s3cr3t"),
        "{said}"
    );
    let output = run(&["dev", "--port", "0", "--upstream-url", "http://10.0.0.1/mcp"], &TERMINAL);
    let said = text(&output.stderr);
    assert!(said.contains("set upstreams.upstream.allow_http = true in the configuration file"), "{said}");
    let output = run(&["dev", "--upstream-url", "http://10.0.0.1/mcp", "--", "sh"], &TERMINAL);
    assert_eq!(output.status.code(), Some(2), "one or the other");
}

const TENANT: [(&str, &str); 2] =
    [("AUTH0_DOMAIN", "tenant.eu.auth0.com"), ("AUTH0_AUDIENCE", "http://localhost:3001/mcp")];

/// Returns the standard output and the exit code.
fn check(toml: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, toml).unwrap();
    let environment = [&TENANT[..], &TERMINAL].concat();
    let output = run(&[&["check", "--config", file.to_str().unwrap()], arguments].concat(), &environment);
    let log = text(&output.stderr);
    assert!(!log.contains("s3cr3t") && !log.contains("of-the-terminal"), "{log}");
    (text(&output.stdout), output.status.code())
}

fn files_toml() -> String {
    toml_of(FILES)
}

fn toml_of(script: &str) -> String {
    let command = toml::Value::from(["sh", "-c", script].map(str::to_owned).to_vec());
    format!(
        "[upstreams.files]\ncommand = {command}\ninherit_env = [\"PATH\", \"GREETING\"]\nprefix = \"f_\"\n\
         scopes.read = [\"files:read\"]\n"
    )
}

#[test]
fn check_shows_an_upstreams_tools_with_their_scopes_and_why_others_are_not_offered() {
    let toml = files_toml() + "tools.write.scopes = [\"files:write\"]\ntools.read.hidden = true\n";
    let (said, code) = check(&toml, &[]);
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "\nupstreams.files.command = [\"sh\", 2 redacted]",
        "\n  f_write  files:write  # upstreams.files.tools.write\n",
        "\nupstream files: files 1.2.3, MCP 2025-11-25: 1 tool\nnot offered of it\n  read  a rule hides it: \
         upstreams.files.tools.read.hidden\n  a b   ",
    ] {
        assert!(said.contains(expected), "no {expected:?} in\n{said}");
    }
    assert!(!said.contains("of-the-terminal") && !said.contains("\n  greet"), "{said}");

    let (said, code) = check(&files_toml(), &["--json"]);
    assert_eq!(code, Some(0), "{said}");
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        document["tools"],
        json!([{"name": "f_read", "enabled": true, "scopes": ["files:read"], "rule": "upstreams.files.scopes.read",
                "upstream": "files", "upstream_name": "read"}])
    );
    let upstream = &document["upstreams"][0];
    assert_eq!((&upstream["server"], &upstream["tools"]), (&json!("files 1.2.3"), &json!(["f_read"])));
    let reason = "no rule covers it: upstreams.files.scopes, or upstreams.files.tools.write.scopes";
    assert_eq!(upstream["not_offered"][0], json!({"name": "write", "reason": reason}));
}

#[test]
fn check_fails_if_an_upstream_is_not_there_but_shows_the_rest() {
    let toml = files_toml() + "[upstreams.gone]\ncommand = [\"/no/such/program\"]\nscopes.read = []\n";
    let (said, code) = check(&toml, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("\nupstream gone: not there: ") && said.contains("\n  f_read  files:read"),
        "{said}"
    );
    let (said, code) = check(&toml, &["--json"]);
    let document: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &document["valid"]), (Some(1), &json!(true)));
    assert!(document["upstreams"][1]["problem"].is_string(), "{document}");
}

#[test]
fn explain_lists_the_tools_of_the_upstreams_that_are_there_and_warns_of_the_others() {
    let toml = files_toml() + "[upstreams.gone]\ncommand = [\"/no/such/program\"]\nscopes.read = []\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, toml).unwrap();
    let claims = json!({"iss": "https://tenant.eu.auth0.com/", "sub": "s", "aud": "http://localhost:3001/mcp",
                        "exp": now() + 600, "client_id": "c", "scope": "files:read"});
    let token = SigningKey::first().token("k", &claims);
    let environment = [&TENANT[..], &TERMINAL, &[("FASTMCP__LOG__LEVEL", "trace")]].concat();
    let arguments = ["--offline", "--config", file.to_str().unwrap()];
    let explained = explain_in(&arguments, &environment, &token);
    assert!(explained.out.contains("\ntools\n  may call  f_read  files:read\n\n"), "{}", explained.out);
    let warned = explained.err.lines().any(|line| line.starts_with("warning: the upstream gone: "));
    assert!(explained.code == Some(0) && warned, "{}", explained.err);
    explained.keeps_to_itself(&token);
    let explained = explain_in(&[&arguments[..], &["--json"]].concat(), &environment, &token);
    assert!(explained.json()["warnings"][0].as_str().unwrap().starts_with("the upstream gone: "));
}

/// A rule by a name that no tool has, with what `check` says of it.
const MISFITS: [(&str, &str); 4] = [
    (
        "tools.raed.hidden = true",
        "upstreams.files.tools.raed (FILE:6:7): the upstream files has no such tool; did you mean read?",
    ),
    (
        "tools.f_write.scopes = [\"w\"]",
        "upstreams.files.tools.f_write (FILE:6:7): the upstream files has no such tool; rules name tools as the upstream does: write",
    ),
    (
        "tools.elsewhere.scopes = [\"w\"]",
        "upstreams.files.tools.elsewhere (FILE:6:7): the upstream files has no such tool; its tools are read, write, \"a b\"",
    ),
    (
        "tools.\"f_wr*\".scopes = [\"w\"]",
        "upstreams.files.tools.\"f_wr*\" (FILE:6:7): no tool of the upstream files fits; rules name tools as the upstream does: \"wr*\"",
    ),
];

#[test]
fn a_rule_that_fits_no_tool_is_warned_of_and_check_fails_if_it_was_to_protect_one() {
    for (rule, expected) in MISFITS {
        let (said, code) = check(&(files_toml() + rule), &["--json"]);
        let document: Value = serde_json::from_str(&said).unwrap();
        let warning = document["warnings"][0].as_str().unwrap();
        let (key, rest) = expected.split_once("(FILE").unwrap();
        assert!(warning.starts_with(key) && warning.contains(&format!("my.toml{}", &rest[..1])), "{warning}");
        assert!(warning.ends_with(rest.split_once("): ").unwrap().1), "{warning}");
        assert_eq!(code, Some(i32::from(!rule.contains('*'))), "{rule}: {said}");
    }
    for rule in ["tools.later.title = \"Later\"", "tools.\"w*\".hidden = true", "tools.write.hidden = true"] {
        let (said, code) = check(&(files_toml() + rule), &["--json"]);
        assert_eq!(code, Some(0), "{rule}: {said}");
        assert_eq!(said.contains("has no such tool"), rule.contains("later"), "{rule}: {said}");
    }
}

#[test]
fn serve_and_dev_go_on_with_a_rule_that_fits_no_tool_and_say_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    std::fs::write(&file, files_toml() + MISFITS[0].0).unwrap();
    let arguments = ["--config", file.to_str().unwrap()];
    let expected = MISFITS[0].1.split_once("): ").unwrap().1;

    let warning = Serve::start(&arguments).logged("has no such tool");
    assert!(warning.contains("WARN") && warning.contains(expected), "{warning}");

    let dev = Dev::start_in(&arguments, &TERMINAL);
    let told =
        dev.banner().contains(&format!("Rules that fit nothing\n  {}", "upstreams.files.tools.raed ("));
    assert!(told && dev.banner().contains(expected), "{}", dev.banner());
    assert!(!dev.stop().contains(expected));
}

#[test]
fn check_says_which_rule_decides_on_a_tool_and_its_name_at_the_upstream() {
    let toml = files_toml()
        + "tools.\"wr*\".scopes = [\"w\"]\ntools.\"*\".scopes = []\ntools.write.name = \"put\"\n";
    let (said, code) = check(&toml, &[]);
    assert_eq!(code, Some(0), "{said}");
    for expected in ["# upstreams.files.tools.\"wr*\": write\n", "  # upstreams.files.tools.\"*\"\n"] {
        assert!(said.contains(expected), "no {expected:?} in\n{said}");
    }
    let (said, _) =
        check(&(files_toml() + "tools.write.name = \"put\"\nscopes.destructive = [\"d\"]"), &["--json"]);
    let document: Value = serde_json::from_str(&said).unwrap();
    let put = &document["tools"][1];
    assert_eq!(
        (&put["upstream_name"], &put["rule"]),
        (&json!("write"), &json!("upstreams.files.scopes.destructive"))
    );
}

/// [`FILES`] with two resources, a template and a prompt.
fn with_resources() -> String {
    let lists = [
        (
            "resources/list",
            r#"{"resources":[{"uri":"demo://1","name":"one"},{"uri":"demo://2","name":"two"}]}"#,
        ),
        ("resources/templates/list", r#"{"resourceTemplates":[{"uriTemplate":"demo://{id}","name":"any"}]}"#),
        ("prompts/list", r#"{"prompts":[{"name":"ask"}]}"#),
    ];
    let cases = lists
        .map(|(method, result)| format!("*'\"method\":\"{method}\"'*)\n      result='{result}' ;;\n    "));
    let ping = "*'\"method\":\"ping\"'*)";
    FILES
        .replace("\"tools\":{}}", "\"tools\":{},\"resources\":{},\"prompts\":{}}")
        .replace(ping, &format!("{}{ping}", cases.concat()))
}

#[test]
fn check_shows_what_resources_and_prompts_take_and_those_that_no_rule_covers() {
    let (said, code) = check(&toml_of(&with_resources()), &[]);
    assert_eq!(code, Some(0), "{said}");
    for expected in [
        "\n  2 resources          no rule covers them: upstreams.files.scopes.resources\n",
        "\n  1 resource template  no rule covers it: upstreams.files.scopes.resources\n",
        "\n  1 prompt             no rule covers it: upstreams.files.scopes.prompts\n",
        "\nupstream files: files 1.2.3, MCP 2025-11-25: 1 tool\n",
    ] {
        assert!(said.contains(expected), "no {expected:?} in\n{said}");
    }
    let rules = "scopes.resources = [\"a\", \"b\"]\nscopes.prompts = []\n";
    let toml = toml_of(&with_resources()) + rules;
    let (said, code) = check(&toml, &[]);
    let expected = "1 tool, 2 resources (a b), 1 resource template (a b), 1 prompt (any token)\n";
    assert!(code == Some(0) && said.contains(expected), "{said}");
    let document = |toml: &str| {
        serde_json::from_str::<Value>(&check(toml, &["--json"]).0).unwrap()["upstreams"][0].clone()
    };
    let covered = document(&toml);
    assert_eq!((&covered["resource_scopes"], &covered["prompt_scopes"]), (&json!(["a", "b"]), &json!([])));
    let uncovered = document(&toml_of(&with_resources()));
    assert!(uncovered.get("resource_scopes").is_none(), "{uncovered}");
    let reason = "no rule covers it: upstreams.files.scopes.prompts";
    assert!(
        uncovered["not_offered"].as_array().unwrap().contains(&json!({"name": "1 prompt", "reason": reason}))
    );
}

#[test]
fn dev_says_which_users_may_call_nothing_and_what_gives_them_scopes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    let told = |toml: String| {
        std::fs::write(&file, toml).unwrap();
        let dev = Dev::start_in(&["--config", file.to_str().unwrap()], &TERMINAL);
        dev.banner().lines().find(|line| line.starts_with("No tool is for")).map(str::to_owned)
    };
    let expected = "No tool is for user: give \"Tool User\" the scopes as `permissions`, in [[tenant.roles]] of the --config file; \
                    see docs/add-a-tool.md";
    assert_eq!(told(files_toml()).as_deref(), Some(expected));
    assert_eq!(told(files_toml() + "tools.read.scopes = []\n"), None);
}

#[test]
fn the_log_says_whose_tool_is_left_out_and_of_a_change_only_if_there_was_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    let second = files_toml().replace("[upstreams.files]", "[upstreams.more]");
    std::fs::write(&file, files_toml() + &second).unwrap();
    let log = Dev::start_in(&["--config", file.to_str().unwrap()], &TERMINAL).stop();
    assert!(log.contains("a tool of the upstream more is left out: two tools are named f_read"), "{log}");
    assert!(!log.contains("a provider") && !log.contains("the lists changed"), "{log}");
}

/// A running `serve`, and the lines of its log.
struct Serve {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Serve {
    fn start(arguments: &[&str]) -> Self {
        let tenant = [("AUTH0_ISSUER", "http://127.0.0.1:9/"), ("AUTH0_AUDIENCE", "urn:a"), ("PORT", "0")];
        let mut child = command(&[&["serve"], arguments].concat(), &[&TERMINAL[..], &tenant].concat())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line with this text.
    fn logged(&mut self, text: &str) -> String {
        self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(text)).unwrap()
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn serve_warns_of_a_rule_whose_tool_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (file, trigger, mark) = (path("my.toml"), path("trigger"), path("mark"));
    assert!(Command::new("mkfifo").arg(&trigger).status().unwrap().success());
    // Once something is written to the trigger, it says that its list has changed: `write` is called `put`.
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    let wait = format!("(read -r _ < '{trigger}'; echo '{notification}') &\n");
    let name = format!("{{\"name\":\"'$([ -e '{mark}' ] && echo put || echo write)'\"");
    let script = FILES
        .replace("\"tools\":{}}", "\"tools\":{\"listChanged\":true}}")
        .replace("{\"name\":\"write\"", &name);
    let rules = "tools.write.scopes = [\"w\"]\ntools.raed.scopes = [\"r\"]\n";
    std::fs::write(&file, toml_of(&(wait + &script)) + rules).unwrap();

    let mut serve = Serve::start(&["--config", &file]);
    let first = serve.logged("has no such tool");
    assert!(first.contains("upstreams.files.tools.raed ("), "{first}");
    std::fs::write(&mark, "").unwrap();
    std::fs::write(&trigger, "now\n").unwrap();
    let second = serve.logged("has no such tool");
    let is_told =
        second.contains("upstreams.files.tools.write (") && second.contains("its tools are read, put");
    assert!(is_told, "not once, or not of the new list: {second}");
}
