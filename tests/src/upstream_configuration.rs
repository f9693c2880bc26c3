//! `[upstreams]`: what makes an upstream, what is refused, and that nothing of it that may be secret is ever shown.

use std::time::Duration;

use domain::ToolHints;
use fastmcp_auth0::config::Problems;
use fastmcp_auth0::upstream_mcp::Options;
use fastmcp_auth0::upstream_mcp::options::{CallerIdentity, Connect, Era};
use fastmcp_auth0::upstream_mcp::rules::Decision;
use fastmcp_auth0::wiring::shipped;
use fastmcp_auth0::{Settings, Sources};

const SECRET: &str = "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t";

fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Settings, Problems> {
    let environment: Vec<(String, String)> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let sources = Sources::defaults()
        .set("test", "auth0.domain", "tenant.eu.auth0.com")
        .set("test", "auth0.audience", "http://localhost:3001/mcp")
        .text("my.toml", toml)
        .environment(&environment);
    Settings::load_partial(sources, &shipped().catalog().unwrap())
}

#[track_caller]
fn one(toml: &str, environment: &[(&str, &str)]) -> Options {
    load(toml, environment).unwrap().upstreams.remove(0)
}

/// The problems of `[upstreams.u]` with these lines, without the key's beginning and the source.
#[track_caller]
fn problems(lines: &str) -> Vec<String> {
    let problems = load(&format!("[upstreams.u]\n{lines}"), &[("PATH", "/bin")]).unwrap_err().problems;
    problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

#[track_caller]
fn assert_refused(lines: &str, expected: &str) {
    let told = problems(lines);
    assert_eq!(told.len(), 1, "{lines}: {told:?}");
    assert!(told[0].contains(expected), "{lines}: {told:?}");
}

#[test]
fn a_command_has_its_arguments_as_they_are_and_of_the_environment_what_is_named() {
    let toml = "[upstreams.files]\n\
                command = [\"npx\", \"-y\", \" a b \", \"\"]\n\
                inherit_env = [\"PATH\", \"API_KEY\"]\n\
                cwd = \"/\"\n\
                [upstreams.files.env]\n\
                DEBUG = \" 1\"\n\
                PATH = \"/own\"\n";
    let environment =
        [("PATH", "/bin"), ("API_KEY", SECRET), ("HOME", "/home/me"), ("AUTH0_CLIENT_SECRET", "no")];
    let files = one(toml, &environment);
    let Connect::Child(child) = files.connect else { panic!("no child") };
    assert_eq!(
        (child.program, child.arguments),
        ("npx".into(), ["-y", " a b ", ""].map(Into::into).to_vec())
    );
    let variables: Vec<(String, String)> = child
        .environment
        .iter()
        .map(|(name, value)| (name.to_str().unwrap().to_owned(), value.to_str().unwrap().to_owned()))
        .collect();
    let expected = [("API_KEY", SECRET), ("DEBUG", " 1"), ("PATH", "/own")];
    assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(child.folder.as_deref(), Some(std::path::Path::new("/")));
    assert_eq!((files.name.as_str(), files.prefix.as_str(), files.era), ("files", "", Era::Any));
    assert!(matches!(files.caller, CallerIdentity::None));
}

#[test]
fn nothing_is_inherited_by_default_and_a_program_without_a_path_says_what_it_needs() {
    let files =
        one("[upstreams.files]\ncommand = [\"/bin/server\"]\nscopes.read = []\n", &[("PATH", "/bin")]);
    let Connect::Child(child) = files.connect else { panic!("no child") };
    assert!(child.environment.is_empty(), "{:?}", child.environment);
    assert_refused(
        "command = [\"npx\", \"-y\", \"server\"]",
        "upstreams.u.command: \"npx\" is looked up in PATH, which this upstream does not have, as it inherits nothing by \
         itself: set upstreams.u.inherit_env = [\"PATH\", \"HOME\"], or give the program's path",
    );
    let settings = load(
        "[upstreams.u]\ncommand = [\"/bin/server\"]\nscopes.read = []\ninherit_env = [\"NOT_SET\"]\n",
        &[],
    )
    .unwrap();
    assert_eq!(
        settings.warnings,
        [
            "upstreams.u.inherit_env (my.toml:4:1): \"NOT_SET\" is not set in this server's environment, nor for the \
          upstream"
        ]
    );
}

#[test]
fn variables_are_also_inherited_of_dot_env_but_the_environment_wins() {
    let folder = tempfile::tempdir().unwrap();
    let dot_env = folder.path().join(".env");
    std::fs::write(&dot_env, "ONE=dot\nTWO=dot\nAUTH0_DOMAIN=tenant.eu.auth0.com\nAUTH0_AUDIENCE=urn:a\n")
        .unwrap();
    let toml = "[upstreams.u]\ncommand = [\"/bin/server\"]\ninherit_env = [\"ONE\", \"TWO\"]\n";
    let sources = Sources::defaults().text("my.toml", toml);
    let sources = sources.service(None, &dot_env, &[("TWO".to_owned(), "environment".to_owned())]);
    let settings = Settings::load_partial(sources, &shipped().catalog().unwrap()).unwrap();
    let Connect::Child(child) = &settings.upstreams[0].connect else { panic!("no child") };
    assert_eq!(child.environment.values().collect::<Vec<_>>(), ["dot", "environment"]);
}

#[test]
fn a_url_has_its_header_fields_and_variables_set_the_same() {
    let toml = format!(
        "[upstreams.tickets]\nurl = \"https://tickets.example.org/mcp?key={SECRET}\"\nprotocol = \"legacy\"\n\
         caller = \"jwt\"\ncaller_secret = \"{SECRET}\"\n[upstreams.tickets.headers]\nAuthorization = \"Bearer {SECRET}\"\n"
    );
    let variables = [
        ("FASTMCP__UPSTREAMS__TICKETS__HEADERS__X_API_KEY", "k"),
        ("FASTMCP__UPSTREAMS__TICKETS__PREFIX", "t_"),
        ("FASTMCP__UPSTREAMS__TICKETS__SCOPES__READ", "tickets:read,base"),
        ("FASTMCP__UPSTREAMS__TICKETS__CALL_SECONDS", "5"),
    ];
    let tickets = one(&toml, &variables);
    let Connect::Http(http) = &tickets.connect else { panic!("no address") };
    assert_eq!(http.url.as_str(), format!("https://tickets.example.org/mcp?key={SECRET}"));
    assert_eq!(http.headers["authorization"], format!("Bearer {SECRET}"));
    assert!(http.headers["authorization"].is_sensitive());
    assert_eq!(http.headers["x-api-key"], "k");
    assert_eq!((tickets.prefix.as_str(), tickets.era), ("t_", Era::Legacy));
    assert_eq!(tickets.rules.read.as_ref().unwrap().to_string(), "tickets:read base");
    assert_eq!(tickets.limits.call, Duration::from_secs(5));
    assert!(matches!(tickets.caller, CallerIdentity::Jwt(_)));

    let command = [
        ("FASTMCP__UPSTREAMS__FILES__COMMAND", "/bin/server,--verbose"),
        ("FASTMCP__UPSTREAMS__FILES__INHERIT_ENV", "PATH,HOME"),
        ("FASTMCP__UPSTREAMS__FILES__TOOLS__READ_FILE__SCOPES", "files:read"),
        ("PATH", "/bin"),
        ("HOME", "/home/me"),
    ];
    let files = one("", &command);
    let Connect::Child(child) = files.connect else { panic!("no child") };
    assert_eq!((child.arguments.len(), child.environment.len(), files.rules.tools.len()), (1, 2, 1));
}

/// With every place that may be secret filled in.
#[test]
fn no_command_shows_anything_that_may_be_secret() {
    let toml = format!(
        "[upstreams.a]\ncommand = [\"/bin/server\", \"--token={SECRET}\"]\nenv = {{ KEY = \"{SECRET}\" }}\n\
         inherit_env = [\"OTHER\"]\ncaller = \"headers\"\ncaller_secret = \"{SECRET}\"\n\
         [upstreams.b]\nurl = \"https://b.example.org/{SECRET}?key={SECRET}\"\nheaders = {{ X = \"{SECRET}\" }}\n"
    );
    let settings = load(&toml, &[("OTHER", SECRET)]).unwrap();
    let of_upstreams = settings.effective.iter().filter(|value| value.key.starts_with("upstreams."));
    let shown: Vec<String> =
        of_upstreams.map(|value| format!("{} = {} {}", value.key, value.value, value.json)).collect();
    assert_eq!(
        shown,
        [
            "upstreams.a.command = [\"/bin/server\", 1 redacted] [\"/bin/server\",{\"redacted\":1}]",
            "upstreams.a.inherit_env = [\"OTHER\"] [\"OTHER\"]",
            "upstreams.a.env.KEY = [redacted] {\"redacted\":1}",
            "upstreams.a.caller_secret = [redacted] {\"redacted\":1}",
            "upstreams.a.caller = \"headers\" \"headers\"",
            "upstreams.b.url = \"https://b.example.org/...\" \"https://b.example.org/...\"",
            "upstreams.b.headers.X = [redacted] {\"redacted\":1}",
        ]
    );
    assert!(!format!("{settings:?}").contains("s3cr3t"), "{settings:?}");
}

#[test]
fn faults_repeat_nothing_that_may_be_secret_either() {
    for lines in [
        format!("command = \"server --token={SECRET}\""),
        format!("command = [\"/s\", 1, \"{SECRET}\"]"),
        format!("command = [\"/s\"]\nenv = [\"KEY={SECRET}\"]"),
        format!("command = [\"/s\"]\nenv.KEY = [\"{SECRET}\"]"),
        format!("command = [\"/s\"]\nenv.KEY.inner = \"{SECRET}\""),
        format!("command = [\"/s\"]\nenv.KEY = \"${{{SECRET}\""),
        format!("command = [\"/s\"]\ninherit_env = [\"KEY={SECRET}{SECRET}\"]"),
        format!("url = \"https://user:{SECRET}@u.example.org/mcp\""),
        format!("url = \"http://u.example.org/{SECRET}\""),
        format!("url = \"ftp://u.example.org/{SECRET}\""),
        format!("url = \"https://u.example.org/<{SECRET}>\""),
        format!("url = [\"https://u.example.org/{SECRET}\"]"),
        format!("url = \"https://u.example.org\"\nheaders.X = \"{SECRET}\\u0007\""),
        format!("url = \"https://u.example.org\"\nheaders.Host = \"{SECRET}\""),
        format!("url = \"https://u.example.org\"\nheaders = \"{SECRET}\""),
        format!("url = \"https://u.example.org\"\ncaller_secret = \"{SECRET}\""),
        format!("url = \"https://u.example.org\"\ncaller = \"jwt\"\ncaller_secret = [\"{SECRET}\"]"),
        format!("url = \"https://u.example.org\"\ncaller = \"jwt\"\ncaller_secret = \"{SECRET} \\u0007\""),
    ] {
        let told = problems(&lines).join("\n");
        assert!(told.contains("upstreams.u") && !told.contains("s3cr3t"), "{lines}: {told}");
    }
}

#[test]
fn an_upstream_is_a_command_or_a_url_and_has_the_keys_of_one_alone() {
    assert_refused(
        "",
        "upstreams.u: needs `command`, a program to start and its arguments, or `url`, the address of",
    );
    assert_refused("prefix = \"u_\"", "upstreams.u: needs `command`");
    assert_refused(
        "command = [\"/s\"]\nurl = \"https://u.example.org/mcp\"",
        "upstreams.u.url: can't be set together with upstreams.u.command: choose one",
    );
    for (lines, expected) in [
        ("command = []", "command: must be a list of the program and its arguments, such as [\"npx\","),
        ("command = \"npx server\"", "command: must be a list of the program"),
        ("command = [\" \"]", "command: must be a list of the program"),
        (
            "command = [\"/s\"]\nheaders.X = \"1\"",
            "headers.X: is for an upstream with a `url`; a program gets `env`",
        ),
        ("command = [\"/s\"]\nallow_http = true", "allow_http: is for an upstream with a `url`"),
        (
            "url = \"https://u.example.org/\"\nenv.X = \"1\"",
            "env.X: is for an upstream with a `command`; a server at",
        ),
        ("url = \"https://u.example.org/\"\ncwd = \"/\"", "cwd: is for an upstream with a `command`"),
        (
            "url = \"https://u.example.org/\"\ninherit_env = [\"PATH\"]",
            "inherit_env: is for an upstream with a",
        ),
        ("command = [\"/s\"]\ncwd = \"/no/such/folder\"", "cwd: is no folder"),
        (
            "command = [\"/s\"]\nenv = \"A=1\"",
            "env: must be a table, of keys such as upstreams.NAME.env.VARIABLE",
        ),
        ("command = [\"/s\"]\nenv.PORT = 1", "env.PORT: must be a text"),
        ("command = [\"/s\"]\nenv.\"A=B\" = \"1\"", "is no variable that an environment can have"),
        (
            "command = [\"/s\"]\nenv.KEY = \"${KEY}\"",
            "nothing replaces those here: name the variable in upstreams.u.inherit_env",
        ),
        ("url = \"tools.example.org/mcp\"", "url: must begin with https:// (or http:// on this machine)"),
        ("url = \"127.0.0.1:21110/mcp\"", "url: must begin with https:// (or http:// on this machine)"),
        ("url = \"localhost:21110/mcp\"", "url: must begin with https:// (or http:// on this machine)"),
        ("url = \"ftp://u.example.org/\"", "url: must be the https URL of an MCP endpoint, such as"),
        ("url = \"https://u.example.org/#a\"", "url: must be the https URL"),
        (
            "url = \"https://me@u.example.org/\"",
            "url: must have neither user nor password: set upstreams.u.headers.Authorization",
        ),
        ("url = \"https://${HOST}/mcp\"", "url: is a placeholder that nobody has replaced"),
        ("url = \"https://u.example.org\"\nheaders.\"a b\" = \"1\"", "is no name of a header field"),
        (
            "url = \"https://u.example.org\"\nheaders.Mcp-Session-Id = \"1\"",
            "is a field that the connection or the protocol sets",
        ),
        (
            "url = \"https://u.example.org\"\nheaders.fastmcp-auth0-subject = \"1\"",
            "is a field that the connection",
        ),
        (
            "url = \"https://u.example.org\"\nheaders.Authorization = \"Bearer ${KEY}\"",
            "or set FASTMCP__UPSTREAMS__U__HEADERS__AUTHORIZATION in the environment",
        ),
    ] {
        assert_refused(lines, expected);
    }
    let outcome =
        load("[upstreams.u]\ncommand = [\"/s\"]\n", &[("FASTMCP__UPSTREAMS__U__ENV__API_KEY", SECRET)]);
    let told = outcome.unwrap_err().to_string();
    assert!(told.contains("set the variable itself, and name it in upstreams.u.inherit_env"), "{told}");
    assert!(!told.contains("s3cr3t"), "{told}");
}

#[test]
fn clear_text_leaves_this_machine_only_where_that_is_allowed() {
    for good in [
        "url = \"http://localhost:8000/mcp\"",
        "url = \"http://127.0.0.1/mcp\"",
        "url = \"http://[::1]:1/mcp\"",
        "url = \"https://u.example.org/mcp\"",
        "url = \"http://u.internal/mcp\"\nallow_http = true",
    ] {
        let settings = load(&format!("[upstreams.u]\n{good}"), &[]);
        assert!(settings.is_ok(), "{good}: {:?}", settings.unwrap_err());
    }
    for bad in ["http://u.internal/mcp", "http://localhost.example.org/mcp", "http://10.0.0.1/mcp"] {
        assert_refused(
            &format!("url = \"{bad}\""),
            "make it https, or set upstreams.u.allow_http = true in the configuration file, where",
        );
    }
}

#[test]
fn a_callers_identity_takes_a_secret_that_is_long_enough() {
    const URL: &str = "url = \"https://u.example.org\"";
    for (lines, expected) in [
        (
            "caller = \"jwt\"",
            "upstreams.u.caller: needs upstreams.u.caller_secret, by which the upstream knows this server, \
                              or FASTMCP__UPSTREAMS__U__CALLER_SECRET in the environment",
        ),
        ("caller = \"token\"", "caller: must be one of \"none\", \"jwt\", \"headers\", not \"token\""),
        (
            "caller = \"jwt\"\ncaller_secret = \"short\"",
            "caller_secret: must be 32 bytes or more of visible ASCII: openssl",
        ),
        (
            "caller_secret = \"0123456789abcdef0123456789abcdef\"",
            "caller_secret: is of no use as long as upstreams.u.caller",
        ),
    ] {
        assert_refused(&format!("{URL}\n{lines}"), expected);
    }
    let exact = format!("[upstreams.u]\n{URL}\ncaller = \"headers\"\n");
    let environment = [("FASTMCP__UPSTREAMS__U__CALLER_SECRET", "0123456789abcdef0123456789abcdef")];
    assert!(matches!(one(&exact, &environment).caller, CallerIdentity::Fields(_)));
}

/// A folder with a file `secret`, which ends in a line's end as editors leave it.
fn secret_file() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    (folder, path.to_str().unwrap().to_owned())
}

