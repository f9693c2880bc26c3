//! Has the linker put the functions that a server runs beside each other, which takes less of a call's time. And the kernel maps the
//! pages around whatever is executed, so that an idle server has half of the memory that it has otherwise (docs/performance.md).
//!
//! The list is written by `deploy/profile`. Names that are not in the program are ignored: those of an older list, or of another
//! profile than `dist`.

use std::env;
use std::path::Path;
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const LIST: &str = "functions-x86_64-unknown-linux-gnu.txt";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={LIST}");
    for variable in ["RUSTC_LINKER", "CARGO_ENCODED_RUSTFLAGS"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let list = Path::new(&var("CARGO_MANIFEST_DIR")).join(LIST);
    if is_dist() && var("TARGET") == TARGET && list.is_file() && links_by_lld() {
        let order = format!("--symbol-ordering-file={}", list.display());
        // Not by `-Wl`, which ends an argument at a comma.
        for argument in ["-Xlinker", &order, "-Xlinker", "--no-warn-symbol-ordering"] {
            println!("cargo::rustc-link-arg-bin=fastmcp-auth0={argument}");
        }
    }
}

/// Returns whether the profile is `dist`. Cargo tells only what it inherits; the folder has its name: `dist/build/NAME/out`.
fn is_dist() -> bool {
    let out = var("OUT_DIR");
    Path::new(&out).ancestors().nth(3).is_some_and(|folder| folder.ends_with("dist"))
}

/// Returns whether the linker is the one that comes with Rust's own releases for this target: no other knows these options.
fn links_by_lld() -> bool {
    let flags = var("CARGO_ENCODED_RUSTFLAGS");
    // The path of a profile may have any name.
    let of_linking = |flag: &str| flag.contains("link") && !flag.contains("profile-");
    let is_chosen = !var("RUSTC_LINKER").is_empty() || flags.split('\x1f').any(of_linking);
    let sysroot = Command::new(var("RUSTC")).args(["--print", "sysroot"]).output();
    let sysroot = sysroot.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let lld = "lib/rustlib/x86_64-unknown-linux-gnu/bin/gcc-ld/ld.lld";
    !is_chosen && sysroot.is_ok_and(|sysroot| Path::new(&sysroot).join(lld).is_file())
}

#[expect(clippy::disallowed_methods, reason = "Cargo tells a build script everything by its environment")]
fn var(name: &str) -> String {
    env::var(name).unwrap_or_default()
}
