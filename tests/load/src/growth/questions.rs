//! Questions that wait for answers: what a call costs beside them, and to answer one of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::client::now;
use crate::growth::law::Expected::Flat;
use crate::growth::lists::cost;
use crate::growth::setting::cpu_of;
use crate::growth::streams::Streams;
use crate::growth::{Setting, Way};
use crate::process::Process;
use crate::requests::Era;

/// How many are answered at a time, and then asked again.
const ANSWERED: usize = 10;
/// How a stream ends.
const END: &str = "\r\n0\r\n\r\n";
const ASKED: &str = "elicitation/create";

pub(super) fn measure(setting: &Setting) -> anyhow::Result<Vec<Way>> {
    let params = json!({"name": "ask", "arguments": {}});
    let request = Era::Legacy.ask("tools/call", Some("ask"), params, &setting.seen[0]);
    let [call, answer] = setting.medians(&setting.sizes(ANSWERED..=5000), |size| {
        let server = [setting.server("")?];
        let mut asking = Streams::open(server[0].address, size, &request)?;
        asking.wait_for(ASKED, 0..size, now())?;
        let call = cost(setting, &server, |token| Era::Modern.request(token))?;
        Ok([call, answers(setting, &server, &mut asking, &request)?])
    })?;
    Ok(vec![
        Way::new("a call beside them", "questions that wait", Flat, call),
        Way::new("an answer, with the result of its call", "questions that wait", Flat, answer),
    ])
}

/// The time on a core for an answer.
fn answers(
    setting: &Setting,
    server: &[Process; 1],
    asking: &mut Streams,
    request: &[u8],
) -> anyhow::Result<f64> {
    let mut answering = TcpStream::connect(server[0].address)?;
    answering.set_nodelay(true)?;
    let (began, mut cpu, mut answered) = (now(), 0.0, 0);
    while answered == 0 || began.elapsed() < setting.duration() {
        let answers: Vec<Vec<u8>> = (0..ANSWERED)
            .map(|index| Ok(Era::Legacy.post("", &answer_to(&asking.take(index))?, &setting.seen[0])))
            .collect::<anyhow::Result<_>>()?;
        let before = cpu_of(server)?;
        for answer in &answers {
            answering.write_all(answer)?;
            accepted(&mut answering)?;
        }
        asking.wait_for(END, 0..ANSWERED, now())?;
        cpu += cpu_of(server)? - before;
        answered += ANSWERED;
        for index in 0..ANSWERED {
            let result = asking.take(index);
            anyhow::ensure!(result.contains("answered"), "a wrong result: {result}");
            asking.send(index, request)?;
        }
        asking.wait_for(ASKED, 0..ANSWERED, now())?;
    }
    Ok(cpu / answered as f64)
}

/// The answer to the question that came on a stream.
fn answer_to(stream: &str) -> anyhow::Result<Value> {
    let id = stream.split_once(r#""id":""#).and_then(|(_, rest)| rest.split_once('"'));
    let (id, _) = id.with_context(|| format!("no question: {stream}"))?;
    Ok(json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"name": "Ada"}}}))
}

/// Reads the answer to an answer, which has no body.
fn accepted(stream: &mut TcpStream) -> anyhow::Result<()> {
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    while !received.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        anyhow::ensure!(length > 0, "no whole answer: {}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&buffer[..length]);
    }
    let text = String::from_utf8_lossy(&received);
    anyhow::ensure!(text.starts_with("HTTP/1.1 202 "), "a wrong answer: {text}");
    Ok(())
}
