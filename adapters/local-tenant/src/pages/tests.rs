use super::*;

const HOSTILE: &str = "<script>\"&'\u{202e}\u{0}";
const AS_TEXT: &str = "&lt;script&gt;&quot;&amp;&#39;\u{fffd}\u{fffd}";
const AS_ATTRIBUTE: &str = "&lt;script&gt;&quot;&amp;&#39;\u{202e}\u{0}";

fn page() -> Consent<'static> {
    Consent {
        transaction: "t-1",
        client_name: "Inspector",
        client_id: "abc",
        return_to: "http://127.0.0.1:33418",
        is_third_party: true,
        api_name: "Local MCP server",
        scopes: vec![
            RequestedScope { name: "tool:whoami", description: Some("Ask who you are") },
            RequestedScope { name: "tool:add", description: Some("Add numbers") },
        ],
        users: vec![
            UserChoice {
                key: "a",
                name: "Ada",
                email: "ada@x.test",
                granted: vec!["tool:whoami", "tool:add"],
            },
            UserChoice { key: "b", name: "Bob", email: "", granted: vec!["tool:whoami"] },
            UserChoice { key: "c", name: "Cy", email: "", granted: vec![] },
        ],
    }
}

fn assert_quiet(html: &str) {
    for forbidden in ["<script", "style=", "<img", "<style", "src=", "@import", "url(", "\u{202e}", "\u{0}"] {
        assert!(!html.contains(forbidden), "{forbidden} in {html}");
    }
    assert_eq!(html.matches("href=").count(), 1);
    assert!(html.contains(r#"<link rel="stylesheet" href="/u/style.css">"#));
    assert!(html.contains("development tenant"));
}

#[test]
fn every_page_loads_the_stylesheet_and_nothing_else() {
    for html in [consent(&page()), failure("Title", "Explanation"), signed_out()] {
        assert_quiet(&html);
    }
    for forbidden in ["@import", "url(", "http", "</"] {
        assert!(!STYLE.contains(forbidden));
    }
}

#[test]
fn every_shown_field_is_text() {
    let scope = RequestedScope { name: HOSTILE, description: Some(HOSTILE) };
    let user = UserChoice { key: "a", name: HOSTILE, email: HOSTILE, granted: vec![HOSTILE] };
    let other = RequestedScope { name: "other", description: None };
    let html = consent(&Consent {
        client_name: HOSTILE,
        client_id: HOSTILE,
        return_to: HOSTILE,
        api_name: HOSTILE,
        scopes: vec![scope, other],
        users: vec![user],
        ..page()
    });
    assert_quiet(&html);
    // Name, API, id, place to return to, scope twice, user, email, and what the user grants.
    assert_eq!(html.matches(AS_TEXT).count(), 9);
}

#[test]
fn form_values_come_back_as_they_were() {
    let user = UserChoice { key: HOSTILE, name: "Ada", email: "", granted: vec![] };
    let html = consent(&Consent { transaction: HOSTILE, users: vec![user], ..page() });
    assert_eq!(html.matches(&format!("value=\"{AS_ATTRIBUTE}\"")).count(), 2);
    assert!(!html.contains("<script"));
}

#[test]
fn failure_shows_text() {
    let html = failure(HOSTILE, HOSTILE);
    assert_quiet(&html);
    assert_eq!(html.matches(AS_TEXT).count(), 3);
}

#[test]
fn every_bidi_formatting_character_is_replaced() {
    let bidi = ['\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{85}', '\n'];
    let bidi = bidi.into_iter().chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
    for c in bidi {
        assert_eq!(Text(&c.to_string()).to_string(), "\u{fffd}");
    }
    assert_eq!(Text("Zoë שלום 👩‍💻").to_string(), "Zoë שלום 👩‍💻");
}

#[test]
fn the_form_has_these_fields_in_this_order() {
    let html = consent(&page());
    let fields: Vec<&str> = html
        .lines()
        .filter(|line| ["<form", "<input", "<button"].iter().any(|tag| line.starts_with(tag)))
        .collect();
    assert_eq!(
        fields,
        [
            r#"<form method="post" action="/u/consent" autocomplete="off">"#,
            r#"<input type="hidden" name="transaction" value="t-1">"#,
            r#"<input type="radio" name="user" value="a" checked>"#,
            r#"<input type="radio" name="user" value="b">"#,
            r#"<input type="radio" name="user" value="c">"#,
            r#"<button type="submit" name="decision" value="allow">Allow</button>"#,
            r#"<button type="submit" name="decision" value="deny">Deny</button>"#,
        ]
    );
}

#[test]
fn users_say_what_they_grant() {
    let html = consent(&page());
    for grants in ["everything asked for", "tool:whoami only", "nothing that is asked for"] {
        assert_eq!(html.matches(&format!(">grants {grants}<")).count(), 1);
    }
}

#[test]
fn without_scopes_it_asks_who_you_are() {
    let html = consent(&Consent { scopes: vec![], ..page() });
    assert!(html.contains("only asks to know who you are"));
    assert!(!html.contains("grants"));
}

#[test]
fn only_a_third_party_is_warned_about() {
    assert!(consent(&page()).contains("Nobody has vouched for its name"));
    assert!(!consent(&Consent { is_third_party: false, ..page() }).contains("vouched"));
}

#[test]
fn a_nameless_client_and_a_scheme_are_told() {
    let html = consent(&Consent { client_name: " ", return_to: "cursor:", ..page() });
    assert!(html.contains("An application without a name"));
    assert!(html.contains("<code>cursor:</code> <span>(whichever application on this machine"));
}

#[test]
fn a_scope_without_a_description_has_its_name_once() {
    let scopes = vec![
        RequestedScope { name: "tool:add", description: Some("Add numbers") },
        RequestedScope { name: "tool:sub", description: None },
    ];
    let html = consent(&Consent { scopes, users: vec![], ..page() });
    assert!(html.contains("<li><bdi>Add numbers</bdi> <code>tool:add</code></li>"));
    assert!(html.contains("<li><code>tool:sub</code></li>"));
}
