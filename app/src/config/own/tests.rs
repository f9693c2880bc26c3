//! Tests of sections of a server's own.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::Sources;
use super::*;

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Orders {
    url: String,
    #[serde(default)]
    pool: u16,
    #[serde(default)]
    fast: bool,
    #[serde(default)]
    regions: Vec<String>,
    #[serde(default)]
    mode: Mode,
    limit: Option<f64>,
    #[serde(default)]
    names: BTreeMap<String, u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Slow,
    Fast,
}

fn read(toml: &str, variables: &[(&str, &str)]) -> Read {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let variables: Vec<_> = variables.iter().map(owned).collect();
    let mut values = Sources::default().text("my.toml", toml).environment(&variables).merge().unwrap();
    let mut read = Read::default();
    read.section(Section::of::<Orders>("orders"), values.remove("orders"), &["orders.url"]);
    read
}

fn problems(toml: &str, variables: &[(&str, &str)]) -> Vec<String> {
    read(toml, variables).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn values_have_the_types_of_their_fields_and_a_variables_text_stands_for_any() {
    let toml = "[orders]\nurl = \"u\"\npool = 5\nfast = true\nregions = [\"a\", \"b\"]\nmode = \"fast\"\nlimit = 0.5\n\
                [orders.names]\na = 1\n";
    let expected = Orders {
        url: "u".into(),
        pool: 5,
        fast: true,
        regions: vec!["a".into(), "b".into()],
        mode: Mode::Fast,
        limit: Some(0.5),
        names: BTreeMap::from([("a".into(), 1)]),
    };
    assert_eq!(read(toml, &[]).sections.get::<Orders>("orders").unwrap(), expected);
    let variables = [
        ("FASTMCP__ORDERS__URL", "u"),
        ("FASTMCP__ORDERS__POOL", "5"),
        ("FASTMCP__ORDERS__FAST", "true"),
        ("FASTMCP__ORDERS__REGIONS", "a, b"),
        ("FASTMCP__ORDERS__MODE", "fast"),
        ("FASTMCP__ORDERS__LIMIT", "0.5"),
        ("FASTMCP__ORDERS__NAMES__A", "1"),
    ];
    assert_eq!(read("", &variables).sections.get::<Orders>("orders").unwrap(), expected);
}

#[test]
fn faults_name_the_key_and_its_source_and_repeat_no_value() {
    for (toml, expected) in [
        ("", "orders.url: is not set"),
        ("[orders]\nurl = 5\n", "orders.url (my.toml:2:1): has a value that can't be used"),
        ("[orders]\nurl = \"u\"\npool = \"5\"\n", "orders.pool (my.toml:3:1): must be u16"),
        ("[orders]\nurl = \"u\"\npool = 70000\n", "orders.pool (my.toml:3:1): must be u16"),
        ("[orders]\nurl = \"u\"\nnames = 5\n", "orders.names (my.toml:3:1): must be a map"),
        ("[orders]\nurl = \"u\"\nregions = \"a\"\n", "orders.regions (my.toml:3:1): must be a sequence"),
        ("[orders]\nurl = \"u\"\nregions = [5]\n", "orders.regions (my.toml:3:1): must be a string"),
        ("[orders]\nurl = \"u\"\nuser = 1\n", "orders.user (my.toml:3:1): there is no such key"),
        ("[orders]\nurl = \"u\"\nnames = { a = 300 }\n", "orders.names.a (my.toml:3:11): must be u8"),
    ] {
        assert_eq!(problems(toml, &[]), [expected], "{toml}");
    }
    let variables = [("FASTMCP__ORDERS__URL", "u"), ("FASTMCP__ORDERS__POOL", "many")];
    assert_eq!(problems("", &variables), ["orders.pool (environment: FASTMCP__ORDERS__POOL): must be u16"]);
    assert_eq!(
        problems("[orders]\nurl = \"u\"\nmode = \"quick\"\n", &[]),
        ["orders.mode (my.toml:3:1): must be one of slow, fast"]
    );
}

#[test]
fn values_are_shown_with_their_sources_and_secrets_are_not() {
    let read = read("[orders]\nurl = \"secret-url\"\npool = 5\nregions = [\"a\"]\n", &[]);
    let mut shown: Vec<String> =
        read.effective.iter().map(|e| format!("{} = {} # {}", e.key, e.value, e.source)).collect();
    shown.sort();
    assert_eq!(
        shown,
        [
            "orders.pool = 5 # my.toml:3:1",
            "orders.regions = [\"a\"] # my.toml:4:1",
            "orders.url = [redacted] # my.toml:2:1",
        ]
    );
    assert!(!format!("{:?}", read.sections).contains("secret-url"));
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "password")]
    _password: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Own {
    #[serde(rename = "token")]
    _token: Option<Checked>,
    #[serde(rename = "mode")]
    _mode: Option<Mode>,
    #[serde(rename = "list", default)]
    _list: Vec<Account>,
    #[serde(rename = "named", default)]
    _named: BTreeMap<String, Account>,
    #[serde(rename = "pair")]
    _pair: Option<Pair>,
}

