//! Takes the Rust block out of a page, so that tests compile and run what the page says.

#![allow(clippy::expect_used, reason = "a build that can't go on says so by panicking")]

use std::path::Path;
use std::{env, fs};

fn main() {
    extract("docs/testing-with-the-local-tenant.md", "local_tenant_page.rs", |line| Some(line.to_owned()));
}

/// The page's first Rust block, line by line.
fn extract(page: &str, file: &str, change: impl Fn(&str) -> Option<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace");
    let page = root.join(page);
    println!("cargo::rerun-if-changed={}", page.display());
    let text = fs::read_to_string(&page).expect("the page can be read");
    let block = text.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
    let lines = block.expect("the page has a Rust block").lines().filter_map(change);
    let code: String = lines.map(|line| line + "\n").collect();
    #[expect(clippy::disallowed_methods, reason = "how cargo talks to a build script")]
    let folder = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&folder).join(file), code).expect("OUT_DIR can be written");
}
