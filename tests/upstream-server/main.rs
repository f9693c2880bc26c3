//! An MCP server over stdio for tests of upstreams: every tool of it does one thing that servers do, or should not do.
//!
//! It speaks 2025-11-25, or with the argument `modern` 2026-07-28. The messages are written by hand, so that a test knows every
//! byte, also of what no SDK would write.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};

/// A definition with members and numbers that no type has.
const ECHO: &str = r#"{"name":"echo","title":"Echo","description":"Says what it was given.","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}},"annotations":{"readOnlyHint":true,"x-weight":1.10},"x-unknown":{"b":1,"a":[1e2]},"_meta":{"example.com/one":1}}"#;
/// A result with the same.
const ECHOED: &str = r#"{"content":[{"type":"text","text":"TEXT","annotations":{"priority":0.9,"x-future":true}},{"type":"image","data":"AAECAw==","mimeType":"image/png"},{"type":"x-future","value":1.10}],"structuredContent":{"z":1,"a":123456789012345678901234567890},"x-unknown":[1.0],"_meta":{"example.com/two":2}}"#;

#[derive(Clone, Default)]
struct Server(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_modern: bool,
    /// Whether it never answers the request for its tools.
    is_listless: bool,
    has_grown: AtomicBool,
    next: AtomicU64,
    waiting: Mutex<HashMap<String, Sender<Value>>>,
    cancelled: Mutex<Vec<Value>>,
    subscribed: Mutex<Vec<Value>>,
}

fn main() {
    let is = |name: &str| std::env::args().any(|argument| argument == name);
    let server = Server(Arc::new(Shared {
        is_modern: is("modern"),
        is_listless: is("listless"),
        ..Shared::default()
    }));
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        if is("mute") {
            continue;
        }
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let server = server.clone();
        if message["params"]["name"] == "deaf" {
            server.call(&message);
            loop {
                thread::park();
            }
        }
        // A call may wait for a response, which is a later line.
        if message["method"] == "tools/call" {
            thread::spawn(move || server.call(&message));
        } else {
            server.handle(&message);
        }
    }
}

fn send(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn result(id: &Value, result: &str) {
    send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
}

fn error(id: &Value, code: i32, message: &str, data: &Value) {
    send(
        &json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message, "data": data}})
            .to_string(),
    );
}

fn notify(method: &str, params: &Value) {
    send(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string());
}

fn text(id: &Value, text: &str) {
    result(id, &json!({"resultType": "complete", "content": [{"type": "text", "text": text}]}).to_string());
}

fn tool(name: &str, annotations: &Value) -> Value {
    json!({
        "name": name, "description": format!("Does {name}."), "inputSchema": {"type": "object"},
        "annotations": annotations,
    })
}

