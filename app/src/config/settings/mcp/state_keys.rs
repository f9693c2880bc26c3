//! The keys that seal states: from the configuration itself, or from a file of their own. No message repeats any of them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mcp_protocol::KEY_BYTES;

use crate::config::files;
use crate::config::key::{Key, Text, Texts};
use crate::config::reader::Reader;

/// The maximum size of a file of keys, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Secret keys. Their `Debug` says how many there are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StateKeys(pub Vec<Vec<u8>>);

impl std::fmt::Debug for StateKeys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "StateKeys({}, redacted)", self.0.len())
    }
}

/// Reads the keys from whichever of the two settings is used.
pub(super) fn read(read: &mut Reader, in_place: &Key<Texts>, in_file: &Key<Text>) -> StateKeys {
    let texts = read.texts(in_place);
    let file = read.text(in_file);
    let (setting, decoded) = match (texts.is_empty(), file.is_empty()) {
        (false, false) => {
            read.problem(in_file.name, format!("can't be set together with {}: choose one", in_place.name));
            return StateKeys::default();
        }
        (_, true) => {
            let items = texts.iter().enumerate().map(|(index, text)| (index + 1, &**text));
            (in_place.name, decode_all(items, "item"))
        }
        (true, false) if holds_key(&file) => {
            (in_file.name, Err("must be the path of a file with keys, not a key".to_owned()))
        }
        (true, false) => (in_file.name, from_file(Path::new(&file))),
    };
    match decoded {
        Ok(keys) => {
            let source = (setting == in_file.name).then_some(file.as_str());
            read.set_secret(in_place, &keys, source);
            StateKeys(keys)
        }
        Err(message) => {
            read.problem(setting, message);
            StateKeys::default()
        }
    }
}

fn holds_key(text: &str) -> bool {
    text.split([',', ' ']).any(|part| STANDARD.decode(part).is_ok_and(|key| key.len() == KEY_BYTES))
}

fn from_file(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let shown = path.display();
    let text = files::read(path, MAX_FILE_BYTES).map_err(|error| format!("{shown} {error}"))?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let keys = decode_all(lines.filter(|(_, line)| !line.is_empty()), "line")
        .map_err(|message| format!("{shown}: {message}"))?;
    if keys.is_empty() {
        return Err(format!("{shown} holds no key"));
    }
    Ok(keys)
}

/// Decodes numbered texts; a fault names the number, which counts `unit`s.
fn decode_all<'a>(texts: impl Iterator<Item = (usize, &'a str)>, unit: &str) -> Result<Vec<Vec<u8>>, String> {
    let decode = |(number, text)| {
        STANDARD.decode(text).ok().filter(|key| key.len() == KEY_BYTES).ok_or_else(|| {
            format!(
                "{unit} {number} must be a key of {KEY_BYTES} bytes in base64: openssl rand -base64 {KEY_BYTES}"
            )
        })
    };
    texts.map(decode).collect()
}
