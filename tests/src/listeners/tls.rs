//! TLS in process: the handshake and its bounds, and certificates that change while the server runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fakes::{Behaviour, RecordingTool};
use fastmcp_auth0::Server;
use fastmcp_auth0::testing::TestServer;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use super::unix::{PING, call, streaming_call};
use crate::abuse::sockets::Loud;
use crate::harness::{ADMIN, Choices, Harness, read_to_end, send, soon};

/// A certificate's files, and what clients trust.
pub(super) struct Site {
    folder: TempDir,
    trusted: CertificateDer<'static>,
}

impl Site {
    pub(super) fn new() -> Self {
        Self::valid_in((2020, 2100))
    }

    /// With a certificate of these years.
    pub(super) fn valid_in(years: (i32, i32)) -> Self {
        let (folder, trusted) = (tempfile::tempdir().unwrap(), CertificateDer::from(Vec::new()));
        let mut site = Self { folder, trusted };
        site.renew(years);
        site
    }

    /// Puts another certificate with another key into the files.
    pub(super) fn renew(&mut self, years: (i32, i32)) {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = params.self_signed(&key).unwrap();
        std::fs::write(self.certificate(), made.pem()).unwrap();
        std::fs::write(self.key(), key.serialize_pem()).unwrap();
        self.trusted = made.der().clone();
    }

    pub(super) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn settings(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        [("tls.certificate_file", text(self.certificate())), ("tls.key_file", text(self.key()))]
    }

    async fn start(&self, choices: Choices) -> Harness {
        self.settings()
            .into_iter()
            .fold(choices, |choices, (key, value)| choices.set(key, value))
            .start()
            .await
    }

    /// Connects, trusting the newest certificate alone.
    async fn connect(&self, stream: TcpStream, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_by(&[&TLS13, &TLS12], stream, protocols).await
    }

    async fn connect_by(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        stream: TcpStream,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        soon(TlsConnector::from(Arc::new(config)).connect(name, stream)).await
    }
}

async fn read_until(stream: &mut TlsStream<TcpStream>, text: &str) {
    let mut read = Vec::new();
    while !String::from_utf8_lossy(&read).contains(text) {
        assert_ne!(soon(stream.read_buf(&mut read)).await.unwrap(), 0, "closed before {text}");
    }
}

async fn still_serves(site: &Site, harness: &Harness) {
    let mut stream = site.connect(harness.connect().await, &[]).await.unwrap();
    stream.write_all(PING.as_bytes()).await.unwrap();
    read_until(&mut stream, "pong").await;
}

#[tokio::test]
async fn clients_choose_their_protocol_and_version() {
    let site = Site::new();
    let harness = site.start(Choices::new()).await;
    let body =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet"}}).to_string();
    for version in [&TLS12, &TLS13] {
        for offered in [&[][..], &["http/1.1"], &["http/1.1", "unknown"]] {
            let stream = site.connect_by(&[version], harness.connect().await, offered).await.unwrap();
            let chosen = stream.get_ref().1.alpn_protocol();
            assert_eq!(chosen, offered.first().map(|name| name.as_bytes()));
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            let answer = send(stream, harness.post(ADMIN).body(Full::from(body.clone())).unwrap()).await;
            assert_eq!(answer.json()["result"]["structuredContent"]["sub"], "auth0|abc123");
        }
        let stream = site.connect_by(&[version], harness.connect().await, &["http/1.1", "h2"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "the better one");
        let (mut sender, connection) =
            http2::handshake::<_, _, Full<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        let _connection = tokio::spawn(connection);
        let uri = format!("https://{}/mcp", harness.address);
        let request = harness.post(ADMIN).uri(uri).body(Full::from(body.clone())).unwrap();
        let answer = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let read = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&read).contains("auth0|abc123"));
    }
    let refused = site.connect(harness.connect().await, &["spdy/3"]).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

#[tokio::test]
async fn a_handshake_has_10_s_whether_it_begins_or_not() {
    let site = Site::new();
    let harness = site.start(Choices::new()).await;
    let (silent, mut begun) = (harness.connect().await, harness.connect().await);
    // The beginning of a ClientHello that never ends.
    begun.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252]).await.unwrap();
    soon(harness.clock.sleeping(4)).await;
    harness.clock.advance(Duration::from_secs(9));
    begun.write_all(&[3]).await.unwrap();
    still_serves(&site, &harness).await;
    harness.clock.advance(Duration::from_secs(1));
    assert_eq!(read_to_end(silent).await, "");
    assert_eq!(read_to_end(begun).await, "");
}

#[tokio::test]
async fn handshakes_count_among_the_connections() {
    let site = Site::new();
    let harness = site.start(Choices::new().set("limits.connections", 1)).await;
    let mut held = Vec::new();
    for _ in 0..65 {
        held.push(harness.connect().await);
    }
    // Nothing is said in the clear, and nothing else would be understood.
    assert_eq!(read_to_end(harness.connect().await).await, "");
    drop(held);
    still_serves(&site, &harness).await;
}

