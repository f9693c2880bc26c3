//! The operator's HTTP server, on a socket of its own: metrics, probes, and the log level.
//!
//! It authenticates nobody: who reaches the socket may read, and set the log level. Browsers are refused (`browser.rs`), so that no
//! page that an operator looks at can do either. It is small on purpose: one connection has one request and a few seconds, and
//! there are few connections at a time.

mod browser;
mod negotiation;
mod router;
mod server;

pub use negotiation::Format;
pub use server::AdminServer;

/// What the server shows and changes.
pub trait Administered: Send + Sync {
    /// Returns the metrics as text.
    fn metrics(&self, format: Format) -> String;

    /// Returns why the server is not ready; `None` when it is.
    fn not_ready(&self) -> Option<String>;

    /// Returns the name of the log level; `None` where the program has a log of its own.
    fn log_level(&self) -> Option<&'static str>;

    /// Sets the log level, and logs that.
    ///
    /// # Errors
    /// [`LevelError`].
    fn set_log_level(&self, level: &str) -> Result<(), LevelError>;
}

/// Why a log level can't be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelError {
    /// There is none of that name.
    Unknown {
        /// Those that there are, for people.
        known: &'static str,
    },
    /// The program has a log of its own.
    NotOurs,
}
