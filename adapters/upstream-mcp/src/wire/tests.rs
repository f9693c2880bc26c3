//! Tests of who gets which message.

use proptest::prelude::*;
use rmcp::model::JsonRpcRequest;
use serde_json::json;

use super::*;

/// A call under way, whose request has this id and progress token.
fn call(wire: &Arc<Wire>, id: i64, reading: Reading) -> Registration {
    let registration = wire.register(reading, Source::Caller("a".into()), HeaderMap::new());
    send(wire, id, registration.key);
    registration
}

fn send(wire: &Wire, id: i64, key: CallKey) -> HeaderMap {
    let params = json!({"name": "a", "_meta": {"progressToken": format!("token {id}")}});
    let request = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
    let mut request: JsonRpcRequest<ClientRequest> = serde_json::from_value(request).unwrap();
    request.request.extensions_mut().insert(key);
    wire.sending(&JsonRpcMessage::Request(request))
}

fn receive(wire: &Wire, message: &Value, stream_of: Option<i64>) -> Option<Value> {
    let text = message.to_string();
    match wire.received(&text, stream_of.map(RequestId::Number).as_ref()).unwrap() {
        Received::Message(text) => Some(serde_json::from_str(&text).unwrap()),
        Received::Taken => None,
    }
}

fn log(text: &str) -> Value {
    let params = json!({"level": "info", "data": text});
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
}

fn elicitation() -> Value {
    json!({"jsonrpc": "2.0", "id": 70, "method": "elicitation/create", "params": {"message": "secret"}})
}

fn logs(call: &mut Registration) -> Vec<String> {
    let mut logs = Vec::new();
    while let Ok(event) = call.events.try_recv() {
        if let Event::Log(message) = event {
            logs.push(message.data.as_str().unwrap().to_owned());
        }
    }
    logs
}

#[test]
fn a_result_goes_to_its_call_as_it_is_written_and_rmcp_sees_a_stub() {
    let wire = Arc::default();
    let [one, two] = [1, 2].map(|id| call(&wire, id, Reading::Call));
    let text = r#"{"result":{"b":1.50,"a":[ 1 ]},"id":2,"jsonrpc":"2.0"}"#;
    let Received::Message(shown) = wire.received(text, None).unwrap() else { panic!("taken") };
    assert_eq!(
        serde_json::from_str::<Value>(&shown).unwrap(),
        json!({"jsonrpc": "2.0", "id": 2, "result": {}})
    );
    assert_eq!(serde_json::to_string(&two.result.take().unwrap()).unwrap(), r#"{"b":1.50,"a":[ 1 ]}"#);
    assert!(two.result.take().is_none(), "once");
    assert!(one.result.take().is_none());
}

#[test]
fn an_id_that_is_written_as_a_text_is_the_same() {
    let wire = Arc::default();
    let call = call(&wire, 2, Reading::Call);
    let shown = receive(&wire, &json!({"jsonrpc": "2.0", "id": "2", "result": {"a": 1}}), None);
    assert_eq!(shown, Some(json!({"jsonrpc": "2.0", "id": "2", "result": {}})));
    assert!(call.result.take().is_some());
}

#[test]
fn a_list_of_tools_goes_to_rmcp_as_well() {
    let wire = Arc::default();
    let call = call(&wire, 2, Reading::CallAndClient);
    let message = json!({"jsonrpc": "2.0", "id": 2, "result": {"tools": []}});
    assert_eq!(receive(&wire, &message, None), Some(message));
    assert!(call.result.take().is_some());
}

#[test]
fn what_is_no_call_s_goes_to_rmcp() {
    let wire = Arc::default();
    let call = call(&wire, 1, Reading::Call);
    for message in [
        json!({"jsonrpc": "2.0", "id": 2, "result": {"a": 1}}),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "no"}}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    ] {
        assert_eq!(receive(&wire, &message, None), Some(message));
    }
    assert!(call.result.take().is_none());
}

