//! What is asked, and which answers to it are right.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Version};
use serde_json::{Value, json};

use crate::scene::{Certainty, Scene};

/// A kind of request; each has a row in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    List,
    Greet,
    Whoami,
    UserWhoami,
    UserGreets,
    PoorGreets,
    FreshKey,
    RevokedKey,
    NoToken,
    Expired,
    WrongAudience,
    Tampered,
    UnknownKid,
    Malformed,
    TooBig,
    SlowBody,
    TooSlow,
    GoneMidRequest,
    GoneMidStream,
}

impl Kind {
    /// Those that are one request and one answer, in the proportion in which they are sent.
    pub(crate) const MIX: [Self; 20] = [
        Self::List,
        Self::Greet,
        Self::Whoami,
        Self::UserWhoami,
        Self::NoToken,
        Self::Greet,
        Self::UserGreets,
        Self::FreshKey,
        Self::Expired,
        Self::Whoami,
        Self::RevokedKey,
        Self::Malformed,
        Self::Greet,
        Self::PoorGreets,
        Self::WrongAudience,
        Self::List,
        Self::Tampered,
        Self::FreshKey,
        Self::UnknownKid,
        Self::UserWhoami,
    ];

    /// What the honest clients beside the attacks send, in the same way.
    pub(crate) const HONEST: [Self; 4] = [Self::List, Self::Greet, Self::Whoami, Self::UserWhoami];

    /// The statuses that are right in a scene.
    fn right(self, scene: &Scene) -> &'static [u16] {
        let certain = scene.issuer == Certainty::Yes;
        match self {
            Self::List | Self::Whoami | Self::UserWhoami | Self::GoneMidStream => &[200],
            Self::Greet | Self::SlowBody => match scene.greet {
                Certainty::Yes => &[200],
                Certainty::No => &[403],
                Certainty::Either => &[200, 403],
            },
            Self::FreshKey if scene.fresh == Certainty::Yes => &[200],
            Self::FreshKey => &[200, 503],
            Self::RevokedKey if scene.revoked == Certainty::Either => &[200, 401, 503],
            Self::RevokedKey | Self::UnknownKid if !certain => &[401, 503],
            Self::NoToken
            | Self::Expired
            | Self::WrongAudience
            | Self::Tampered
            | Self::RevokedKey
            | Self::UnknownKid => &[401],
            Self::UserGreets | Self::PoorGreets => &[403],
            Self::Malformed => &[400],
            Self::TooBig => &[413],
            Self::TooSlow => &[408],
            Self::GoneMidRequest => &[],
        }
    }

    const fn tool(self) -> Option<&'static str> {
        match self {
            Self::List | Self::FreshKey | Self::RevokedKey | Self::GoneMidStream => None,
            Self::Whoami | Self::UserWhoami => Some("whoami"),
            _ => Some("greet"),
        }
    }
}

/// The protocol's two eras.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

impl Era {
    const fn version(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }
}

/// One request: its number chooses era and token.
pub(crate) struct Ask {
    pub(crate) kind: Kind,
    era: Era,
    token: Option<String>,
}

impl Ask {
    /// The request of this kind and number; of another kind where the scene has no token for it.
    pub(crate) fn new(kind: Kind, number: usize, scene: &Scene) -> Self {
        let tokens = &scene.tokens;
        let kind = if kind == Kind::RevokedKey && tokens.revoked.is_empty() { Kind::List } else { kind };
        let one = |pool: &[String]| pool.get(number % pool.len().max(1)).cloned();
        let token = match kind {
            Kind::NoToken => None,
            Kind::UserWhoami | Kind::UserGreets => one(&tokens.user),
            Kind::PoorGreets => one(&tokens.poor),
            Kind::FreshKey => one(&tokens.fresh),
            Kind::RevokedKey => one(&tokens.revoked),
            Kind::Expired => one(&tokens.expired),
            Kind::WrongAudience => one(&tokens.foreign),
            Kind::Tampered => one(&tokens.admin).map(|token| tampered(&token)),
            Kind::UnknownKid => one(&tokens.admin).map(|token| strange(&token, number)),
            _ => one(&tokens.admin),
        };
        // Only the modern era has streams to leave.
        let is_modern = kind == Kind::GoneMidStream || !(number / Kind::MIX.len()).is_multiple_of(2);
        Self { kind, era: if is_modern { Era::Modern } else { Era::Legacy }, token }
    }

