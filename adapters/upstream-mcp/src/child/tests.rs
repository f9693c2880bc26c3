//! Tests with child processes.

use std::collections::BTreeMap;

use domain::UnixMillis;
use fakes::ManualClock;
use futures_util::FutureExt as _;
use rmcp::model::{JsonRpcMessage, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, ServiceExt as _};
use serde_json::{Value, json};

use super::*;
use crate::wire::{Reading, Source};

const LIMITS: Limits = Limits { message_bytes: 1 << 20, ..limits() };

const fn limits() -> Limits {
    Limits {
        start: Duration::from_secs(30),
        call: Duration::from_mins(1),
        stop: Duration::from_secs(5),
        message_bytes: 0,
        calls: 64,
        parked_calls: 64,
        parked: Duration::from_mins(5),
        listed: 1000,
    }
}

fn child(program: &str, arguments: &[&str]) -> Child {
    let path = (OsString::from("PATH"), OsString::from("/usr/bin:/bin"));
    Child {
        program: program.into(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: BTreeMap::from([path]),
        folder: None,
    }
}

fn try_spawn(child: &Child, limits: &Limits) -> Result<(ChildTransport, Arc<ManualClock>), SpawnError> {
    let clock = Arc::new(ManualClock::at(UnixMillis(0)));
    let transport = ChildTransport::spawn("a", child, limits, Arc::default(), Arc::clone(&clock) as _)?;
    Ok((transport, clock))
}

fn shell(script: &str) -> (ChildTransport, Arc<ManualClock>) {
    try_spawn(&child("sh", &["-c", script]), &LIMITS).unwrap()
}

fn request(id: i64, text: &str) -> ClientJsonRpcMessage {
    let params = json!({"name": "a", "arguments": {"text": text}});
    serde_json::from_value(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}))
        .unwrap()
}

async fn receive(transport: &mut ChildTransport) -> Option<Value> {
    Some(serde_json::to_value(transport.receive().await?).unwrap())
}

fn answer(id: i64) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": {"a": id}}).to_string()
}

fn how(transport: &ChildTransport) -> Option<String> {
    transport.ended.borrow().clone()
}

#[tokio::test]
async fn messages_go_in_and_come_out() {
    // What it gets it sends back, so that each request is one to us, too.
    let (mut transport, _clock) = shell("cat");
    let sent = request(1, "a\nb\u{e9}");
    transport.send(sent.clone()).await.unwrap();
    assert_eq!(receive(&mut transport).await.unwrap(), serde_json::to_value(&sent).unwrap());
    assert_eq!(how(&transport), None);
}

#[tokio::test]
async fn concurrent_messages_do_not_mix() {
    let (mut transport, _clock) = shell("cat");
    let text = "a".repeat(100_000);
    let mut sends = Vec::new();
    for id in 0..50 {
        sends.push(transport.send(request(id, &text)));
    }
    let sends = tokio::spawn(futures_util::future::join_all(sends));
    let mut ids = Vec::new();
    for _ in 0..50 {
        let message = receive(&mut transport).await.unwrap();
        assert_eq!(message["params"]["arguments"]["text"], *text);
        ids.push(message["id"].as_i64().unwrap());
    }
    ids.sort_unstable();
    assert_eq!(ids, (0..50).collect::<Vec<_>>());
    assert!(sends.await.unwrap().into_iter().all(|sent| sent.is_ok()));
}