#[test]
fn a_result_that_is_no_object_is_an_error_of_its_call() {
    let wire = Arc::default();
    let call = call(&wire, 1, Reading::Call);
    for result in [json!(null), json!([]), json!("a"), json!(1)] {
        let shown = receive(&wire, &json!({"jsonrpc": "2.0", "id": 1, "result": result}), None).unwrap();
        assert_eq!(shown["error"]["code"], -32603);
        assert!(call.result.take().is_none());
    }
}

#[test]
fn progress_goes_to_the_call_with_its_token() {
    let wire = Arc::default();
    let [mut one, mut two] = [1, 2].map(|id| call(&wire, id, Reading::Call));
    let progress = |token: Value| {
        let params = json!({"progressToken": token, "progress": 1, "total": 2.5, "message": "m"});
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    };
    // Not even the stream says more than the token.
    assert_eq!(receive(&wire, &progress(json!("token 2")), Some(1)), None);
    assert_eq!(receive(&wire, &progress(json!("token 3")), Some(1)), None);
    assert_eq!(receive(&wire, &progress(json!({})), Some(1)), None);
    let Ok(Event::Progress(told)) = two.events.try_recv() else { panic!("nothing") };
    assert_eq!((told.progress, told.total, told.message.as_deref()), (1.0, Some(2.5), Some("m")));
    assert!(two.events.try_recv().is_err());
    assert!(one.events.try_recv().is_err());
}

#[test]
fn a_log_message_goes_to_the_call_of_its_stream() {
    let wire = Arc::default();
    let [mut one, mut two] = [1, 2].map(|id| call(&wire, id, Reading::Call));
    assert_eq!(receive(&wire, &log("a"), Some(2)), None);
    // The stream of a call that is over, and none at all.
    assert_eq!(receive(&wire, &log("b"), Some(3)), None);
    assert_eq!(receive(&wire, &log("c"), None), None);
    assert_eq!(logs(&mut two), ["a"]);
    assert!(logs(&mut one).is_empty());
}

#[test]
fn a_log_message_without_a_stream_goes_to_the_only_call_under_way() {
    let wire = Arc::default();
    let mut one = call(&wire, 1, Reading::Call);
    let waiting = wire.register(Reading::Call, Source::Caller("a".into()), HeaderMap::new());
    assert_eq!(receive(&wire, &log("a"), None), None);
    send(&wire, 2, waiting.key);
    assert_eq!(receive(&wire, &log("b"), None), None);
    drop(waiting);
    assert_eq!(receive(&wire, &log("c"), None), None);
    assert_eq!(receive(&wire, &log("d"), Some(9)), None, "another call's stream");
    assert_eq!(logs(&mut one), ["a", "c"]);
}

#[test]
fn a_request_for_input_goes_to_its_call_and_rmcp_sees_its_number_alone() {
    let wire = Arc::default();
    let [mut one, mut two] = [1, 2].map(|id| call(&wire, id, Reading::Call));
    let shown = receive(&wire, &elicitation(), Some(2)).unwrap();
    let Ok(Event::Input(input)) = two.events.try_recv() else { panic!("nothing") };
    let params = json!({"number": input.number, "for_roots": false});
    assert_eq!(shown, json!({"jsonrpc": "2.0", "id": 70, "method": INPUT_METHOD, "params": params}));
    assert!(one.events.try_recv().is_err());
    assert_eq!(input.kind, InputKind::Elicit);
    assert_eq!(serde_json::to_value(&input.params).unwrap(), json!({"message": "secret"}));
    let mut response = wire.response_to(input.number).unwrap();
    assert!(wire.response_to(input.number).is_none(), "once");
    input.respond.send(Some(json!(1))).unwrap();
    assert_eq!(response.try_recv(), Ok(Some(json!(1))));
}

#[test]
fn a_request_of_the_server_s_own_is_given_no_input_and_no_log() {
    let wire: Arc<Wire> = Arc::default();
    let mut own = wire.register(Reading::Call, Source::Server, HeaderMap::new());
    send(&wire, 1, own.key);
    let mut one = call(&wire, 2, Reading::Call);
    for stream_of in [Some(1), None] {
        receive(&wire, &elicitation(), stream_of).unwrap();
        receive(&wire, &log("a"), stream_of);
    }
    assert!(own.events.try_recv().is_err());
    assert!(matches!(one.events.try_recv(), Ok(Event::Input(_))), "the only caller's");
    assert_eq!(logs(&mut one), ["a"]);
}

