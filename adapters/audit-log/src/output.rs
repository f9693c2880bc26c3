//! Where lines go: whole, or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use crate::Destination;

/// A file that is added to. Each line is one call of the system, so that those of several processes do not mix.
pub(crate) struct Output {
    to: Destination,
    file: File,
    /// Whether the last line broke off and could not be taken back.
    pub(crate) is_torn: bool,
}

impl Output {
    pub(crate) fn open(to: &Destination) -> io::Result<Self> {
        let file = match to {
            // Not through the library's buffer, which cuts lines where it likes.
            Destination::Stdout => File::from(stdout().as_fd().try_clone_to_owned()?),
            Destination::File(path) => {
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
                file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?
            }
        };
        Ok(Self { to: to.clone(), file, is_torn: false })
    }

    /// Opens the file anew, whatever has its name now. After an error the one before stays.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        if matches!(self.to, Destination::File(_)) {
            *self = Self::open(&self.to)?;
        }
        Ok(())
    }

    /// Writes a line, with its end.
    pub(crate) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.is_torn {
            // What is left of the torn line stands alone.
            self.put(b"\n")?;
            self.is_torn = false;
        }
        self.put(line)
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
