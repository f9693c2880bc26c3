//! Every shipped configuration, every source, and every fault at once.

use std::path::Path;

use domain::{LoginScopes, Scope, ScopeAuthority, ScopeSet};
use fastmcp_auth0::config::{DEFAULTS, Problems, StateKeys};
use fastmcp_auth0::wiring::{audience_warnings, http_settings, shipped};
use fastmcp_auth0::{Settings, Sources};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn variables(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(sources: Sources) -> Result<Settings, Problems> {
    Settings::load(sources, &shipped().catalog().unwrap())
}

/// The settings of a service with a tenant, and these variables.
fn with(more: &[(&str, &str)]) -> Result<Settings, Problems> {
    let tenant = [("AUTH0_DOMAIN", "tenant.eu.auth0.com"), ("AUTH0_AUDIENCE", "http://localhost:3001/mcp")];
    load(Sources::defaults().environment(&variables(&[&tenant[..], more].concat())))
}

#[track_caller]
fn problems(outcome: Result<Settings, Problems>) -> Vec<String> {
    outcome.unwrap_err().problems.iter().map(ToString::to_string).collect()
}

#[test]
fn a_domain_and_an_audience_are_enough() {
    let settings = with(&[]).unwrap();
    assert_eq!(settings.auth0.issuer.as_str(), "https://tenant.eu.auth0.com/");
    assert_eq!(settings.token_policy().issuers, ["https://tenant.eu.auth0.com/"]);
    assert_eq!(*settings.auth0.audience, *"http://localhost:3001/mcp");
    assert_eq!(settings.tokens.authority, ScopeAuthority::Scope);
    assert_eq!((settings.server.bind.to_string().as_str(), settings.server.port), ("127.0.0.1", 3001));
    assert_eq!(settings.base_url(3001).as_str(), "http://localhost:3001/");
}

#[test]
fn the_documented_defaults_are_the_defaults_and_every_key_is_documented() {
    let settings = with(&[]).unwrap();
    let documented: toml::Table = toml::from_str(DEFAULTS).unwrap();
    let mut keys = Vec::new();
    let mut tables: Vec<(String, &toml::Table)> =
        documented.iter().map(|(name, table)| (name.clone(), table.as_table().unwrap())).collect();
    while let Some((section, values)) = tables.pop() {
        for (key, value) in values {
            match value.as_table() {
                Some(table) => tables.push((format!("{section}.{key}"), table)),
                None => keys.push(format!("{section}.{key}")),
            }
        }
    }
    let mut effective: Vec<String> = settings.effective.iter().map(|value| value.key.clone()).collect();
    effective.sort();
    keys.sort();
    assert_eq!(effective, keys);
    // A comment stands above every key.
    let lines: Vec<&str> = DEFAULTS.lines().collect();
    for pair in lines.windows(2) {
        let is_key = pair[1].contains(" = ") && !pair[1].starts_with('#');
        assert!(!is_key || pair[0].starts_with('#'), "no comment above {}", pair[1]);
    }
}

/// The examples name a tenant that is nobody's: with another one they work, and as they are they are refused.
#[test]
fn the_shipped_files_load_once_the_tenant_is_filled_in() {
    const PLACEHOLDER: &str = "example-tenant.us.auth0.com";
    let folder = tempfile::tempdir().unwrap();
    let fill_in = |name: &str| {
        let text = std::fs::read_to_string(Path::new(ROOT).join(name)).unwrap();
        assert!(text.contains(PLACEHOLDER), "{name}");
        let path = folder.path().join("filled-in");
        std::fs::write(&path, text.replace(PLACEHOLDER, "tenant.eu.auth0.com")).unwrap();
        path
    };
    let example = Path::new(ROOT).join("config/production.example.toml");
    let told = problems(load(Sources::defaults().file(&example)));
    assert!(told.len() == 1 && told[0].starts_with("auth0.domain ("), "{told:?}");
    assert!(told[0].ends_with("is a placeholder that nobody has replaced: \"example-tenant.us.auth0.com\""));
    let settings = load(Sources::defaults().file(&fill_in("config/production.example.toml"))).unwrap();
    assert_eq!(settings.base_url(3001).as_str(), "https://mcp.example.com/");
    assert!(settings.warnings[0].contains("\"https://mcp.example.com/\" is a name from examples"));
    assert_eq!(audience_warnings(&settings, &http_settings(&settings, 3001)).count(), 0);
    let settings = load(Sources::defaults().service(None, &fill_in("config/.env.example"), &[])).unwrap();
    assert_eq!(*settings.auth0.audience, *"http://localhost:3001/mcp");
    assert_eq!(settings.warnings, [""; 0]);
    assert_eq!(audience_warnings(&settings, &http_settings(&settings, 3001)).count(), 0);
    let local = Sources::defaults().text("config/local.toml", fastmcp_auth0::config::LOCAL);
    let settings =
        load(local.environment(&variables(&[("AUTH0_DOMAIN", "h"), ("AUTH0_AUDIENCE", "a")]))).unwrap();
    let tenant: local_tenant::Options = settings.tenant.unwrap().try_deserialize().unwrap();
    assert_eq!(tenant.validate(), Ok(()));
}

#[test]
fn later_sources_win_and_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("my.toml");
    let dot_env = folder.path().join(".env");
    std::fs::write(&file, "[server]\nport = 1\nurl = \"https://file.example\"\n[mcp]\ntitle = \"File\"\n")
        .unwrap();
    std::fs::write(
        &dot_env,
        "PORT=2\nAUTH0_DOMAIN=dot.env.example\nAUTH0_AUDIENCE=a\nFASTMCP__MCP__NAME=dot\n",
    )
    .unwrap();
    let environment = variables(&[
        ("PORT", "3"),
        ("FASTMCP__SERVER__BIND", "0.0.0.0"),
        ("MCP_SERVER_URL", ""),
        ("HOME", "/"),
    ]);
    let settings = load(Sources::defaults().service(Some(&file), &dot_env, &environment)).unwrap();
    assert_eq!((settings.server.port, settings.server.bind.to_string().as_str()), (3, "0.0.0.0"));
    assert_eq!(settings.base_url(3).as_str(), "https://file.example/", "an empty variable is none");
    assert_eq!((settings.mcp.identity.title.as_str(), settings.mcp.identity.name.as_str()), ("File", "dot"));
    let source = |key: &str| {
        settings
            .effective
            .iter()
            .find(|value| value.key == key)
            .unwrap()
            .source
            .replace(&folder.path().display().to_string(), "")
    };
    assert_eq!(source("server.port"), "environment: PORT");
    assert_eq!(source("server.bind"), "environment: FASTMCP__SERVER__BIND");
    assert_eq!(source("auth0.domain"), "/.env:2: AUTH0_DOMAIN");
    assert_eq!(source("server.url"), "/my.toml:3:1");
    assert_eq!(source("log.level"), "config/default.toml, built in");
}

