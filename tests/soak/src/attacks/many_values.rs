//! Bodies full of small values, each of which takes many times its length once it is a tree in memory.

use std::sync::Arc;
use std::time::Duration;

use hyper::Version;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Target;
use super::client::Client;
use super::message::Message;

/// The bytes of the values: with the rest of the request, just below `limits.body_bytes`.
const BYTES: usize = 1_048_576 - 1024;
/// Objects in objects: each takes five bytes here, and hundreds in memory.
const LEVELS: usize = 100;
const CLIENTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(400);

/// Sends all bodies in turn, several at a time.
pub(super) async fn run(target: Target) {
    let messages: Arc<Vec<Message>> = Arc::new(values().iter().flat_map(|value| messages(value)).collect());
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(target.clone(), Arc::clone(&messages), number));
    }
    clients.join_all().await;
}

async fn client(target: Target, messages: Arc<Vec<Message>>, first: usize) {
    let version = [Version::HTTP_11, Version::HTTP_2][first % 2];
    let mut client = Client::new(target, version);
    for message in messages.iter().cycle().skip(first) {
        client.send(message).await;
        sleep(PAUSE).await;
    }
}

/// The values, each of another kind and of the greatest length.
fn values() -> [String; 6] {
    let nested = format!("{}0{}", r#"{"":"#.repeat(LEVELS), "}".repeat(LEVELS));
    [array(r#"{"a":0}"#), array("[]"), array(r#""a""#), array("0"), members(), array(&nested)]
}

fn array(value: &str) -> String {
    let values = vec![value; BYTES / (value.len() + 1)];
    format!("[{}]", values.join(","))
}

fn members() -> String {
    let members: Vec<String> = (0..BYTES / 11).map(|number| format!(r#""{number:06}":0"#)).collect();
    format!("{{{}}}", members.join(","))
}

/// The value, in every place that is read.
fn messages(value: &str) -> [Message; 4] {
    [
        Message::call("greet", &format!(r#""arguments":{{"name":{value}}}"#)),
        Message::call("greet", &format!(r#""inputResponses":{{"q":{value}}}"#)),
        Message::call("greet", &format!(r#""x":{value}"#)),
        Message::response(&format!(r#"{{"x":{value}}}"#)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_json_of_nearly_a_mebibyte() {
        for body in values().iter().flat_map(|value| messages(value)).map(|message| message.body) {
            assert!((1_000_000..=1_048_576).contains(&body.len()), "{}", body.len());
            assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&body).is_ok());
        }
    }
}
