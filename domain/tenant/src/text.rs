//! A plan for people: what changes, each line with its reason.

use std::fmt::Write;

use serde_json::Value;
use syntax::unseen::is_unseen;

use crate::plan::{Action, Change, FieldChange, Plan};

/// Whether texts are colored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without escape sequences.
    Plain,
    /// With ANSI colors, for a terminal.
    Colored,
}

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";
const DIM: &str = "2";

impl Style {
    /// Returns a text in a color, given as the parameter of ANSI's SGR.
    #[must_use]
    pub fn paint(self, color: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colored => format!("\u{1b}[{color}m{text}\u{1b}[0m"),
        }
    }
}

/// Returns a plan as text, with a line at its end that counts.
#[must_use]
pub fn describe(plan: &Plan, style: Style) -> String {
    let mut text = String::new();
    for change in &plan.changes {
        describe_change(&mut text, change, style);
    }
    for kept in &plan.kept {
        let line = format!("  = {}: {} (stays)\n", safe(&kept.target), safe(&kept.what));
        text.push_str(&style.paint(DIM, &line));
    }
    for blocked in &plan.blocked {
        let line = format!("  ! {}: {}\n", safe(&blocked.target), safe(&blocked.problem));
        text.push_str(&style.paint(RED, &line));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&summary(plan));
    text
}

/// Returns how many things are created, updated and pruned.
fn summary(plan: &Plan) -> String {
    let count = |action| plan.changes.iter().filter(|change| change.action == action).count();
    let (create, update, remove) = (count(Action::Create), count(Action::Update), count(Action::Remove));
    let mut summary = match create + update + remove {
        0 => "Nothing to change".to_owned(),
        _ => format!("Plan: {create} to create, {update} to update, {remove} to prune"),
    };
    if !plan.blocked.is_empty() {
        let _ = write!(summary, "; {} that no change can bring about", plan.blocked.len());
    }
    summary.push('.');
    summary
}

fn describe_change(text: &mut String, change: &Change, style: Style) {
    let (sign, color) = sign(change.action);
    // A thing that loses parts stays: a `-` would say that an API goes.
    let sign = if change.action == Action::Remove { "~" } else { sign };
    let _ = writeln!(text, "  {} {}", style.paint(color, sign), safe(&change.target));
    let mut reason = "";
    for field in &change.fields {
        if field.reason != reason {
            reason = field.reason;
            let _ = writeln!(text, "      {}", style.paint(DIM, &format!("# {reason}")));
        }
        describe_field(text, field, style);
    }
}

fn describe_field(text: &mut String, field: &FieldChange, style: Style) {
    let name = safe(&field.field);
    let (action, values) = match (&field.before, &field.after) {
        (Value::Null, after) => (Action::Create, shown(after)),
        (before, Value::Null) => (Action::Remove, shown(before)),
        (before, after) => (Action::Update, format!("{} -> {}", shown(before), shown(after))),
    };
    let (sign, color) = sign(action);
    // An item of a list of names is the name.
    let is_name = field
        .after
        .as_str()
        .or(field.before.as_str())
        .is_some_and(|value| field.field.ends_with(&format!("[{value}]")));
    let values = if is_name { String::new() } else { format!(" = {values}") };
    let _ = writeln!(text, "      {} {name}{values}", style.paint(color, sign));
}

const fn sign(action: Action) -> (&'static str, &'static str) {
    match action {
        Action::Create => ("+", GREEN),
        Action::Update => ("~", YELLOW),
        Action::Remove => ("-", RED),
    }
}

/// JSON escapes what a terminal would obey, but for the C1 controls.
fn shown(value: &Value) -> String {
    safe(&value.to_string())
}

/// Escapes control characters and what can't be seen, which names at a tenant may have.
#[must_use]
pub fn safe(text: &str) -> String {
    let escape = |c: char| if is_unseen(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::plan::{Blocked, Kept, Operation};
    use crate::setting::Setting;

    /// What a terminal obeys, or what turns a line around: ESC, C1, line ends, DEL, bidirectional controls.
    const HOSTILE: &str = "a\u{1b}[2J\u{9b}31m\r\n\t\u{7f}\u{202e}\u{2066}b";

    fn field(field: &str, before: Value, after: Value) -> FieldChange {
        FieldChange { setting: Setting::Rbac, field: field.to_owned(), before, after, reason: "why" }
    }

    fn change(target: &str, action: Action, fields: Vec<FieldChange>) -> Change {
        let operation = Operation::UpdateSettings(Map::new());
        Change { target: target.to_owned(), action, fields, operation }
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        let escaped = "a\\u{1b}[2J\\u{9b}31m\\u{d}\\u{a}\\u{9}\\u{7f}\\u{202e}\\u{2066}b";
        assert_eq!(safe(HOSTILE), escaped);
        for unseen in ['\u{200b}', '\u{200f}', '\u{2028}', '\u{2067}', '\u{61c}', '\u{feff}', '\u{e0041}'] {
            assert_eq!(safe(&unseen.to_string()), unseen.escape_unicode().to_string());
        }
        assert_eq!(safe("Größe: 名前 \"x\\y\""), "Größe: 名前 \"x\\y\"");
    }

    #[test]
    fn names_and_values_of_a_tenant_bring_no_control_character_into_the_text() {
        let item = format!("scopes[{HOSTILE}]");
        let fields = vec![
            field(HOSTILE, json!(HOSTILE), json!({HOSTILE: [HOSTILE]})),
            field(&item, Value::Null, json!(HOSTILE)),
        ];
        let plan = Plan {
            changes: vec![change(HOSTILE, Action::Update, fields)],
            kept: vec![Kept { target: HOSTILE.to_owned(), what: HOSTILE.to_owned() }],
            blocked: vec![Blocked {
                setting: Setting::Rbac,
                target: HOSTILE.to_owned(),
                problem: HOSTILE.to_owned(),
            }],
        };
        let text = describe(&plan, Style::Plain);
        assert!(!text.contains(|c: char| c != '\n' && safe(&c.to_string()) != c.to_string()), "{text:?}");
        assert_eq!(text.lines().count(), 8, "{text}");
    }

    #[test]
    fn each_line_says_what_happens_and_a_reason_is_said_once() {
        let fields = vec![
            field("enforce_policies", json!(false), json!(true)),
            field("scopes[a]", Value::Null, json!("Text")),
            field("scope[a]", Value::Null, json!("a")),
            field("scope[b]", json!("b"), Value::Null),
        ];
        let plan = Plan { changes: vec![change("api x", Action::Update, fields)], ..Plan::default() };
        let text = "  ~ api x\n      # why\n      ~ enforce_policies = false -> true\n      + scopes[a] = \"Text\"\n      \
                    + scope[a]\n      - scope[b]\n\nPlan: 0 to create, 1 to update, 0 to prune.";
        assert_eq!(describe(&plan, Style::Plain), text);
        let colored = describe(&plan, Style::Colored);
        assert!(colored.contains("\u{1b}[32m+\u{1b}[0m") && colored.contains("\u{1b}[31m-\u{1b}[0m"));
        assert_eq!(describe(&Plan::default(), Style::Colored), "Nothing to change.");
    }

    #[test]
    fn what_no_change_can_bring_about_is_counted() {
        let blocked = Blocked { setting: Setting::Rbac, target: "x".to_owned(), problem: "no".to_owned() };
        let plan = Plan { blocked: vec![blocked], ..Plan::default() };
        let text = "  ! x: no\n\nNothing to change; 1 that no change can bring about.";
        assert_eq!(describe(&plan, Style::Plain), text);
    }
}
