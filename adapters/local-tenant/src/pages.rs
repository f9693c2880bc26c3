//! The tenant's HTML pages: what the person before the browser reads and decides.
//!
//! No script, nothing from elsewhere, one stylesheet of the tenant's own: a CSP of `default-src 'none';
//! style-src 'self'` (and the form's target) is enough. Whatever comes from outside goes through [`Text`] or
//! [`Attribute`].

use std::fmt::{self, Display, Formatter, Write};

/// What the login and consent page shows.
pub(crate) struct Consent<'a> {
    /// Unguessable; comes back with the form.
    pub(crate) transaction: &'a str,
    /// Chosen by whoever registered the client.
    pub(crate) client_name: &'a str,
    /// May be a URL.
    pub(crate) client_id: &'a str,
    /// The redirect URI's origin, or its scheme alone: `http://127.0.0.1:33418`, `cursor:`.
    pub(crate) return_to: &'a str,
    /// It registered itself; nobody has vouched for its name.
    pub(crate) is_third_party: bool,
    pub(crate) api_name: &'a str,
    /// May be empty.
    pub(crate) scopes: Vec<RequestedScope<'a>>,
    /// At least one; the first is preselected.
    pub(crate) users: Vec<UserChoice<'a>>,
}

/// A scope that the client asks for.
pub(crate) struct RequestedScope<'a> {
    pub(crate) name: &'a str,
    pub(crate) description: &'a str,
}

/// A user to log in as.
pub(crate) struct UserChoice<'a> {
    pub(crate) key: &'a str,
    pub(crate) name: &'a str,
    /// May be empty.
    pub(crate) email: &'a str,
    /// Those of the requested scopes that this user's roles allow.
    pub(crate) granted: Vec<&'a str>,
}

/// The page that asks who someone wants to be, and whether the client may go on.
pub(crate) fn consent(page: &Consent<'_>) -> String {
    let heading = heading(page);
    let facts = facts(page);
    let scopes = scopes(&page.scopes);
    let form = form(page);
    document("Log in", &format!("{heading}{facts}{scopes}{form}"))
}

/// A page that ends the flow: what went wrong and what to do.
pub(crate) fn failure(title: &str, explanation: &str) -> String {
    let content = format!(
        "<h1><b>{}</b></h1>\n<p>{}</p>\n\
         <p class=\"quiet\">Nothing was sent to the application. You can close this page.</p>\n",
        Text(title),
        Text(explanation),
    );
    document(title, &content)
}

/// After `/v2/logout` without a place to return to.
pub(crate) fn signed_out() -> String {
    let content = "<h1><b>You are signed out</b></h1>\n\
         <p>This tenant keeps no session, so there was none to end: every login asks who you are.</p>\n\
         <p class=\"quiet\">You can close this page.</p>\n";
    document("Signed out", content)
}

fn document(title: &str, content: &str) -> String {
    let title = Text(title);
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} – Local tenant</title>
<link rel="stylesheet" href="/u/style.css">
</head>
<body>
<div class="card">
<header>
<span class="badge">Local tenant</span>
<p>This is a development tenant. No account here is anybody’s real one.</p>
</header>
<main>
{content}</main>
</div>
</body>
</html>
"#
    )
}

fn heading(page: &Consent<'_>) -> String {
    let unnamed = page.client_name.trim().is_empty();
    let client = Text(if unnamed { "An application without a name" } else { page.client_name });
    let api = Text(page.api_name);
    let warning = if page.is_third_party {
        "<p class=\"warning\">It registered itself. Nobody has vouched for its name.</p>\n"
    } else {
        ""
    };
    format!("<h1><bdi>{client}</bdi> wants to use <bdi>{api}</bdi></h1>\n{warning}")
}

fn facts(page: &Consent<'_>) -> String {
    let id = Text(page.client_id);
    let return_to = Text(page.return_to);
    // A scheme says nothing to most people, and belongs to whichever application took it last.
    let owner = if page.return_to.contains("://") {
        ""
    } else {
        " <span>(whichever application on this machine opens such links)</span>"
    };
    format!(
        "<dl>\n<div><dt>Client ID</dt><dd><code>{id}</code></dd></div>\n\
         <div><dt>Returns you to</dt><dd><code>{return_to}</code>{owner}</dd></div>\n</dl>\n"
    )
}