#[test]
fn every_fault_is_told_at_once_with_its_key_and_source() {
    let toml = r#"
        stray = 1
        [server]
        port = "3001"
        bind = "everywhere"
        url = "https://mcp.example.com/?path"
        [auth0]
        domain = "https://tenant.eu.auth0.com"
        domian = "typo"
        [tokens]
        leeway_seconds = 301
        authority = "roles"
        [http]
        allowed_origins = "https://app.example.com"
        [limits]
        body_bytes = 1.5
        json_depth = 129
        [tools.greet]
        scopes = ["two words"]
        enabled = "no"
        [tools.grete]
        enabled = false
    "#;
    let mut told = problems(load(Sources::defaults().text("my.toml", toml)));
    told.sort();
    assert_eq!(
        told,
        [
            "auth0.audience (config/default.toml, built in): is not set: AUTH0_AUDIENCE is your API's identifier in \
             Auth0, best the endpoint's own URL",
            "auth0.domain (my.toml:8:9): must be a host name alone, such as my-tenant.eu.auth0.com, without https:// \
             and slashes, not \"https://tenant.eu.auth0.com\"",
            "auth0.domian (my.toml:9:9): there is no such key; did you mean auth0.domain?",
            "http.allowed_origins (my.toml:14:9): must be a list of texts, none of them empty, not \"https://app.example.com\"",
            "limits.body_bytes (my.toml:16:9): must be a whole number from 1024 to 1073741824, not 1.5",
            "limits.json_depth (my.toml:17:9): must be a whole number from 8 to 128, not 129",
            "server.bind (my.toml:5:9): must be an IP address, such as 127.0.0.1, 0.0.0.0 or ::, or a Unix socket, such as \
             unix:/run/fastmcp-auth0/mcp.sock, or systemd, not \"everywhere\"",
            "server.port (my.toml:4:9): must be a whole number from 0 to 65535, not \"3001\"",
            "server.url (my.toml:6:9): must be an http or https URL, such as https://mcp.example.com, or with the path \
             below which a proxy serves it, such as https://example.com/team, which is none of the server's own paths, not \"https://mcp.example.com/?path\"",
            "stray (my.toml:2:9): there is no such key; `config default` prints them all",
            "tokens.authority (my.toml:12:9): must be one of \"scope\", \"permissions\", \"both\", \"either\", not \"roles\"",
            "tokens.leeway_seconds (my.toml:11:9): must be a whole number from 0 to 300, not 301",
            "tools.greet.enabled (my.toml:20:9): must be true or false, not \"no\"",
            "tools.greet.scopes (my.toml:19:9): not an OAuth scope (RFC 6749 section 3.3: visible ASCII without space, '\"' \
             and '\\'): \"two words\"",
            "tools.grete (my.toml:22:9): there is no such tool; the tools are greet, whoami, get_datetime",
        ]
    );
}

#[test]
fn sources_that_can_not_be_read_are_faults_too() {
    let told = problems(load(Sources::defaults().file(Path::new("/nowhere/my.toml"))));
    assert!(told[0].starts_with("/nowhere/my.toml: can't be read: "), "{told:?}");
    let told = problems(load(Sources::defaults().text("my.toml", "[server\nport")));
    assert!(told[0].starts_with("my.toml:1:8: not TOML: "), "{told:?}");
    let folder = tempfile::tempdir().unwrap();
    let dot_env = folder.path().join(".env");
    std::fs::write(&dot_env, "AUTH0_DOMAIN=a\nthis is s3cret nonsense\n").unwrap();
    let told = problems(load(Sources::defaults().service(None, &dot_env, &[])));
    assert!(told[0].contains(".env:2: must be NAME=VALUE") && !told[0].contains("s3cret"), "{told:?}");
}

/// The settings of a service with an audience, and these variables.
fn with_audience(more: &[(&str, &str)]) -> Result<Settings, Problems> {
    let audience = [("AUTH0_AUDIENCE", "http://localhost:3001/mcp")];
    load(Sources::defaults().environment(&variables(&[&audience[..], more].concat())))
}

#[test]
fn issuers_are_what_tokens_name_byte_for_byte() {
    let settings = with_audience(&[("AUTH0_ISSUER", "https://login.tenant.dev/")]).unwrap();
    assert_eq!(settings.token_policy().issuers, ["https://login.tenant.dev/"]);
    assert!(with_audience(&[("AUTH0_ISSUER", "http://127.0.0.1:3002/")]).is_ok());
    for bad in [
        "https://login.tenant.dev",
        "https://LOGIN.tenant.dev/",
        "http:/login.tenant.dev/",
        "login",
        "https://h/?q",
        "https://*.tenant.dev/",
        "https://login..tenant.dev/",
        "https://user:password@login.tenant.dev/",
    ] {
        for (variable, key) in [
            ("AUTH0_ISSUER", "auth0.issuer"),
            ("FASTMCP__AUTH0__ADDITIONAL_ISSUERS", "auth0.additional_issuers"),
        ] {
            let good = [("AUTH0_DOMAIN", "tenant.dev"), (variable, bad)];
            let given = if key == "auth0.issuer" { &good[1..] } else { &good[..] };
            let told = problems(with_audience(given));
            let start = format!("{key} (environment: {variable}): must be an issuer URL");
            assert!(told.len() == 1 && told[0].starts_with(&start), "{bad}: {told:?}");
            let shown = bad.replace("https://user:password@", "***@");
            assert!(told[0].ends_with(&format!(", not {shown:?}")), "{bad}: {told:?}");
        }
    }
}

