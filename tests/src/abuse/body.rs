//! Bodies that are no message, or more than one thing at once, in both eras. Size and time are in limits.rs.

use http_body_util::Full;

use super::still_serves;
use crate::harness::{ADMIN, Answer, Harness, soon};

const MODERN: &str = "2026-07-28";
/// What a modern message's `params` begin with.
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Era {
    Legacy,
    Modern,
}

impl Era {
    /// The body as it is, with the headers of a call of greet.
    async fn send(self, harness: &Harness, body: &[u8]) -> Answer {
        let request = harness.post(ADMIN);
        let request = match self {
            Self::Legacy => request.header("mcp-protocol-version", "2025-11-25"),
            Self::Modern => request.header("mcp-protocol-version", MODERN),
        };
        let request = request.header("mcp-method", "tools/call").header("mcp-name", "greet");
        soon(harness.send(request.body(Full::from(body.to_vec())).unwrap())).await
    }

    /// A call of greet, which a modern client says more of.
    fn call(self, id: &str, arguments: &str) -> String {
        let meta = if self == Self::Modern { format!(",{META}") } else { String::new() };
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"greet","arguments":{arguments}{meta}}}}}"#
        )
    }
}

/// The status, and the error's code where there is one.
async fn check(body: impl Fn(Era) -> Vec<u8>, expected: (u16, Option<i64>)) {
    let harness = Harness::new().await;
    for era in [Era::Legacy, Era::Modern] {
        let body = body(era);
        let answer = era.send(&harness, &body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(400)]);
        let code = answer.json()["error"]["code"].as_i64();
        assert_eq!((answer.status.as_u16(), code), expected, "{era:?}: {shown}");
        still_serves(&harness).await;
    }
}

const PARSE_ERROR: (u16, Option<i64>) = (400, Some(-32700));
const INVALID_REQUEST: (u16, Option<i64>) = (400, Some(-32600));
const FINE: (u16, Option<i64>) = (200, None);

#[tokio::test]
async fn a_good_call_is_served() {
    check(|era| era.call("1", "{}").into_bytes(), FINE).await;
    check(|era| format!(" \t\r\n{}\r\n", era.call("1", "{}")).into_bytes(), FINE).await;
}

#[tokio::test]
async fn what_is_not_json_is_a_parse_error() {
    for body in [
        &b""[..],
        b" ",
        b"\r\n\t ",
        b"{",
        b"\0",
        b"\x0b",
        b"nul",
        b"'a'",
        b"NaN",
        b"Infinity",
        b"{\"a\":01}",
        b"{\"a\":+1}",
        b"{\"a\":.5}",
        b"{\"a\":1.}",
        b"{\"a\":0x1}",
        b"{a:1}",
        b"{\"a\":1,}",
        b"// comment\n{}",
        b"{\"a\":\"\xff\"}",
        b"{\"\xc3\":1}",
        b"\xff\xfe{\x00}\x00",
        b"\x1f\x8b\x08\x00",
        b"--boundary\r\ncontent-type: application/json\r\n\r\n{}",
        b"jsonrpc=2.0&id=1&method=ping",
    ] {
        check(|_| body.to_vec(), PARSE_ERROR).await;
    }
}

#[tokio::test]
async fn what_surrounds_a_message_is_part_of_it() {
    let around: [(&[u8], &[u8]); 9] = [
        (b"\xef\xbb\xbf", b""),
        (b"", b"x"),
        (b"", b"}"),
        (b"", b"{}"),
        (b"", b","),
        (b"", b"\0"),
        (b"\0", b""),
        (b"", b"\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}"),
        (b")]}',\n", b""),
    ];
    for (before, after) in around {
        check(|era| [before, era.call("1", "{}").as_bytes(), after].concat(), PARSE_ERROR).await;
    }
}

#[tokio::test]
async fn what_is_not_one_message_is_an_invalid_request() {
    for body in ["1", "-0", "\"x\"", "null", "true", "[]", "[[]]", "{}", "[1,2,3]"] {
        check(|_| body.into(), INVALID_REQUEST).await;
    }
    check(|era| format!("[{}]", era.call("1", "{}")).into(), INVALID_REQUEST).await;
    check(|era| format!("[{0},{0}]", era.call("1", "{}")).into(), INVALID_REQUEST).await;
    check(|_| format!("[{}1]", "1,".repeat(100_000)).into(), INVALID_REQUEST).await;
}

#[tokio::test]
async fn depth_is_bounded_wherever_it_is() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let unclosed = "[".repeat(1_000_000);
    check(|_| unclosed.clone().into(), PARSE_ERROR).await;
    for deep in [nested(129), nested(100_000), unclosed, objects(129), objects(100_000)] {
        if deep.ends_with([']', '}']) {
            check(|_| deep.clone().into(), INVALID_REQUEST).await;
        }
        check(|era| era.call("1", &deep).into(), INVALID_REQUEST).await;
        check(|era| era.call(&deep, "{}").into(), INVALID_REQUEST).await;
    }
}

