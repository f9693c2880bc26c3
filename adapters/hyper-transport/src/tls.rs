//! TLS: what the server proves its name with, and the handshake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use domain::UnixSeconds;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::watched_io::WatchedSocket;

/// What ALPN calls HTTP/2 and HTTP/1.1 (RFC 7301).
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";
/// The maximum of an answer's bytes that TLS holds until they are sent.
const UNSENT: usize = 16 * 1024;

/// A certificate with its chain and key. Two are equal if their chains are.
#[derive(Clone)]
pub struct TlsIdentity {
    config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    not_before: UnixSeconds,
    not_after: UnixSeconds,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { not_before, not_after, .. } = self;
        formatter.debug_struct("TlsIdentity").field("valid", &(not_before, not_after)).finish_non_exhaustive()
    }
}

impl PartialEq for TlsIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Eq for TlsIdentity {}

/// A certificate or a key that can't be used. No message has a text of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsIdentityError {
    /// The first text has none.
    #[error("there is no certificate in PEM")]
    NoCertificate,
    /// A certificate is malformed; the number counts from 1.
    #[error("certificate {0} can't be read")]
    Certificate(usize),
    /// The second text has none.
    #[error("there is no private key in PEM; an encrypted one can't be read")]
    NoKey,
    /// The key is malformed, or of an unknown kind.
    #[error("the private key can't be read")]
    Key,
    /// The key belongs to another certificate.
    #[error("the first certificate is not that of the key")]
    Mismatch,
    /// TLS refuses them for another reason.
    #[error("TLS can't use them: {0}")]
    Unusable(String),
}

impl TlsIdentity {
    /// Reads a chain, the server's own certificate first, and its key: both in PEM, the key as PKCS #8, PKCS #1 or SEC 1.
    ///
    /// # Errors
    /// [`TlsIdentityError`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsIdentityError> {
        let chain = certificates(chain)?;
        let (not_before, not_after) = validity(&chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsIdentityError::NoKey,
            // The others repeat what they could not read.
            _ => TlsIdentityError::Key,
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        if provider.key_provider.load_private_key(key.clone_key()).is_err() {
            return Err(TlsIdentityError::Key);
        }
        let unusable = |error: rustls::Error| match error {
            rustls::Error::InconsistentKeys(_) => TlsIdentityError::Mismatch,
            error => TlsIdentityError::Unusable(error.to_string()),
        };
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
        let config = builder.with_no_client_auth().with_single_cert(chain.clone(), key);
        let mut config = config.map_err(unusable)?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        Ok(Self { config: Arc::new(config), chain, not_before, not_after })
    }

    /// Returns when the chain begins and ends to be valid: all of its certificates are in between.
    #[must_use]
    pub const fn validity(&self) -> (UnixSeconds, UnixSeconds) {
        (self.not_before, self.not_after)
    }

    /// Makes a TLS connection of a socket, and returns whether its client chose HTTP/1.1.
    pub(crate) async fn accept(&self, socket: WatchedSocket) -> io::Result<(bool, TlsStream<WatchedSocket>)> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = acceptor.accept_with(socket, |tls| tls.set_buffer_limit(Some(UNSENT))).await?;
        let is_http1 = stream.get_ref().1.alpn_protocol() != Some(HTTP_2);
        Ok((is_http1, stream))
    }
}

fn certificates(chain: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsIdentityError> {
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(chain) {
        certificates.push(certificate.map_err(|_| TlsIdentityError::Certificate(certificates.len() + 1))?);
    }
    if certificates.is_empty() { Err(TlsIdentityError::NoCertificate) } else { Ok(certificates) }
}

/// Returns the time in which all of them are valid.
fn validity(chain: &[CertificateDer<'_>]) -> Result<(UnixSeconds, UnixSeconds), TlsIdentityError> {
    let (mut not_before, mut not_after) = (UnixSeconds(i64::MIN), UnixSeconds(i64::MAX));
    for (index, der) in chain.iter().enumerate() {
        let read = Certificate::from_der(der).map_err(|_| TlsIdentityError::Certificate(index + 1))?;
        let validity = *read.tbs_certificate().validity();
        not_before = not_before.max(seconds(validity.not_before.to_unix_duration()));
        not_after = not_after.min(seconds(validity.not_after.to_unix_duration()));
    }
    Ok((not_before, not_after))
}

fn seconds(since_1970: Duration) -> UnixSeconds {
    UnixSeconds(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(days: (i32, i32)) -> (String, String) {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(days.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(days.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn error(chain: &str, key: &str) -> TlsIdentityError {
        TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_chain_is_valid_while_all_of_its_certificates_are() {
        let (leaf, key) = made((2026, 2028));
        let (above, _) = made((2027, 2030));
        let chain = format!("a comment\n{leaf}{above}");
        let read = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(read.validity(), (UnixSeconds(1_798_761_600), UnixSeconds(1_830_297_600)));
        assert!(!format!("{read:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_no_certificate_with_its_key_is_refused_and_nothing_of_the_key_is_said() {
        let ((chain, key), (_, other)) = (made((2026, 2028)), made((2026, 2028)));
        assert_eq!(error("", &key), TlsIdentityError::NoCertificate);
        assert_eq!(error(&key, &key), TlsIdentityError::NoCertificate);
        assert_eq!(
            error(&format!("{chain}{}", chain.replace("MII", "NII")), &key),
            TlsIdentityError::Certificate(2)
        );
        assert_eq!(error(&chain, ""), TlsIdentityError::NoKey);
        assert_eq!(error(&chain, &chain), TlsIdentityError::NoKey);
        assert_eq!(
            error(&chain, &key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")),
            TlsIdentityError::NoKey
        );
        let torn = key.replace("-----END PRIVATE KEY-----", "");
        assert_eq!(error(&chain, &torn), TlsIdentityError::Key);
        assert_eq!(error(&chain, &key.replace("MI", "!!")), TlsIdentityError::Key);
        assert_eq!(error(&chain, &key.replace("MI", "AA")), TlsIdentityError::Key);
        assert_eq!(error(&chain, &other), TlsIdentityError::Mismatch);
    }
}