impl Server {
    fn handle(&self, message: &Value) {
        let (id, params) = (&message["id"], &message["params"]);
        let capabilities = json!({
            "tools": {"listChanged": true}, "resources": {"subscribe": true, "listChanged": true},
            "prompts": {"listChanged": true}, "completions": {}, "logging": {},
        });
        let info = json!({"name": "upstream-server", "version": "1.2.3"});
        match (message["method"].as_str().unwrap_or_default(), self.0.is_modern) {
            ("initialize", false) => {
                let answer = json!({
                    "protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info,
                });
                result(id, &answer.to_string());
            }
            ("server/discover", true) => {
                let answer = json!({
                    "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
                    "_meta": {"io.modelcontextprotocol/serverInfo": info}, "ttlMs": 0, "cacheScope": "private",
                });
                result(id, &answer.to_string());
            }
            ("ping" | "logging/setLevel", _) => result(id, "{}"),
            ("tools/list", _) if self.0.is_listless => {
                // Whoever waits for this learns that it was asked.
                let _ = std::env::args().next_back().map(std::net::TcpStream::connect);
            }
            ("tools/list", _) => self.list_tools(id, params),
            ("resources/list", _) => result(
                id,
                r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","resources":[{"uri":"demo://one","name":"one","x-unknown":1.10},{"uri":"demo://items/secret","name":"secret"}]}"#,
            ),
            ("resources/templates/list", _) => result(
                id,
                r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","resourceTemplates":[{"uriTemplate":"demo://items/{id}","name":"items"},{"uriTemplate":"demo://files/{+path}","name":"files"}]}"#,
            ),
            ("prompts/list", _) => result(
                id,
                r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","prompts":[{"name":"poem","arguments":[{"name":"about","required":true}]}]}"#,
            ),
            ("resources/read", _) => read(id, params),
            ("resources/subscribe", _) if params["uri"] == "demo://items/missing" => {
                error(id, -32002, "not found", &Value::Null);
            }
            ("resources/subscribe", _) => {
                self.0.subscribed.lock().unwrap_or_else(PoisonError::into_inner).push(params["uri"].clone());
                result(id, "{}");
            }
            ("prompts/get", _) => {
                let about = &params["arguments"]["about"];
                let messages = json!([{"role": "user", "content": {"type": "text", "text": about}, "x": 1}]);
                result(id, &json!({"resultType": "complete", "messages": messages, "x": true}).to_string());
            }
            ("completion/complete", _) => {
                let typed = params["argument"]["value"].as_str().unwrap_or_default();
                let filled = params["context"]["arguments"]["by"].as_str().unwrap_or("!");
                let completion =
                    json!({"values": [format!("{typed}{filled}")], "total": 1, "hasMore": false});
                result(id, &json!({"resultType": "complete", "completion": completion}).to_string());
            }
            ("subscriptions/listen", _) => {
                let meta = json!({"io.modelcontextprotocol/subscriptionId": id});
                let params = json!({"notifications": params["notifications"], "_meta": meta});
                notify("notifications/subscriptions/acknowledged", &params);
            }
            ("notifications/cancelled", _) => {
                let mut cancelled = self.0.cancelled.lock().unwrap_or_else(PoisonError::into_inner);
                cancelled.push(params["requestId"].clone());
            }
            ("", _) => self.answered(message),
            (_, _) if id.is_null() => {}
            _ => error(id, -32601, "no such method", &Value::Null),
        }
    }

    fn list_tools(&self, id: &Value, params: &Value) {
        if params["cursor"].is_null() {
            result(
                id,
                &format!(
                    r#"{{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[{ECHO}],"nextCursor":"2"}}"#
                ),
            );
            return;
        }
        let read = json!({"readOnlyHint": true});
        let names = [
            "meta",
            "environment",
            "progress",
            "log",
            "ask",
            "sample",
            "wait",
            "cancelled",
            "crash",
            "big",
            "garbage",
            "refuse",
            "malformed",
            "foreign",
            "grow",
            "touch",
            "late",
            "deaf",
        ];
        let mut tools: Vec<Value> = names.iter().map(|name| tool(name, &read)).collect();
        tools.push(tool("write", &json!({"destructiveHint": false})));
        tools.push(tool("wipe", &json!({})));
        tools.push(tool("bad name", &read));
        let mut deep = tool("deep", &read);
        deep["_meta"] = (0..100).fold(json!(1), |inner, _| json!([inner]));
        tools.push(deep);
        tools.push(json!({"name": "schemaless", "annotations": {"readOnlyHint": true}}));
        if self.0.has_grown.load(Ordering::Relaxed) {
            tools.push(tool("grown", &read));
        }
        let list = json!({"resultType": "complete", "ttlMs": 0, "cacheScope": "private", "tools": tools});
        result(id, &list.to_string());
    }

