//! `check --online`: the binary asks the local tenant, and a server behind a proxy that does one thing wrong at a time.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::header::{HOST, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use local_tenant::{Fault, KeysAnswer, LocalTenant, Options};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_util::task::AbortOnDropHandle;

use crate::binary::{Dev, binary, run, text};
use crate::harness::{Choices, Harness};

/// What a proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    WhatItShould,
    StripChallenges,
    RewriteHosts,
    Redirect,
    HaveNoUpstream,
    AddTheWrongPath,
    AnswerMetadataWithAPage,
    LetEveryoneIn,
    AskForItsOwnPassword,
}

/// A tenant, a server, and the proxy before it.
struct Deployment {
    tenant: Arc<LocalTenant>,
    url: String,
    does: Arc<Mutex<Does>>,
    environment: Vec<(&'static str, String)>,
    _server: Harness,
    _proxy: AbortOnDropHandle<()>,
}

impl Deployment {
    async fn start() -> Self {
        Self::start_at(&tenant().await, None).await
    }

    /// With a certificate at the proxy.
    async fn start_at(tenant: &Arc<LocalTenant>, certificate: Option<&Certificate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = match certificate {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let audience = format!("{url}/mcp");
        let tenant = Arc::clone(tenant);
        let server = Choices::new()
            .set("auth0.issuer", tenant.issuer())
            .set("auth0.audience", audience.as_str())
            .set("server.url", url.as_str())
            .start()
            .await;
        let does = Arc::new(Mutex::new(Does::WhatItShould));
        let tls = certificate.map(Certificate::acceptor);
        let proxy = tokio::spawn(serve(listener, tls, server.address.to_string(), Arc::clone(&does)));
        let environment = vec![
            ("AUTH0_ISSUER", tenant.issuer().to_owned()),
            ("AUTH0_AUDIENCE", audience),
            ("FASTMCP__SERVER__URL", url.clone()),
        ];
        let proxy = AbortOnDropHandle::new(proxy);
        Self { tenant, url, does, environment, _server: server, _proxy: proxy }
    }

    /// What is found while the proxy does this.
    async fn found_while(&self, does: Does) -> Vec<(String, String)> {
        *self.does.lock().unwrap() = does;
        self.found().await
    }

    async fn found(&self) -> Vec<(String, String)> {
        self.found_with(&[]).await
    }

    /// What is found: the checks' names and the findings' ids. The exit code says whether there is a problem.
    async fn found_with(&self, more: &[(&'static str, &str)]) -> Vec<(String, String)> {
        let output = tokio::process::Command::new(binary())
            .args(["check", "--online", "--json"])
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .envs(more.iter().copied())
            .current_dir(tempfile::tempdir().unwrap().path())
            .output()
            .await
            .unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = document["online"].as_array().unwrap();
        let findings = checks.iter().filter(|check| check["outcome"] == "finding");
        let is_problem = findings.clone().any(|finding| finding["severity"] == "problem");
        assert_eq!(output.status.code(), Some(i32::from(is_problem)), "{checks:?}");
        let part = |check: &Value, name: &str| check[name].as_str().unwrap().to_owned();
        findings.map(|check| (part(check, "name"), part(check, "id"))).collect()
    }
}

/// A tenant that announces all that clients want.
async fn tenant() -> Arc<LocalTenant> {
    // No token is issued, so the API is any.
    let mut options = Options::default().with_api_identifier("urn:api");
    options.authorization_response_iss_parameter_supported = true;
    Arc::new(LocalTenant::start(options).await.unwrap())
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, server: String, does: Arc<Mutex<Does>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        match &tls {
            None => answer(stream, &server, &does).await,
            // Who does not trust the certificate breaks off.
            Some(tls) => {
                if let Ok(stream) = tls.accept(stream).await {
                    answer(stream, &server, &does).await;
                }
            }
        }
    }
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, server: &str, does: &Mutex<Does>) {
    let service = service_fn(async |request| {
        let does = *does.lock().unwrap();
        Ok::<_, Infallible>(forward(request, server, does).await)
    });
    let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn forward(request: Request<Incoming>, server: &str, does: Does) -> Response<Full<Bytes>> {
    let is_metadata = request.uri().path().starts_with("/.well-known/");
    let own = |status: u16, body: &'static str| {
        Response::builder().status(status).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
    };
    match does {
        Does::Redirect => {
            let mut redirect = own(301, "");
            redirect.headers_mut().insert(LOCATION, HeaderValue::from_static("https://elsewhere.test/"));
            return redirect;
        }
        Does::HaveNoUpstream => return own(502, "bad gateway"),
        Does::AnswerMetadataWithAPage if is_metadata => return own(200, "<!doctype html>"),
        Does::LetEveryoneIn if !is_metadata => return own(200, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
        Does::AskForItsOwnPassword => {
            let mut challenge = own(401, "");
            challenge
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"proxy\""));
            return challenge;
        }
        _ => {}
    }
    let (mut head, body) = request.into_parts();
    if does == Does::RewriteHosts {
        head.headers.insert(HOST, HeaderValue::from_static("backend.test"));
    }
    if does == Does::AddTheWrongPath {
        head.uri = format!("/app{}", head.uri.path()).parse().unwrap();
    }
    let body = Full::new(body.collect().await.unwrap().to_bytes());
    let stream = TcpStream::connect(server).await.unwrap();
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
    let _connection = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
    let (mut head, body) = sender.send_request(Request::from_parts(head, body)).await.unwrap().into_parts();
    if does == Does::StripChallenges {
        head.headers.remove(WWW_AUTHENTICATE);
    }
    Response::from_parts(head, Full::new(body.collect().await.unwrap().to_bytes()))
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.map(|(name, id)| (name.to_owned(), id.to_owned())).into()
}

#[tokio::test]
async fn nothing_is_found_where_clients_see_what_the_server_sends() {
    let deployment = Deployment::start().await;
    assert_eq!(deployment.found().await, []);
}

#[tokio::test]
async fn this_machine_is_never_asked_through_a_proxy() {
    let deployment = Deployment::start().await;
    // It never answers.
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", proxy.local_addr().unwrap());
    let names = ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
    assert_eq!(deployment.found_with(&names.map(|name| (name, url.as_str()))).await, []);
}

#[tokio::test]
async fn what_a_new_tenant_lacks_is_a_warning() {
    let options = Options::default().with_api_identifier("urn:api");
    let tenant = Arc::new(LocalTenant::start(options).await.unwrap());
    let deployment = Deployment::start_at(&tenant, None).await;
    assert_eq!(deployment.found().await, pairs([("response_issuer", "response_issuer_missing")]));
}

#[tokio::test]
async fn what_a_proxy_does_wrong_is_found() {
    let deployment = Deployment::start().await;
    for (does, expected) in [
        (Does::StripChallenges, pairs([("challenge", "challenge_missing")])),
        (Does::RewriteHosts, pairs([("endpoint", "wrong_host"), ("metadata", "metadata_missing")])),
        (
            Does::Redirect,
            pairs([
                ("endpoint", "endpoint_redirects"),
                ("metadata", "metadata_missing"),
                ("metadata_of_host", "root_unreadable"),
            ]),
        ),
        (Does::HaveNoUpstream, pairs([("endpoint", "no_upstream"), ("metadata", "metadata_missing")])),
        (Does::AddTheWrongPath, pairs([("endpoint", "wrong_path"), ("metadata", "metadata_missing")])),
        (
            Does::AnswerMetadataWithAPage,
            pairs([("metadata", "metadata_unreadable"), ("metadata_of_host", "root_unreadable")]),
        ),
        (Does::LetEveryoneIn, pairs([("endpoint", "not_protected")])),
        (
            Does::AskForItsOwnPassword,
            pairs([("challenge", "challenge_of_other"), ("metadata", "metadata_missing")]),
        ),
    ] {
        assert_eq!(deployment.found_while(does).await, expected, "{does:?}");
    }
}

#[tokio::test]
async fn a_server_that_runs_with_another_configuration_is_found() {
    let deployment = Deployment::start().await;
    let scopes = [("FASTMCP__TOOLS__GREET__SCOPES", "say:hello")];
    assert_eq!(
        deployment.found_with(&scopes).await,
        pairs([("challenge_scopes", "challenge_scopes"), ("metadata_content", "metadata_differs")])
    );
    let audience = [("AUTH0_AUDIENCE", "urn:other")];
    assert_eq!(deployment.found_with(&audience).await, pairs([("metadata_resource", "metadata_resource")]));
    let by_another_name = deployment.url.replace("127.0.0.1", "localhost");
    let found = deployment.found_with(&[("FASTMCP__SERVER__URL", &by_another_name)]).await;
    assert_eq!(
        found,
        pairs([("challenge", "challenge_metadata"), ("metadata_resource", "resource_not_covering")])
    );
}

#[tokio::test]
async fn every_further_endpoint_is_asked_as_well() {
    let deployment = Deployment::start().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let found = deployment.found_with(&[("FASTMCP__ENDPOINTS__INTERNAL__URL", &gone)]).await;
    assert_eq!(found, pairs([("endpoint", "connection_refused")]));
}

#[tokio::test]
async fn what_is_wrong_at_the_tenant_is_found() {
    let deployment = Deployment::start().await;
    let tenant = &deployment.tenant;
    for (keys, expected) in [
        (KeysAnswer::Status { status: 500 }, "keys_refused"),
        (KeysAnswer::Garbage, "keys_unreadable"),
        (KeysAnswer::Empty, "keys_unusable"),
        (KeysAnswer::Huge, "too_long"),
    ] {
        tenant.inject(&Fault::Keys(keys));
        assert_eq!(deployment.found().await, pairs([("keys", expected)]), "{keys:?}");
    }
    tenant.inject(&Fault::Reset);
    for (ahead_seconds, expected) in [(3600, "clock_behind"), (-3600, "clock_ahead")] {
        tenant.inject(&Fault::Clock { ahead_seconds });
        assert_eq!(deployment.found().await, pairs([("clock", expected)]));
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    let deployment = Deployment::start().await;
    deployment.tenant.inject(&Fault::Clock { ahead_seconds: 60 });
    assert_eq!(deployment.found().await, pairs([("clock", "clock_behind")]));
    assert_eq!(deployment.found_with(&[("FASTMCP__TOKENS__LEEWAY_SECONDS", "60")]).await, []);
}

#[tokio::test]
async fn a_domain_that_is_not_the_issuer_is_found() {
    let deployment = Deployment::start().await;
    let domain = format!("http://localhost:{}/", deployment.tenant.port());
    let further = [("FASTMCP__AUTH0__ADDITIONAL_ISSUERS", domain.as_str())];
    assert_eq!(deployment.found_with(&further).await, pairs([("additional_issuer", "additional_issuer")]));
    let main = [("AUTH0_ISSUER", domain.as_str())];
    let found = deployment.found_with(&main).await;
    assert_eq!(
        found,
        pairs([
            ("issuer", "issuer_differs"),
            ("keys_url", "keys_url_differs"),
            ("metadata_issuer", "metadata_issuer")
        ])
    );
    deployment.tenant.inject(&Fault::SecondIssuer { on: true });
    assert_eq!(deployment.found_with(&further).await, []);
    assert_eq!(deployment.found_with(&main).await, pairs([("metadata_issuer", "metadata_issuer")]));
}

/// A self-signed certificate.
struct Certificate {
    key: KeyPair,
    made: rcgen::Certificate,
    folder: tempfile::TempDir,
}

impl Certificate {
    fn new(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut parameters);
        let made = parameters.self_signed(&key).unwrap();
        Self { key, made, folder: tempfile::tempdir().unwrap() }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![self.made.der().clone()],
                PrivateKeyDer::Pkcs8(self.key.serialize_der().into()),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// A file to be named in `SSL_CERT_FILE`, which makes the certificate a trusted one.
    fn file(&self) -> String {
        let path = self.folder.path().join("ca.pem");
        std::fs::write(&path, self.made.pem()).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_found() {
    let tenant = tenant().await;
    let found_behind = async |certificate: &Certificate| {
        let deployment = Deployment::start_at(&tenant, Some(certificate)).await;
        deployment.found_with(&[("SSL_CERT_FILE", &certificate.file())]).await
    };
    let good = Certificate::new("localhost", |_| {});
    assert_eq!(found_behind(&good).await, []);
    let expired = Certificate::new("localhost", |parameters| {
        parameters.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    assert_eq!(found_behind(&expired).await, pairs([("endpoint", "certificate_expired")]));
    let early = Certificate::new("localhost", |parameters| {
        parameters.not_before = rcgen::date_time_ymd(3001, 1, 1);
    });
    assert_eq!(found_behind(&early).await, pairs([("endpoint", "certificate_not_yet_valid")]));
    let other_name = Certificate::new("other.test", |_| {});
    assert_eq!(found_behind(&other_name).await, pairs([("endpoint", "certificate_other_name")]));

    let deployment = Deployment::start_at(&tenant, Some(&good)).await;
    let found = deployment.found_with(&[("SSL_CERT_FILE", &other_name.file())]).await;
    assert_eq!(found, pairs([("endpoint", "certificate_unknown_issuer")]));
    let authority = Certificate::new("localhost", |parameters| {
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    assert_eq!(found_behind(&authority).await, pairs([("endpoint", "certificate_unknown_issuer")]));

    let plain = Deployment::start_at(&tenant, None).await;
    let url = plain.url.replace("http://127.0.0.1", "https://localhost");
    let found = plain.found_with(&[("FASTMCP__SERVER__URL", &url), ("SSL_CERT_FILE", &good.file())]).await;
    assert_eq!(found, pairs([("endpoint", "not_tls")]));
}

#[test]
fn people_read_what_is_seen_what_users_meet_and_how_to_mend_it() {
    let dev = Dev::start();
    let issuer = format!("http://127.0.0.1:{}/", dev.tenant_port());
    let port = dev.address().rsplit(':').next().unwrap().to_owned();
    let check = |port: &str| {
        let environment = [("AUTH0_ISSUER", &*issuer), ("AUTH0_AUDIENCE", dev.endpoint()), ("PORT", port)];
        let output = run(&["check", "--online"], &environment);
        (output.status.code(), text(&output.stdout))
    };
    let (code, said) = check(&port);
    assert_eq!(code, Some(0), "{said}");
    let online = said.split("\nwhat clients see\n").nth(1).unwrap();
    assert!(online.contains(&format!("\n{}\n  ok       transport: ", dev.endpoint())), "{online}");
    assert!(online.contains("  ok       challenge: it leads to the metadata\n"), "{online}");
    assert!(!online.contains("warning") && !online.contains("problem"), "{online}");

    // The tenant's own port: no MCP server is there.
    let (code, said) = check(dev.tenant_port());
    assert_eq!(code, Some(1), "{said}");
    let finding = "\n  problem  endpoint: the answer is 404: ";
    let lines: Vec<&str> = said.split(finding).nth(1).unwrap().lines().collect();
    assert!(lines[0].ends_with("(wrong_path)"), "{said}");
    assert!(lines[1].starts_with("             users meet: "), "{said}");
    assert!(lines[2].starts_with("             mend: "), "{said}");
    assert!(said.contains("\n  unknown  challenge: the answer is not 401\n"), "{said}");
}
