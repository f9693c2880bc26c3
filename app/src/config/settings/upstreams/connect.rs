//! Where an upstream is: a command that is started, or an address. No message repeats an argument, a value of a variable or
//! a header field, or what follows an address's host: all of them may be secret.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use config::{Value, ValueKind};
use serde_json::json;
use syntax::loopback::is_loopback_host;
use upstream_mcp::options::{Child, Connect, Http};
use url::Url;

use super::super::context::Context;
use crate::config::key::{Flag, Key, Reload, Text, Texts, Values};
use crate::config::reader::{Reader, texts};
use crate::config::suggestions::variable;
use crate::config::{addresses, shown};

pub(super) static COMMAND: Key<Texts> = Key::new(
    "upstreams.NAME.command",
    Texts("texts"),
    Reload::RestartRequired,
    "a program to start, and its arguments; this or `url`. `check` shows the program alone",
);
pub(super) static ENV: Key<Text> = Key::new(
    "upstreams.NAME.env.VARIABLE",
    Text("text"),
    Reload::RestartRequired,
    "a variable of its environment; in a file only",
)
.secret();
pub(super) static ENV_FILES: Key<Text> = Key::new(
    "upstreams.NAME.env_files.VARIABLE",
    Text("path"),
    Reload::RestartRequired,
    "the same, from a file, without the white space at its ends",
);
pub(super) static INHERIT_ENV: Key<Texts> = Key::new(
    "upstreams.NAME.inherit_env",
    Texts("names of variables"),
    Reload::RestartRequired,
    "what it gets of this server's environment and `.env`, such as `[\"PATH\", \"HOME\"]`; nothing else of them",
)
.or("none");
pub(super) static CWD: Key<Text> =
    Key::new("upstreams.NAME.cwd", Text("path"), Reload::RestartRequired, "its working folder")
        .or("this server's");
pub(super) static URL: Key<Text> = Key::new(
    "upstreams.NAME.url",
    Text("URL"),
    Reload::RestartRequired,
    "the address of its MCP endpoint (Streamable HTTP): `https`, or `http` on this machine. `check` shows its origin alone",
);
pub(super) static HEADERS: Key<Text> = Key::new(
    "upstreams.NAME.headers.\"FIELD\"",
    Text("text"),
    Reload::RestartRequired,
    "a header field of every request to it; in a variable's name `_` stands for `-`",
)
.secret();
pub(super) static HEADER_FILES: Key<Text> = Key::new(
    "upstreams.NAME.header_files.\"FIELD\"",
    Text("path"),
    Reload::RestartRequired,
    "the same, from a file, without the white space at its ends",
);
pub(super) static ALLOW_HTTP: Key<Flag> = Key::new(
    "upstreams.NAME.allow_http",
    Flag,
    Reload::RestartRequired,
    "whether `url` may be `http` on another machine: everything crosses the network in clear text",
)
.or("`false`");

const NO_SHELL: &str =
    "begins with ~, which stands for the home folder only where a shell reads it: give the whole path";

/// What the keys of a child process say, beside its command.
struct ChildKeys {
    environment: BTreeMap<String, String>,
    folder: Option<PathBuf>,
}