#[test]
fn secrets_come_from_files_and_are_not_shown() {
    let (_folder, path) = secret_file();
    let url = format!(
        "[upstreams.u]\nurl = \"https://u.example.org\"\ncaller = \"jwt\"\ncaller_secret_file = {path:?}\n\
         header_files.Authorization = {path:?}\n"
    );
    let options = one(&url, &[]);
    assert!(matches!(&options.caller, CallerIdentity::Jwt(_)));
    let settings = load(&url, &[]).unwrap();
    let shown = format!("{:?}{:?}", settings.effective, settings.upstreams);
    assert!(!shown.contains("s3cr3t") && shown.contains("upstreams.u.header_files.Authorization"), "{shown}");

    let command = format!("[upstreams.u]\ncommand = [\"/s\"]\nenv_files.KEY = {path:?}\n");
    let Connect::Child(child) = one(&command, &[]).connect else { panic!("a command") };
    let value = child.environment.iter().find(|(name, _)| *name == "KEY").map(|(_, value)| value.clone());
    assert_eq!(value.unwrap(), SECRET);

    let bare = "[upstreams.u]\nurl = \"https://u.example.org\"\ncaller = \"jwt\"\n";
    let environment = [
        ("FASTMCP__UPSTREAMS__U__CALLER_SECRET_FILE", path.as_str()),
        ("FASTMCP__UPSTREAMS__U__HEADER_FILES__X_KEY", path.as_str()),
    ];
    assert!(matches!(one(bare, &environment).caller, CallerIdentity::Jwt(_)));
}

