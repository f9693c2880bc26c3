//! Writes the tables of docs/configuration.md anew: `cargo run --example config_tables`.

use std::io::{Error, Result};

fn main() -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let page = std::fs::read_to_string(path)?;
    let page = fastmcp_auth0::config::with_tables(&page)
        .ok_or_else(|| Error::other("the page lacks the comments around a table"))?;
    std::fs::write(path, page)
}