#[tokio::test]
async fn a_message_that_nobody_waits_for_any_more_is_written_as_a_whole() {
    let (mut transport, _clock) = shell("cat");
    let mut first = Box::pin(transport.send(request(1, &"a".repeat(500_000))));
    assert!(first.as_mut().now_or_never().is_none());
    drop(first);
    transport.send(request(2, "b")).now_or_never();
    let second = tokio::spawn(transport.send(request(3, "c")));
    assert_eq!(receive(&mut transport).await.unwrap()["id"], 1);
    let next = receive(&mut transport).await.unwrap()["id"].as_i64().unwrap();
    assert!(matches!(next, 2 | 3));
    second.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_no_message_is_skipped() {
    let script =
        format!("printf 'Starting up\\n\\n  \\r\\n{{\"a\":1}}\\n[]\\n\\377\\376\\n%s' '{}'", answer(1));
    let (mut transport, _clock) = shell(&script);
    assert_eq!(receive(&mut transport).await.unwrap().to_string(), answer(1), "the last line has no end");
    assert!(receive(&mut transport).await.is_none());
    assert_eq!(transport.complaints.quota.take_refused(), 3, "one of four was logged");
}

#[tokio::test]
async fn an_answer_that_is_not_utf_8_is_an_error_of_its_call() {
    let script = r#"printf '{"jsonrpc":"2.0","id":7,"result":{"a":"\377"}}\n'"#;
    let (mut transport, _clock) = shell(script);
    let error = receive(&mut transport).await.unwrap();
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(7), &json!(-32603)));
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_an_error_of_its_call_and_the_next_message_comes() {
    // Of 32 MB, of which the id is the last.
    let script = format!(
        "printf '{{\"jsonrpc\":\"2.0\",\"result\":{{\"a\":\"'; head -c 32000000 /dev/zero | tr '\\0' a; \
         printf '\"}},\"id\":7}}\\n'; printf '{{\"method\":\"notifications/message\",\"params\":\"'; \
         head -c 2000000 /dev/zero | tr '\\0' a; printf '\"}}\\n%s\\n' '{}'; cat",
        answer(8)
    );
    let (mut transport, _clock) = shell(&script);
    let error = receive(&mut transport).await.unwrap();
    assert_eq!((&error["id"], &error["error"]["code"]), (&json!(7), &json!(-32603)));
    assert_eq!(receive(&mut transport).await.unwrap().to_string(), answer(8));
}

#[tokio::test]
async fn the_wire_sees_what_is_sent_and_received() {
    let wire = Arc::<Wire>::default();
    let clock = Arc::new(ManualClock::at(UnixMillis(0)));
    let script = format!("read line; echo '{}'; cat", answer(1));
    let child = child("sh", &["-c", &script]);
    let mut transport = ChildTransport::spawn("a", &child, &LIMITS, Arc::clone(&wire), clock).unwrap();
    let call = wire.register(Reading::Call, Source::Caller("a".into()), hyper::HeaderMap::new());
    let mut message = request(1, "a");
    if let JsonRpcMessage::Request(request) = &mut message {
        rmcp::model::GetExtensions::extensions_mut(&mut request.request).insert(call.key);
    }
    transport.send(message).await.unwrap();
    let shown = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    assert_eq!(receive(&mut transport).await.unwrap(), shown);
    assert_eq!(call.result.take().unwrap().get("a").unwrap().get(), "1");
}

#[tokio::test]
async fn the_environment_is_what_is_configured_and_the_folder_is() {
    let script = "read line; vars=$(env | tr '\\n' ' '); \
                  printf '{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"vars\":\"%s\",\"folder\":\"%s\"}}\\n' \
                  \"$vars\" \"$(pwd)\"";
    let mut child = child("sh", &["-c", script]);
    child.environment.insert("A".into(), "1".into());
    child.folder = Some("/usr".into());
    let (mut transport, _clock) = try_spawn(&child, &LIMITS).unwrap();
    transport.send(request(1, "")).await.unwrap();
    let result = receive(&mut transport).await.unwrap()["result"].take();
    assert_eq!(result["folder"], "/usr");
    // The shell adds some of its own for what it starts.
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let vars = result["vars"].as_str().unwrap().split_whitespace();
    let vars: Vec<&str> = vars.filter(|var| !own.contains(&var.split('=').next().unwrap())).collect();
    assert_eq!(vars.len(), 2, "{vars:?}");
    assert!(vars.contains(&"A=1") && vars.contains(&"PATH=/usr/bin:/bin"), "{vars:?}");
}