#[test]
fn a_domain_is_a_host_name_and_no_placeholder() {
    for bad in [
        "tenant/",
        "tenant.auth0.com/",
        "https://t",
        "user@t",
        "t:port",
        "a b",
        "a..b",
        "-a.b",
        "a-.b",
        "a_b.c",
        ".a",
        "a.",
        "*.auth0.com",
        "1.2.3",
        &format!("{}.b", "a".repeat(64)),
    ] {
        let told = problems(with_audience(&[("AUTH0_DOMAIN", bad)]));
        let start = "auth0.domain (environment: AUTH0_DOMAIN): must be a host name alone";
        assert!(told.len() == 1 && told[0].starts_with(start), "{bad}: {told:?}");
    }
    for placeholder in [
        "${AUTH0_DOMAIN}",
        "{{ domain }}",
        "<tenant>",
        "YOUR_DOMAIN",
        "your-tenant.auth0.com",
        "example-tenant.us.auth0.com",
    ] {
        let expected = format!("is a placeholder that nobody has replaced: {placeholder:?}");
        for (variable, value) in [
            ("AUTH0_DOMAIN", placeholder.to_owned()),
            ("AUTH0_ISSUER", format!("https://{placeholder}/")),
            ("AUTH0_AUDIENCE", placeholder.to_owned()),
            ("MCP_SERVER_URL", format!("https://{placeholder}")),
        ] {
            let mut given = vec![("AUTH0_DOMAIN", "tenant.dev"), (variable, &*value)];
            if variable == "AUTH0_ISSUER" {
                given.remove(0);
            }
            let told = problems(with_audience(&given));
            let expected = expected.replace(&format!("{placeholder:?}"), &format!("{value:?}"));
            assert!(told.len() == 1 && told[0].ends_with(&expected), "{variable}: {told:?}");
        }
    }
    for good in ["tenant.eu.auth0.com", "Tenant.dev", "xn--bcher-kva.example", "a", "127.0.0.1"] {
        assert!(with_audience(&[("AUTH0_DOMAIN", good)]).is_ok(), "{good}");
    }
}

#[test]
fn a_domain_and_an_issuer_agree() {
    let both =
        |issuer: &str| with_audience(&[("AUTH0_DOMAIN", "tenant.eu.auth0.com"), ("AUTH0_ISSUER", issuer)]);
    assert!(both("https://tenant.eu.auth0.com/").is_ok());
    for other in ["https://login.tenant.dev/", "https://tenant.eu.auth0.com/x/"] {
        assert_eq!(
            problems(both(other)),
            [format!(
                "auth0.issuer (environment: AUTH0_ISSUER): is {other:?}, and auth0.domain is \"tenant.eu.auth0.com\": they \
                 name different issuers, so set one of them; behind a custom domain that is auth0.issuer, with the tenant's \
                 own one in auth0.additional_issuers"
            )]
        );
    }
}

#[test]
fn a_server_that_other_machines_reach_has_a_public_url_without_wildcards() {
    for bind in ["0.0.0.0", "::", "10.0.0.1"] {
        let bound = ("FASTMCP__SERVER__BIND", bind);
        let told = problems(with(&[bound]));
        assert!(
            told.len() == 1
                && told[0].contains(&format!("is not set, and server.bind is {bind}: other machines'")),
            "{told:?}"
        );
        assert!(with(&[bound, ("MCP_SERVER_URL", "https://mcp.tenant.dev")]).is_ok());
    }
    for bind in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
        assert!(with(&[("FASTMCP__SERVER__BIND", bind)]).is_ok(), "{bind}");
    }
    for bad in [
        "https://*.tenant.dev",
        "https://mcp..dev",
        "mcp.dev",
        "ftp://mcp.dev",
        "https://mcp.dev/?a",
        "https://mcp.dev/#a",
        "https://mcp.dev/te%20am",
        "https://mcp.dev//team",
        "https://mcp.dev/{team}",
        "https://mcp.dev/health",
        "https://mcp.dev/.well-known/x",
    ] {
        let told = problems(with(&[("MCP_SERVER_URL", bad)]));
        let end = format!("which is none of the server's own paths, not {bad:?}");
        assert!(told.len() == 1 && told[0].ends_with(&end), "{bad}: {told:?}");
    }
}

