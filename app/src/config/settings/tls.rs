//! `[tls]`: TLS on the listening sockets. The files are read when the server starts, and again whenever they change.

use std::path::PathBuf;

use super::context::Context;
use super::server::Server;
use crate::config::key::{Key, Reload, Text};
use crate::config::reader::Reader;

static CERTIFICATE_FILE: Key<Text> = Key::new(
    "tls.certificate_file",
    Text("path"),
    Reload::RestartRequired,
    "the server's certificate and those between it and the authority, in PEM; empty: no TLS. Another content is served \
     within 10 s, or at once on SIGHUP",
);
static KEY_FILE: Key<Text> = Key::new(
    "tls.key_file",
    Text("path"),
    Reload::RestartRequired,
    "the certificate's private key, in PEM, unencrypted; other users should not be able to read it",
);

pub(super) const KEYS: &[&Key] = &[&CERTIFICATE_FILE, &KEY_FILE];

/// Where the certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// Reads the section; `None` without TLS.
pub(super) fn read(read: &mut Reader, _: &Context<'_>, server: &Server) -> Option<TlsFiles> {
    let (certificate, key) = (read.text(&CERTIFICATE_FILE), read.text(&KEY_FILE));
    let missing = match (certificate.is_empty(), key.is_empty()) {
        (true, true) => return None,
        (true, false) => Some((&CERTIFICATE_FILE, &KEY_FILE)),
        (false, true) => Some((&KEY_FILE, &CERTIFICATE_FILE)),
        (false, false) => None,
    };
    if let Some((missing, there)) = missing {
        read.problem(missing.name, format!("is not set, and {} is: TLS needs both", there.name));
    }
    if server.url.as_ref().is_some_and(|url| url.scheme() != "https") {
        read.warn("server.url", "is no https URL, and the server speaks nothing but TLS ([tls])".to_owned());
    }
    Some(TlsFiles { certificate: certificate.into(), key: key.into() })
}