#[test]
fn a_request_for_input_that_is_no_call_s_for_certain_is_nobody_s() {
    let wire = Arc::default();
    let shown = |stream_of| receive(&wire, &elicitation(), stream_of).unwrap()["params"]["number"].clone();
    assert!(shown(None).is_null(), "there is no call");
    let mut one = call(&wire, 1, Reading::Call);
    assert!(shown(None).is_u64());
    assert!(shown(Some(9)).is_null(), "another stream's");
    let mut two = call(&wire, 2, Reading::Call);
    assert!(shown(None).is_null(), "there are two");
    assert!(matches!(one.events.try_recv(), Ok(Event::Input(_))));
    assert!(one.events.try_recv().is_err() && two.events.try_recv().is_err());
}

#[test]
fn a_call_that_takes_nothing_costs_a_bounded_number_of_events() {
    let wire: Arc<Wire> = Arc::default();
    let mut one = call(&wire, 1, Reading::Call);
    for _ in 0..2 * MAX_EVENTS {
        receive(&wire, &elicitation(), None).unwrap();
    }
    assert_eq!(wire.lock().responses.len(), MAX_EVENTS);
    assert_eq!(receive(&wire, &log("a"), None), None);
    assert!(logs(&mut one).is_empty());
}

#[test]
fn a_dropped_call_is_forgotten_with_all_that_is_its() {
    let wire: Arc<Wire> = Arc::default();
    let one = call(&wire, 1, Reading::Call);
    receive(&wire, &elicitation(), None).unwrap();
    drop(one);
    let state = wire.lock();
    assert!(state.calls.is_empty() && state.by_id.is_empty());
    assert!(state.by_progress_token.is_empty() && state.responses.is_empty());
    drop(state);
    let message = json!({"jsonrpc": "2.0", "id": 1, "result": {"a": 1}});
    assert_eq!(receive(&wire, &message, None), Some(message));
}

#[test]
fn a_request_has_the_header_fields_of_its_call() {
    let wire: Arc<Wire> = Arc::default();
    let fields: HeaderMap = [(hyper::header::FROM, "a".parse().unwrap())].into_iter().collect();
    let one = wire.register(Reading::Call, Source::Caller("a".into()), fields.clone());
    assert_eq!(send(&wire, 1, one.key), fields);
    let key = one.key;
    drop(one);
    assert!(send(&wire, 2, key).is_empty());
    assert!(wire.lock().by_id.is_empty());
}

#[test]
fn changes_are_told_once() {
    let wire: Arc<Wire> = Arc::default();
    for (method, params) in [
        ("notifications/tools/list_changed", json!({})),
        ("notifications/prompts/list_changed", json!(null)),
        ("notifications/resources/updated", json!({"uri": "a:b"})),
        ("notifications/resources/updated", json!({"uri": 1})),
    ] {
        assert_eq!(
            receive(&wire, &json!({"jsonrpc": "2.0", "method": method, "params": params}), None),
            None
        );
    }
    let changes = wire.take_changes();
    assert!(changes.tools && changes.prompts && !changes.resources);
    assert_eq!(changes.updated, BTreeSet::from(["a:b".to_owned()]));
    assert!(wire.take_changes().updated.is_empty());
}

#[test]
fn what_is_no_message_is_malformed() {
    for text in ["", "a", "1", "[]", r#"[1,null,null,{"a":1}]"#, "{", r#"{"id":1.5}"#, r#"{"id":1,"id":2}"#] {
        assert_eq!(Wire::default().received(text, None), Err(Malformed), "{text}");
    }
}

#[test]
fn depth_does_not_matter() {
    let wire = Arc::default();
    let call = call(&wire, 1, Reading::Call);
    let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
    wire.received(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"a":{deep}}}}}"#), None).unwrap();
    assert_eq!(call.result.take().unwrap().get("a").unwrap().get(), deep);
    for method in ["notifications/message", "notifications/progress", "elicitation/create", "a"] {
        let text = format!(r#"{{"method":"{method}","id":null,"params":{{"data":{deep},"level":"info"}}}}"#);
        wire.received(&text, None).unwrap();
    }
}

