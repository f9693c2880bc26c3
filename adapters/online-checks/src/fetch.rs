//! Bounded requests with `ureq`. Redirects are answers, an HTTP proxy is used if the environment names one, but never for
//! loopback, and certificates are judged by the platform's, on Linux also by those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.

use std::io::{self, Read};
use std::time::Duration;

use rustls::{CertificateError, InvalidMessage};
use syntax::loopback::is_loopback_host;
use ureq::http::header::{ACCEPT, CONTENT_TYPE};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};
use url::Url;

use crate::check::Seen;
use crate::fault::Fault;
use crate::shown::{shown, shown_bytes};

/// For one request, from name resolution to the last byte.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
/// Longer documents are not read.
const MAX_DOCUMENT_BYTES: u64 = 1024 * 1024;
/// As much of an answer to a POST is read: enough to be shown.
const EXCERPT_BYTES: u64 = 1024;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns a field's value; nothing where it is no text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the status with the beginning of the body.
    pub(crate) fn shown(&self) -> String {
        format!("the answer is {}: {}", self.status, shown_bytes(&self.body))
    }

    /// Returns the status with the address that a redirect leads to.
    pub(crate) fn shown_redirect(&self) -> String {
        let location = self.header("location").map_or("nowhere".to_owned(), shown);
        format!("the answer is {}, to {location}", self.status)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the name can't be resolved")]
    NoSuchHost,
    #[error("the connection is refused")]
    Refused,
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("the document is longer than {0} bytes")]
    TooLong(u64),
    #[error("the certificate has expired")]
    Expired,
    #[error("the certificate is not yet valid")]
    NotYetValid,
    #[error("nobody whom this machine trusts vouches for the certificate")]
    UnknownIssuer,
    #[error("the certificate is for another name{0}")]
    OtherName(String),
    #[error("what answers at this port does not speak TLS")]
    NotTls,
    #[error("the TLS handshake failed: {0}")]
    Tls(String),
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Returns what is wrong, with what is seen.
    pub(crate) fn seen(&self) -> Seen {
        let fault = match self {
            Self::NoSuchHost => Fault::NoSuchHost,
            Self::Refused => Fault::ConnectionRefused,
            Self::TimedOut(_) => Fault::TimedOut,
            Self::TooLong(_) => Fault::TooLong,
            Self::Expired => Fault::CertificateExpired,
            Self::NotYetValid => Fault::CertificateNotYetValid,
            Self::UnknownIssuer => Fault::CertificateUnknownIssuer,
            Self::OtherName(_) => Fault::CertificateOtherName,
            Self::NotTls => Fault::NotTls,
            Self::Tls(_) => Fault::TlsFailed,
            Self::Other(_) => Fault::ConnectionFailed,
        };
        (fault, self.to_string())
    }
}

/// Sends requests.
#[derive(Debug)]
pub(crate) struct Client {
    direct: Agent,
    /// Through the proxy that the environment names, if any.
    proxied: Agent,
    timeout: Duration,
}

impl Client {
    pub(crate) fn new(timeout: Duration) -> Self {
        let config = || http_agent::for_any().max_idle_connections(0).timeout_global(Some(timeout));
        let direct = config().proxy(None).build().new_agent();
        Self { direct, proxied: config().build().new_agent(), timeout }
    }

    /// Gets a document.
    pub(crate) fn get(&self, url: &Url) -> Result<Answer, Failure> {
        let request = self.agent(url).get(url.as_str()).header(ACCEPT, "application/json");
        let mut response = request.call().map_err(|error| self.explain(error))?;
        let read = response.body_mut().with_config().limit(MAX_DOCUMENT_BYTES).read_to_vec();
        let body = read.map_err(|error| self.explain(error))?;
        Ok(answer(response, body))
    }

    /// Posts a JSON-RPC message without a token.
    pub(crate) fn post(&self, url: &Url, message: &str) -> Result<Answer, Failure> {
        let request = self
            .agent(url)
            .post(url.as_str())
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json");
        let mut response = request.send(message).map_err(|error| self.explain(error))?;
        let mut body = Vec::new();
        // What does not come in time, of a stream for example, is not needed: the head says it.
        let _ = response.body_mut().as_reader().take(EXCERPT_BYTES).read_to_end(&mut body);
        Ok(answer(response, body))
    }

