//! Configuration: sources, in order, read into [`Settings`], or every problem at once.

mod problem;
mod reader;
mod settings;
mod sources;

pub use problem::{Problem, Problems};
pub use reader::Effective;
pub use settings::{LogFormat, LogSettings, Settings, ToolRule};
pub use sources::{DEFAULTS, LOCAL, Sources, dot_env_here};
