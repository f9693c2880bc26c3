use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use domain::trace::{AttributeValue, SpanKind};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use super::*;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Counts the spans that are lost.
#[derive(Default)]
struct Losses(Mutex<u64>);

impl Losses {
    fn count(&self) -> u64 {
        *self.0.lock().unwrap()
    }
}

impl Observer for Losses {
    fn observe(&self, event: Event<'_>) {
        if let Event::SpansLost { count } = event {
            *self.0.lock().unwrap() += count;
        }
    }
}

/// What a collector got: the head of a request, in lower case, and its body.
type Got = (String, ExportTraceServiceRequest);

/// Answers every request with this status line and body.
fn collector(status: &'static str, answer: Vec<u8>) -> (SocketAddr, Receiver<Got>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, got) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).unwrap();
            }
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut body).unwrap();
            let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
            let length = answer.len();
            let head_of_answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n");
            let _ = stream.get_mut().write_all(&[head_of_answer.as_bytes(), &answer].concat());
            if sender.send((head, request)).is_err() {
                return;
            }
        }
    });
    (address, got)
}

fn options(address: SocketAddr) -> Options {
    Options {
        endpoint: format!("http://{address}/v1/traces").parse().unwrap(),
        headers: Headers::parse("api-key=k%20ey").unwrap(),
        timeout: Duration::from_secs(10),
        queued_spans: 100,
        sample_ratio: 1.0,
        trust_sampled: false,
        resource: Attributes::parse("service.name=test").unwrap(),
    }
}

/// Spans are sent by the flush, not by time.
fn start(options: &Options) -> (OtlpTraces, Arc<Losses>) {
    let losses = Arc::new(Losses::default());
    let observer: Arc<dyn Observer> = Arc::clone(&losses) as _;
    (OtlpTraces::start_with(options, &observer, Duration::from_hours(1)), losses)
}

fn span(context: TraceContext) -> SpanData {
    SpanData {
        context,
        parent: SpanId::new([7; 8]),
        is_parent_remote: true,
        kind: SpanKind::Server,
        name: "tools/call greet".into(),
        began: Duration::new(1_795_395_877, 985_000_001),
        ended: Duration::new(1_795_395_878, 0),
        attributes: vec![
            ("gen_ai.tool.name", AttributeValue::Text("greet".into())),
            ("count", AttributeValue::Number(3)),
        ],
        links: vec![TraceContext::parse(PARENT, None).unwrap()],
        error: Some("tool_error".into()),
    }
}

fn spans(request: &ExportTraceServiceRequest) -> Vec<&Span> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).collect()
}

fn said(attributes: &[KeyValue]) -> Vec<String> {
    let value = |attribute: &KeyValue| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| format!("{}={}", attribute.key, value(attribute))).collect()
}

#[test]
fn a_span_reaches_the_collector_as_it_is() {
    let (address, got) = collector("200 OK", Vec::new());
    let (traces, losses) = start(&options(address));
    let caller = TraceContext::parse(PARENT, Some("rojo=1")).unwrap();
    let context = traces.enter(Some(&caller));
    traces.record(span(context.clone()));
    traces.flush();
    let (head, request) = got.recv().unwrap();
    for line in ["post /v1/traces http/1.1", "content-type: application/x-protobuf", "api-key: k ey"] {
        assert!(head.lines().any(|present| present == line), "no {line} in {head}");
    }
    let resource = &request.resource_spans[0];
    assert_eq!(said(&resource.resource.as_ref().unwrap().attributes), ["service.name=test"]);
    assert_eq!(resource.scope_spans[0].scope.as_ref().unwrap().name, "fastmcp-auth0");
    let [sent] = spans(&request)[..] else { panic!("{request:?}") };
    assert_eq!(sent.trace_id, caller.trace_id().bytes());
    assert_eq!((&sent.span_id, &sent.parent_span_id), (&context.span_id().bytes().to_vec(), &vec![7; 8]));
    assert_ne!(sent.span_id, caller.span_id().bytes());
    assert_eq!((sent.trace_state.as_str(), sent.name.as_str(), sent.kind), ("rojo=1", "tools/call greet", 2));
    assert_eq!(
        (sent.start_time_unix_nano, sent.end_time_unix_nano),
        (1_795_395_877_985_000_001, 1_795_395_878_000_000_000)
    );
    assert_eq!(said(&sent.attributes), ["gen_ai.tool.name=greet", "count=3", "error.type=tool_error"]);
    assert_eq!(sent.links[0].trace_id, caller.trace_id().bytes());
    // The sampled flag, and that the parent is known to be another program's.
    assert_eq!(sent.flags, 0x301);
    assert_eq!(sent.status.as_ref().unwrap().code, 2);
    assert_eq!(losses.count(), 0);
}

