//! `[server]`: where the server listens, and how clients reach it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use url::Url;

use super::context::Context;
use crate::config::key::{Key, Reload, Text, Whole, count};
use crate::config::reader::Reader;
use crate::config::{addresses, shown};

static BIND: Key<Text> = Key::new(
    "server.bind",
    Text("IP address, `unix:/PATH`, `systemd`"),
    Reload::RestartRequired,
    "where to listen; in a container `0.0.0.0`; `unix:/run/fastmcp-auth0/mcp.sock` is a Unix socket, `systemd` takes the sockets \
     that systemd passes on",
);
static SOCKET_MODE: Key<Text> = Key::new(
    "server.socket_mode",
    Text("permissions in octal"),
    Reload::RestartRequired,
    "of the Unix socket's file: whoever may write to it may connect",
);
static PORT: Key<Whole> = Key::new(
    "server.port",
    count(0, 65_535),
    Reload::RestartRequired,
    "TCP port of an IP address; 0 takes a free one",
)
.variable("PORT");
static URL: Key<Text> = Key::new(
    "server.url",
    Text("URL"),
    Reload::Applied,
    "the URL below which clients reach the server: an origin, or with the path below which a proxy serves it; empty: \
     `http://localhost:PORT`, with TLS `https`. Required unless `server.bind` is loopback",
)
.variable("MCP_SERVER_URL");
static PATH: Key<Text> = Key::new(
    "server.path",
    Text("path"),
    Reload::Applied,
    "the MCP endpoint's path below it; `/` for the URL itself",
);

pub(super) const KEYS: &[&Key] = &[&BIND, &SOCKET_MODE, &PORT, &URL, &PATH];

/// Where the server listens, and how clients reach it.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where to listen.
    pub bind: Bind,
    /// The permissions of a Unix socket's file.
    pub socket_mode: u32,
    /// The port of an address; 0 takes a free one.
    pub port: u16,
    /// The URL below which clients reach the server, if it is not `http://localhost:PORT`, or `https` with TLS.
    pub url: Option<Url>,
    /// The MCP endpoint's path below it; empty for the URL itself.
    pub path: String,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// At an address of TCP.
    Address(IpAddr),
    /// At the absolute path of a Unix socket.
    Unix(PathBuf),
    /// On the sockets that systemd passes on.
    Systemd,
}

impl fmt::Display for Bind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Systemd => formatter.write_str("systemd"),
        }
    }
}

impl Bind {
    /// Returns whether only this machine's processes connect, by an address that clients can be told.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Address(address) if address.to_canonical().is_loopback())
    }
}

impl Server {
    /// Returns the URL below which clients reach the server, once its port is known.
    #[must_use]
    pub fn base_url(&self, port: u16, has_tls: bool) -> Url {
        self.url.clone().unwrap_or_else(|| {
            let mut url = addresses::localhost();
            // An http URL with a host takes any port, and becomes an https one.
            let _ = url.set_port(Some(port));
            if has_tls {
                let _ = url.set_scheme("https");
            }
            url
        })
    }
}

pub(super) fn read(read: &mut Reader, _: &Context<'_>) -> Server {
    let (bind, socket_mode, port, path) = (bind(read), socket_mode(read), read.whole(&PORT), path(read));
    let url = url(read, &bind, &path);
    Server { bind, socket_mode, port, url, path }
}

fn bind(read: &mut Reader) -> Bind {
    let text = read.text(&BIND);
    if text == "systemd" {
        return Bind::Systemd;
    }
    if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
        return Bind::Unix(path.into());
    }
    Bind::Address(text.parse().unwrap_or_else(|_| {
        let value = shown::text(&text);
        read.problem(
            BIND.name,
            format!(
                "must be an IP address, such as 127.0.0.1, 0.0.0.0 or ::, or a Unix socket, such as \
                 unix:/run/fastmcp-auth0/mcp.sock, or systemd, not {value}"
            ),
        );
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }))
}

fn socket_mode(read: &mut Reader) -> u32 {
    let text = read.text(&SOCKET_MODE);
    let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
    mode.unwrap_or_else(|| {
        let value = shown::text(&text);
        read.problem(
            SOCKET_MODE.name,
            format!("must be permissions in octal, such as \"0660\", not {value}"),
        );
        0
    })
}

/// Reads the server's base URL, which only a server on loopback can do without.
fn url(read: &mut Reader, bind: &Bind, path: &str) -> Option<Url> {
    let text = read.text(&URL);
    if text.is_empty() {
        if !bind.is_loopback() {
            read.problem(
                URL.name,
                format!(
                    "is not set, and server.bind is {bind}: other machines' clients would be sent to localhost; set the \
                     URL under which they reach the server (MCP_SERVER_URL)"
                ),
            );
        }
        return None;
    }
    addresses::base(read, URL.name, &text, path)
}

/// Reads the endpoint's path, empty for the base URL itself.
fn path(read: &mut Reader) -> String {
    let text = read.text(&PATH);
    let path = text.strip_suffix('/').filter(|_| text == "/").unwrap_or(&text).to_owned();
    if text.is_empty() || !addresses::is_free_path(&path) {
        let value = shown::text(&text);
        read.problem(
            PATH.name,
            format!(
                "must be a path, such as /mcp or /, of letters, digits and ._~- without a slash at its end, and none that \
                 the server itself has (/health, /ready, /ping, /.well-known), not {value}"
            ),
        );
    }
    path
}