#[test]
fn the_endpoints_url_is_the_base_and_the_path() {
    for (url, path, endpoint) in [
        ("https://mcp.tenant.dev", "/mcp", "https://mcp.tenant.dev/mcp"),
        ("https://mcp.tenant.dev/team", "/mcp", "https://mcp.tenant.dev/team/mcp"),
        ("https://mcp.tenant.dev/team/", "/v1/tools", "https://mcp.tenant.dev/team/v1/tools"),
        ("https://mcp.tenant.dev/team", "/", "https://mcp.tenant.dev/team"),
    ] {
        let settings = with(&[("MCP_SERVER_URL", url), ("FASTMCP__SERVER__PATH", path)]).unwrap();
        assert_eq!(http_settings(&settings, 1).main.url(), endpoint);
    }
    for bad in
        ["mcp", "", "/mcp/", "//", "/a//b", "/..", "/health", "/.well-known/x", "/a%2fb", "/{x}", "/mcp?a"]
    {
        let settings = Sources::defaults()
            .environment(&variables(&[("AUTH0_DOMAIN", "tenant.dev"), ("AUTH0_AUDIENCE", "urn:api")]))
            .set("test", "server.path", bad);
        let told = problems(load(settings));
        let end = format!(", /.well-known), not {bad:?}");
        assert!(
            told.len() == 1 && told[0].starts_with("server.path") && told[0].ends_with(&end),
            "{bad}: {told:?}"
        );
    }
    let settings = with(&[("MCP_SERVER_URL", "https://mcp.tenant.dev/mcp")]).unwrap();
    assert!(
        settings.warnings.iter().any(|warning| warning.ends_with(
            "ends with /mcp, so the endpoint is \"https://mcp.tenant.dev/mcp/mcp\": leave out what server.path adds"
        )),
        "{:?}",
        settings.warnings
    );
}

#[test]
fn further_endpoints_have_urls_of_their_own() {
    let settings = with(&[
        ("MCP_SERVER_URL", "https://mcp.tenant.dev"),
        ("FASTMCP__ENDPOINTS__INTERNAL__URL", "http://mcp.internal:3001"),
        ("FASTMCP__ENDPOINTS__INTERNAL__AUDIENCE", "urn:internal"),
        ("FASTMCP__ENDPOINTS__TEAM__URL", "https://mcp.tenant.dev/team"),
    ])
    .unwrap();
    let http = http_settings(&settings, 1);
    let endpoints: Vec<_> = http.endpoints().map(|endpoint| (endpoint.url(), &*endpoint.resource)).collect();
    let main = &*settings.auth0.audience;
    assert_eq!(
        endpoints,
        [
            ("https://mcp.tenant.dev/mcp".to_owned(), main),
            ("http://mcp.internal:3001/mcp".to_owned(), "urn:internal"),
            ("https://mcp.tenant.dev/team/mcp".to_owned(), main),
        ]
    );
    for implied in ["http://localhost:3001", "http://localhost:3001/"] {
        let told = problems(with(&[("FASTMCP__ENDPOINTS__SAME__URL", implied)]));
        assert!(told[0].ends_with("is the URL of another endpoint, too: each needs its own"), "{told:?}");
    }
    for (key, value, end) in [
        ("url", "https://mcp.tenant.dev/", "is the URL of another endpoint, too: each needs its own"),
        ("url", "https://*.tenant.dev", "not \"https://*.tenant.dev\""),
        ("audience", "urn:x", "not \"\""),
        ("adience", "urn:x", "did you mean FASTMCP__ENDPOINTS__INTERNAL__AUDIENCE?"),
    ] {
        let name = format!("FASTMCP__ENDPOINTS__INTERNAL__{}", key.to_uppercase());
        let told = problems(with(&[("MCP_SERVER_URL", "https://mcp.tenant.dev"), (&name, value)]));
        assert!(
            told.iter().any(|line| line.starts_with("endpoints.internal.") && line.ends_with(end)),
            "{told:?}"
        );
    }
}

#[test]
fn misspelled_keys_and_variables_are_recognized() {
    let told = problems(with(&[("FASTMCP__SERVR__PORT", "1"), ("FASTMCP__MCP__COLOUR", "1")]));
    assert_eq!(
        told,
        [
            "mcp.colour (environment: FASTMCP__MCP__COLOUR): there is no such key; `config default` prints \
             them all",
            "servr.port (environment: FASTMCP__SERVR__PORT): there is no such key; did you mean FASTMCP__SERVER__PORT?",
        ]
    );
    let settings = with(&[
        ("AUTH0_ISUER", "https://x/"),
        ("MCP_SERVER_ULR", "https://x"),
        ("FASTMCP_SERVER_PORT", "1"),
        ("AUTH0_DOMAINS", "another program's, since AUTH0_DOMAIN is set"),
        ("AUTH0_AUDIENC", " "),
        ("AUTH0_CLIENT_SECRET", "another program's"),
    ])
    .unwrap();
    assert_eq!(
        settings.warnings,
        [
            "nothing reads AUTH0_ISUER (environment): did you mean AUTH0_ISSUER?",
            "nothing reads FASTMCP_SERVER_PORT (environment): did you mean FASTMCP__SERVER__PORT?",
            "nothing reads MCP_SERVER_ULR (environment): did you mean MCP_SERVER_URL?",
        ]
    );
    // The warning is often the cause of a problem, so it is told with it.
    let error = with_audience(&[("AUTH0_DOMIAN", "tenant.dev")]).unwrap_err();
    let said = error.to_string();
    assert!(
        said.ends_with("\nwarning: nothing reads AUTH0_DOMIAN (environment): did you mean AUTH0_DOMAIN?"),
        "{said}"
    );
}

#[test]
fn tools_can_be_given_other_scopes_or_switched_off() {
    let settings = with(&[
        ("FASTMCP__TOOLS__GREET__SCOPES", "a, b"),
        ("FASTMCP__TOOLS__WHOAMI__ENABLED", "false"),
        ("FASTMCP__TOOLS__GET_DATETIME__SCOPES", " "),
    ])
    .unwrap();
    let rule = |name: &str| settings.tools[&domain::ToolName::parse(name).unwrap()].clone();
    assert_eq!(rule("greet").scopes.unwrap().to_string(), "a b");
    assert!(!rule("whoami").enabled);
    let open = "[tools.greet]\nscopes = []\n[tools.whoami]\nscopes = [\"\"]";
    let told = problems(load(Sources::defaults().text("my.toml", open)));
    assert!(told.iter().any(|told| told.starts_with("tools.whoami.scopes (my.toml:4:1)")), "{told:?}");
    assert!(!told.iter().any(|told| told.contains("tools.greet")), "opened on purpose: {told:?}");
}