#[test]
fn a_secret_and_its_file_are_not_set_together_and_a_file_has_to_be_there() {
    let (folder, path) = secret_file();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, " \n").unwrap();
    let url = "url = \"https://u.example.org\"\n";
    for (lines, expected) in [
        (
            format!("{url}caller = \"jwt\"\ncaller_secret = \"{SECRET}\"\ncaller_secret_file = {path:?}"),
            "caller_secret_file: can't be set together with upstreams.u.caller_secret: choose one",
        ),
        (
            format!("{url}headers.authorization = \"1\"\nheader_files.Authorization = {path:?}"),
            "header_files.Authorization: can't be set together with upstreams.u.headers.authorization: choose",
        ),
        (
            format!("command = [\"/s\"]\nenv.KEY = \"1\"\nenv_files.KEY = {path:?}"),
            "env_files.KEY: can't be set together with upstreams.u.env.KEY: choose one",
        ),
        (format!("{url}env_files.KEY = {path:?}"), "env_files.KEY: is for an upstream with a `command`"),
        (
            format!("command = [\"/s\"]\nheader_files.X = {path:?}"),
            "header_files.X: is for an upstream with a `url`",
        ),
        (format!("{url}header_files.Host = {path:?}"), "header_files.Host: "),
        (format!("{url}header_files.X = {empty:?}"), "header_files.X: names a file in which nothing is"),
        (
            format!("{url}header_files.X = \"/{SECRET}\""),
            "header_files.X: must be the path of a file with the secret; it can't be read",
        ),
        (format!("{url}caller_secret_file = {path:?}"), "caller_secret_file: is of no use as long as"),
    ] {
        assert_refused(&lines, expected);
        assert!(!problems(&lines).join("\n").contains("s3cr3t"), "{lines}");
    }
}

