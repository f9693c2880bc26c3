//! The certificate of the listening sockets: read from its files, judged, and read again when they change.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use domain::{Clock, UnixMillis, UnixSeconds};
use hyper_transport::{ReloadHandle, TlsIdentity};

use crate::config::settings::tls::TlsFiles;
use crate::config::{Fingerprint, read_file};

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(10);
/// The time before the end of a certificate's validity in which a warning says so.
const SOON: i64 = 7 * 24 * 60 * 60;
/// The maximum size of each file, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// A certificate with its key, as the files have them.
pub(crate) struct Certificate {
    pub(crate) identity: TlsIdentity,
    is_key_public: bool,
}

/// The content of the files.
struct Content {
    chain: String,
    key: String,
    is_key_public: bool,
}

impl Content {
    fn read(files: &TlsFiles) -> anyhow::Result<Self> {
        let chain = read_file(&files.certificate, MAX_BYTES)
            .with_context(|| format!("tls.certificate_file: {}", files.certificate.display()))?;
        let key = read_file(&files.key, MAX_BYTES)
            .with_context(|| format!("tls.key_file: {}", files.key.display()))?;
        let mode = std::fs::metadata(&files.key).map(|metadata| metadata.permissions().mode());
        Ok(Self { chain, key, is_key_public: mode.is_ok_and(|mode| mode & 0o004 != 0) })
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&(&self.chain, &self.key))
    }

    fn certificate(&self, files: &TlsFiles) -> anyhow::Result<Certificate> {
        let identity = TlsIdentity::from_pem(self.chain.as_bytes(), self.key.as_bytes())
            .with_context(|| format!("tls: {} with {}", files.certificate.display(), files.key.display()))?;
        Ok(Certificate { identity, is_key_public: self.is_key_public })
    }
}

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// When the files can't be read, or do not fit together.
    pub(crate) fn read(files: &TlsFiles) -> anyhow::Result<Self> {
        Content::read(files)?.certificate(files)
    }

    /// Returns the first and the last time at which it is valid, in RFC 3339.
    pub(crate) fn validity(&self) -> (String, String) {
        let (not_before, not_after) = self.identity.validity();
        (rfc3339(not_before), rfc3339(not_after))
    }

    /// Returns why clients refuse it now, if they do.
    pub(crate) fn fault(&self, now: UnixSeconds) -> Option<String> {
        let (not_before, not_after) = self.identity.validity();
        if now < not_before {
            return Some(format!("the certificate is valid from {} on, not yet", rfc3339(not_before)));
        }
        (now > not_after).then(|| format!("the certificate has expired at {}", rfc3339(not_after)))
    }

    /// Returns what is probably not meant.
    pub(crate) fn warnings(&self, files: &TlsFiles, now: UnixSeconds) -> Vec<String> {
        let (_, not_after) = self.identity.validity();
        let ends_soon = now <= not_after && not_after.0.saturating_sub(now.0) < SOON;
        let ends_soon = ends_soon.then(|| {
            format!("the certificate expires at {}, in less than 7 days: renew it", rfc3339(not_after))
        });
        let is_public = self.is_key_public.then(|| {
            format!(
                "tls.key_file: every user of this machine can read {}: make that its owner alone (chmod 600)",
                files.key.display()
            )
        });
        [ends_soon, is_public].into_iter().flatten().collect()
    }
}

/// Reads the certificate that the server begins with. One that is expired is served, since clients then can tell what is wrong.
///
/// # Errors
/// When the files can't be read, or do not fit together.
pub(crate) fn first(files: &TlsFiles, now: UnixMillis) -> anyhow::Result<TlsIdentity> {
    let certificate = Certificate::read(files)?;
    let now = now.seconds();
    for warning in certificate.fault(now).into_iter().chain(certificate.warnings(files, now)) {
        tracing::warn!("{warning}");
    }
    Ok(certificate.identity)
}

/// The certificate of a running server, which follows its files.
pub(crate) struct Certificates {
    files: Option<TlsFiles>,
    clock: Arc<dyn Clock>,
    /// When the files are looked at next, in uptime.
    due: Duration,
    /// What they had when that was last served, or refused.
    seen: Option<Fingerprint>,
}

impl Certificates {
    pub(crate) fn new(files: Option<TlsFiles>, clock: Arc<dyn Clock>) -> Self {
        let due = clock.uptime() + INTERVAL;
        Self { files, clock, due, seen: None }
    }

    /// Completes when the files should be looked at; never without TLS.
    pub(crate) async fn due(&self) {
        if self.files.is_none() {
            return std::future::pending().await;
        }
        let rest = self.due.saturating_sub(self.clock.uptime());
        if !rest.is_zero() {
            self.clock.sleep(rest).await;
        }
    }

    /// Serves what the files have, if that changed. Without a valid certificate and its key the one before stays.
    pub(crate) async fn refresh(&mut self, handle: &ReloadHandle) {
        let Some(files) = self.files.clone() else {
            return;
        };
        let read = tokio::task::spawn_blocking(move || (Content::read(&files), files)).await;
        self.due = self.clock.uptime() + INTERVAL;
        let Ok((read, files)) = read else {
            return;
        };
        let fingerprint = match &read {
            Ok(content) => content.fingerprint(),
            Err(error) => Fingerprint::of(&format!("{error:#}")),
        };
        if self.seen.replace(fingerprint) == Some(fingerprint) {
            return;
        }
        let now = self.clock.now().seconds();
        match read.and_then(|content| usable(&content, &files, now)) {
            Ok(certificate) => {
                if handle.replace_tls(certificate.identity.clone()) {
                    tracing::info!(until = certificate.validity().1, "the certificate was read again");
                    for warning in certificate.warnings(&files, now) {
                        tracing::warn!("{warning}");
                    }
                }
            }
            Err(error) => tracing::error!("the new certificate is refused, the old one serves on: {error:#}"),
        }
    }
}

fn usable(content: &Content, files: &TlsFiles, now: UnixSeconds) -> anyhow::Result<Certificate> {
    let certificate = content.certificate(files)?;
    match certificate.fault(now) {
        Some(fault) => Err(anyhow::anyhow!(fault)),
        None => Ok(certificate),
    }
}

fn rfc3339(at: UnixSeconds) -> String {
    UnixMillis(at.0.saturating_mul(1000)).to_rfc3339().replace(".000Z", "Z")
}