const MEMBERS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS: &[&str] = &["progressToken", "progress", "total", "message", "level", "data", "logger", "uri"];

fn value() -> impl Strategy<Value = Value> {
    let texts = ["", "1", "token 1", "a:b", "info", "elicitation/create", "notifications/message"];
    let more = ["notifications/progress", "notifications/resources/updated", "sampling/createMessage"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2..3_i64).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select([&texts[..], &more].concat()).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let object = prop::collection::btree_map(prop::sample::select(PARAMS), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|members| json!(members)),
        ]
    })
}

fn message() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(prop::sample::select(MEMBERS), value(), 0..6)
        .prop_map(|members| json!(members))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_message_holds(
        messages in prop::collection::vec((message(), prop::option::of(0..3_i64)), 1..4),
        calls in 0..3_i64,
    ) {
        let wire: Arc<Wire> = Arc::default();
        let calls: Vec<Registration> = (0..calls).map(|id| call(&wire, id, Reading::Call)).collect();
        for (message, stream_of) in messages {
            let text = message.to_string();
            if let Ok(Received::Message(text)) = wire.received(&text, stream_of.map(RequestId::Number).as_ref()) {
                prop_assert!(serde_json::from_str::<Value>(&text).unwrap().is_object());
            }
        }
        drop(calls);
        prop_assert!(wire.lock().by_id.is_empty() && wire.lock().responses.is_empty());
    }

    #[test]
    fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0..200_usize) {
        let wire: Arc<Wire> = Arc::default();
        let _call = call(&wire, 1, Reading::Call);
        let _ = wire.received(&String::from_utf8_lossy(&bytes), None);
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"a":"\u0041"},"result":{}}"#;
        let mut text = text.as_bytes()[..cut.min(text.len())].to_vec();
        text.extend(bytes);
        let _ = wire.received(&String::from_utf8_lossy(&text), Some(&RequestId::Number(1)));
    }
}

#[test]
fn an_upstream_that_takes_no_responses_has_no_room_for_further_requests() {
    use futures_util::FutureExt as _;

    let wire = Arc::<Wire>::default();
    let ping = |id: usize| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
    let input = |id: usize| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"elicitation/create"}}"#);
    for id in 0..MAX_UNANSWERED {
        assert!(wire.room().now_or_never().is_some());
        let text = if id % 2 == 0 { ping(id) } else { input(id) };
        wire.received(&text, None).unwrap();
    }
    assert!(wire.room().now_or_never().is_none());
    let message = serde_json::json!({"jsonrpc": "2.0", "id": 5, "result": {}});
    let response: ClientJsonRpcMessage = serde_json::from_value(message).unwrap();
    let responding = wire.responding(&response).unwrap();
    assert!(wire.room().now_or_never().is_none(), "it is on its way");
    drop(responding);
    assert!(wire.room().now_or_never().is_some());
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "a".repeat(MAX_ID + 1));
    assert_eq!(wire.received(&long, None), Err(Malformed));
}

#[test]
fn what_comes_for_a_call_is_bounded() {
    let wire = Arc::<Wire>::default();
    let mut call = wire.register(Reading::Call, Source::Caller("a".into()), HeaderMap::new());
    wire.lock().by_id.insert(RequestId::Number(1), call.key);
    let long = "a".repeat(MAX_EVENT_BYTES);
    let message = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"{long}"}}}}"#
    );
    assert_eq!(wire.received(&message, None), Ok(Received::Taken));
    assert!(call.events.try_recv().is_err());
    let input = r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"a"}}"#;
    for _ in 0..MAX_INPUTS {
        wire.received(input, None).unwrap();
        assert!(call.events.try_recv().is_ok());
    }
    wire.received(input, None).unwrap();
    assert!(call.events.try_recv().is_err());
    let uri = "a".repeat(MAX_URI + 1);
    let updated = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#
    );
    wire.received(&updated, None).unwrap();
    assert!(wire.take_changes().updated.is_empty());
}