#[test]
fn rules_say_for_which_scopes_and_under_which_names() {
    let toml = "[upstreams.u]\ncommand = [\"/s\"]\nprefix = \"u_\"\n\
                [upstreams.u.scopes]\nread = [\"r\"]\nwrite = [\"w\"]\nprompts = []\n\
                [upstreams.u.tools.\"delete_*\"]\nscopes = [\"d\", \"w\"]\n\
                [upstreams.u.tools.secret]\nhidden = true\n\
                [upstreams.u.tools.\"a.b\"]\nname = \"c\"\ntitle = \"C\"\ndescription = \"Does c.\"\ntimeout_seconds = 3\n";
    let rules = one(toml, &[]).rules;
    let decided = |name: &str, hints| match rules.tool(name, hints) {
        Decision::Offered(offered) => offered.scopes.to_string(),
        Decision::Hidden => "hidden".to_owned(),
        Decision::Uncovered => "uncovered".to_owned(),
    };
    let (unknown, read) = (ToolHints::UNKNOWN, ToolHints::UNKNOWN.read_only());
    assert_eq!(["x", "delete_x", "secret"].map(|name| decided(name, read)), ["r", "d w", "hidden"]);
    assert_eq!(decided("x", unknown), "w");
    let Decision::Offered(offered) = rules.tool("a.b", read) else { panic!("not offered") };
    assert_eq!(
        (offered.name.as_deref(), offered.title.as_deref(), offered.description.as_deref(), offered.timeout),
        (Some("c"), Some("C"), Some("Does c."), Some(Duration::from_secs(3)))
    );
    assert!(rules.prompts.is_some_and(|scopes| scopes.is_empty()));
    assert!(rules.resources.is_none() && rules.destructive.is_none());
}

