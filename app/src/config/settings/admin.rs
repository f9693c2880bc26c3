//! `[admin]`: the operator's listener.

use std::net::SocketAddr;

use super::context::Context;
use super::server::{Bind, Server};
use crate::config::key::{Key, Reload, Text};
use crate::config::reader::Reader;
use crate::config::shown;

static BIND: Key<Text> = Key::new(
    "admin.bind",
    Text("IP address and port"),
    Reload::RestartRequired,
    "where to listen for metrics, probes and the log level ([observe.md](observe.md)), such as `127.0.0.1:9464`; empty: nowhere",
);

pub(super) const KEYS: &[&Key] = &[&BIND];

/// The operator's listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    /// Where to listen; `None`: nowhere.
    pub bind: Option<SocketAddr>,
}

pub(super) fn read(read: &mut Reader, _: &Context<'_>, server: &Server) -> Admin {
    let text = read.text(&BIND);
    if text.is_empty() {
        return Admin { bind: None };
    }
    let Ok(bind) = text.parse::<SocketAddr>() else {
        let value = shown::text(&text);
        let message = format!(
            "must be an IP address with a port, such as 127.0.0.1:9464 or [::1]:9464, or empty, not {value}"
        );
        read.problem(BIND.name, message);
        return Admin { bind: None };
    };
    let is_the_servers =
        matches!(server.bind, Bind::Address(address) if bind == SocketAddr::new(address, server.port));
    if bind.port() != 0 && is_the_servers {
        read.problem(
            BIND.name,
            "is where the server itself listens (server.bind, server.port): set another port",
        );
    }
    if !bind.ip().to_canonical().is_loopback() {
        read.warn(
            BIND.name,
            format!(
                "is {bind}: whoever reaches it may read the metrics and set the log level, without a token; let only the \
                 scraper reach it"
            ),
        );
    }
    Admin { bind: Some(bind) }
}