/// What a template makes of variables that are not set must not open a tool.
#[test]
fn blank_variables_count_as_none_and_empty_items_are_faults() {
    for blank in ["", " ", "\t"] {
        let settings = with(&[("FASTMCP__TOOLS__GREET__SCOPES", blank)]).unwrap();
        assert!(settings.tools.values().all(|rule| rule.scopes.is_none()), "{:?}", settings.tools);
    }
    for empty in [",", "a,", " , a"] {
        let told = problems(with(&[("FASTMCP__TOOLS__GREET__SCOPES", empty)]));
        assert_eq!(
            told,
            [format!(
                "tools.greet.scopes (environment: FASTMCP__TOOLS__GREET__SCOPES): must be a list of texts, none of \
                     them empty, not {empty:?}"
            )]
        );
    }
}

/// What is wrong with a `[scopes]` table beside a tenant, sorted.
fn scope_problems(toml: &str) -> Vec<String> {
    let tenant = "[auth0]\ndomain = \"tenant.eu.auth0.com\"\naudience = \"a\"\n";
    let mut told = match load(Sources::defaults().text("tenant.toml", tenant).text("my.toml", toml)) {
        Ok(_) => Vec::new(),
        error => problems(error),
    };
    told.sort();
    told
}

#[test]
fn scopes_imply_others_that_something_asks_for_or_that_lead_to_one() {
    for good in [
        "",
        "[scopes.implies]",
        "[scopes.implies]\nadmin = [\"tool:greet\"]",
        "[scopes.implies]\nadmin = [\"user\", \"tool:greet\"]\nuser = [\"tool:whoami\", \"tool:whoami\"]",
        "[scopes.implies]\n\"a.b\" = [\"tool:greet\"]",
        "[tools.greet]\nscopes = [\"say:hello\"]\n[scopes.implies]\nadmin = [\"say:hello\"]",
        // A tool that is switched off leaves its scopes known.
        "[tools.greet]\nenabled = false\n[scopes]\nlogin = [\"tool:greet\"]\nimplies.admin = [\"tool:greet\"]",
        "[scopes]\nlogin = \"all\"",
        "[scopes]\nlogin = []",
        "[scopes]\nlogin = [\"admin\", \"tool:whoami\"]\nimplies.admin = [\"tool:greet\"]",
    ] {
        assert_eq!(scope_problems(good), [""; 0], "{good}");
    }
    let (grammar, known) = (
        "not an OAuth scope (RFC 6749 section 3.3: visible ASCII without space, '\"' and '\\')",
        "the scopes are tool:greet, tool:whoami",
    );
    for (bad, told) in [
        ("scopes.implies.a = [\"b\"]", format!("no tool, resource or prompt asks for the scope \"b\"; {known}")),
        (
            "scopes.implies.a = [\"tool:great\"]",
            "no tool, resource or prompt asks for the scope \"tool:great\"; did you mean tool:greet?".to_owned(),
        ),
        (
            "tools.greet.scopes = [\"say:hello\"]\nscopes.implies.a = [\"tool:greet\"]",
            "no tool, resource or prompt asks for the scope \"tool:greet\"; the scopes are say:hello, tool:whoami".to_owned(),
        ),
        ("scopes.implies.a = []", "the scope a implies no other: name one, or leave it out".to_owned()),
        ("scopes.implies.a = [\"a\"]", "scopes imply each other in a circle: a > a".to_owned()),
        (
            "scopes.implies.a = [\"tool:greet\", \"b\"]\nscopes.implies.b = [\"a\"]",
            "scopes imply each other in a circle: a > b > a".to_owned(),
        ),
        ("scopes.implies.a = [\"x y\"]", format!("{grammar}: \"x y\"")),
        ("scopes.implies.a = [\"\"]", "must be a list of texts, none of them empty".to_owned()),
        ("scopes.implies.a = \"tool:greet\"", "must be a list of texts, none of them empty, not \"tool:greet\"".to_owned()),
    ] {
        let place = if bad.contains('\n') && bad.starts_with("tools") { 2 } else { 1 };
        assert_eq!(scope_problems(bad), [format!("scopes.implies.a (my.toml:{place}:16): {told}")], "{bad}");
    }
    let told = scope_problems("scopes.implies.\"two words\" = [\"tool:greet\"]");
    assert_eq!(told, [format!("scopes.implies.\"two words\" (my.toml:1:16): {grammar}: \"two words\"")]);
    let told = scope_problems("scopes.implies.offline_access = [\"tool:greet\"]");
    assert!(told[0].contains("it asks for a refresh token"), "{told:?}");
    for not_a_table in ["scopes.implies = \"a\"", "scopes.implies.a.b = [\"tool:greet\"]"] {
        let told = scope_problems(not_a_table);
        assert!(
            told.len() == 1 && told[0].contains("must be a table of lists, such as \"notes:admin\" = "),
            "{told:?}"
        );
    }
    let told =
        scope_problems("[scopes.implies]\na = [\"x\"]\nb = [\"tool:greet\", \"y\", \"a\"]\nc = []\nd = []");
    assert_eq!(told.len(), 4, "all at once: {told:?}");
}

