//! The walls of the hexagon: which crate may depend on which, and which library may be used where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .exec()
        .unwrap()
}

/// The one crate that the server and the local tenant share.
const SYNTAX: &str = "fastmcp-auth0-syntax";
/// What adapters share that make blocking requests; no adapter of a port.
const HTTP_AGENT: &str = "fastmcp-auth0-http-agent";

/// Every edge that is allowed. The tests may use everything.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let every = [
        SYNTAX,
        "fastmcp-auth0-domain",
        "fastmcp-auth0-tenant",
        "fastmcp-auth0-management",
        HTTP_AGENT,
        "fastmcp-auth0-token-exchange",
        "fastmcp-auth0-mcp-protocol",
        "fastmcp-auth0-hyper-transport",
        "fastmcp-auth0-jwks-verifier",
        "fastmcp-auth0-verifier",
        "fastmcp-auth0-system-clock",
        "fastmcp-auth0-prometheus-metrics",
        "fastmcp-auth0-access-rules",
        "fastmcp-auth0-gcra-throttle",
        "fastmcp-auth0-redis-shared",
        "fastmcp-auth0-admin-http",
        "fastmcp-auth0-audit-log",
        "fastmcp-auth0-upstream-mcp",
        "fastmcp-auth0-online-checks",
        "fastmcp-auth0-otlp-traces",
        "fastmcp-auth0-local-tenant",
        "fastmcp-auth0-fakes",
    ];
    let fixture = [
        "fastmcp-auth0-domain",
        "fastmcp-auth0-verifier",
        "fastmcp-auth0-system-clock",
        "fastmcp-auth0-local-tenant",
        "fastmcp-auth0",
    ];
    let bench = [
        SYNTAX,
        "fastmcp-auth0-domain",
        "fastmcp-auth0-mcp-protocol",
        "fastmcp-auth0-verifier",
        "fastmcp-auth0-system-clock",
        "fastmcp-auth0-local-tenant",
        "fastmcp-auth0-fakes",
        "fastmcp-auth0",
    ];
    BTreeMap::from([
        (SYNTAX, BTreeSet::new()),
        ("fastmcp-auth0-domain", BTreeSet::from([SYNTAX])),
        ("fastmcp-auth0-tenant", BTreeSet::from([SYNTAX])),
        (HTTP_AGENT, BTreeSet::from([SYNTAX])),
        ("fastmcp-auth0-management", BTreeSet::from([SYNTAX, HTTP_AGENT, "fastmcp-auth0-tenant"])),
        // The last one for its tests alone.
        (
            "fastmcp-auth0-token-exchange",
            BTreeSet::from([SYNTAX, HTTP_AGENT, "fastmcp-auth0-domain", "fastmcp-auth0-fakes"]),
        ),
        ("fastmcp-auth0-mcp-protocol", BTreeSet::from([SYNTAX, "fastmcp-auth0-domain"])),
        (
            "fastmcp-auth0-hyper-transport",
            BTreeSet::from([SYNTAX, "fastmcp-auth0-mcp-protocol", "fastmcp-auth0-domain"]),
        ),
        ("fastmcp-auth0-jwks-verifier", BTreeSet::from([SYNTAX, HTTP_AGENT, "fastmcp-auth0-domain"])),
        (
            "fastmcp-auth0-verifier",
            BTreeSet::from([SYNTAX, "fastmcp-auth0-jwks-verifier", "fastmcp-auth0-domain"]),
        ),
        ("fastmcp-auth0-system-clock", BTreeSet::from(["fastmcp-auth0-domain"])),
        ("fastmcp-auth0-prometheus-metrics", BTreeSet::from(["fastmcp-auth0-domain"])),
        // The last one for its tests alone.
        ("fastmcp-auth0-access-rules", BTreeSet::from(["fastmcp-auth0-domain", "fastmcp-auth0-fakes"])),
        ("fastmcp-auth0-gcra-throttle", BTreeSet::from(["fastmcp-auth0-domain"])),
        ("fastmcp-auth0-admin-http", BTreeSet::from(["fastmcp-auth0-domain"])),
        ("fastmcp-auth0-redis-shared", BTreeSet::from(["fastmcp-auth0-domain", "fastmcp-auth0-fakes"])),
        ("fastmcp-auth0-audit-log", BTreeSet::from([SYNTAX, "fastmcp-auth0-domain", "fastmcp-auth0-fakes"])),
        ("fastmcp-auth0-otlp-traces", BTreeSet::from(["fastmcp-auth0-domain", HTTP_AGENT])),
        // The last one for its tests alone.
        (
            "fastmcp-auth0-upstream-mcp",
            BTreeSet::from([SYNTAX, "fastmcp-auth0-domain", "fastmcp-auth0-fakes"]),
        ),
        ("fastmcp-auth0-fakes", BTreeSet::from(["fastmcp-auth0-domain"])),
        ("fastmcp-auth0-online-checks", BTreeSet::from([SYNTAX, HTTP_AGENT])),
        ("fastmcp-auth0-local-tenant", BTreeSet::from([SYNTAX])),
        ("fastmcp-auth0", BTreeSet::from(every)),
        ("conformance-server", BTreeSet::from(fixture)),
        ("load", BTreeSet::from(bench)),
        ("soak", BTreeSet::from(["fastmcp-auth0-local-tenant"])),
        ("xtask", BTreeSet::new()),
    ])
}

