//! Where lines go: whole, or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::Destination;

/// A file that is added to, by whole lines with one call of the system, so that those of several processes do not mix.
pub(crate) struct Output {
    pub(crate) to: Destination,
    pub(crate) file: File,
    /// Whether the last line broke off and could not be taken back.
    pub(crate) is_torn: bool,
}

impl Output {
    pub(crate) fn open(to: &Destination) -> io::Result<Self> {
        let (file, is_torn) = match to {
            // Not through the library's buffer, which cuts lines where it likes.
            Destination::Stdout => (File::from(stdout().as_fd().try_clone_to_owned()?), false),
            Destination::File(path) => {
                let file = append_to(path)
                    .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
                // Where it can't be read, nobody can tell.
                let is_torn = ends_amid_a_line(&file, path).unwrap_or(false);
                (file, is_torn)
            }
        };
        Ok(Self { to: to.clone(), file, is_torn })
    }

    /// Opens the file anew, whatever has its name now. After an error the one before stays.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        if matches!(self.to, Destination::File(_)) {
            *self = Self::open(&self.to)?;
        }
        Ok(())
    }

    /// Writes lines, with their ends, all or none. A file that was removed is made anew: nobody would find what is written to it.
    pub(crate) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.file.metadata()?.nlink() == 0 {
            self.reopen()?;
        }
        if self.is_torn {
            // What is left of the torn line stands alone.
            self.put(b"\n")?;
            self.is_torn = false;
        }
        self.put(lines)
    }

    /// Writes all or nothing.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            let outcome = match self.file.write(&bytes[written..]) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                outcome => outcome,
            };
            match outcome {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_torn |= written > 0 && self.take_back(written).is_err();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Cuts off what was written of a line, unless another process has added to it.
    pub(crate) fn take_back(&mut self, written: usize) -> io::Result<()> {
        let end = self.file.stream_position()?;
        if self.file.metadata()?.len() != end {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        self.file.set_len(end.saturating_sub(written as u64))
    }
}

/// Opens a file to be added to. A pipe is refused: to open one waits for whoever reads it, and the server would not start.
fn append_to(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is a pipe, not a file"));
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Returns whether the last line of a file broke off, by a crash.
fn ends_amid_a_line(file: &File, path: &Path) -> io::Result<bool> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let (mut file, mut last) = (File::open(path)?, [0]);
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}
