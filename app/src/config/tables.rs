//! The tables of docs/configuration.md, made of the keys.

use config::{Value, ValueKind};

use super::key::{Key, Reload};
use super::sources::DEFAULTS;
use super::toml_text::BUILT_IN;
use super::{settings, toml_text};

/// Returns the page with its tables made anew, each between comments of its name, `<!-- keys -->` and `<!-- /keys -->`; nothing
/// if the page lacks one.
#[doc(hidden)]
#[must_use]
pub fn with_tables(page: &str) -> Option<String> {
    let page = replace(page, "variables", &variables())?;
    replace(&page, "keys", &keys())
}

fn replace(page: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{table}{end}{after}"))
}

fn keys() -> String {
    let rows = settings::KEYS.iter().map(|key| {
        format!(
            "| `{}` | {} | {} | {} | {} |\n",
            key.name,
            default(key),
            key.values.describe(),
            reload(key.reload),
            meaning(key)
        )
    });
    let head = "| key | default | unit and range | reload | meaning |\n|---|---|---|---|---|\n";
    std::iter::once(head.to_owned()).chain(rows).collect()
}

fn variables() -> String {
    let rows =
        settings::KEYS.named_variables().map(|(variable, key)| format!("| `{variable}` | `{key}` |\n"));
    std::iter::once("| variable | key |\n|---|---|\n".to_owned()).chain(rows).collect()
}

fn meaning(key: &Key) -> String {
    let secret = if key.secret { ". Secret: never shown" } else { "" };
    format!("{}{secret}", key.meaning)
}

fn reload(reload: Reload) -> &'static str {
    match reload {
        Reload::Applied | Reload::FetchesKeys => "yes",
        Reload::RestartRequired => "restart",
    }
}

/// What counts without a value: that of config/default.toml, or else what the key says.
fn default(key: &Key) -> String {
    let defaults = toml_text::parse(settings::KEYS, BUILT_IN, DEFAULTS).unwrap_or_default();
    let mut parts = key.name.split('.');
    let first = parts.next().and_then(|section| defaults.get(section));
    let value = parts.try_fold(first, |value, name| match &value?.kind {
        ValueKind::Table(table) => Some(table.get(name)),
        _ => None,
    });
    let value = value.flatten();
    value.map_or_else(|| key.fallback.to_owned(), shown)
}

fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) if text.is_empty() => "empty".to_owned(),
        ValueKind::String(text) => format!("`{text}`"),
        ValueKind::Array(items) if items.is_empty() => "none".to_owned(),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| format!("{:?}", item.to_string())).collect();
            format!("[{}]", items.join(", "))
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_have_the_keys_of_the_defaults_in_their_order() {
        let (mut section, mut documented) = ("", Vec::new());
        for line in DEFAULTS.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, _)) = line.split_once(" = ") {
                documented.push(format!("{section}.{name}"));
            } else if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']');
            }
        }
        let declared = settings::KEYS.iter().filter(|key| !key.has_placeholder());
        assert_eq!(declared.map(|key| key.name).collect::<Vec<_>>(), documented);
    }

    #[test]
    fn a_table_stands_between_its_comments_and_nothing_else_changes() {
        let page = "a\n<!-- keys -->\nold\n<!-- /keys -->\nb\n";
        let expected = "a\n<!-- keys -->\nnew\n<!-- /keys -->\nb\n";
        assert_eq!(replace(page, "keys", "new\n").as_deref(), Some(expected));
        assert_eq!(replace(page, "variables", "new\n"), None);
    }
}
