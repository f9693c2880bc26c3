//! The tenant's HTML pages: what the person before the browser reads and decides.
//!
//! No script, nothing from elsewhere, one stylesheet of the tenant's own: a CSP of `default-src 'none';
//! style-src 'self'` (and the form's target) is enough. Whatever comes from outside goes through [`Text`] or
//! [`Attribute`].

mod escape;

use self::escape::{Attribute, Text};

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

/// The pages' stylesheet, served as `/u/style.css`.
pub(crate) const STYLE: &str = include_str!("pages/style.css");

#[cfg(test)]
mod tests;
