//! From configuration to a running server: the only place that knows every adapter.
//!
//! [`config`] turns sources into [`Settings`]; [`wiring`] turns settings and [`Ports`] into a server; the commands do
//! both with the real ports, tests with fakes.

pub mod commands;
pub mod config;
pub mod identity;
mod logging;
mod signals;
pub mod wiring;

pub use config::{Settings, Sources};
pub use wiring::Ports;