    fn agent(&self, url: &Url) -> &Agent {
        if url.host_str().is_some_and(is_loopback_host) { &self.direct } else { &self.proxied }
    }

    fn explain(&self, error: ureq::Error) -> Failure {
        match error {
            ureq::Error::Timeout(_) => Failure::TimedOut(self.timeout),
            ureq::Error::BodyExceedsLimit(limit) => Failure::TooLong(limit),
            ureq::Error::HostNotFound => Failure::NoSuchHost,
            ureq::Error::Rustls(error) => of_tls(&error),
            ureq::Error::Io(error) => of_io(&error),
            other => Failure::Other(shown(&other.to_string())),
        }
    }
}

fn answer(response: Response<Body>, body: Vec<u8>) -> Answer {
    let (head, _) = response.into_parts();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

fn of_io(error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (inner, error.kind()) {
        (Some(error), _) => of_tls(error),
        (None, io::ErrorKind::ConnectionRefused) => Failure::Refused,
        (None, _) => Failure::Other(shown(&error.to_string())),
    }
}

fn of_tls(error: &rustls::Error) -> Failure {
    let rustls::Error::InvalidCertificate(error) = error else {
        return match error {
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Failure::NotTls,
            other => Failure::Tls(shown(&other.to_string())),
        };
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Failure::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Failure::NotYetValid,
        // The second where an authority has the right name and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Failure::UnknownIssuer,
        // What `openssl req -x509` makes: an authority's certificate, used as a server's.
        CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity") => {
            Failure::UnknownIssuer
        }
        CertificateError::NotValidForName => Failure::OtherName(String::new()),
        CertificateError::NotValidForNameContext { presented, .. } => {
            Failure::OtherName(format!(": {}", shown(&presented.join(", "))))
        }
        other => Failure::Tls(shown(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc;

    use rustls::pki_types::UnixTime;

    use super::*;

    fn loopback(listener: &TcpListener) -> Url {
        Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap()
    }

    #[test]
    fn silence_and_refusals_are_told_apart() {
        let client = Client::new(Duration::from_millis(50));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = loopback(&listener);
        let (sender, receiver) = mpsc::channel();
        let silent = url.clone();
        let asking = std::thread::spawn(move || {
            sender.send(client.get(&silent)).unwrap();
            sender.send(client.post(&silent, "{}")).unwrap();
            client
        });
        for _ in 0..2 {
            let answer = receiver.recv_timeout(Duration::from_secs(30)).unwrap();
            assert!(matches!(answer, Err(Failure::TimedOut(_))), "{answer:?}");
        }
        let client = asking.join().unwrap();
        drop(listener);
        assert!(matches!(client.get(&url), Err(Failure::Refused)));
    }

    #[test]
    fn what_is_wrong_with_a_certificate_is_told() {
        let of = |error: CertificateError| of_tls(&rustls::Error::InvalidCertificate(error)).seen().0;
        let time = UnixTime::since_unix_epoch(Duration::ZERO);
        assert_eq!(of(CertificateError::Expired), Fault::CertificateExpired);
        let expired = CertificateError::ExpiredContext { time, not_after: time };
        assert_eq!(of(expired), Fault::CertificateExpired);
        assert_eq!(of(CertificateError::NotValidYet), Fault::CertificateNotYetValid);
        let early = CertificateError::NotValidYetContext { time, not_before: time };
        assert_eq!(of(early), Fault::CertificateNotYetValid);
        assert_eq!(of(CertificateError::UnknownIssuer), Fault::CertificateUnknownIssuer);
        assert_eq!(of(CertificateError::NotValidForName), Fault::CertificateOtherName);
        assert_eq!(of(CertificateError::Revoked), Fault::TlsFailed);
        let plain = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        assert_eq!(of_tls(&plain).seen().0, Fault::NotTls);
    }
}