#[tokio::test]
async fn what_can_not_be_started_is_said_clearly() {
    let error = |child: Child| try_spawn(&child, &LIMITS).err().unwrap().to_string();
    let secret = |program: &str| {
        let mut child = child(program, &["--key=secret"]);
        child.environment.insert("KEY".into(), "secret".into());
        child
    };
    let in_no_folder =
        "the program no-such was not found in the PATH that the child is given; no shell is involved";
    assert_eq!(error(secret("no-such")), in_no_folder);
    assert_eq!(error(secret("/no/such")), "the program /no/such is not there");
    assert_eq!(error(secret("./no-such")), "the program ./no-such is not there");
    assert_eq!(error(secret("/usr")), "the program /usr may not be executed");
    let mut there = secret("Cargo.toml");
    there.environment.insert("PATH".into(), env!("CARGO_MANIFEST_DIR").into());
    assert_eq!(error(there), "the program Cargo.toml may not be executed");
    let mut relative = secret("lib.rs");
    relative.environment.insert("PATH".into(), "src:".into());
    assert!(error(relative).contains("was not found in the PATH"));
    let mut no_path = secret("sh");
    no_path.environment.remove(&OsString::from("PATH"));
    let error_of_name = error(no_path);
    assert!(error_of_name.contains("is a name, and the child is given no PATH"), "{error_of_name}");
    let no_folder = Child { folder: Some("/no/such".into()), ..secret("sh") };
    assert_eq!(error(no_folder), "the folder /no/such is not there");
    let nul = Child { arguments: vec!["secret\0".into()], ..secret("sh") };
    assert!(error(nul).starts_with("the program sh can't be started: "));
    let of = |kind| SpawnError::of(&secret("sh"), io::Error::from(kind)).to_string();
    assert!(of(io::ErrorKind::NotFound).contains("interpreter"));
}

#[tokio::test]
async fn a_program_with_a_path_is_found_from_its_folder() {
    let mut child = child("./sh", &["-c", "exit 3"]);
    child.folder = Some("/bin".into());
    let (mut transport, _clock) = try_spawn(&child, &LIMITS).unwrap();
    assert!(transport.receive().await.is_none());
    has_ended(&mut transport.ended).await;
    assert_eq!(how(&transport).unwrap(), "exit status: 3");
}

#[tokio::test]
async fn closing_ends_a_child_that_reads_to_the_end() {
    // What it still writes then is more than a pipe holds.
    let (mut transport, clock) =
        shell("cat; head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2; exit 4");
    transport.close().await.unwrap();
    assert_eq!(how(&transport).unwrap(), "exit status: 4");
    assert_eq!(clock.uptime(), Duration::ZERO);
    let error = transport.send(request(1, "a")).await.unwrap_err();
    assert_eq!(error.to_string(), "the child's standard input is closed");
    transport.close().await.unwrap();
}

#[tokio::test]
async fn closing_ends_a_child_that_reads_nothing_by_sigterm() {
    let (mut transport, clock) = shell("exec sleep 1000");
    let stuck = tokio::spawn(transport.send(request(1, &"a".repeat(1_000_000))));
    let stop = async {
        clock.sleeping_until(LIMITS.stop).await;
        clock.advance(LIMITS.stop);
    };
    let (closed, ()) = tokio::join!(transport.close(), stop);
    closed.unwrap();
    assert_eq!(how(&transport).unwrap(), "signal: 15 (SIGTERM)");
    assert!(stuck.await.unwrap().is_err());
}

#[tokio::test]
async fn closing_ends_a_child_that_ignores_sigterm_by_sigkill() {
    let script = format!("trap '' TERM; echo '{}'; while true; do sleep 1000; done", answer(1));
    let (mut transport, clock) = shell(&script);
    receive(&mut transport).await.unwrap();
    let stop = async {
        for _ in 0..2 {
            clock.sleeping_until(LIMITS.stop).await;
            clock.advance(LIMITS.stop);
        }
    };
    let (closed, ()) = tokio::join!(transport.close(), stop);
    closed.unwrap();
    assert_eq!(how(&transport).unwrap(), "signal: 9 (SIGKILL)");
}