/// Reads how an upstream is reached; nothing if that can't be known.
pub(super) fn read(read: &mut Reader, context: &Context<'_>, name: &str) -> Option<Connect> {
    let (has_command, has_url) = (read.is_set(&COMMAND, &[name]), read.is_set(&URL, &[name]));
    let of_child = keys_set(read, name, &[&INHERIT_ENV, &CWD], &[&ENV, &ENV_FILES]);
    let of_http = keys_set(read, name, &[&ALLOW_HTTP], &[&HEADERS, &HEADER_FILES]);
    let (command, child) = (command(read, name), child(read, context, name));
    let http = http(read, name);
    let key = |key: &Key<dyn Values>| shown::key(&key.path(&[name]));
    match (has_command, has_url) {
        (true, true) => {
            read.problem(&key(&URL), format!("can't be set together with {}: choose one", key(&COMMAND)));
        }
        (false, false) => read.problem(
            &shown::key(&["upstreams".to_owned(), name.to_owned()]),
            "needs `command`, a program to start and its arguments, or `url`, the address of a server",
        ),
        (true, false) => {
            refuse(read, &of_http, "is for an upstream with a `url`; a program gets `env` and `inherit_env`");
        }
        (false, true) => {
            refuse(
                read,
                &of_child,
                "is for an upstream with a `command`; a server at a `url` gets `headers`",
            );
        }
    }
    if has_url {
        return http.map(Connect::Http);
    }
    let command = command?;
    let (program, arguments) = command.split_first()?;
    refuse_unmeant(read, name, &command, &child.environment);
    let environment = child.environment.into_iter().map(|(name, value)| (name.into(), value.into()));
    Some(Connect::Child(Child {
        program: program.into(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: environment.collect(),
        folder: child.folder,
    }))
}

/// Returns those of some keys that are set, and those of tables.
fn keys_set(read: &Reader, name: &str, keys: &[&Key], tables: &[&Key<Text>]) -> Vec<String> {
    let single = keys.iter().filter(|key| read.is_set(key, &[name])).map(|key| key.path(&[name]));
    let inner = tables.iter().flat_map(|table| {
        inner_names(read, table, name).into_iter().map(|inner| table.path(&[name, &inner]))
    });
    single.chain(inner).map(|path| shown::key(&path)).collect()
}

fn refuse(read: &mut Reader, keys: &[String], message: &str) {
    for key in keys {
        read.problem(key, message);
    }
}

/// Returns the names in an upstream's table, of which `key` stands for any.
fn inner_names(read: &Reader, key: &Key<Text>, name: &str) -> Vec<String> {
    let path = key.path(&[name]);
    let table: Vec<&str> = path.iter().map(String::as_str).take(path.len() - 1).collect();
    read.names(&table)
}

fn command(read: &mut Reader, name: &str) -> Option<Vec<String>> {
    let expected = "a list of the program and its arguments, such as [\"npx\", \"-y\", \"some-server\"]";
    let parse = |value: &Value, variable| {
        let words = match &value.kind {
            ValueKind::String(_) if variable => texts(value, variable)?,
            // As they are: blanks and empty arguments are arguments, too.
            ValueKind::Array(items) => items.iter().map(text).collect::<Option<Vec<String>>>()?,
            _ => return None,
        };
        let is_usable = |word: &String| !word.contains('\0');
        let has_program = words.first().is_some_and(|program| !program.trim().is_empty());
        (has_program && words.iter().all(is_usable)).then_some(words)
    };
    let show = |words: &Vec<String>| {
        let program = shown::text(&words[0]);
        match words.len() - 1 {
            0 => (format!("[{program}]"), json!([words[0]])),
            count => (format!("[{program}, {count} redacted]"), json!([words[0], {"redacted": count}])),
        }
    };
    read.partly_shown(&COMMAND, &[name], expected, parse, show)
}

fn text(value: &Value) -> Option<String> {
    match &value.kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn child(read: &mut Reader, context: &Context<'_>, name: &str) -> ChildKeys {
    let mut environment = inherited(read, context, name);
    let in_place = inner_names(read, &ENV, name);
    for variable in &in_place {
        let Some(value) = read_variable(read, &ENV, name, variable, Reader::secret_of) else { continue };
        let key = shown::key(&ENV.path(&[name, variable]));
        refuse_placeholder(read, &key, &value, &format!("name the variable in {}", inherit_key(name)));
        environment.insert(variable.clone(), value);
    }
    for variable in inner_names(read, &ENV_FILES, name) {
        let value = read_variable(read, &ENV_FILES, name, &variable, Reader::secret_file_of);
        refuse_twice(read, (&ENV, &ENV_FILES), name, (&in_place, &variable), |other| other == variable);
        environment.extend(value.map(|value| (variable, value)));
    }
    let folder = read.text_of(&CWD, &[name]);
    if let Some(folder) = folder.as_deref().filter(|folder| !Path::new(folder).is_dir()) {
        let is_at_home = folder == "~" || folder.starts_with("~/");
        let message = if is_at_home { NO_SHELL } else { "is no folder" };
        read.problem(&shown::key(&CWD.path(&[name])), message);
    }
    ChildKeys { environment, folder: folder.map(PathBuf::from) }
}

/// How a text is read: as it stands, or from the file that is named.
type ReadText = fn(&mut Reader, &Key<Text>, &[&str]) -> Option<String>;

/// Reads what a variable of the child's is set to; nothing if that can't be used.
fn read_variable(
    read: &mut Reader,
    table: &Key<Text>,
    name: &str,
    variable: &str,
    text: ReadText,
) -> Option<String> {
    let key = shown::key(&table.path(&[name, variable]));
    let is_from_variable = read.is_from_variable(table, &[name, variable]);
    let value = text(read, table, &[name, variable])?;
    if is_from_variable {
        let inherit = inherit_key(name);
        read.problem(
            &key,
            format!(
                "can't be set by a variable, whose name does not tell capitals from small letters: set the \
                 variable itself, and name it in {inherit}"
            ),
        );
    } else if !is_variable_name(variable) || value.contains('\0') {
        read.problem(&key, "is no variable that an environment can have");
    } else {
        return Some(value);
    }
    None
}

/// Refuses an entry of a table of files that the table of values has, too.
fn refuse_twice(
    read: &mut Reader,
    (values, files): (&Key<Text>, &Key<Text>),
    name: &str,
    (in_place, entry): (&[String], &str),
    is_same: impl Fn(&str) -> bool,
) {
    if let Some(other) = in_place.iter().find(|other| is_same(other)) {
        let other = shown::key(&values.path(&[name, other]));
        read.problem(
            &shown::key(&files.path(&[name, entry])),
            format!("can't be set together with {other}: choose one"),
        );
    }
}

/// Reads the names of the variables that are inherited, and returns those that there are.
fn inherited(read: &mut Reader, context: &Context<'_>, name: &str) -> BTreeMap<String, String> {
    let (names, key) = (read.texts_of(&INHERIT_ENV, &[name]).unwrap_or_default(), inherit_key(name));
    let mut inherited = BTreeMap::new();
    for variable in names {
        let shown = shown::text(&variable);
        match context.environment.get(&variable) {
            _ if !is_variable_name(&variable) => {
                read.problem(&key, format!("{shown} is no name of a variable; its value is not given here"));
            }
            Some(value) => drop(inherited.insert(variable, value.clone())),
            None => read
                .warn(&key, format!("{shown} is not set in this server's environment, nor for the upstream")),
        }
    }
    read.stands_for(&key, &inherited);
    inherited
}

fn inherit_key(name: &str) -> String {
    shown::key(&INHERIT_ENV.path(&[name]))
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

/// Refuses a command that is not what it looks like, as no shell reads it, and warns of arguments that are not.
fn refuse_unmeant(read: &mut Reader, name: &str, command: &[String], environment: &BTreeMap<String, String>) {
    let Some((program, arguments)) = command.split_first() else { return };
    let key = shown::key(&COMMAND.path(&[name]));
    let begins_at_home = |word: &str| word == "~" || word.starts_with("~/");
    if let Some(at) = arguments.iter().position(|argument| begins_at_home(argument)) {
        read.warn(&key, format!("argument {} {NO_SHELL}", at + 1));
    }
    let mut words = program.split_whitespace();
    match (words.next(), words.next()) {
        (Some(first), Some(_)) if !is_findable(program, environment) => {
            let first = shown::text(first);
            read.problem(
                &key,
                format!("is one text, and there is no such program: the program and its arguments are separate items: [{first}, ...]"),
            );
        }
        _ if begins_at_home(program) => read.problem(&key, NO_SHELL),
        _ => refuse_unfindable(read, name, program, environment),
    }
}

/// Returns whether there is a program.
fn is_findable(program: &str, environment: &BTreeMap<String, String>) -> bool {
    if program.contains(std::path::is_separator) {
        return Path::new(program).exists();
    }
    let path = environment.get("PATH").map(String::as_str).unwrap_or_default();
    std::env::split_paths(path).any(|folder| folder.join(program).is_file())
}

/// Refuses a program that is looked up in a `PATH` that it does not have.
fn refuse_unfindable(read: &mut Reader, name: &str, program: &str, environment: &BTreeMap<String, String>) {
    let has_path = environment.get("PATH").is_some_and(|path| !path.is_empty());
    if !has_path && !program.contains(std::path::is_separator) {
        let (program, inherit) = (shown::text(program), inherit_key(name));
        read.problem(
            &shown::key(&COMMAND.path(&[name])),
            format!(
                "{program} is looked up in PATH, which this upstream does not have, as it inherits nothing by itself: set \
                 {inherit} = [\"PATH\", \"HOME\"], or give the program's path"
            ),
        );
    }
}

fn http(read: &mut Reader, name: &str) -> Option<Http> {
    let allow_http = read.flag_of(&ALLOW_HTTP, &[name]).unwrap_or(false);
    let parse = |value: &Value, _| text(value).map(|text| text.trim().to_owned());
    let show = |url: &String| {
        let shown = origin_of(url);
        (shown::text(&shown), json!(shown))
    };
    let url = read.partly_shown(&URL, &[name], "a text", parse, show);
    let url = url.and_then(|text| parse_url(read, name, &text, allow_http));
    let mut http = url.map(Http::new);
    headers(read, name, http.as_mut());
    http
}

/// Returns an address without what may be secret in it: all but its origin.
fn origin_of(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "no URL".to_owned() };
    let rest = if url.path() == "/" && url.query().is_none() { "" } else { "/..." };
    format!("{}{rest}", url.origin().ascii_serialization())
}

fn parse_url(read: &mut Reader, name: &str, text: &str, allow_http: bool) -> Option<Url> {
    let key = shown::key(&URL.path(&[name]));
    if addresses::has_placeholder(text) {
        read.problem(&key, "is a placeholder that nobody has replaced");
        return None;
    }
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if !text.contains("://") {
        read.problem(&key, "must begin with https:// (or http:// on this machine)");
        return None;
    }
    let Some(url) = url.filter(|url| url.fragment().is_none()) else {
        read.problem(&key, "must be the https URL of an MCP endpoint, such as https://tools.example.com/mcp");
        return None;
    };
    if (url.username(), url.password()) != ("", None) {
        let header = shown::key(&HEADERS.path(&[name, "Authorization"]));
        read.problem(&key, format!("must have neither user nor password: set {header} instead"));
        return None;
    }
    if url.scheme() == "http" && !allow_http && !url.host_str().is_some_and(is_loopback_host) {
        let allow = shown::key(&ALLOW_HTTP.path(&[name]));
        read.problem(
            &key,
            format!(
                "is http on another machine, so that everything crosses the network in clear text: make it https, or \
                 set {allow} = true in the configuration file, where nobody else is on the way"
            ),
        );
    }
    Some(url)
}

fn headers(read: &mut Reader, name: &str, mut http: Option<&mut Http>) {
    let in_place = inner_names(read, &HEADERS, name);
    for field in &in_place {
        let value = header(read, &HEADERS, name, field, Reader::secret_of, http.as_deref_mut());
        let key = shown::key(&HEADERS.path(&[name, field]));
        let advice = format!("write the value, or set {} in the environment", variable(&key));
        refuse_placeholder(read, &key, &value.unwrap_or_default(), &advice);
    }
    for field in inner_names(read, &HEADER_FILES, name) {
        let same = |other: &str| other.replace('_', "-").eq_ignore_ascii_case(&field.replace('_', "-"));
        refuse_twice(read, (&HEADERS, &HEADER_FILES), name, (&in_place, &field), same);
        header(read, &HEADER_FILES, name, &field, Reader::secret_file_of, http.as_deref_mut());
    }
}

/// Reads and adds a header field, and returns its value.
fn header(
    read: &mut Reader,
    table: &Key<Text>,
    name: &str,
    field: &str,
    text: ReadText,
    http: Option<&mut Http>,
) -> Option<String> {
    let key = shown::key(&table.path(&[name, field]));
    let is_from_variable = read.is_from_variable(table, &[name, field]);
    let value = text(read, table, &[name, field])?;
    let field = if is_from_variable { field.replace('_', "-") } else { field.to_owned() };
    let added = http.map(|http| http.add_header(&field, value.trim()));
    if let Some(Err(error)) = added {
        read.problem(&key, error.to_string());
    }
    Some(value)
}

/// Notes that a value is taken as it is, whatever stands in it.
fn refuse_placeholder(read: &mut Reader, key: &str, value: &str, advice: &str) {
    if ["${", "$(", "{{"].iter().any(|begin| value.contains(begin)) {
        read.problem(key, format!("has a placeholder, and nothing replaces those here: {advice}"));
    }
}
