//! The walls of the hexagon: which crate may depend on which, and which library may be used where.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .exec()
        .unwrap()
}

/// The one crate that the server and the local tenant share.
const SYNTAX: &str = "fastmcp-auth0-syntax";

/// Every edge that is allowed. The tests may use everything.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let every = [
        SYNTAX,
        "domain",
        "mcp-protocol",
        "hyper-transport",
        "jwks-verifier",
        "auth0-verifier",
        "system-clock",
        "local-tenant",
    ];
    let fixture = ["domain", "auth0-verifier", "system-clock", "local-tenant", "fastmcp-auth0"];
    let bench = [
        SYNTAX,
        "domain",
        "mcp-protocol",
        "auth0-verifier",
        "system-clock",
        "local-tenant",
        "fakes",
        "fastmcp-auth0",
    ];
    BTreeMap::from([
        (SYNTAX, BTreeSet::new()),
        ("domain", BTreeSet::from([SYNTAX])),
        ("mcp-protocol", BTreeSet::from([SYNTAX, "domain"])),
        ("hyper-transport", BTreeSet::from([SYNTAX, "mcp-protocol", "domain"])),
        ("jwks-verifier", BTreeSet::from([SYNTAX, "domain"])),
        ("auth0-verifier", BTreeSet::from([SYNTAX, "jwks-verifier", "domain"])),
        ("system-clock", BTreeSet::from(["domain"])),
        ("fakes", BTreeSet::from(["domain"])),
        ("local-tenant", BTreeSet::from([SYNTAX])),
        ("fastmcp-auth0", BTreeSet::from(every)),
        ("conformance-server", BTreeSet::from(fixture)),
        ("load", BTreeSet::from(bench)),
        ("soak", BTreeSet::from(["local-tenant"])),
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
        ("ureq", &["jwks-verifier", "local-tenant"][..]),
        ("jsonwebtoken", &["jwks-verifier", "local-tenant", "end-to-end", "load"]),
        ("hyper", &["hyper-transport", "local-tenant", "end-to-end", "load", "soak"]),
        (
            "tokio",
            &[
                "hyper-transport",
                "jwks-verifier",
                "system-clock",
                "local-tenant",
                "fakes",
                "fastmcp-auth0",
                "conformance-server",
                "end-to-end",
                "load",
                "soak",
            ],
        ),
        ("anyhow", &["fastmcp-auth0", "conformance-server", "load", "soak"]),
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