#[tokio::test]
async fn numbers_that_no_double_holds_are_refused_and_long_ones_are_not_rounded() {
    let digits = "9".repeat(10_000);
    for number in ["1e999999", "-1e999999", "1e309", &digits, &format!("-{digits}"), &format!("{digits}.5")] {
        check(|era| era.call(number, "{}").into(), PARSE_ERROR).await;
        check(|era| era.call("1", &format!("{{\"name\":{number}}}")).into(), PARSE_ERROR).await;
        check(|era| era.call("1", &format!("{{\"x\":[{number}]}}")).into(), PARSE_ERROR).await;
    }
    let harness = Harness::new().await;
    let tiny = format!("0.{}1", "0".repeat(10_000));
    for id in ["1e-999999", "123456789012345678901234567890", "0.1e1", "-0", &tiny] {
        for era in [Era::Legacy, Era::Modern] {
            let answer = era.send(&harness, era.call(id, "{}").as_bytes()).await;
            let echoed = format!("\"id\":{id},");
            assert!(String::from_utf8_lossy(&answer.body).contains(&echoed), "{era:?} {id}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn half_a_surrogate_pair_is_no_text() {
    for text in [
        r#""\ud800""#,
        r#""\udfff""#,
        r#""\ud800\u0041""#,
        r#""\udc00\ud800""#,
        "\"\u{0}\"",
        "\"\n\"",
        r#""\x""#,
    ] {
        let good = |era: Era| era.call("1", r#"{"name":"Ada"}"#);
        check(|era| era.call(text, "{}").into(), PARSE_ERROR).await;
        check(|era| era.call("1", &format!("{{\"name\":{text}}}")).into(), PARSE_ERROR).await;
        check(|era| era.call("1", &format!("{{{text}:1}}")).into(), PARSE_ERROR).await;
        check(|era| good(era).replace(r#""tools/call""#, text).into(), PARSE_ERROR).await;
        check(|era| good(era).replace(r#""greet""#, text).into(), PARSE_ERROR).await;
        check(|era| good(era).replace(r#""2.0""#, text).into(), PARSE_ERROR).await;
        check(
            |era| good(era).replace(r#""arguments":"#, &format!("{text}:1,\"arguments\":")).into(),
            PARSE_ERROR,
        )
        .await;
    }
    // A whole pair is, and so is an escaped NUL.
    check(|era| era.call(r#""\ud83d\ude00""#, r#"{"name":"\ud83d\ude00\u0000"}"#).into(), FINE).await;
}

/// Two readers could take a different one of the two.
#[tokio::test]
async fn members_of_one_name_are_refused_wherever_they_are() {
    for (member, doubled) in [
        (r#""jsonrpc":"2.0""#, r#""jsonrpc":"2.0","jsonrpc":"2.0""#),
        (r#""id":1"#, r#""id":1,"id":2"#),
        (r#""method":"tools/call""#, r#""method":"tools/call","method":"tools/list""#),
        (r#""method":"tools/call""#, r#""method":"tools/call","m\u0065thod":"tools/list""#),
        (r#""params":"#, r#""params":{},"params":"#),
        (r#""name":"greet""#, r#""name":"greet","name":"whoami""#),
        (r#""arguments":"#, r#""arguments":{},"arguments":"#),
        (r#""arguments":{"#, r#""arguments":{"name":"a","name":"b","x":0,"#),
        (r#""arguments":{"#, r#""arguments":{"x":[{"y":1,"\u0079":2}],"#),
        (r#""arguments":"#, r#""_meta":{"a":1,"a":2},"arguments":"#),
        (r#""arguments":"#, r#""_meta":{"progressToken":1,"progressToken":2},"arguments":"#),
    ] {
        let body = |era: Era| {
            let good = era.call("1", r#"{"z":0}"#);
            assert!(good.contains(member));
            good.replacen(member, doubled, 1).into()
        };
        check(body, INVALID_REQUEST).await;
    }
    let twice = format!("{META},{META},\"arguments\"");
    check(|era| era.call("1", "{}").replacen(r#""arguments""#, &twice, 1).into(), INVALID_REQUEST).await;
}

#[tokio::test]
async fn members_of_another_kind_are_refused() {
    for (member, other) in [
        (r#""id":1"#, r#""id":null"#),
        (r#""id":1"#, r#""id":true"#),
        (r#""id":1"#, r#""id":[1]"#),
        (r#""id":1"#, r#""id":{}"#),
        (r#""jsonrpc":"2.0""#, r#""jsonrpc":2.0"#),
        (r#""jsonrpc":"2.0""#, r#""jsonrpc":"2.0\u0000""#),
        (r#""jsonrpc":"2.0","#, ""),
        (r#""method":"tools/call""#, r#""method":["tools/call"]"#),
        (r#""method":"tools/call""#, r#""method":null"#),
        (r#""id":1"#, r#""id":1,"result":{}"#),
        (r#""id":1"#, r#""id":1,"error":{}"#),
    ] {
        check(|era| era.call("1", "{}").replacen(member, other, 1).into(), INVALID_REQUEST).await;
    }
}