#[test]
fn a_first_login_asks_for_scopes_that_are_known() {
    for (bad, told) in [
        ("\"tool:greet\"", "must be \"all\" or a list of texts, none of them empty, not \"tool:greet\""),
        ("true", "must be \"all\" or a list of texts, none of them empty, not true"),
        ("[\"\"]", "must be \"all\" or a list of texts, none of them empty"),
        (
            "[\"tool:greeet\"]",
            "no tool, resource or prompt asks for the scope \"tool:greeet\"; did you mean tool:greet?",
        ),
        (
            "[\"tool:greet\", \"openid\"]",
            "no tool, resource or prompt asks for the scope \"openid\"; it says who a user is, not what a client may do here, \
             and Auth0 gives it to no client that registered itself",
        ),
        (
            "[\"offline_access\"]",
            "must not hold offline_access: a client that wants a refresh token asks for it by itself (MCP 2026-07-28, \
             authorization, \"Refresh Tokens\"); allow offline access in the API's settings in Auth0 instead",
        ),
    ] {
        assert_eq!(
            scope_problems(&format!("scopes.login = {bad}")),
            [format!("scopes.login (my.toml:1:8): {told}")]
        );
    }
    let login = |variable: &str| with(&[("FASTMCP__SCOPES__LOGIN", variable)]).unwrap().scopes.login;
    for all in ["all", " all ", "", " "] {
        assert_eq!(login(all), LoginScopes::All, "{all:?}");
    }
    let listed = ScopeSet::granted_by(["tool:whoami", "tool:greet"]);
    assert_eq!(login("tool:whoami, tool:greet"), LoginScopes::Listed(listed));
    let told = problems(with(&[("FASTMCP__SCOPES__LOGIN", "tool:whoami,")]));
    assert!(
        told[0].starts_with("scopes.login (environment: FASTMCP__SCOPES__LOGIN): must be \"all\" or"),
        "{told:?}"
    );
}