/// Its words repeat the value.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Checked;

impl TryFrom<String> for Checked {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "good" { Ok(Self) } else { Err(format!("{text} is bad")) }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Account")]
struct Pair;

impl TryFrom<Account> for Pair {
    type Error = String;

    fn try_from(account: Account) -> Result<Self, String> {
        Err(format!("{account:?} is bad"))
    }
}

fn read_own(toml: &str, secrets: &[&'static str]) -> Read {
    let mut values = Sources::default().text("my.toml", toml).merge().unwrap();
    let mut read = Read::default();
    read.section(Section::of::<Own>("own"), values.remove("own"), secrets);
    read
}

const OWN_SECRETS: [&str; 5] =
    ["own.token", "own.mode", "own.list.password", "own.named.*.password", "own.pair.password"];

#[test]
fn a_secret_in_a_list_or_below_any_name_is_not_shown() {
    let toml = "[own]\ntoken = \"good\"\nmode = \"slow\"\n\
                [[own.list]]\nname = \"a\"\npassword = \"hunter2\"\n\
                [own.named.b]\nname = \"b\"\npassword = \"hunter2\"\n";
    let read = read_own(toml, &OWN_SECRETS);
    assert_eq!(read.problems, []);
    let shown = format!("{:?}", read.effective);
    assert!(!shown.contains("hunter2") && !shown.contains("good") && !shown.contains("slow"), "{shown}");
    let value = |key: &str| read.effective.iter().find(|e| e.key == key).unwrap().value.as_str();
    assert_eq!(value("own.list"), r#"[{"name":"a","password":{"redacted":1}}]"#);
    assert_eq!((value("own.named.b.name"), value("own.named.b.password")), ("\"b\"", "[redacted]"));
}

#[test]
fn a_fault_of_a_secret_or_of_a_table_that_holds_one_repeats_nothing() {
    for (toml, expected) in [
        ("token = \"hunter2\"", "own.token (my.toml:2:1): has a value that can't be used"),
        ("mode = \"hunter2\"", "own.mode (my.toml:2:1): has a value that can't be used"),
        ("mode = { hunter2 = 1 }", "own.mode (my.toml:2:10): has a value that can't be used"),
        (
            "list = [{ name = \"a\", password = 5 }]",
            "own.list.password (my.toml:2:23): has a value that can't be used",
        ),
        ("list = [{ name = \"a\" }]", "own.list.password (my.toml:2:1): is not set"),
        (
            "named.b = { name = \"a\", password = \"p\", hunter = 1 }",
            "own.named.b.hunter (my.toml:2:41): there is no such key",
        ),
    ] {
        let problems = read_own(&format!("[own]\n{toml}\n"), &OWN_SECRETS).problems;
        assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected], "{toml}");
    }
    let toml = "[own.pair]\nname = \"a\"\npassword = \"hunter2\"\n";
    let [problem] = &read_own(toml, &OWN_SECRETS).problems[..] else { panic!() };
    assert_eq!((problem.key.as_str(), problem.message.as_str()), ("own.pair", UNUSABLE_TABLE));
    let [problem] = &read_own(toml, &[]).problems[..] else { panic!() };
    assert!(problem.message.ends_with("is bad") && problem.message.contains("hunter2"), "{problem}");
}

#[test]
fn a_misspelled_secret_is_a_problem_where_the_type_says_so() {
    for (secret, expected) in [
        ("own.tokenn", true),
        ("own.list.passwort", true),
        ("own.named.*.passwort", true),
        ("own.list.password", false),
        ("own.named.b.password", false),
        ("own.*.password", false),
        ("own", false),
    ] {
        let toml = "[own]\nlist = [{ name = \"a\", password = \"p\" }]\n\
                    named.b = { name = \"b\", password = \"p\" }\n";
        let problems = read_own(toml, &[secret]).problems;
        assert_eq!(!problems.is_empty(), expected, "{secret} {problems:?}");
        assert!(problems.iter().all(|problem| problem.key == secret), "{problems:?}");
    }
}

#[test]
fn a_section_and_its_secrets_are_declared_once_and_beside_our_own() {
    let section = Section::of::<Own>;
    let problems = |names: &[&'static str], secrets: &[&'static str]| -> Vec<String> {
        let sections: Vec<_> = names.iter().map(|name| section(name)).collect();
        misdeclared(crate::config::settings::KEYS, &sections, secrets)
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(problems(&["own", "my-other"], &["own.token", "own"]), [""; 0]);
    for ours in ["server", "auth0", "limits", "tools", "scopes", "endpoints", "mcp", "tenant"] {
        let expected = format!("{ours}: can't be declared as a section: the table is the server's own");
        assert_eq!(problems(&[ours], &[]), [expected]);
    }
    assert_eq!(problems(&["own", "own"], &[]), ["own: is declared as a section twice"]);
    assert_eq!(problems(&["a.b", ""], &[]).len(), 2);
    let expected = "mcp.title: is declared secret, but is in no declared section";
    assert_eq!(problems(&["own"], &["own.token", "mcp.title"]), [expected]);
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Flat {
    direct: u8,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Inner {
    number: u8,
}

/// As docs/own-server.md says of what serde buffers.
#[test]
fn a_flattened_type_is_read_less_strictly() {
    let read = |toml: &str, variables: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let variables: Vec<_> = variables.iter().map(owned).collect();
        let sources = Sources::default().text("my.toml", toml).environment(&variables);
        let mut read = Read::default();
        read.section(Section::of::<Flat>("flat"), sources.merge().unwrap().remove("flat"), &["flat.secret"]);
        read
    };
    let lenient = read("[flat]\ndirect = 1\nnumber = 2\nother = 3\nsecret = \"hunter2\"\n", &[]);
    let expected = Flat { direct: 1, inner: Inner { number: 2 } };
    assert_eq!(lenient.sections.get::<Flat>("flat").unwrap(), expected);
    assert!(!format!("{:?}", lenient.effective).contains("hunter2"));
    let number = ("FASTMCP__FLAT__NUMBER", "2");
    let problems = read("[flat]\ndirect = 1\n", &[number]).problems;
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), ["flat: must be u8"]);
    let direct = ("FASTMCP__FLAT__DIRECT", "1");
    assert_eq!(read("[flat]\nnumber = 2\n", &[direct]).sections.get::<Flat>("flat").unwrap(), expected);
}

#[test]
fn a_section_that_was_not_declared_says_how_to_declare_it() {
    let read = read("[orders]\nurl = \"u\"\n", &[]);
    let error = |result: anyhow::Result<()>| result.unwrap_err().to_string();
    assert!(error(read.sections.get::<Orders>("other").map(drop)).contains("is not declared"));
    assert!(error(read.sections.get::<String>("orders").map(drop)).contains("not as alloc::string::String"));
}