    const fn method(&self) -> &'static str {
        match (self.kind, self.kind.tool()) {
            (Kind::GoneMidStream, _) => "subscriptions/listen",
            (_, Some(_)) => "tools/call",
            (_, None) => "tools/list",
        }
    }

    /// The body; what is malformed ends in the middle.
    pub(crate) fn body(&self) -> String {
        let mut params = match self.kind.tool() {
            Some("greet") => json!({"name": "greet", "arguments": {"name": "Ada"}}),
            Some(tool) => json!({"name": tool, "arguments": {}}),
            None if self.kind == Kind::GoneMidStream => json!({"notifications": {"toolsListChanged": true}}),
            None => json!({}),
        };
        if self.era == Era::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.era.version(),
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": self.method(), "params": params}).to_string();
        if self.kind == Kind::Malformed { body[..body.len() / 2].to_owned() } else { body }
    }

    /// The header fields but for `Host` and the length.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("content-type", "application/json".to_owned()),
            ("accept", "application/json, text/event-stream".to_owned()),
            ("mcp-protocol-version", self.era.version().to_owned()),
        ];
        fields.extend(self.token.as_ref().map(|token| ("authorization", format!("Bearer {token}"))));
        if self.era == Era::Modern {
            fields.push(("mcp-method", self.method().to_owned()));
            fields.extend(self.kind.tool().map(|tool| ("mcp-name", tool.to_owned())));
        }
        fields
    }

    /// For hyper.
    ///
    /// # Errors
    /// A field that is none.
    pub(crate) fn request(&self, version: Version) -> anyhow::Result<Request<Full<Bytes>>> {
        let request = if version == Version::HTTP_2 {
            Request::post("http://localhost/mcp").version(version)
        } else {
            Request::post("/mcp").header("host", "localhost")
        };
        let request =
            self.fields().into_iter().fold(request, |request, field| request.header(field.0, field.1));
        Ok(request.body(Full::from(self.body()))?)
    }

    /// The head as bytes, for a body of this length.
    pub(crate) fn head(&self, length: usize) -> String {
        let fields: Vec<String> =
            self.fields().iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n{}\r\n",
            fields.concat()
        )
    }

    /// Whether the answer is right, now or when the question was asked.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn judge(&self, answer: &Answer, before: &Scene, after: &Scene) -> Result<(), String> {
        let (first, then) = (self.kind.right(before), self.kind.right(after));
        if !first.contains(&answer.status) && !then.contains(&answer.status) {
            let text = String::from_utf8_lossy(&answer.body).chars().take(160).collect::<String>();
            return Err(format!("{} where {first:?} {then:?} are right: {text}", answer.status));
        }
        let is_well_formed = match answer.status {
            200 => self.is_result(&answer.body),
            400 => json(&answer.body)["error"]["code"] == -32700,
            401 | 403 => answer.challenge && json(&answer.body)["error"].is_string(),
            503 => answer.retry_after && json(&answer.body)["error"] == "temporarily_unavailable",
            _ => json(&answer.body)["error"].is_string(),
        };
        let wrong = || format!("a wrong {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        is_well_formed.then_some(()).ok_or_else(wrong)
    }

    fn is_result(&self, body: &[u8]) -> bool {
        if self.kind == Kind::GoneMidStream {
            return String::from_utf8_lossy(body).contains("notifications/subscriptions/acknowledged");
        }
        let answer = json(body);
        let (result, content) = (&answer["result"], &answer["result"]["structuredContent"]);
        let is_right = match self.kind.tool() {
            None => result["tools"]
                .as_array()
                .is_some_and(|tools| tools.iter().any(|tool| tool["name"] == "whoami")),
            Some("whoami") => content["user"]["sub"] == self.subject(),
            Some(_) => content["greeting"] == "Hello, Ada (auth0|local-admin)!",
        };
        answer["id"] == 7 && is_right
    }

    const fn subject(&self) -> &'static str {
        if matches!(self.kind, Kind::UserWhoami) { "auth0|local-user" } else { "auth0|local-admin" }
    }
}

/// What is looked at of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: bool,
    pub(crate) challenge: bool,
    /// The server closes the connection after it.
    pub(crate) closes: bool,
    pub(crate) body: Bytes,
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// One letter of the signature is another.
fn tampered(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap_or_default();
    let other = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{other}{}", signature.get(1..).unwrap_or_default())
}

/// A `kid` that nobody published: every third time one that was never seen before.
fn strange(token: &str, number: usize) -> String {
    let kid = if number.is_multiple_of(3) { format!("new-{number}") } else { "known".into() };
    with_kid(token, &kid)
}

/// The token under another `kid`.
pub(crate) fn with_kid(token: &str, kid: &str) -> String {
    let (head, rest) = token.split_once('.').unwrap_or_default();
    let mut head = json(&URL_SAFE_NO_PAD.decode(head).unwrap_or_default());
    head["kid"] = kid.into();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(head.to_string()))
}