#[test]
fn rules_that_can_not_be_meant_are_refused() {
    for (lines, expected) in [
        ("scopes.read = [\"a b\"]", "upstreams.u.scopes.read: "),
        ("scopes.read = [\"\"]", "scopes.read: must be a list of texts, none of them empty"),
        (
            "scopes.raed = [\"a\"]",
            "upstreams.u.scopes.raed: there is no such key; did you mean upstreams.u.scopes.read?",
        ),
        ("read = [\"a\"]", "upstreams.u.read: there is no such key; did you mean upstreams.u.scopes.read?"),
        ("tools.x.scope = [\"a\"]", "did you mean upstreams.u.tools.x.scopes?"),
        ("tools.x = true", "upstreams.u.tools.x: must be a table, of keys such as"),
        ("colour = 1", "upstreams.u.colour: there is no such key; `config default` prints them all"),
        (
            "prefix = \"a b\"",
            "prefix: must be of letters, digits and `_.-`, as tools' names are, not \"a b\"",
        ),
        (
            "tools.\"a*\".name = \"b\"",
            "name: is for one tool, and the pattern may fit several: give the rule the tool's whole",
        ),
        ("tools.a.name = \"b c\"", "name: must be of letters, digits and `_.-`, at most 128 with the prefix"),
        ("tools.a.hidden = \"yes\"", "hidden: must be true or false, not \"yes\""),
        ("tools.a.timeout_seconds = 0", "timeout_seconds: must be a whole number from 1 to 86400, not 0"),
        ("start_seconds = 0", "start_seconds: must be a whole number from 1 to 3600, not 0"),
        ("protocol = \"stdio\"", "protocol: must be one of \"auto\", \"modern\", \"legacy\", not \"stdio\""),
    ] {
        assert_refused(&format!("command = [\"/s\"]\n{lines}"), expected);
    }
    let told = load("[upstreams.\"a b\"]\ncommand = [\"/s\"]\n", &[]).unwrap_err().to_string();
    assert!(
        told.contains("upstreams.\"a b\" (my.toml:2:1): must be a name of letters, digits, `_` and `-`"),
        "{told}"
    );
    let told = load("[[upstreams]]\ncommand = [\"/s\"]\n", &[]).unwrap_err().to_string();
    assert!(
        told.contains("upstreams (my.toml:1:3): must be a table, of keys such as upstreams.NAME."),
        "{told}"
    );
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let settings = load("[upstreams.u]\ncommand = [\"/s\"]\n", &[]).unwrap();
    assert!(
        settings.warnings[0]
            .contains("upstreams.u (my.toml:2:1): offers nothing, as no rule says for which scopes: set"),
        "{:?}",
        settings.warnings
    );
    let late = "[upstreams.u]\ncommand = [\"/s\"]\nscopes.read = []\ncall_seconds = 61\n\
                [upstreams.u.tools.a]\ntimeout_seconds = 60\n[upstreams.u.tools.b]\ntimeout_seconds = 90\n";
    let settings = load(late, &[]).unwrap();
    let keys: Vec<&str> = settings.warnings.iter().map(|line| line.split_once(' ').unwrap().0).collect();
    assert_eq!(keys, ["upstreams.u.tools.b.timeout_seconds", "upstreams.u.call_seconds"]);
    assert!(settings.warnings[0].ends_with("which ends every call after 60 s: raise that, too"));
    assert!(load("[limits]\ntool_seconds = 90\n[upstreams.u]\ncommand = [\"/s\"]\nscopes.read = []\ncall_seconds = 90\n", &[])
        .unwrap().warnings.is_empty());
}