#[tokio::test]
async fn plain_http_is_told_by_an_alert_and_closed() {
    let site = Site::new();
    let harness = site.start(Choices::new()).await;
    let mut stream = harness.connect().await;
    stream.write_all(PING.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    soon(stream.read_to_end(&mut read)).await.expect("closed, not reset");
    // A fatal alert (RFC 8446 section 6), and nothing of HTTP.
    assert_eq!((read.len(), read[0], read[5]), (7, 21, 2), "{read:?}");
    still_serves(&site, &harness).await;
}

#[tokio::test]
async fn a_slow_head_is_cut_off_behind_tls() {
    let site = Site::new();
    let harness = site.start(Choices::new()).await;
    let mut slow = site.connect(harness.connect().await, &[]).await.unwrap();
    slow.write_all(b"GET /ping HT").await.unwrap();
    slow.flush().await.unwrap();
    still_serves(&site, &harness).await;
    soon(harness.clock.sleeping_until(Duration::from_secs(10))).await;
    harness.clock.advance(Duration::from_secs(10));
    let mut read = Vec::new();
    let _ = soon(slow.read_to_end(&mut read)).await;
    assert_eq!(read, b"");
}

/// TLS takes bytes that the client does not: what counts is what the client takes.
#[tokio::test]
async fn a_stream_that_nobody_reads_ends_after_60_s_behind_tls() {
    let dropped = Arc::new(Semaphore::new(1));
    let site = Site::new();
    let harness = site.start(Choices::new().tool(Arc::new(Loud { dropped: Arc::clone(&dropped) }))).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(65_536).unwrap();
    let mut reader = site.connect(socket.connect(harness.address).await.unwrap(), &[]).await.unwrap();
    reader.write_all(streaming_call("loud").as_bytes()).await.unwrap();
    // The server's turns: it sends until it can't.
    for _ in 0..20 {
        still_serves(&site, &harness).await;
    }
    harness.clock.advance(Duration::from_secs(59));
    still_serves(&site, &harness).await;
    assert_eq!(dropped.available_permits(), 0, "it may yet be read");
    harness.clock.advance(Duration::from_secs(1));
    soon(dropped.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn a_client_that_ends_tls_during_its_call_is_noticed() {
    let tool = Arc::new(RecordingTool::new("slow", &[], Behaviour::Wait));
    let site = Site::new();
    let harness = site.start(Choices::new().tool(Arc::clone(&tool) as _)).await;
    let mut stream = site.connect(harness.connect().await, &[]).await.unwrap();
    stream.write_all(call("slow").as_bytes()).await.unwrap();
    soon(tool.started()).await;
    stream.shutdown().await.unwrap();
    soon(harness.clock.sleeping_until(Duration::from_secs(10))).await;
    harness.clock.advance(Duration::from_secs(10));
    assert_eq!(read_to_end(stream).await, "");
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_bad_one_for_none() {
    let mut site = Site::new();
    let started = TestServer::start_with(Server::builder(), |sources| {
        site.settings().into_iter().fold(sources, |sources, (key, value)| sources.set("test", key, value))
    });
    let server = started.await.unwrap();
    let connect = async || TcpStream::connect(server.address).await.unwrap();
    let mut kept = site.connect(connect().await, &[]).await.unwrap();
    // Then the server's side of the handshake is over, too.
    kept.write_all(PING.as_bytes()).await.unwrap();
    read_until(&mut kept, "pong").await;
    let look_again = async || {
        // The next look is due in 10 s: the one before is over.
        soon(server.clock.sleeping_until(Duration::from_secs(10))).await;
        server.clock.advance(Duration::from_secs(10));
        soon(server.clock.sleeping_until(Duration::from_secs(10))).await;
    };
    look_again().await;

    let old = std::fs::read(site.key()).unwrap();
    let good = Site { folder: tempfile::tempdir().unwrap(), trusted: site.trusted.clone() };
    site.renew((2020, 2100));
    let new = std::fs::read(site.key()).unwrap();
    // A key without its certificate, as in the middle of a renewal; none; and then one that is over.
    for bad in [Some(&old), None] {
        match bad {
            Some(key) => std::fs::write(site.key(), key).unwrap(),
            None => std::fs::remove_file(site.key()).unwrap(),
        }
        look_again().await;
        good.connect(connect().await, &[]).await.expect("the old one");
    }
    site.renew((2020, 2021));
    look_again().await;
    good.connect(connect().await, &[]).await.expect("the old one");

    site.renew((2020, 2100));
    assert_ne!(std::fs::read(site.key()).unwrap(), new);
    look_again().await;
    site.connect(connect().await, &[]).await.expect("the new one");
    assert!(good.connect(connect().await, &[]).await.is_err());
    kept.write_all(PING.as_bytes()).await.unwrap();
    read_until(&mut kept, "pong").await;
}
