//! The messages that attacks send: well-formed HTTP with an acceptable head, whatever the body is.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Version};

const MODERN: &str = "2026-07-28";
const LEGACY: &str = "2025-11-25";

/// A body, and the header fields that go with it.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) body: Bytes,
    fields: Vec<(&'static str, &'static str)>,
}

impl Message {
    /// A modern request. `params` are members of `params` as JSON text, `meta` are members of its `_meta`; neither may be
    /// followed by a comma.
    pub(super) fn request_of(
        method: &'static str,
        tool: Option<&'static str>,
        params: &str,
        meta: &str,
    ) -> Self {
        let name = tool.map(|tool| format!(r#""name":"{tool}","#)).unwrap_or_default();
        let comma = |members: &str| if members.is_empty() { "" } else { "," };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{{name}{params}{}"_meta":{{{meta}{}"io.modelcontextprotocol/protocolVersion":"{MODERN}","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#,
            comma(params),
            comma(meta),
        );
        let mut fields = vec![("mcp-protocol-version", MODERN), ("mcp-method", method)];
        fields.extend(tool.map(|tool| ("mcp-name", tool)));
        Self { body: body.into(), fields }
    }

    /// A modern call of a tool.
    pub(super) fn call(tool: &'static str, params: &str) -> Self {
        Self::request_of("tools/call", Some(tool), params, "")
    }

    /// A legacy client's answer to a question that nobody asked. `result` is JSON text.
    pub(super) fn response(result: &str) -> Self {
        let body = format!(r#"{{"jsonrpc":"2.0","id":"7","result":{result}}}"#);
        Self { body: body.into(), fields: vec![("mcp-protocol-version", LEGACY)] }
    }

    fn fields(&self, token: &str) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json, text/event-stream".to_owned()),
            ("authorization", format!("Bearer {token}")),
        ];
        fields.extend(self.fields.iter().map(|(name, value)| (*name, (*value).to_owned())));
        fields
    }

    /// For hyper, with its own body.
    ///
    /// # Errors
    /// A field that is none.
    pub(super) fn request(&self, version: Version, token: &str) -> anyhow::Result<Request<Full<Bytes>>> {
        self.request_with(version, token, Full::from(self.body.clone()))
    }

    /// For hyper, with another body.
    ///
    /// # Errors
    /// A field that is none.
    pub(super) fn request_with<B>(
        &self,
        version: Version,
        token: &str,
        body: B,
    ) -> anyhow::Result<Request<B>> {
        let request = if version == Version::HTTP_2 {
            Request::post("http://localhost/mcp").version(version)
        } else {
            Request::post("/mcp").header("host", "localhost")
        };
        let fields = self.fields(token).into_iter();
        Ok(fields.fold(request, |request, field| request.header(field.0, field.1)).body(body)?)
    }

    /// The HTTP/1.1 head as bytes, for a body of this length.
    pub(super) fn head(&self, token: &str, length: usize) -> String {
        let fields: Vec<String> =
            self.fields(token).iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{}\r\n",
            fields.concat()
        )
    }
}