#[test]
fn a_command_in_one_text_and_a_tilde_are_told_and_no_argument_is_repeated() {
    for command in ["npx -y foo s3cr3t", "/no/such/server --key s3cr3t"] {
        let told = problems(&format!("command = [\"{command}\"]\ninherit_env = [\"PATH\"]"));
        let program = command.split_once(' ').unwrap().0;
        let expected = format!(
            "upstreams.u.command: is one text, and there is no such program: the program and its arguments are separate items: \
             [\"{program}\", ...]"
        );
        assert_eq!(told, [expected]);
    }
    // A program may have a blank in its name.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("my server");
    std::fs::write(&program, "").unwrap();
    let environment = [("PATH", folder.path().to_str().unwrap())];
    for command in [program.to_str().unwrap(), "my server"] {
        let toml =
            format!("[upstreams.u]\ncommand = [{command:?}]\ninherit_env = [\"PATH\"]\nscopes.read = []\n");
        assert!(load(&toml, &environment).unwrap().warnings.is_empty());
    }
    assert_refused(
        "command = [\"~/server\"]",
        "command: begins with ~, which stands for the home folder only where a shell",
    );
    assert_refused(
        "command = [\"/s\"]\ncwd = \"~/here\"",
        "cwd: begins with ~, which stands for the home folder only",
    );
    let settings =
        load("[upstreams.u]\ncommand = [\"/s\", \"-x\", \"~/s3cr3t\"]\nscopes.read = []\n", &[]).unwrap();
    let [warning] = settings.warnings.as_slice() else { panic!("{:?}", settings.warnings) };
    assert!(warning.contains("argument 2 begins with ~") && !warning.contains("s3cr3t"), "{warning}");
}

