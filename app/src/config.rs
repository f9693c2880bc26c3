//! Configuration: sources, in order, read into [`Settings`], or every problem at once.

mod addresses;
mod default_text;
mod dot_env;
mod files;
mod fingerprint;
mod key;
mod load;
mod own;
mod problem;
mod reader;
mod secret;
pub mod settings;
mod shown;
mod sources;
mod suggestions;
mod tables;
mod toml_text;
mod value;

pub(crate) use default_text::merged as merged_defaults;
pub(crate) use files::read as read_file;
#[cfg(feature = "tenant")]
pub(crate) use files::read_secret;
pub(crate) use fingerprint::Fingerprint;
pub(crate) use key::Reload;
pub use own::{OwnSections, Section};
pub use problem::{Problem, Problems};
pub use settings::Settings;
pub(crate) use settings::log::LEVELS;
pub use settings::log::{Log, LogFormat};
pub use settings::mcp::StateKeys;
pub(crate) use settings::reload;
pub use settings::tools::ToolRule;
pub(crate) use shown::key as shown_key;
pub use sources::{DEFAULTS, LOCAL, Sources, dot_env_here};
pub(crate) use suggestions::name_like;
pub use tables::with_tables;
pub use value::Effective;
