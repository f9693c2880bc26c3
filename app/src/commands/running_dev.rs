//! Where the running `dev` can be found: a file of the user's own, which `token` and `explain` read.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::environment;

/// Where a `dev` listens, and what else is to be known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// The port of the local tenant.
    pub(super) tenant: u16,
    /// The port of the MCP server.
    pub(super) server: u16,
    /// Whether it was given an upstream on its command line.
    pub(super) has_upstream: bool,
}

impl Ports {
    fn to_text(self) -> String {
        let upstream = if self.has_upstream { UPSTREAM } else { "" };
        format!("{}\n{}\n{upstream}\n", self.tenant, self.server)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut port = || lines.next()?.trim().parse().ok();
        let (tenant, server) = (port()?, port()?);
        Some(Self { tenant, server, has_upstream: lines.next() == Some(UPSTREAM) })
    }
}

const UPSTREAM: &str = "upstream";

/// Says that a `dev` is running, until it is dropped.
pub(super) struct RunningDev {
    file: Option<PathBuf>,
    text: String,
}

impl RunningDev {
    /// Notes where it listens. Of several running at a time, the newest is found.
    pub(super) fn announce(ports: Ports) -> Self {
        let text = ports.to_text();
        let file = file().filter(|file| write(file, &text).is_ok());
        Self { file, text }
    }
}

impl Drop for RunningDev {
    fn drop(&mut self) {
        let Some(file) = &self.file else {
            return;
        };
        // Another one may have taken the place.
        if fs::read_to_string(file).is_ok_and(|text| text == self.text) {
            let _ = fs::remove_file(file);
        }
    }
}

/// Returns where the newest running `dev` listens, if one said so.
pub(super) fn ports() -> Option<Ports> {
    Ports::parse(&fs::read_to_string(file()?).ok()?)
}

fn write(file: &PathBuf, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // A new file that takes the place of what is there: a link there would lead elsewhere.
    let new = file.with_extension(std::process::id().to_string());
    fs::File::create_new(&new)?.write_all(text.as_bytes())?;
    fs::rename(new, file)
}

/// In a folder that is this user's alone, where there is one.
fn file() -> Option<PathBuf> {
    let variables = environment();
    let folder = |wanted: &str| {
        let value = variables.iter().find(|(name, value)| name == wanted && !value.is_empty());
        value.map(|(_, value)| PathBuf::from(value))
    };
    let home = || Some(folder("HOME").or_else(|| folder("USERPROFILE"))?.join(".cache"));
    Some(folder("XDG_RUNTIME_DIR").or_else(home)?.join("fastmcp-auth0").join("dev-tenant-port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_and_nothing_else() {
        for has_upstream in [false, true] {
            let ports = Ports { tenant: 3002, server: 3001, has_upstream };
            assert_eq!(Ports::parse(&ports.to_text()), Some(ports));
        }
        for text in ["", "3002", "x\n3001\n", "3002\n70000\n"] {
            assert_eq!(Ports::parse(text), None, "{text}");
        }
    }
}