#[test]
fn a_variable_reaches_an_upstream_of_a_file_whatever_its_case_and_with_an_underscore_for_a_hyphen() {
    for (name, part) in
        [("Team", "TEAM"), ("my-team", "MY_TEAM"), ("My-Team", "MY_TEAM"), ("my_team", "MY_TEAM")]
    {
        let toml = format!(
            "[upstreams.{name}]\nurl = \"https://u.example.org\"\ncaller = \"jwt\"\nscopes.read = []\n"
        );
        let variable = format!("FASTMCP__UPSTREAMS__{part}__CALLER_SECRET");
        let told = load(&toml, &[]).unwrap_err().to_string();
        assert!(told.contains(&format!("or {variable} in the environment")), "{told}");
        let options = one(&toml, &[(&variable, SECRET)]);
        assert_eq!(options.name, name);
        assert!(matches!(options.caller, CallerIdentity::Jwt(_)));
    }
    // The exact name wins, and of two others neither.
    let two = "[upstreams.my-team]\ncommand = [\"/s\"]\n[upstreams.my_team]\ncommand = [\"/s\"]\n";
    let settings = load(two, &[("FASTMCP__UPSTREAMS__MY_TEAM__PREFIX", "x_")]).unwrap();
    let prefixes: Vec<(&str, &str)> =
        settings.upstreams.iter().map(|options| (options.name.as_str(), options.prefix.as_str())).collect();
    assert_eq!(prefixes, [("my-team", ""), ("my_team", "x_")]);
    let two = "[upstreams.my-team]\ncommand = [\"/s\"]\n[upstreams.My-Team]\ncommand = [\"/s\"]\n";
    let told = load(two, &[("FASTMCP__UPSTREAMS__MY_TEAM__PREFIX", "x_")]).unwrap_err().to_string();
    assert!(told.contains("upstreams.my_team: needs `command`"), "{told}");
    let headers = "[upstreams.u]\nurl = \"https://u.example.org\"\nheaders.X-Api-Key = \"${KEY}\"";
    let told = load(headers, &[]).unwrap_err().to_string();
    assert!(told.contains("set FASTMCP__UPSTREAMS__U__HEADERS__X_API_KEY in the environment"), "{told}");
}