#[test]
fn a_hierarchy_can_be_given_by_variables_as_far_as_their_names_hold_scopes() {
    let settings = with(&[
        ("FASTMCP__SCOPES__IMPLIES__ADMIN", "tool:greet,user"),
        ("FASTMCP__SCOPES__IMPLIES__USER", "tool:whoami"),
        ("FASTMCP__SCOPES__IMPLIES__TOOL:ALL", "tool:greet"),
    ])
    .unwrap();
    let broader = |scope: &str| {
        let scope = Scope::parse(scope).unwrap();
        settings.scopes.hierarchy.broader(&scope).map(Scope::to_string).collect::<Vec<_>>()
    };
    assert_eq!(broader("tool:greet"), ["admin", "tool:all"]);
    assert_eq!(broader("tool:whoami"), ["admin", "user"]);
    let told = problems(with(&[("FASTMCP__SCOPES__IMPLIES__TOOL:ALL", "tool:whoarni")]));
    assert_eq!(
        told,
        [
            "scopes.implies.\"tool:all\" (environment: FASTMCP__SCOPES__IMPLIES__TOOL:ALL): no tool, resource or prompt asks for \
          the scope \"tool:whoarni\"; did you mean tool:whoami?"
        ]
    );
    let shown = |key: &str| settings.effective.iter().find(|value| value.key == key).unwrap();
    assert_eq!(shown("scopes.implies.admin").value, r#"["tool:greet", "user"]"#);
    assert_eq!(
        shown("scopes.implies.\"tool:all\"").source,
        "environment: FASTMCP__SCOPES__IMPLIES__TOOL:ALL"
    );
    assert_eq!((&*shown("scopes.login").value, &shown("scopes.login").json), ("\"all\"", &"all".into()));
}

/// What is said of one entry of a list; none when it is taken.
fn told_of(key: &str, entry: &str) -> Option<String> {
    let variable = format!("FASTMCP__HTTP__{key}");
    let told = with(&[(&variable, entry)]).err()?.problems;
    assert_eq!((told.len(), told[0].key.as_str()), (1, &*format!("http.{}", key.to_lowercase())), "{entry}");
    let message = &told[0].message;
    assert!(message.starts_with(&format!("{entry:?} ")), "{message}");
    Some(message[entry.len() + 3..].to_owned())
}

#[test]
fn origins_are_written_as_browsers_send_them() {
    for good in [
        "https://app.example.com",
        "http://a:8080",
        "vscode-webview://abc",
        "https://*.example.com",
        "http://*.example.com:8080",
    ] {
        assert_eq!(told_of("ALLOWED_ORIGINS", good), None, "{good}");
    }
    for bad in ["https://a/", "https://a:443", "https://a?x", "https://a/b", "app.example.com", "null"] {
        let told = told_of("ALLOWED_ORIGINS", bad).unwrap();
        assert!(told.starts_with("is not an origin; write scheme, host and port"), "{bad}: {told}");
    }
}

#[test]
fn hosts_are_names_or_addresses_with_or_without_a_port() {
    for good in ["internal", "edge:8443", "10.0.0.7", "[::1]:80", "*.example.com", "*.example.com:8443"] {
        assert_eq!(told_of("ALLOWED_HOSTS", good), None, "{good}");
    }
    for bad in ["https://internal", "internal/", "a b", "internal:x", "::1"] {
        let told = told_of("ALLOWED_HOSTS", bad).unwrap();
        assert!(told.starts_with("is not a host; write a name or name:port"), "{bad}: {told}");
    }
}

/// What would never match, or match more than it seems to, stops the start.
#[test]
fn wildcards_that_can_not_work_stop_the_start() {
    for host in ["a*.example.com", "*.*.example.com", "example.*", "a.*.com", "*example.com"] {
        for (key, entry) in
            [("ALLOWED_HOSTS", host.to_owned()), ("ALLOWED_ORIGINS", format!("https://{host}"))]
        {
            let told = told_of(key, &entry).unwrap();
            assert!(told.starts_with("has a wildcard in the wrong place;"), "{entry}: {told}");
        }
    }
    for host in ["*.com", "*.localhost"] {
        for (key, entry) in
            [("ALLOWED_HOSTS", host.to_owned()), ("ALLOWED_ORIGINS", format!("https://{host}"))]
        {
            let told = told_of(key, &entry).unwrap();
            assert!(told.contains("the domain after it needs at least two labels"), "{entry}: {told}");
        }
    }
    for any in ["*", "*:443"] {
        assert!(told_of("ALLOWED_HOSTS", any).unwrap().contains("(DNS rebinding)"), "{any}");
    }
}

#[test]
fn any_origin_is_possible_and_warned_of() {
    assert_eq!(
        with(&[("FASTMCP__HTTP__ALLOWED_ORIGINS", "https://*.example.com")]).unwrap().warnings,
        [""; 0]
    );
    let settings = with(&[("FASTMCP__HTTP__ALLOWED_ORIGINS", "https://a.example.com,*")]).unwrap();
    let [warning] = settings.warnings.as_slice() else { panic!("{:?}", settings.warnings) };
    let begin =
        "http.allowed_origins (environment: FASTMCP__HTTP__ALLOWED_ORIGINS): has *: every web page may call";
    assert!(warning.starts_with(begin) && warning.contains("still needs an access token"), "{warning}");
}

#[tokio::test]
async fn a_tool_that_is_switched_off_is_not_there() {
    let harness = crate::harness::Choices::new().set("tools.greet.enabled", false).start().await;
    let list = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let answer = harness.legacy(crate::harness::ADMIN, &list).await.json();
    assert_eq!(answer["result"]["tools"].as_array().unwrap().len(), 2);
    let call =
        serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet"}});
    assert_eq!(harness.legacy(crate::harness::ADMIN, &call).await.code(), -32602);
    let document = harness.get("/.well-known/oauth-protected-resource").await.json();
    assert_eq!(document["scopes_supported"], serde_json::json!(["tool:whoami"]));
}

#[test]
fn an_audience_that_clients_will_refuse_is_warned_of() {
    let settings = with(&[("AUTH0_AUDIENCE", "urn:my-api")]).unwrap();
    let warning = audience_warnings(&settings, &http_settings(&settings, 3001)).next().unwrap();
    assert!(warning.contains("\"urn:my-api\"") && warning.contains("http://localhost:3001/mcp"), "{warning}");
}

/// What a `{:?}` in a log line or a panic would show.
#[test]
fn debug_output_has_no_key_in_it() {
    const KEY: &str = "dzHF8dbAAX8KLEJwi69e/jLB9/3Ai02sJYE/3CTFoy0=";
    assert_eq!(format!("{:?}", StateKeys(vec![vec![201; 32]; 2])), "StateKeys(2, redacted)");
    let sources = Sources::defaults().environment(&variables(&[
        ("AUTH0_DOMAIN", "tenant.eu.auth0.com"),
        ("AUTH0_AUDIENCE", "http://localhost:3001/mcp"),
        ("FASTMCP__MCP__STATE_KEYS", KEY),
    ]));
    let shown = format!("{sources:?} {sources:#?}");
    assert!(!shown.contains(KEY), "{shown}");
    let settings = load(sources).unwrap();
    assert_eq!(settings.mcp.state_keys.0.len(), 1);
    let shown = format!("{settings:?}");
    assert!(!shown.contains(KEY) && shown.contains("StateKeys(1, redacted)"), "{shown}");
    // The first bytes of the key, as a derived `Debug` would show them.
    assert!(!shown.contains("119, 49, 197"), "{shown}");
}

#[test]
fn a_managed_tenant_has_documents_and_ways_to_register_that_auth0_has() {
    let toml = |text: &str| {
        let sources = Sources::defaults().text("a.toml", text);
        let sources = sources.set("test", "auth0.domain", "t.example").set("test", "auth0.audience", "x");
        Settings::load(sources, &shipped().catalog().unwrap())
    };
    let good = "https://client.example/metadata.json";
    let settings =
        toml(&format!("[auth0.tenant]\nclient_documents = [\"{good}\"]\nregistration = []\n")).unwrap();
    assert_eq!(settings.managed_tenant.client_documents, [good]);
    assert!(!settings.managed_tenant.dynamic_registration && !settings.managed_tenant.metadata_documents);
    assert_eq!(settings.managed_tenant.url.as_str(), "https://t.example/");
    let long = format!("https://client.example/{}", "x".repeat(98));
    for bad in
        ["http://client.example/a", "https://client.example/", "https://client.example/a?b", "nothing", &long]
    {
        let problems = problems(toml(&format!("[auth0.tenant]\nclient_documents = [\"{bad}\"]\n")));
        assert!(problems[0].contains("must have https URLs"), "{bad}: {problems:?}");
    }
    let problems = problems(toml("[auth0.tenant]\nregistration = [\"dynamc\"]\ndomain = \"https://x\"\n"));
    assert!(problems.iter().any(|problem| problem.contains("not \"dynamc\"")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("must be a host name alone")), "{problems:?}");
}

#[test]
fn traces_go_nowhere_until_a_collector_is_named_by_a_key_or_by_the_standards_variable() {
    assert!(with(&[]).unwrap().traces.is_none());
    // What else the standard has names no collector.
    let others = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318"),
        ("OTEL_SERVICE_NAME", "mine"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b"),
    ];
    assert!(with(&others).unwrap().traces.is_none());
    let settings = with(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector.internal/v1/traces"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "api-key=s3cr3t"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=a%20b"),
        ("FASTMCP__TRACES__SAMPLE_RATIO", "0.25"),
    ])
    .unwrap();
    let traces = settings.traces.unwrap();
    assert_eq!(traces.endpoint.as_str(), "https://collector.internal/v1/traces");
    assert!((traces.sample_ratio - 0.25).abs() < f64::EPSILON && !traces.trust_sampled);
    let version = env!("CARGO_PKG_VERSION");
    let resource: Vec<_> = traces.resource.iter().collect();
    let marked = ("deployment.environment.name", "a b");
    assert_eq!(resource, [("service.name", "other"), marked, ("service.version", version)]);
    let shown = settings.effective.iter().find(|value| value.key == "traces.headers").unwrap();
    assert!(!shown.value.contains("s3cr3t") && !format!("{traces:?}").contains("s3cr3t"), "{}", shown.value);

    let named = |more: &[(&str, &str)]| {
        let endpoint = [("FASTMCP__TRACES__ENDPOINT", "http://localhost:4318/v1/traces")];
        let traces = with(&[&endpoint[..], more].concat()).unwrap().traces.unwrap();
        traces.resource.iter().find(|(name, _)| *name == "service.name").unwrap().1.to_owned()
    };
    assert_eq!(named(&[]), "fastmcp-auth0");
    assert_eq!(named(&[("FASTMCP__MCP__NAME", "notes")]), "notes");
    assert_eq!(
        named(&[("OTEL_SERVICE_NAME", "mine"), ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other")]),
        "mine"
    );
}

#[test]
fn what_traces_can_not_be_sent_by_stops_the_start_and_repeats_no_secret() {
    const ENDPOINT: (&str, &str) = ("FASTMCP__TRACES__ENDPOINT", "http://localhost:4318/v1/traces");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("headers");
    std::fs::write(&file, "api-key=s3cr3t\n").unwrap();
    let file = file.to_str().unwrap();
    for (variables, expected) in [
        (vec![("FASTMCP__TRACES__ENDPOINT", "localhost:4318")], "traces.endpoint"),
        (vec![("FASTMCP__TRACES__ENDPOINT", "grpc://localhost:4317")], "must be a URL such as"),
        (vec![("FASTMCP__TRACES__ENDPOINT", "http://u:s3cr3t@localhost/")], "must have no user or password"),
        (vec![ENDPOINT, ("FASTMCP__TRACES__SAMPLE_RATIO", "1.5")], "must be a number from 0 to 1"),
        (vec![ENDPOINT, ("FASTMCP__TRACES__HEADERS", "s3cr3t")], "traces.headers"),
        (vec![ENDPOINT, ("FASTMCP__TRACES__HEADERS", "host=s3cr3t")], "names a field that the request sets"),
        (
            vec![ENDPOINT, ("FASTMCP__TRACES__HEADERS", "a=b"), ("FASTMCP__TRACES__HEADERS_FILE", file)],
            "choose one",
        ),
        (vec![ENDPOINT, ("FASTMCP__TRACES__HEADERS_FILE", "/no/such/file")], "must be the path of a file"),
        (vec![ENDPOINT, ("OTEL_RESOURCE_ATTRIBUTES", "a")], "must be a list of name=value"),
        (vec![ENDPOINT, ("FASTMCP__TRACES__QUEUED_SPANS", "0")], "traces.queued_spans"),
    ] {
        let told = problems(with(&variables));
        assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
        assert!(!told[0].contains("s3cr3t"), "{told:?}");
    }
    assert!(with(&[ENDPOINT, ("FASTMCP__TRACES__HEADERS_FILE", file)]).is_ok());
    let far = [
        ("FASTMCP__TRACES__ENDPOINT", "http://collector/v1/traces"),
        ("FASTMCP__TRACES__HEADERS_FILE", file),
    ];
    let warnings = with(&far).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("is plain http")), "{warnings:?}");
    let bare = with(&[("FASTMCP__TRACES__ENDPOINT", "http://localhost:4318")]).unwrap().warnings;
    assert!(bare.iter().any(|warning| warning.contains("add /v1/traces")), "{bare:?}");
}

