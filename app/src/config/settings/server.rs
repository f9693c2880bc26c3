//! `[server]`: where the server listens, and how clients reach it.

use std::net::{IpAddr, Ipv4Addr};

use url::Url;

use super::context::Context;
use crate::config::key::{Key, Reload, Text, Whole, count};
use crate::config::reader::Reader;
use crate::config::{addresses, shown};

static BIND: Key<Text> = Key::new(
    "server.bind",
    Text("IP address"),
    Reload::RestartRequired,
    "where to listen; in a container `0.0.0.0`",
);
static PORT: Key<Whole> =
    Key::new("server.port", count(0, 65_535), Reload::RestartRequired, "TCP port; 0 takes a free one")
        .variable("PORT");
static URL: Key<Text> = Key::new(
    "server.url",
    Text("URL"),
    Reload::Applied,
    "the URL below which clients reach the server: an origin, or with the path below which a proxy serves it; empty: \
     `http://localhost:PORT`. Required unless `server.bind` is loopback",
)
.variable("MCP_SERVER_URL");
static PATH: Key<Text> = Key::new(
    "server.path",
    Text("path"),
    Reload::Applied,
    "the MCP endpoint's path below it; `/` for the URL itself",
);

pub(super) const KEYS: &[&Key] = &[&BIND, &PORT, &URL, &PATH];

/// Where the server listens, and how clients reach it.
#[derive(Debug, Clone)]
pub struct Server {
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
    /// The URL below which clients reach the server, if it is not `http://localhost:PORT`.
    pub url: Option<Url>,
    /// The MCP endpoint's path below it; empty for the URL itself.
    pub path: String,
}

impl Server {
    /// Returns the URL below which clients reach the server, once its port is known.
    #[must_use]
    pub fn base_url(&self, port: u16) -> Url {
        self.url.clone().unwrap_or_else(|| {
            let mut url = addresses::localhost();
            // An http URL with a host takes any port.
            let _ = url.set_port(Some(port));
            url
        })
    }
}

pub(super) fn read(read: &mut Reader, _: &Context<'_>) -> Server {
    let (bind, port, path) = (bind(read), read.whole(&PORT), path(read));
    Server { bind, port, url: url(read, bind, &path), path }
}

fn bind(read: &mut Reader) -> IpAddr {
    let text = read.text(&BIND);
    text.parse().unwrap_or_else(|_| {
        let value = shown::text(&text);
        read.problem(
            BIND.name,
            format!("must be an IP address, such as 127.0.0.1, 0.0.0.0 or ::, not {value}"),
        );
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    })
}

/// Reads the server's base URL, which only a server on loopback can do without.
fn url(read: &mut Reader, bind: IpAddr, path: &str) -> Option<Url> {
    let text = read.text(&URL);
    if text.is_empty() {
        if !bind.to_canonical().is_loopback() {
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