#[test]
fn a_misspelled_section_and_a_missing_name_are_told_by_the_table() {
    for (toml, expected) in [
        (
            "[upstream.team]\nurl = \"https://u.example.org\"",
            "upstream.team.url (my.toml:2:1): there is no such key; did you mean [upstreams.team]?",
        ),
        ("[upstream]\nurl = \"https://u.example.org\"", "did you mean [upstreams.NAME]?"),
        (
            "[upstreams]\nurl = \"https://u.example.org\"",
            "upstreams.url (my.toml:2:1): there is no such key; did you mean [upstreams.NAME]?",
        ),
        ("[upstreams]\ncommand = [\"/s\"]", "did you mean [upstreams.NAME]?"),
        ("[tool.greet]\nscopes = []", "did you mean [tools.greet]?"),
        (
            "[upstreams]\nteam = \"/s\"",
            "upstreams.team (my.toml:2:1): must be a table, of keys such as upstreams.NAME.command",
        ),
    ] {
        let told = load(toml, &[]).unwrap_err().to_string();
        assert!(told.contains(expected), "{toml}: {told}");
    }
    let told =
        load("", &[("FASTMCP__UPSTREAM__TEAM__URL", "https://u.example.org")]).unwrap_err().to_string();
    assert!(told.contains("did you mean FASTMCP__UPSTREAMS__TEAM__URL?"), "{told}");
}

#[test]
fn a_fault_in_scopes_is_not_followed_by_a_warning_that_there_are_none() {
    for lines in [
        "scopes.read = [\"a b\"]",
        "scopes.raed = [\"a\"]",
        "scopes = [\"a\"]",
        "tools.x.scopes = \"a\"",
        "tools.x.scope = []",
    ] {
        let told = load(&format!("[upstreams.u]\ncommand = [\"/s\"]\n{lines}"), &[]).unwrap_err();
        assert!(told.warnings.is_empty(), "{lines}: {:?}", told.warnings);
    }
    let hides = load("[upstreams.u]\ncommand = [\"/s\"]\ntools.x.hidden = true\n", &[]).unwrap();
    assert!(hides.warnings[0].contains("offers nothing"), "{:?}", hides.warnings);
}

#[test]
fn several_upstreams_without_a_prefix_are_warned_of() {
    let one = |name: &str, prefix: &str| {
        format!(
            "[upstreams.{name}]\nurl = \"http://127.0.0.1:1/mcp\"\nprefix = \"{prefix}\"\nscopes.read = [\"a:b\"]\n"
        )
    };
    for (toml, warned) in
        [(one("a", ""), false), (one("a", "a_") + &one("b", ""), false), (one("a", "") + &one("b", ""), true)]
    {
        let warnings = load(&toml, &[]).unwrap().warnings;
        assert_eq!(
            warnings.iter().any(|warning| warning.contains("several have no prefix")),
            warned,
            "{toml}"
        );
    }
}
