//! Where the running `dev` can be found: a file of the user's own, which `token` reads.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use super::environment;

/// Says that a `dev` is running, until it is dropped.
pub(super) struct RunningDev {
    file: Option<PathBuf>,
    text: String,
}

impl RunningDev {
    /// Notes the port of the local tenant. Of several running at a time, the newest is found.
    pub(super) fn announce(tenant_port: u16) -> Self {
        let text = format!("{tenant_port}\n");
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

/// Returns the port of the newest running tenant, if one said so.
pub(super) fn tenant_port() -> Option<u16> {
    fs::read_to_string(file()?).ok()?.trim().parse().ok()
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