    fn call(&self, message: &Value) {
        let (id, params) = (&message["id"], &message["params"]);
        let arguments = &params["arguments"];
        match params["name"].as_str().unwrap_or_default() {
            "echo" => {
                let given = arguments["text"].as_str().unwrap_or_default();
                result(id, &ECHOED.replace("TEXT", given));
            }
            "meta" => text(id, &params["_meta"].to_string()),
            "environment" => {
                #[expect(clippy::disallowed_methods, reason = "what it was given is what is asked for")]
                let names: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
                text(id, &names.join("\n"));
            }
            "progress" => {
                let token = &params["_meta"]["progressToken"];
                for step in [1, 2] {
                    let params = json!({"progressToken": token, "progress": step, "total": 2, "message": "step"});
                    notify("notifications/progress", &params);
                }
                text(id, "done");
            }
            "log" => {
                notify("notifications/message", &json!({"level": "error", "logger": "l", "data": {"x": 1}}));
                text(id, "logged");
            }
            "ask" => self.ask(id, params, "elicitation/create", r#"{"mode":"form","message":"Who?","requestedSchema":{"type":"object","properties":{"name":{"type":"string","x-unknown":1.10}}},"x-unknown":1.10}"#),
            "sample" => self.ask(id, params, "sampling/createMessage", r#"{"messages":[{"role":"user","content":{"type":"text","text":"Hi"}}],"maxTokens":5,"x-unknown":true}"#),
            "wait" => notify("notifications/message", &json!({"level": "info", "data": "waiting"})),
            "cancelled" => {
                text(id, &json!(*self.0.cancelled.lock().unwrap_or_else(PoisonError::into_inner)).to_string());
            }
            "crash" => std::process::exit(3),
            "big" => {
                let length = arguments["bytes"].as_u64().unwrap_or_default();
                text(id, &"x".repeat(usize::try_from(length).unwrap_or_default()));
            }
            "garbage" => {
                send("starting up...\n\n{\"jsonrpc\":");
                text(id, "done");
            }
            "refuse" => error(id, -32042, "go there first", &json!({"elicitations": [{"url": "https://example.com"}]})),
            "malformed" => result(id, &arguments["result"].to_string()),
            "foreign" => {
                // An answer to whoever else waits: the ids are easily guessed.
                for other in 0..100 {
                    if *id != json!(other) {
                        send(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{other},"progress":1}}}}"#));
                    }
                }
                text(id, "done");
            }
            "grow" => {
                self.0.has_grown.store(true, Ordering::Relaxed);
                notify("notifications/tools/list_changed", &json!({}));
                text(id, "grown");
            }
            "touch" => {
                notify("notifications/resources/updated", &json!({"uri": "demo://one"}));
                text(id, &json!(*self.0.subscribed.lock().unwrap_or_else(PoisonError::into_inner)).to_string());
            }
            name => text(id, name),
        }
    }

    /// Requests input, and says what came.
    fn ask(&self, id: &Value, params: &Value, method: &str, asked: &str) {
        if self.0.is_modern {
            let response = &params["inputResponses"]["who"];
            if response.is_null() {
                result(
                    id,
                    &format!(
                        r#"{{"resultType":"input_required","inputRequests":{{"who":{{"method":"{method}","params":{asked}}}}},"requestState":"state-1"}}"#
                    ),
                );
            } else {
                text(id, &json!({"response": response, "state": params["requestState"]}).to_string());
            }
            return;
        }
        let own = format!("ask-{}", self.0.next.fetch_add(1, Ordering::Relaxed));
        let (sender, response) = channel();
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(own.clone(), sender);
        send(&format!(r#"{{"jsonrpc":"2.0","id":"{own}","method":"{method}","params":{asked}}}"#));
        let response: Value = response.recv().unwrap_or_default();
        text(id, &response.to_string());
    }

    /// Takes the response to a request of this server's.
    fn answered(&self, message: &Value) {
        let id = message["id"].as_str().unwrap_or_default();
        let sender = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(sender) = sender {
            let answer = if message["result"].is_null() { &message["error"] } else { &message["result"] };
            let _ = sender.send(answer.clone());
        }
    }
}

fn read(id: &Value, params: &Value) {
    let uri = params["uri"].as_str().unwrap_or_default();
    if uri == "demo://items/missing" {
        return error(id, -32002, "not found", &json!({"uri": uri}));
    }
    result(
        id,
        &format!(
            r#"{{"resultType":"complete","ttlMs":7,"cacheScope":"public","contents":[{{"uri":"{uri}","text":"at {uri}","x-unknown":1.10}}]}}"#
        ),
    );
}
