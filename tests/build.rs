//! Takes the tool of docs/add-a-tool.md out of the page, so that a test compiles and calls what the page says.

#![allow(clippy::expect_used, reason = "a build that can't go on says so by panicking")]

use std::path::Path;
use std::{env, fs};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace");
    let page = root.join("docs/add-a-tool.md");
    println!("cargo::rerun-if-changed={}", page.display());
    let text = fs::read_to_string(&page).expect("docs/add-a-tool.md can be read");
    let code = text
        .split("```rust\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("the page has a Rust block");
    // Here the block is a module of another crate, where inner comments can't be included.
    let code: String = code
        .lines()
        .filter(|line| !line.starts_with("//!"))
        .map(|line| line.replace("crate::", "domain::") + "\n")
        .collect();
    #[expect(clippy::disallowed_methods, reason = "how cargo talks to a build script")]
    let folder = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&folder).join("add_a_tool.rs"), code).expect("OUT_DIR can be written");
}
