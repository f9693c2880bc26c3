use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::json;
use ureq::http::HeaderName;

use super::*;

const TOKEN: &str = "canary-token";

/// What the tenant of a test does with a request.
enum Step {
    Answer(u16, &'static str, &'static str),
    /// Closes the connection without an answer.
    Close,
}

use self::Step::{Answer, Close};

/// Takes these steps, one for each request, and returns the requests: method and target, and the body.
fn tenant(steps: Vec<Step>) -> (Url, JoinHandle<Vec<(String, String)>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        let (mut requests, mut steps) = (Vec::new(), steps.into_iter().peekable());
        while steps.peek().is_some() {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            while steps.peek().is_some() {
                let Some(request) = request(&mut stream) else { break };
                requests.push(request);
                match steps.next().unwrap() {
                    Answer(status, headers, body) => {
                        let length = body.len();
                        let head =
                            format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n{headers}\r\n");
                        stream.get_mut().write_all((head + body).as_bytes()).unwrap();
                    }
                    Close => break,
                }
            }
        }
        requests
    });
    (Url::parse(&url).unwrap(), serving)
}

fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, String)> {
    let mut first = String::new();
    if stream.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let target = first.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some((target, String::from_utf8(body).unwrap()))
}

/// A client that notes its waits instead of waiting.
fn client(url: &Url, credentials: Credentials) -> (Management, Arc<Mutex<Vec<Duration>>>) {
    let waits = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&waits);
    let management = Management::new(url.clone(), credentials, move |time| noted.lock().unwrap().push(time));
    (management, waits)
}

fn with_token(url: &Url) -> (Management, Arc<Mutex<Vec<Duration>>>) {
    client(url, Credentials::Token(Secret::new(TOKEN)))
}

type Field<'a> = (&'static str, &'a str);

fn headers(fields: &[Field<'_>]) -> HeaderMap {
    let field = |(name, value): &Field<'_>| (HeaderName::from_static(name), value.parse().unwrap());
    fields.iter().map(field).collect()
}

#[test]
fn the_next_request_waits_as_long_as_the_answer_says() {
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    let (now, reset) = (784_111_777, |seconds: i64| (784_111_777 + seconds).to_string());
    assert_eq!(answered_at(&headers(&[date])), Some(now));
    let cases: [(u16, &[Field<'_>], u64); 14] = [
        (200, &[], 0),
        (200, &[("x-ratelimit-remaining", "1"), ("retry-after", "9")], 0),
        (200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset(7)), date], 7),
        // What it says of time is by its own clock, so without that it is not known.
        (200, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset(7))], 1),
        (200, &[("x-ratelimit-remaining", "0")], 1),
        (404, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &reset(2)), date], 2),
        (429, &[], 1),
        (429, &[("retry-after", "5"), ("x-ratelimit-reset", &reset(7)), date], 5),
        (429, &[("x-ratelimit-reset", &reset(7)), date], 7),
        (429, &[("x-ratelimit-reset", &reset(-7)), date], 1),
        (429, &[("retry-after", "0")], 1),
        (429, &[("retry-after", "-9223372036854775808")], 1),
        (429, &[("retry-after", "soon")], 1),
        (429, &[("retry-after", "86400")], 60),
    ];
    for (status, fields, seconds) in cases {
        assert_eq!(due(status, &headers(fields)), Duration::from_secs(seconds), "{status} {fields:?}");
    }
    let far = [("x-ratelimit-reset", "-9223372036854775808"), date];
    assert_eq!(due(429, &headers(&far)), Duration::from_secs(1));
}