#[test]
fn crates_depend_on_each_other_only_where_the_design_says_so() {
    let metadata = metadata();
    let members = metadata.workspace_packages();
    let names: BTreeSet<&str> = members.iter().map(|package| package.name.as_str()).collect();
    let mut allowed = allowed();
    let everything: BTreeSet<&str> = names.iter().copied().filter(|name| *name != "end-to-end").collect();
    allowed.insert("end-to-end", everything);
    assert_eq!(
        names,
        allowed.keys().copied().collect(),
        "a new crate needs a row here, and in ARCHITECTURE.md"
    );
    for package in members {
        for dependency in &package.dependencies {
            let ours = names.get(dependency.name.as_str());
            let permitted = &allowed[package.name.as_str()];
            if let Some(ours) = ours {
                assert!(permitted.contains(ours), "{} may not depend on {ours}", package.name);
            }
        }
    }
}

#[test]
fn libraries_that_touch_the_world_stay_inside_their_adapters() {
    let metadata = metadata();
    for (library, users) in [
        (
            "ureq",
            &[
                HTTP_AGENT,
                "fastmcp-auth0-jwks-verifier",
                "fastmcp-auth0-management",
                "fastmcp-auth0-token-exchange",
                "fastmcp-auth0-online-checks",
                "fastmcp-auth0-otlp-traces",
                "fastmcp-auth0-local-tenant",
            ][..],
        ),
        (
            "jsonwebtoken",
            &[
                "fastmcp-auth0-jwks-verifier",
                "fastmcp-auth0-upstream-mcp",
                "fastmcp-auth0-local-tenant",
                "end-to-end",
                "load",
            ],
        ),
        ("redis", &["fastmcp-auth0-redis-shared"]),
        ("rmcp", &["fastmcp-auth0-upstream-mcp", "end-to-end"]),
        ("prometheus-client", &["fastmcp-auth0-prometheus-metrics"]),
        ("opentelemetry", &["fastmcp-auth0-otlp-traces"]),
        ("opentelemetry_sdk", &["fastmcp-auth0-otlp-traces"]),
        ("opentelemetry-proto", &["fastmcp-auth0-otlp-traces"]),
        // The last one for its feature `testing` alone, whose client it is.
        (
            "hyper",
            &[
                "fastmcp-auth0-hyper-transport",
                "fastmcp-auth0-admin-http",
                "fastmcp-auth0-upstream-mcp",
                "fastmcp-auth0-local-tenant",
                "end-to-end",
                "load",
                "soak",
                "fastmcp-auth0",
            ],
        ),
        (
            "tokio",
            &[
                "fastmcp-auth0-hyper-transport",
                "fastmcp-auth0-admin-http",
                "fastmcp-auth0-jwks-verifier",
                "fastmcp-auth0-token-exchange",
                "fastmcp-auth0-system-clock",
                "fastmcp-auth0-redis-shared",
                "fastmcp-auth0-upstream-mcp",
                "fastmcp-auth0-local-tenant",
                "fastmcp-auth0-fakes",
                "fastmcp-auth0",
                "conformance-server",
                "end-to-end",
                "load",
                "soak",
            ],
        ),
        ("anyhow", &["fastmcp-auth0", "conformance-server", "end-to-end", "load", "soak"]),
        ("config", &["fastmcp-auth0", "end-to-end"]),
    ] {
        for package in metadata.workspace_packages() {
            let uses = package.dependencies.iter().any(|dependency| dependency.name == library);
            assert!(
                !uses || users.contains(&package.name.as_str()),
                "{} may not use {library}",
                package.name
            );
        }
    }
}

#[test]
fn there_is_one_crypto_backend() {
    // Resolved for every platform, so a library that is listed may still never be built; these would be.
    let metadata = metadata();
    let backends = ["ring", "openssl", "rsa", "boring"];
    for package in metadata.workspace_packages() {
        for dependency in
            package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal)
        {
            assert!(
                !backends.contains(&dependency.name.as_str()),
                "{} uses {}",
                package.name,
                dependency.name
            );
        }
    }
}

/// A rule of the workplace: nothing in the sources may depend on what a test can't control.
#[test]
fn every_crate_inherits_the_lints() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        let manifest: toml::Value = toml::from_str(&manifest).unwrap();
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{} under {root}", package.name);
    }
}