#[tokio::test]
async fn closing_ends_what_the_child_started() {
    let script = format!("(trap '' TERM; exec sleep 1000) & echo '{}'; cat", answer(1));
    let (mut transport, clock) = shell(&script);
    receive(&mut transport).await.unwrap();
    let mut ended = transport.ended();
    let time_passes = async {
        has_ended(&mut ended).await;
        loop {
            clock.sleeping_until(LIMITS.stop).await;
            clock.advance(LIMITS.stop);
        }
    };
    tokio::select! {
        closed = transport.close() => closed.unwrap(),
        () = time_passes => {}
    }
    assert_eq!(how(&transport).unwrap(), "exit status: 0");
    // Only once nobody has it any more.
    is_closed(&mut transport.logging).await;
}

#[tokio::test]
async fn a_dropped_transport_leaves_no_process() {
    let script = format!("trap '' TERM; sleep 1000 & echo '{}'; wait", answer(1));
    let (mut transport, clock) = shell(&script);
    receive(&mut transport).await.unwrap();
    let (mut ended, mut logging) = (transport.ended(), transport.logging.clone());
    drop(transport);
    has_ended(&mut ended).await;
    assert_eq!(ended.borrow().as_deref(), Some("signal: 9 (SIGKILL)"));
    is_closed(&mut logging).await;
    assert_eq!(clock.uptime(), Duration::ZERO);
}

#[tokio::test]
async fn what_a_child_leaves_behind_ends_with_it() {
    let (mut transport, _clock) = shell("sleep 1000 & exit 5");
    assert!(transport.receive().await.is_none());
    assert_eq!(how(&transport).unwrap(), "exit status: 5");

    let script = format!("(trap '' TERM; echo '{}'; exec sleep 1000) & read line; exit 6", answer(1));
    let (mut transport, clock) = shell(&script);
    receive(&mut transport).await.unwrap();
    transport.send(request(1, "a")).await.unwrap();
    clock.sleeping_until(LIMITS.stop).await;
    clock.advance(LIMITS.stop);
    assert!(transport.receive().await.is_none());
    assert_eq!(how(&transport).unwrap(), "exit status: 6");
}

#[tokio::test]
async fn a_flood_on_standard_error_holds_nothing_up() {
    let script = format!("head -c 20000000 /dev/zero >&2; yes | head -c 5000000 >&2; echo '{}'", answer(1));
    let (mut transport, _clock) = shell(&script);
    assert_eq!(receive(&mut transport).await.unwrap().to_string(), answer(1));
    assert!(receive(&mut transport).await.is_none());
}

struct Empty;

impl ServerHandler for Empty {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}

/// What [`rmcp_speaks_to_a_server_of_its_own`] starts; by itself it ends with its standard input.
#[tokio::test]
#[ignore = "it is the server of another test"]
async fn server() {
    if let Ok(server) = Empty.serve(rmcp::transport::stdio()).await {
        server.waiting().await.unwrap();
    }
}

#[tokio::test]
async fn rmcp_speaks_to_a_server_of_its_own() {
    // The test binary prints other lines as well, before the server does.
    let program = std::env::current_exe().unwrap();
    let arguments = ["child::tests::server", "--exact", "--ignored", "--nocapture"];
    let (transport, clock) = try_spawn(&child(program.to_str().unwrap(), &arguments), &LIMITS).unwrap();
    let mut ended = transport.ended();
    let client = ().serve(transport).await.unwrap();
    assert!(client.list_all_tools().await.unwrap().is_empty());
    client.cancel().await.unwrap();
    has_ended(&mut ended).await;
    assert_eq!(ended.borrow().as_deref(), Some("exit status: 0"));
    assert_eq!(clock.uptime(), Duration::ZERO);
}
