//! `serve` as in production: an issuer over TLS, trusted by way of `SSL_CERT_FILE`, and a token of its; with the proxy that
//! the environment names, and without.

use std::convert::Infallible;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_util::task::AbortOnDropHandle;

use crate::binary::binary;
use crate::harness::{send, soon};
use crate::key_server::{Answer, KeyServer, SigningKey};

const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// An issuer on `https://localhost:PORT/` whose certificate nobody trusts yet.
struct Issuer {
    url: String,
    certificate: String,
    _task: AbortOnDropHandle<()>,
}

impl Issuer {
    async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let task = AbortOnDropHandle::new(tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)))));
        Self { url, certificate: made.cert.pem(), _task: task }
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // A client that does not trust the certificate breaks off.
        let Ok(stream) = tls.accept(stream).await else {
            continue;
        };
        let service = service_fn(async |_| {
            let keys = json!({"keys": [SigningKey::first().jwk("k1")]}).to_string();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(keys)))
        });
        let _ =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }
}

/// `serve` against the issuer, and its log.
struct Service {
    _child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Service {
    fn start(issuer: &str, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(binary())
            .arg("serve")
            .env_clear()
            .envs([("AUTH0_ISSUER", issuer), ("AUTH0_AUDIENCE", AUDIENCE), ("PORT", "0")])
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { _child: child, log }
    }

    /// The next line whose message begins so.
    async fn line(&mut self, message: &str) -> Value {
        loop {
            let line: Value = serde_json::from_str(&self.log.next_line().await.unwrap().unwrap()).unwrap();
            if line["message"].as_str().unwrap().starts_with(message) {
                return line;
            }
        }
    }
}

fn now() -> i64 {
    domain::Clock::now(&system_clock::SystemClock::start()).seconds().0
}

#[tokio::test]
async fn serve_accepts_a_token_of_an_issuer_that_ssl_cert_file_vouches_for() {
    let issuer = Issuer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("ca.pem");
    std::fs::write(&certificate, &issuer.certificate).unwrap();
    let mut service = Service::start(&issuer.url, &[("SSL_CERT_FILE", certificate.to_str().unwrap())]);
    let listening = service.line("listening").await;
    service.line("the audience").await;
    service.line("the issuer's keys changed").await;

    let address = listening["address"].as_str().unwrap();
    let claims = json!({
        "iss": issuer.url, "sub": "auth0|ada", "aud": [AUDIENCE, "https://localhost/userinfo"], "exp": now() + 60,
        "iat": now(), "client_id": "tpc_1", "scope": "openid tool:greet",
    });
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "greet"}});
    let request = hyper::Request::post("/mcp")
        .header("host", address)
        .header("authorization", format!("Bearer {}", SigningKey::first().token("k1", &claims)))
        .header("content-type", "application/json")
        .body(Full::from(call.to_string()))
        .unwrap();
    let answer = send(TcpStream::connect(address).await.unwrap(), request).await;
    assert_eq!(answer.json()["result"]["structuredContent"]["sub"], "auth0|ada");
}

#[tokio::test]
async fn serve_is_not_ready_while_nobody_vouches_for_the_issuer() {
    let issuer = Issuer::start().await;
    let mut service = Service::start(&issuer.url, &[]);
    let listening = service.line("listening").await;
    let failure = service.line("the issuer's keys can't be fetched").await;
    assert!(failure["message"].as_str().unwrap().contains("certificate"), "{failure}");
    let address = listening["address"].as_str().unwrap();
    let request = hyper::Request::get("/ready").header("host", address).body(Full::default()).unwrap();
    let answer = send(TcpStream::connect(address).await.unwrap(), request).await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["reason"].as_str().unwrap().starts_with("no keys yet: "), "{:?}", answer.body);
}

/// A proxy that never answers, and the variables that name it.
async fn proxy() -> (TcpListener, Vec<(&'static str, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let names = ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
    (listener, names.map(|name| (name, url.clone())).into())
}

fn borrowed<'a>(variables: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn keys_on_this_machine_are_never_fetched_through_a_proxy() {
    let keys = KeyServer::start(Answer::keys(&[SigningKey::first().jwk("k1")])).await;
    let (proxy, variables) = proxy().await;
    let localhost = keys.issuer().as_str().replace("127.0.0.1", "localhost");
    for issuer in [keys.issuer().as_str(), &localhost] {
        let mut service = Service::start(issuer, &borrowed(&variables));
        tokio::select! {
            _ = soon(service.line("the issuer's keys changed")) => {}
            _ = proxy.accept() => panic!("the proxy was asked for keys of {issuer}"),
        }
    }
}

#[tokio::test]
async fn keys_elsewhere_are_fetched_through_the_proxy_that_the_environment_names() {
    let (proxy, variables) = proxy().await;
    let _service = Service::start("https://tenant.example/", &borrowed(&variables));
    let (mut stream, _) = soon(proxy.accept()).await.unwrap();
    let mut head = [0; 28];
    soon(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(std::str::from_utf8(&head), Ok("CONNECT tenant.example:443 H"));
}