#[test]
fn what_waits_is_bounded_and_what_is_beyond_is_counted() {
    let (address, got) = collector("200 OK", Vec::new());
    let (traces, losses) = start(&Options { queued_spans: 3, ..options(address) });
    for _ in 0..5 {
        traces.record(span(traces.enter(None)));
    }
    assert_eq!(losses.count(), 2);
    traces.flush();
    assert_eq!(spans(&got.recv().unwrap().1).len(), 3);
    assert_eq!(losses.count(), 2);
}

#[test]
fn what_a_collector_does_not_take_is_counted() {
    for (status, answer, lost) in [
        ("503 Service Unavailable", Vec::new(), 2),
        ("404 Not Found", Vec::new(), 2),
        ("302 Found", Vec::new(), 2),
        ("200 OK", vec![0xff; 4], 0),
        ("200 OK", rejecting(1), 1),
        ("200 OK", rejecting(-1), 0),
    ] {
        let (address, got) = collector(status, answer);
        let (traces, losses) = start(&options(address));
        for _ in 0..2 {
            traces.record(span(traces.enter(None)));
        }
        traces.flush();
        assert_eq!(spans(&got.recv().unwrap().1).len(), 2);
        assert_eq!(losses.count(), lost, "{status}");
        assert_eq!(traces.0.shared.queued.load(Ordering::Relaxed), 0, "{status}");
    }
}

fn rejecting(rejected_spans: i64) -> Vec<u8> {
    let partial = ExportTracePartialSuccess { rejected_spans, error_message: "no".into() };
    ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec()
}

#[test]
fn what_no_collector_takes_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (traces, losses) = start(&options(address));
    traces.record(span(traces.enter(None)));
    traces.flush();
    assert_eq!(losses.count(), 1);
}

#[test]
fn a_collector_that_does_not_answer_delays_the_end_for_some_seconds_at_most() {
    // Connections are made, and nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (traces, losses) =
        start(&Options { timeout: Duration::from_secs(1), ..options(listener.local_addr().unwrap()) });
    traces.record(span(traces.enter(None)));
    traces.flush();
    assert_eq!(losses.count(), 1);
}

#[test]
fn a_full_batch_goes_at_once() {
    let (address, got) = collector("200 OK", Vec::new());
    let (traces, losses) = start(&Options { queued_spans: 2 * BATCH, ..options(address) });
    for _ in 0..BATCH {
        traces.record(span(traces.enter(None)));
    }
    assert_eq!(spans(&got.recv().unwrap().1).len(), BATCH);
    assert_eq!(losses.count(), 0);
}

#[test]
fn a_caller_decides_what_is_recorded_only_where_it_is_trusted() {
    let (address, _got) = collector("200 OK", Vec::new());
    let callers = ["01", "00"].map(|flags| {
        TraceContext::parse(&format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}"), None)
            .unwrap()
    });
    for (ratio, trust, expected) in [
        (0.0, false, [false, false, false]),
        (1.0, false, [true, true, true]),
        (0.0, true, [true, false, false]),
        (1.0, true, [true, false, true]),
    ] {
        let (traces, _) = start(&Options { sample_ratio: ratio, trust_sampled: trust, ..options(address) });
        let decided =
            [Some(&callers[0]), Some(&callers[1]), None].map(|caller| traces.enter(caller).is_sampled());
        assert_eq!(decided, expected, "{ratio} {trust}");
    }
    // One trace id, as a client would choose it that wants to be recorded: chance decides.
    let (traces, _) = start(&Options { sample_ratio: 0.5, ..options(address) });
    let recorded = (0..1000).filter(|_| traces.enter(Some(&callers[0])).is_sampled()).count();
    assert!((350..650).contains(&recorded), "{recorded}");
}

#[test]
fn ids_are_new_each_time() {
    let (address, _got) = collector("200 OK", Vec::new());
    let (traces, _) = start(&options(address));
    let (one, two) = (traces.enter(None), traces.enter(None));
    assert_ne!(one.trace_id(), two.trace_id());
    assert_ne!(one.span_id(), two.span_id());
    assert_ne!(traces.span_id(), traces.span_id());
}