fn scopes(scopes: &[RequestedScope<'_>]) -> String {
    if scopes.is_empty() {
        return "<h2>What it asks for</h2>\n<p>No permissions: it only asks to know who you are.</p>\n"
            .into();
    }
    let items: String = scopes.iter().map(scope).collect();
    format!("<h2>What it asks for</h2>\n<ul>\n{items}</ul>\n")
}

fn scope(scope: &RequestedScope<'_>) -> String {
    let (description, name) = (Text(scope.description), Text(scope.name));
    format!("<li><bdi>{description}</bdi> <code>{name}</code></li>\n")
}

/// Allow comes first: Enter presses a form's first submit button. Without `autocomplete="off"`, Firefox puts
/// an earlier page's fields back when this one is reloaded, the stale transaction among them.
fn form(page: &Consent<'_>) -> String {
    let transaction = Attribute(page.transaction);
    let users: String =
        page.users.iter().enumerate().map(|(index, user)| choice(user, &page.scopes, index == 0)).collect();
    format!(
        r#"<form method="post" action="/u/consent" autocomplete="off">
<input type="hidden" name="transaction" value="{transaction}">
<fieldset>
<legend>Log in as</legend>
{users}</fieldset>
<div class="decision">
<button type="submit" name="decision" value="allow">Allow</button>
<button type="submit" name="decision" value="deny">Deny</button>
</div>
</form>
"#
    )
}

fn choice(user: &UserChoice<'_>, scopes: &[RequestedScope<'_>], is_first: bool) -> String {
    let (key, name) = (Attribute(user.key), Text(user.name));
    let checked = if is_first { " checked" } else { "" };
    let email = detail("email", user.email);
    let grants = detail("grants", &grants(user, scopes));
    format!(
        "<label>\n<input type=\"radio\" name=\"user\" value=\"{key}\"{checked}>\n\
         <span class=\"user\"><bdi class=\"name\">{name}</bdi>{email}{grants}</span>\n</label>\n"
    )
}

fn detail(class: &str, value: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    format!(" <bdi class=\"{class}\">{}</bdi>", Text(value))
}

/// What a user's roles make of the request; nothing to say when nothing is asked for.
fn grants(user: &UserChoice<'_>, scopes: &[RequestedScope<'_>]) -> String {
    let asked = scopes.iter().map(|scope| scope.name);
    let granted: Vec<&str> = asked.filter(|name| user.granted.contains(name)).collect();
    match granted.len() {
        _ if scopes.is_empty() => String::new(),
        0 => "grants nothing that is asked for".into(),
        count if count == scopes.len() => "grants everything asked for".into(),
        _ => format!("grants {} only", granted.join(", ")),
    }
}

/// Text between tags. What would reorder or hide the text around it shows as U+FFFD.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let shown = |c: char| if is_deceptive(c) { char::REPLACEMENT_CHARACTER } else { c };
        self.0.chars().map(shown).try_for_each(|c| write_escaped(formatter, c))
    }
}

/// A quoted attribute's value, which comes back in a form: nothing is replaced.
struct Attribute<'a>(&'a str);

impl Display for Attribute<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| write_escaped(formatter, c))
    }
}

fn write_escaped(formatter: &mut Formatter<'_>, c: char) -> fmt::Result {
    match c {
        '&' => formatter.write_str("&amp;"),
        '<' => formatter.write_str("&lt;"),
        '>' => formatter.write_str("&gt;"),
        '"' => formatter.write_str("&quot;"),
        '\'' => formatter.write_str("&#39;"),
        _ => formatter.write_char(c),
    }
}

/// Controls, line and paragraph separators, and the bidirectional formatting characters (UAX #9 section 2).
fn is_deceptive(c: char) -> bool {
    let is_bidi =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || is_bidi || matches!(c, '\u{2028}' | '\u{2029}')
}

/// The pages' stylesheet, served as `/u/style.css`.
pub(crate) const STYLE: &str = r#":root {
  color-scheme: light dark;
  --ground: #f1f4f3;
  --card: #ffffff;
  --ink: #16211e;
  --quiet: #54625e;
  --line: #d5dedb;
  --accent: #0b6657;
  --accent-strong: #084f44;
  --on-accent: #ffffff;
  --tint: #e3f1ed;
  --on-tint: #0c4a40;
  --warning: #fdf2d8;
  --on-warning: #654300;
  --code: #f1f4f3;
  --shadow: 0 1px 2px rgb(12 40 34 / 6%), 0 12px 32px rgb(12 40 34 / 10%);
}

@media (prefers-color-scheme: dark) {
  :root {
    --ground: #0e1413;
    --card: #171f1d;
    --ink: #e6edeb;
    --quiet: #a2b0ac;
    --line: #34413d;
    --accent: #62ccb7;
    --accent-strong: #85dbca;
    --on-accent: #05231d;
    --tint: #16302a;
    --on-tint: #b9e6db;
    --warning: #35290f;
    --on-warning: #f3d696;
    --code: #212b28;
    --shadow: 0 1px 2px rgb(0 0 0 / 40%), 0 12px 32px rgb(0 0 0 / 35%);
  }
}

*, *::before, *::after { box-sizing: border-box; }

html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }

body {
  display: flex;
  min-height: 100vh;
  min-height: 100dvh;
  margin: 0;
  padding: 1.5rem 1rem;
  background: var(--ground);
  color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif;
  overflow-wrap: anywhere;
}

/* Auto margins centre like align-items does, but a card taller than the window keeps its top in reach. */
.card {
  width: 100%;
  max-width: 32rem;
  min-width: 0;
  margin: auto;
  overflow: hidden;
  border: 1px solid var(--line);
  border-radius: 1rem;
  background: var(--card);
  box-shadow: var(--shadow);
}

header {
  display: flex;
  flex-wrap: wrap;
  gap: 0.375rem 0.75rem;
  align-items: center;
  padding: 0.875rem 2rem;
  background: var(--tint);
  color: var(--on-tint);
  font-size: 0.875rem;
  line-height: 1.4;
}

