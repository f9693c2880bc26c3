//! The tenant's HTML pages.
//!
//! They have no script and load nothing but the tenant's own stylesheet, so the CSP `default-src 'none'; style-src 'self'`
//! (with the form's target) is enough. Every text that is not the tenant's own is escaped by [`Text`] or [`Attribute`].

mod escape;

use self::escape::{Attribute, Text};

/// The content of the login and consent page.
pub(crate) struct Consent<'a> {
    /// The unguessable id that the form sends back.
    pub(crate) transaction: &'a str,
    /// Chosen by the client.
    pub(crate) client_name: &'a str,
    /// May be a URL.
    pub(crate) client_id: &'a str,
    /// The redirect URI's origin, or its scheme alone: `http://127.0.0.1:33418`, `cursor:`.
    pub(crate) return_to: &'a str,
    /// Whether the client chose its name itself, so that the page has to warn.
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
    /// Without one, the name has to do.
    pub(crate) description: Option<&'a str>,
}

/// A user to log in as.
pub(crate) struct UserChoice<'a> {
    pub(crate) key: &'a str,
    pub(crate) name: &'a str,
    /// May be empty.
    pub(crate) email: &'a str,
    /// The requested scopes that this user can grant.
    pub(crate) granted: Vec<&'a str>,
}

/// Renders the page on which someone chooses a user and allows or denies the request.
pub(crate) fn consent(page: &Consent<'_>) -> String {
    let heading = heading(page);
    let facts = facts(page);
    let scopes = scopes(&page.scopes);
    let form = form(page);
    document("Log in", &format!("{heading}{facts}{scopes}{form}"))
}

/// Renders an error page that ends the login, with an explanation.
pub(crate) fn failure(title: &str, explanation: &str) -> String {
    let content = format!(
        "<h1><b>{}</b></h1>\n<p>{}</p>\n\
         <p class=\"quiet\">Nothing was sent to the application. You can close this page.</p>\n",
        Text(title),
        Text(explanation),
    );
    document(title, &content)
}

/// Renders the page after `/v2/logout` without `returnTo`.
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
<p>This is a development tenant. Its accounts are not real.</p>
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
    // Most people do not know what a scheme is, and any application can claim one.
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
    let name = Text(scope.name);
    match scope.description.map(Text) {
        Some(description) => format!("<li><bdi>{description}</bdi> <code>{name}</code></li>\n"),
        None => format!("<li><code>{name}</code></li>\n"),
    }
}

/// Allow is the first submit button, which Enter presses. Without `autocomplete="off"`, Firefox restores the fields of an
/// earlier page on a reload, the used transaction id among them.
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

/// Describes which of the requested scopes a user can grant; empty if none are requested.
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
