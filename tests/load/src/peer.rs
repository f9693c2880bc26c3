//! What stands beside the server when upstreams are measured: an MCP server that does next to nothing, and a bare reverse proxy.
//!
//! `peer serve PORT` answers on 127.0.0.1:PORT as a server of 2025-11-25 with one tool; `peer proxy PORT TO` passes every request
//! on to 127.0.0.1:TO, by hyper and its client alone.

use std::convert::Infallible;

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

#[derive(Parser)]
enum Arguments {
    /// An MCP server
    Serve { port: u16 },
    /// A reverse proxy
    Proxy { port: u16, to: u16 },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse() {
        Arguments::Serve { port } => {
            let listener = TcpListener::bind(("127.0.0.1", port)).await?;
            loop {
                let stream = accept(&listener).await?;
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(serve)));
            }
        }
        Arguments::Proxy { port, to } => {
            let listener = TcpListener::bind(("127.0.0.1", port)).await?;
            let mut connector = HttpConnector::new();
            connector.set_nodelay(true);
            let client: Client<HttpConnector, Incoming> =
                Client::builder(TokioExecutor::new()).build(connector);
            loop {
                let stream = accept(&listener).await?;
                let client = client.clone();
                let service = service_fn(move |request| pass_on(client.clone(), to, request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> anyhow::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn pass_on(
    client: Client<HttpConnector, Incoming>,
    to: u16,
    mut request: Request<Incoming>,
) -> anyhow::Result<Response<Incoming>> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("http://127.0.0.1:{to}{path}").parse::<Uri>().context("no such address")?;
    Ok(client.request(request).await?)
}

async fn serve(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST {
        return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
    }
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let message = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    let Some(message) = message else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    let Some(id) = message.get("id") else {
        return Ok(empty(StatusCode::ACCEPTED));
    };
    let answer = match result(&message) {
        Some(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        None => json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}}),
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn result(message: &Value) -> Option<Value> {
    Some(match message["method"].as_str()? {
        "initialize" => json!({
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "peer", "version": "1"},
        }),
        "ping" => json!({}),
        "tools/list" => json!({"tools": [{
            "name": "hello",
            "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            "annotations": {"readOnlyHint": true},
        }]}),
        "tools/call" => {
            let greeting = format!("Hello, {}!", message["params"]["arguments"]["name"].as_str()?);
            json!({"content": [{"type": "text", "text": greeting}], "structuredContent": {"greeting": greeting}})
        }
        _ => return None,
    })
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = status;
    response
}
