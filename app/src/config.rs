//! Configuration: sources, in order, read into [`Settings`], or every problem at once.

mod addresses;
mod dot_env;
mod files;
mod known;
mod own;
mod problem;
mod reader;
mod scopes;
mod secrets;
mod settings;
mod shown;
mod sources;
mod toml_text;

pub use own::{OwnSections, Section};
pub use problem::{Problem, Problems};
pub use reader::Effective;
pub use secrets::StateKeys;
pub use settings::{LogFormat, LogSettings, Settings, ToolRule};
pub(crate) use shown::key as shown_key;
pub use sources::{DEFAULTS, LOCAL, Sources, dot_env_here};