#[test]
fn redis_is_a_url_whose_secrets_are_shown_nowhere_and_takes_the_keys_that_replicas_share() {
    let key = ("FASTMCP__MCP__STATE_KEYS", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    let url = |url| ("FASTMCP__REDIS__URL", url);
    assert!(with(&[key]).unwrap().redis.is_none());
    let settings = with(&[key, url("redis://grace:s3cret@redis.example.com/1")]).unwrap();
    let redis = settings.redis.as_ref().unwrap();
    assert_eq!((redis.prefix.as_str(), redis.timeout.as_millis()), ("fastmcp-auth0", 50));
    let shown = settings.effective.iter().find(|value| value.key == "redis.url").unwrap();
    assert_eq!(shown.value, "\"redis.example.com:6379\"");
    assert!(
        settings.warnings.iter().any(|warning| warning.contains("in the clear")),
        "{:?}",
        settings.warnings
    );
    for safe in
        ["rediss://grace:s3cret@redis.example.com", "redis://redis.example.com", "redis://:s3cret@127.0.0.1"]
    {
        let warnings = with(&[key, url(safe)]).unwrap().warnings;
        assert!(!warnings.iter().any(|warning| warning.contains("in the clear")), "{warnings:?}");
    }
    assert!(!format!("{settings:?}").contains("s3cret") && !format!("{settings:?}").contains("grace"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, "unix:///run/redis.sock?pass=s3cret\n").unwrap();
    let from_file = ("FASTMCP__REDIS__URL_FILE", file.to_str().unwrap());
    assert_eq!(with(&[key, from_file]).unwrap().redis.unwrap().address.to_string(), "/run/redis.sock");
    let long = "x".repeat(65);
    for (variables, expected) in [
        (vec![url("redis://redis.example.com")], "takes mcp.state_keys or mcp.state_keys_file"),
        (vec![from_file], "redis.url_file"),
        (vec![key, url("http://:s3cret@redis.example.com")], "must be redis://HOST:PORT"),
        (vec![key, url("rediss://:s3cret@redis.example.com/#insecure")], "must not have #insecure"),
        (vec![key, url("redis://host"), from_file], "can't be set together with redis.url"),
        (vec![key, ("FASTMCP__REDIS__URL_FILE", "/nowhere/s3cret")], "must be the path of a file"),
        (vec![key, ("FASTMCP__REDIS__PREFIX", "a b")], "redis.prefix"),
        (vec![key, ("FASTMCP__REDIS__PREFIX", &long)], "redis.prefix"),
        (vec![key, ("FASTMCP__REDIS__TIMEOUT_MS", "0")], "a whole number from 1 to 10000"),
    ] {
        let problems = problems(with(&variables)).join("; ");
        assert!(problems.contains(expected) && !problems.contains("s3cret"), "{problems}");
    }
}
