//! An issuer's key server on loopback that can rotate, fail, hang and lie, and the keys it signs with.
//!
//! ```ignore
//! let server = KeyServer::start(Answer::keys(&[SigningKey::first().jwk("k1")])).await;
//! let options = Options::for_issuer(&Auth0, &server.issuer())?;
//! let token = SigningKey::first().token("k1", &json!({"iss": ..., "exp": ...}));
//! ```

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaEncoding};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::LOCATION;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

/// Where issuers publish their keys: an Auth0 tenant, and the provider of `identity_provider.rs`.
const KEYS_PATHS: [&str; 2] = ["/.well-known/jwks.json", "/oauth2/keys"];

/// Where [`Answer::Redirect`] points; keys are served there too.
const ELSEWHERE: &str = "/elsewhere";

/// Base64url without padding, as JWS writes it.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// An RSA-2048 key that signs tokens.
pub(crate) struct SigningKey {
    pair: KeyPair,
    modulus: String,
    exponent: String,
}

impl SigningKey {
    /// A key that lives as long as the process: making one takes a while.
    pub(crate) fn first() -> &'static Self {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(Self::generate)
    }

    /// Another one, as after a rotation, or an attacker's.
    pub(crate) fn second() -> &'static Self {
        static KEY: OnceLock<SigningKey> = OnceLock::new();
        KEY.get_or_init(Self::generate)
    }

    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key();
        Self {
            modulus: base64url(public.modulus().big_endian_without_leading_zero()),
            exponent: base64url(public.exponent().big_endian_without_leading_zero()),
            pair,
        }
    }

    /// The public key as Auth0 publishes it, under any `kid`.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": self.modulus, "e": self.exponent})
    }

    /// The public key in DER, for attacks that use it as a secret.
    pub(crate) fn public_der(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A token as Auth0 makes them (RFC 9068 profile).
    pub(crate) fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": kid});
        self.sign(&header.to_string(), &claims.to_string())
    }

    /// A token of exactly this header and payload text, whatever it says.
    pub(crate) fn sign(&self, header: &str, payload: &str) -> String {
        self.sign_parts(&format!("{}.{}", base64url(header), base64url(payload)), &RSA_PKCS1_SHA256)
    }

    /// A token of exactly these encoded parts, signed by any algorithm of the RSA family.
    pub(crate) fn sign_parts(&self, signed: &str, algorithm: &'static dyn RsaEncoding) -> String {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(algorithm, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", base64url(signature))
    }
}

/// What the server answers to a request for keys.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// 200 with a body.
    Body(String),
    /// Another status, with a document of good keys that must not be read.
    Status(u16),
    /// 302 to another path of the same server, which serves keys.
    Redirect,
    /// Nothing until [`KeyServer::set`] says otherwise; then that.
    Hang,
    /// Nothing, whatever [`KeyServer::set`] says later.
    Stall,
}

impl Answer {
    /// A document of these keys.
    pub(crate) fn keys(keys: &[Value]) -> Self {
        Self::Body(json!({ "keys": keys }).to_string())
    }
}

/// What the server has been asked.
#[derive(Debug, Default)]
struct Asked {
    for_keys: usize,
    elsewhere: usize,
    headers: HeaderMap,
}

/// A running key server on its own port; dropping it ends it and its connections.
pub(crate) struct KeyServer {
    port: u16,
    answer: watch::Sender<Answer>,
    asked: Arc<watch::Sender<Asked>>,
    /// Dropping the set aborts what is in it.
    _serving: JoinSet<()>,
}

impl KeyServer {
    /// Starts to serve on 127.0.0.1.
    pub(crate) async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = watch::Sender::new(answer);
        let asked = Arc::new(watch::Sender::default());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, answer.subscribe(), Arc::clone(&asked)));
        Self { port, answer, asked, _serving: serving }
    }

    /// The issuer whose keys these are, with the trailing slash.
    pub(crate) fn issuer(&self) -> Url {
        format!("http://127.0.0.1:{}/", self.port).parse().unwrap()
    }

    /// Answers so from now on; requests that hang are answered so too.
    pub(crate) fn set(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    /// How many requests for keys have come so far.
    pub(crate) fn requests(&self) -> usize {
        self.asked.borrow().for_keys
    }

    /// How many redirects were followed.
    pub(crate) fn redirects_followed(&self) -> usize {
        self.asked.borrow().elsewhere
    }

    /// A header of the last request for keys.
    pub(crate) fn last_header(&self, name: &str) -> Option<String> {
        self.asked.borrow().headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    }

    /// Completes once `count` requests for keys have come in all.
    pub(crate) async fn requested(&self, count: usize) {
        self.asked.subscribe().wait_for(|asked| asked.for_keys >= count).await.unwrap();
    }
}

async fn serve(listener: TcpListener, answer: watch::Receiver<Answer>, asked: Arc<watch::Sender<Asked>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(converse(stream, answer.clone(), Arc::clone(&asked)));
    }
}

async fn converse(stream: TcpStream, answer: watch::Receiver<Answer>, asked: Arc<watch::Sender<Asked>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (answer, asked) = (answer.clone(), Arc::clone(&asked));
        async move { Ok::<_, Infallible>(respond(&request, answer, &asked).await) }
    });
    // A client that hangs up mid-answer is part of some tests.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(
    request: &Request<Incoming>,
    mut answer: watch::Receiver<Answer>,
    asked: &watch::Sender<Asked>,
) -> Response<Full<Bytes>> {
    let good_keys = || Full::from(json!({"keys": [SigningKey::second().jwk("k2")]}).to_string());
    let response = Response::builder();
    if request.uri().path() == ELSEWHERE {
        asked.send_modify(|asked| asked.elsewhere += 1);
        return response.body(good_keys()).unwrap();
    }
    if !KEYS_PATHS.contains(&request.uri().path()) {
        return response.status(StatusCode::NOT_FOUND).body(Full::default()).unwrap();
    }
    asked.send_modify(|asked| {
        asked.for_keys += 1;
        asked.headers = request.headers().clone();
    });
    if matches!(*answer.borrow(), Answer::Stall) {
        std::future::pending::<()>().await;
    }
    let answer = answer.wait_for(|answer| !matches!(answer, Answer::Hang)).await.unwrap().clone();
    match answer {
        Answer::Body(body) => response.body(Full::from(body)),
        Answer::Status(status) => response.status(status).body(good_keys()),
        Answer::Redirect => {
            response.status(StatusCode::FOUND).header(LOCATION, ELSEWHERE).body(Full::default())
        }
        Answer::Hang | Answer::Stall => unreachable!("waited for another answer"),
    }
    .unwrap()
}