/// The rooms of the local tenant, and which of the others each may use: only those before it, so there is no circle.
const TENANT_ROOMS: [(&str, &[&str]); 7] = [
    ("model", &[]),
    ("pages", &[]),
    ("oauth", &["model", "pages"]),
    ("http", &["model", "oauth"]),
    ("control", &["model", "oauth", "http"]),
    ("management", &["model", "oauth", "http"]),
    ("server", &["model", "pages", "oauth", "http", "control", "management"]),
];

#[test]
fn the_local_tenants_rooms_use_only_those_before_them() {
    let sources = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../adapters/local-tenant/src"));
    let rooms: BTreeSet<&str> = TENANT_ROOMS.iter().map(|(room, _)| *room).collect();
    let found: BTreeSet<String> = folders(sources);
    assert_eq!(found, rooms.iter().map(|&room| room.to_owned()).collect(), "a new room needs a row here");
    for (room, allowed) in TENANT_ROOMS {
        let mut files = rust_files(&sources.join(room));
        files.push(sources.join(room).with_extension("rs"));
        for file in files {
            let used = used_modules(&std::fs::read_to_string(&file).unwrap());
            for other in rooms.iter().filter(|other| **other != room && !allowed.contains(other)) {
                assert!(!used.contains(*other), "{} may not use {other}", file.display());
            }
        }
    }
}

fn folders(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    folders.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    files.chain(folders.iter().flat_map(|folder| rust_files(folder))).collect()
}

/// The modules of these crates use each other in no circle, and none of them what the crate's root re-exports.
#[test]
fn modules_use_each_other_in_no_circle() {
    for crate_path in ["adapters/mcp-protocol", "adapters/hyper-transport"] {
        let uses = module_uses(crate_path);
        let mut left: BTreeSet<&str> = uses.keys().map(String::as_str).collect();
        // A module that uses none of those that are left is in no circle with them.
        while let Some(free) = left.iter().copied().find(|module| uses[*module].is_disjoint(&owned(&left))) {
            left.remove(free);
        }
        assert!(left.is_empty(), "{crate_path}: a circle among {left:?}");
    }
}

fn owned(names: &BTreeSet<&str>) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The modules of a crate without its root, each with the modules that it, or a module within it, uses outside of its tests.
fn module_uses(crate_path: &str) -> BTreeMap<String, BTreeSet<String>> {
    let folder = PathBuf::from(format!("{}/../{crate_path}/src", env!("CARGO_MANIFEST_DIR")));
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(&folder) {
        let first = file.strip_prefix(&folder).unwrap().components().next().unwrap();
        let name = Path::new(first.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned();
        if name != "lib" {
            uses.entry(name).or_default().extend(used_modules(&std::fs::read_to_string(&file).unwrap()));
        }
    }
    for (name, used) in &mut uses {
        used.remove(name);
    }
    uses
}

fn used_modules(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let mut used = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => used.extend(first_name(rest)),
            Some(group) => {
                let mut depth = 1;
                for item in group.split_inclusive([',', '{', '}']) {
                    if depth == 1 {
                        used.extend(first_name(item));
                    }
                    depth += item.matches('{').count();
                    depth -= item.matches('}').count();
                    if depth == 0 {
                        break;
                    }
                }
            }
        }
    }
    used
}

fn first_name(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    Some(text[..end].to_owned()).filter(|name| !name.is_empty())
}

#[test]
fn what_a_module_uses_is_found() {
    let text = "use crate::a::{B, C};\nuse crate::{d, e::{F, g}, h};\n// crate::no\nlet x = crate::i::j();\n\
                #[cfg(test)]\nmod tests {\n use crate::k;\n}";
    let found: Vec<String> = used_modules(text).into_iter().collect();
    assert_eq!(found, ["a", "d", "e", "h", "i"]);
}

/// Serving needs neither of them, and whoever builds without the feature `tenant` does not build them.
#[test]
fn setting_a_tenant_up_is_no_part_of_the_server() {
    let app = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../app/src"));
    let commands = app.join("commands/tenant");
    let users: Vec<PathBuf> = rust_files(app)
        .into_iter()
        .filter(|file| !file.starts_with(&commands) && file.with_extension("") != commands)
        .filter(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            // `tenant::` of the commands themselves is named in one place.
            ["use tenant::", " tenant::{", "auth0_management::"].iter().any(|use_| text.contains(use_))
        })
        .collect();
    assert!(users.is_empty(), "{users:?}");

    let tree = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--package",
                "fastmcp-auth0",
                "--edges",
                "normal",
                "--prefix",
                "none",
            ])
            .args(arguments)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (every, without) = (tree(&[]), tree(&["--no-default-features"]));
    for library in ["fastmcp-auth0-tenant ", "fastmcp-auth0-management "] {
        let has = |tree: &str| tree.lines().any(|line| line.starts_with(library));
        assert!(has(&every) && !has(&without), "{library}");
    }
}
