//! Files that hold configuration: regular ones of a limited size, in UTF-8.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The maximum size of a configuration file and of `.env`, in bytes.
pub(super) const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// The maximum size of a file with a secret, in bytes.
#[cfg(feature = "tenant")]
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Why a file can't be used. No variant holds anything of its content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("can't be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("is a directory, not a file")]
    Directory,
    #[error("is not a regular file (pipes and devices are not read)")]
    Special,
    #[error("is larger than {0} bytes")]
    TooLarge(u64),
    #[error("line {0} is not UTF-8 text")]
    NotText(usize),
}

impl FileError {
    /// Returns whether there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads a whole file.
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<String, FileError> {
    // Judged before it is opened: opening a pipe waits for whoever writes to it.
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(FileError::Directory);
    }
    if !kind.is_file() {
        return Err(FileError::Special);
    }
    let mut bytes = Vec::new();
    // The size is counted rather than believed: it is 0 for the files of /proc, and others grow.
    let read = File::open(path)?.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if read as u64 > max_bytes {
        return Err(FileError::TooLarge(max_bytes));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        FileError::NotText(valid.split(|byte| *byte == b'\n').count())
    })
}

/// Reads a file with a secret.
#[cfg(feature = "tenant")]
pub(crate) fn read_secret(path: &Path) -> Result<String, FileError> {
    read(path, MAX_SECRET_BYTES)
}
