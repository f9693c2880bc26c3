//! `new`: a crate of one's own to start from, which builds, tests itself and runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::print;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder to make; its last part names the crate
    path: PathBuf,
    /// Where fastmcp-auth0's sources are; without it, where this program was built, and else the version of this name
    #[arg(long, value_name = "FOLDER")]
    library: Option<PathBuf>,
}

/// The files, by their paths in the new crate.
const FILES: [(&str, &str); 10] = [
    ("Cargo.toml", include_str!("../../template/Cargo.toml.in")),
    ("Containerfile", include_str!("../../template/Containerfile")),
    (".containerignore", include_str!("../../template/containerignore")),
    ("README.md", include_str!("../../template/README.md")),
    (".gitignore", include_str!("../../template/gitignore")),
    ("config/default.toml", include_str!("../../template/config/default.toml")),
    ("src/lib.rs", include_str!("../../template/src/lib.rs")),
    ("src/main.rs", include_str!("../../template/src/main.rs")),
    ("src/notes.rs", include_str!("../../template/src/notes.rs")),
    ("src/word_count.rs", include_str!("../../template/src/word_count.rs")),
];
const TESTS: (&str, &str) = ("tests/server.rs", include_str!("../../template/tests/server.rs"));

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { path, library } = arguments;
    let name = path.file_name().and_then(|name| name.to_str()).context("the path does not end in a name")?;
    anyhow::ensure!(
        is_crate_name(name),
        "{name:?} can't name a crate: take lower-case letters, digits, - and _, a letter first, and no word of Rust's"
    );
    let dependency = dependency(library.as_deref())?;
    fs::create_dir(path).with_context(|| format!("can't make {}", path.display()))?;
    for (file, text) in FILES.into_iter().chain([TESTS]) {
        let file = path.join(file);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
        }
        let text = text.replace("{{name}}", name).replace("{{crate}}", &name.replace('-', "_"));
        let text = text.replace("{{dependency}}", &dependency);
        fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
    }
    print(&format!("{} is there. Next:\n  cd {}\n  cargo test\n  cargo run -- dev", name, path.display()));
    Ok(ExitCode::SUCCESS)
}

/// How the new crate names this one: by its path, where the sources are at hand, or by its version.
fn dependency(library: Option<&Path>) -> anyhow::Result<String> {
    let built_here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = match library {
        Some(folder) => {
            let inner = folder.join("app");
            let folder = if inner.join("Cargo.toml").is_file() { inner } else { folder.to_owned() };
            let is_there = folder.join("Cargo.toml").is_file();
            anyhow::ensure!(is_there, "there is no Cargo.toml in {}", folder.display());
            folder.canonicalize().with_context(|| format!("can't find {}", folder.display()))?
        }
        // Not where cargo keeps the sources of packages: there, the version says it.
        None if built_here.join("../domain/Cargo.toml").is_file() => built_here.to_owned(),
        None => return Ok(format!("version = {:?}", env!("CARGO_PKG_VERSION"))),
    };
    let folder = folder.to_str().context("the library's path is not text")?;
    Ok(format!("path = {folder:?}"))
}

/// Whether cargo takes it as a package's name without a warning, and Rust as a crate's.
fn is_crate_name(name: &str) -> bool {
    // Keywords (The Rust Reference, "Keywords"), crates of the toolchain, and the new crate's own dependencies.
    const TAKEN: &str = "abstract as async await become box break const continue crate do dyn else enum extern false final \
                         fn for gen if impl in let loop macro match mod move mut override priv pub ref return self static \
                         struct super trait true try type typeof union unsafe unsized use virtual where while yield alloc \
                         core proc-macro proc_macro std test anyhow fastmcp-auth0 fastmcp_auth0 schemars serde serde-json \
                         serde_json sqlx tokio";
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.len() <= 64
        && name.chars().all(is_plain)
        && !TAKEN.split(' ').any(|taken| taken == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_crates_are_told_from_others() {
        for good in ["my-server", "a", "notes_2"] {
            assert!(is_crate_name(good), "{good}");
        }
        for bad in [
            "",
            "2a",
            "My",
            "a b",
            "a/b",
            "é",
            "test",
            "crate",
            "fn",
            "serde",
            "fastmcp-auth0",
            &"x".repeat(65),
        ] {
            assert!(!is_crate_name(bad), "{bad}");
        }
    }
}