header p { flex: 1 1 15rem; margin: 0; text-wrap: balance; }

.badge {
  padding: 0.125rem 0.625rem;
  border: 1px solid currentcolor;
  border-radius: 1rem;
  font-size: 0.75rem;
  font-weight: 600;
  letter-spacing: 0.02em;
  white-space: nowrap;
}

main { padding: 1.75rem 2rem 2rem; }
main > :first-child { margin-top: 0; }
main > :last-child { margin-bottom: 0; }

h1 {
  margin: 0 0 1rem;
  font-size: 1.5rem;
  font-weight: 400;
  line-height: 1.3;
  letter-spacing: -0.01em;
  text-wrap: balance;
}

h1 bdi, h1 b { font-weight: 650; }

h2, legend {
  margin: 0 0 0.5rem;
  padding: 0;
  font-size: 0.875rem;
  font-weight: 600;
  line-height: 1.4;
}

p { margin: 0 0 1rem; }
h2 + p { margin-bottom: 1.5rem; }
.quiet { color: var(--quiet); font-size: 0.875rem; }

.warning {
  padding: 0.625rem 0.875rem;
  border-radius: 0.5rem;
  background: var(--warning);
  color: var(--on-warning);
  font-size: 0.875rem;
}

dl { display: grid; gap: 0.25rem; margin: 0 0 1.5rem; font-size: 0.875rem; }
dl div { display: flex; gap: 0 0.75rem; }
dt { flex: 0 0 7rem; color: var(--quiet); }
dd { flex: 1 1 0; min-width: 0; margin: 0; }
dd span { color: var(--quiet); }

/* Identifiers read in the order of their characters, whatever the script. */
code {
  direction: ltr;
  unicode-bidi: isolate-override;
  font: 0.8125rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace;
}

ul { margin: 0 0 1.5rem; padding: 0; list-style: none; }

li {
  display: flex;
  flex-wrap: wrap;
  gap: 0.125rem 1rem;
  align-items: baseline;
  justify-content: space-between;
  padding: 0.4375rem 0;
  border-top: 1px solid var(--line);
  font-size: 0.9375rem;
}

li:last-child { border-bottom: 1px solid var(--line); }
li bdi:empty { display: none; }
li code { padding: 0 0.375rem; border-radius: 0.25rem; background: var(--code); color: var(--quiet); }

fieldset { min-width: 0; margin: 0 0 1.5rem; padding: 0; border: 0; }

label {
  display: flex;
  gap: 0.75rem;
  align-items: flex-start;
  min-height: 2.75rem;
  padding: 0.625rem 0.875rem;
  border: 1px solid var(--line);
  border-radius: 0.625rem;
  cursor: pointer;
}

label + label { margin-top: 0.5rem; }
label:hover { border-color: var(--accent); }
label:has(:checked) { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }

input[type="radio"] {
  flex: none;
  width: 1.125rem;
  height: 1.125rem;
  margin: 0.1875rem 0 0;
  accent-color: var(--accent);
  cursor: inherit;
}

.user { display: flex; flex: 1 1 0; flex-wrap: wrap; gap: 0 0.5rem; align-items: baseline; min-width: 0; }
.name { font-weight: 600; }
.email, .grants { color: var(--quiet); font-size: 0.875rem; }
.grants { display: block; flex: 1 0 100%; }
.grants::first-letter { text-transform: uppercase; }

.decision { display: flex; gap: 0.75rem; }

button {
  flex: 1 1 0;
  min-height: 3rem;
  padding: 0.5rem 1rem;
  border: 1px solid var(--quiet);
  border-radius: 0.625rem;
  background: transparent;
  color: var(--ink);
  font: inherit;
  font-weight: 600;
  cursor: pointer;
}

button:hover { border-color: var(--ink); background: var(--code); }
button[value="allow"] { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
button[value="allow"]:hover { border-color: var(--accent-strong); background: var(--accent-strong); }

:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }

/* The ring goes round what can be clicked; where :has is unknown, it stays round the radio button. */
label:has(:focus-visible) { outline: 3px solid var(--accent); outline-offset: 2px; }
@supports selector(:has(*)) {
  input:focus-visible { outline: none; }
}

@media (max-width: 30rem) {
  body { padding: 0.75rem; }
  header { padding: 0.75rem 1.25rem; }
  main { padding: 1.25rem; }
  h1 { font-size: 1.3125rem; }
  dl { gap: 0.625rem; }
  dl div { display: block; }
}
"#;

#[cfg(test)]
mod tests {
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
                RequestedScope { name: "tool:whoami", description: "Ask who you are" },
                RequestedScope { name: "tool:add", description: "Add numbers" },
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
        for forbidden in
            ["<script", "style=", "<img", "<style", "src=", "@import", "url(", "\u{202e}", "\u{0}"]
        {
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
        let scope = RequestedScope { name: HOSTILE, description: HOSTILE };
        let user = UserChoice { key: "a", name: HOSTILE, email: HOSTILE, granted: vec![HOSTILE] };
        let other = RequestedScope { name: "other", description: "" };
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
}