#[test]
fn a_write_that_the_limit_refused_is_sent_again_after_the_wait() {
    let (url, serving) = tenant(vec![
        Answer(429, "retry-after: 3\r\n", "{}"),
        Answer(429, "retry-after: 1\r\n", "{}"),
        Answer(201, "x-ratelimit-remaining: 0\r\n", "{}"),
        Answer(200, "", "{}"),
    ]);
    let (management, waits) = with_token(&url);
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let mut management = management.on_progress(move |progress| {
        let Progress::Waiting(time) = progress;
        listener.lock().unwrap().push(time);
    });
    management.write("POST", &["roles"], &json!({"name": "a"})).unwrap();
    management.write("PATCH", &["roles", "a|b/c"], &json!({})).unwrap();
    let expected = [3, 1, 1].map(Duration::from_secs);
    assert_eq!(*waits.lock().unwrap(), expected);
    assert_eq!(*told.lock().unwrap(), expected, "whoever watches is told of every wait");
    let create = ("POST /api/v2/roles".to_owned(), r#"{"name":"a"}"#.to_owned());
    let update = ("PATCH /api/v2/roles/a%7Cb%2Fc".to_owned(), "{}".to_owned());
    assert_eq!(serving.join().unwrap(), [create.clone(), create.clone(), create, update]);
}

#[test]
fn a_limit_that_stays_reached_ends_in_an_error() {
    let answers = (0..MAX_WAITS).map(|_| Answer(429, "retry-after: 1\r\n", "{}")).collect();
    let (url, serving) = tenant(answers);
    let (mut management, waits) = with_token(&url);
    let error = management.write("POST", &["roles"], &json!({})).unwrap_err();
    assert!(matches!(error, ManagementError::TooManyRequests { .. }), "{error:?}");
    assert_eq!(serving.join().unwrap().len(), 10);
    assert_eq!(waits.lock().unwrap().len(), 9);
}

#[test]
fn nothing_but_a_refusal_by_the_limit_is_sent_again() {
    for status in [400, 401, 403, 404, 409, 500, 502, 503, 504] {
        let (url, serving) = tenant(vec![Answer(status, "retry-after: 1\r\n", "{}")]);
        let (mut management, waits) = with_token(&url);
        management.write("POST", &["roles"], &json!({})).unwrap_err();
        assert_eq!((serving.join().unwrap().len(), waits.lock().unwrap().len()), (1, 0), "{status}");
    }
    // The connection was used before, and breaks once the write was sent: it may have been carried out.
    let (url, serving) = tenant(vec![Answer(200, "", "{}"), Close]);
    let (mut management, _) = with_token(&url);
    management.get::<Value>(&["prompts"], &[]).unwrap();
    let error = management.write("POST", &["roles"], &json!({})).unwrap_err();
    assert!(matches!(error, ManagementError::Unreachable { .. }), "{error:?}");
    assert_eq!(serving.join().unwrap().len(), 2);
}

#[test]
fn a_token_is_asked_for_once_and_for_the_canonical_audience() {
    let (url, serving) = tenant(vec![
        Answer(200, "", r#"{"access_token": "t"}"#),
        Answer(200, "", "{}"),
        Answer(200, "", "{}"),
    ]);
    let secret = Secret::new("canary & secret");
    let (mut management, _) = client(&url, Credentials::Client { id: "id".to_owned(), secret });
    for _ in 0..2 {
        management.get::<Value>(&["prompts"], &[]).unwrap();
    }
    let requests = serving.join().unwrap();
    let targets: Vec<&str> = requests.iter().map(|(target, _)| target.as_str()).collect();
    assert_eq!(targets, ["POST /oauth/token", "GET /api/v2/prompts", "GET /api/v2/prompts"]);
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(requests[0].1.as_bytes()).into_owned().collect();
    let audience = format!("{url}api/v2/");
    let expected = [
        ("grant_type", "client_credentials"),
        ("client_id", "id"),
        ("client_secret", "canary & secret"),
        ("audience", &audience),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn neither_a_token_nor_a_secret_is_in_an_error_or_a_debug_text() {
    for answer in [
        Answer(200, "", r#"{"access_token": "canary", "access_token": "canary"}"#),
        Answer(200, "", "canary"),
        Answer(200, "", r#"{"token": "canary"}"#),
        Answer(403, "", "canary"),
        Close,
    ] {
        let (url, serving) = tenant(vec![answer]);
        let credentials = Credentials::Client { id: "id".to_owned(), secret: Secret::new("canary") };
        assert!(!format!("{credentials:?}").contains("canary"));
        let (mut management, _) = client(&url, credentials);
        let error = management.get::<Value>(&["prompts"], &[]).unwrap_err();
        assert!(!format!("{error} {error:?} {management:?}").contains("canary"), "{error:?}");
        serving.join().unwrap();
    }
}

#[test]
fn a_short_page_is_not_taken_for_the_last_one() {
    let (url, serving) = tenant(vec![
        Answer(200, "", r#"{"roles": [1], "total": 3}"#),
        Answer(200, "", r#"{"roles": [2, 3], "total": 3}"#),
        // A list that shrinks meanwhile has an end as well.
        Answer(200, "", r#"{"roles": [1], "total": 3}"#),
        Answer(200, "", r#"{"roles": [], "total": 3}"#),
        Answer(200, "", r#"{"roles": []}"#),
        Answer(200, "", r#"{"total": 1}"#),
    ]);
    let (mut management, _) = with_token(&url);
    let mut pages = || management.pages::<u8>(&["roles"], "roles", &[("name_filter", "a b")]);
    assert_eq!(pages().unwrap(), [1, 2, 3]);
    assert_eq!(pages().unwrap(), [1]);
    for member in ["total", "roles"] {
        let error = pages().unwrap_err().to_string();
        assert!(error.ends_with(&format!("the member {member} is missing")), "{error}");
    }
    let requests = serving.join().unwrap();
    let page = |number: u8| {
        format!("GET /api/v2/roles?name_filter=a+b&page={number}&per_page=50&include_totals=true")
    };
    assert_eq!((&requests[0].0, &requests[1].0), (&page(0), &page(1)));
}

#[test]
fn a_cursor_is_followed_to_its_end() {
    let (url, serving) = tenant(vec![
        Answer(200, "", r#"{"grants": [1], "next": "x&y"}"#),
        Answer(200, "", r#"{"grants": [], "next": "z"}"#),
        Answer(200, "", r#"{"grants": [2], "next": ""}"#),
        Answer(200, "", " [3]"),
        Answer(200, "", r#"{"grants": [4], "next": "a", "next": "b"}"#),
    ]);
    let (mut management, _) = with_token(&url);
    let mut cursor = || management.cursor::<u8>(&["client-grants"], "grants", &[]);
    assert_eq!(cursor().unwrap(), [1, 2]);
    assert_eq!(cursor().unwrap(), [3]);
    // A member that occurs twice means two things.
    assert!(matches!(cursor().unwrap_err(), ManagementError::Answer { .. }));
    let requests = serving.join().unwrap();
    assert_eq!(requests[1].0, "GET /api/v2/client-grants?take=50&from=x%26y");
}

/// The token is for this host alone.
#[test]
fn a_redirect_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let (url, serving) = tenant(vec![Answer(status, "location: /elsewhere\r\n", "")]);
        let (mut management, _) = with_token(&url);
        let error = management.get::<Value>(&["prompts"], &[]).unwrap_err();
        assert!(matches!(error, ManagementError::Refused { status: at, .. } if at == status), "{error:?}");
        serving.join().unwrap();
    }
}

#[test]
fn a_list_without_an_end_is_refused_and_not_cut() {
    let page = || Answer(200, "", r#"{"grants": [1], "next": "same"}"#);
    let (url, serving) = tenant(vec![page(), page()]);
    let (mut management, _) = with_token(&url);
    let error = management.cursor::<u8>(&["client-grants"], "grants", &[]).unwrap_err();
    assert!(error.to_string().ends_with(ENDLESS), "{error}");
    assert_eq!(serving.join().unwrap().len(), 2);
}

#[test]
fn a_page_is_taken_off_what_a_list_has_left() {
    let (url, serving) = tenant(vec![Answer(200, "", "12345"), Answer(200, "", "1")]);
    let (mut management, _) = with_token(&url);
    let mut left = 5;
    let mut page = || management.page(&["roles"], &[], &mut left);
    assert_eq!(page().unwrap(), b"12345");
    let error = page().unwrap_err();
    assert!(error.to_string().ends_with("the list is too long"), "{error}");
    serving.join().unwrap();
}

/// A proxy or a debug page may repeat what it was sent.
#[test]
fn an_answer_that_repeats_the_credentials_puts_them_into_no_error() {
    for (status, body) in [
        (400, r#"{"message": "Bad header: Bearer canary-token"}"#),
        (401, r#"{"error": "canary-token"}"#),
        (403, r#"{"message": "canary-token"}"#),
        (500, r#"{"error_description": "canary-token"}"#),
        (200, r#"{"roles": ["canary-token"], "total": 1}"#),
        (200, r#"{"roles": "canary-token", "total": 1}"#),
    ] {
        let (url, serving) = tenant(vec![Answer(status, "", body)]);
        let (mut management, _) = with_token(&url);
        let error = management.pages::<u8>(&["roles"], "roles", &[]).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains(TOKEN) && text.contains("(redacted)"), "{text}");
        serving.join().unwrap();
    }
    let (url, serving) = tenant(vec![Answer(200, "", r#""canary-token""#)]);
    let error = with_token(&url).0.get::<u8>(&["prompts"], &[]).unwrap_err();
    assert!(!format!("{error:?}").contains(TOKEN), "{error:?}");
    serving.join().unwrap();
    let answer = r#"{"error_description": "no client with the secret canary-secret"}"#;
    let (url, serving) = tenant(vec![Answer(401, "", answer)]);
    let secret = Secret::new("canary-secret");
    let (mut management, _) = client(&url, Credentials::Client { id: "id".to_owned(), secret });
    let error = management.get::<Value>(&["prompts"], &[]).unwrap_err();
    assert!(!format!("{error:?}").contains("canary-secret"), "{error:?}");
    serving.join().unwrap();
}

#[test]
fn no_token_goes_to_another_machine_over_http() {
    let url = Url::parse("http://tenant.invalid/").unwrap();
    let error = with_token(&url).0.get::<Value>(&["prompts"], &[]).unwrap_err();
    assert!(error.to_string().contains("https"), "{error}");
}

#[test]
fn an_email_address_names_the_user_who_proved_it() {
    let assigned = |answer: &'static str, roles: Option<Step>| {
        let (url, serving) = tenant([Answer(200, "", answer)].into_iter().chain(roles).collect());
        let found = with_token(&url).0.user("ada@example.com");
        (found, serving.join().unwrap())
    };
    let roles = || Some(Answer(200, "", r#"{"roles": [], "total": 0}"#));
    let (found, requests) = assigned(r#"[{"user_id": "auth0|1", "email_verified": true}]"#, roles());
    assert_eq!(found.unwrap().unwrap().user_id, "auth0|1");
    let asked = "GET /api/v2/users-by-email?email=ada%40example.com&fields=user_id%2Cemail_verified&include_fields=true";
    assert_eq!(requests[0].0, asked);
    assert!(assigned("[]", None).0.unwrap().is_none());
    for unproved in
        [r#"[{"user_id": "auth0|1\u001b[2J", "email_verified": false}]"#, r#"[{"user_id": "auth0|1"}]"#]
    {
        let error = assigned(unproved, None).0.unwrap_err();
        assert!(matches!(error, ManagementError::UnverifiedEmail { .. }), "{error:?}");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
    }
    let twins =
        r#"[{"user_id": "a|\u001b[2J", "email_verified": true}, {"user_id": "a|2", "email_verified": true}]"#;
    let error = assigned(twins, None).0.unwrap_err();
    assert!(matches!(error, ManagementError::AmbiguousUser { .. }), "{error:?}");
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

#[test]
fn an_answer_is_bounded() {
    let long = " ".repeat(usize::try_from(MAX_ANSWER_BYTES).unwrap()) + "{}";
    let (url, serving) = tenant(vec![Answer(200, "", long.leak())]);
    let error = with_token(&url).0.get::<Value>(&["prompts"], &[]).unwrap_err();
    assert!(matches!(error, ManagementError::Unreachable { .. }), "{error:?}");
    // The connection is closed while it writes.
    let _ = serving.join();
}

/// Carries an operation out, and returns the body of its last request.
fn written(operation: &tenant::Operation, answers: &[&'static str]) -> Value {
    let steps = answers.iter().map(|answer| Answer(200, "", answer)).chain([Answer(200, "", "{}")]);
    let (url, serving) = self::tenant(steps.collect());
    with_token(&url).0.carry_out(operation).unwrap();
    serde_json::from_str(&serving.join().unwrap().pop().unwrap().1).unwrap()
}

#[test]
fn a_list_that_is_written_keeps_what_others_put_there_since_the_plan() {
    use tenant::{ApiScope, Operation};
    let remove = ["old".to_owned()].into();
    let put = vec![ApiScope { value: "new".to_owned(), description: Some("New".to_owned()) }];
    let update = Operation::UpdateApi { id: "1".to_owned(), set: serde_json::Map::new(), put, remove };
    let now = r#"{"scopes": [{"value": "old"}, {"value": "theirs", "x": 1}, {"value": "new", "description": "-"}]}"#;
    let scopes = json!([{"value": "theirs", "x": 1}, {"value": "new", "description": "New"}]);
    assert_eq!(written(&update, &[now]), json!({"scopes": scopes}));
    let update = Operation::UpdateGrant {
        id: "g".to_owned(),
        audience: "urn:a".to_owned(),
        add: ["new".to_owned()].into(),
        remove: ["old".to_owned()].into(),
    };
    let now =
        r#"{"client_grants": [{"id": "other", "scope": ["x"]}, {"id": "g", "scope": ["old", "theirs"]}]}"#;
    assert_eq!(written(&update, &[now]), json!({"scope": ["theirs", "new"]}));
}

#[test]
fn a_connection_that_is_promoted_keeps_its_display_name() {
    let promote = tenant::Operation::PromoteConnection { id: "con_1".to_owned() };
    let expected = json!({"is_domain_connection": true, "display_name": "Staff"});
    assert_eq!(written(&promote, &[r#"{"display_name": "Staff"}"#]), expected);
    assert_eq!(written(&promote, &["{}"]), json!({"is_domain_connection": true}));
}

/// The filter matches parts of names.
#[test]
fn a_role_is_found_by_its_whole_name() {
    let roles = ["Admin".to_owned()].into();
    let assign = tenant::Operation::AssignRoles { user_id: "auth0|1".to_owned(), roles };
    let found =
        r#"{"roles": [{"id": "r0", "name": "Super Admin"}, {"id": "r1", "name": "Admin"}], "total": 2}"#;
    assert_eq!(written(&assign, &[found]), json!({"roles": ["r1"]}));
    let (url, serving) = self::tenant(vec![Answer(
        200,
        "",
        r#"{"roles": [{"id": "r0", "name": "Super Admin"}], "total": 1}"#,
    )]);
    let error = with_token(&url).0.carry_out(&assign).unwrap_err();
    assert!(matches!(error, ManagementError::Gone(_)), "{error:?}");
    serving.join().unwrap();
}
