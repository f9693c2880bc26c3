//! What is sent: `tools/call` of `greet` in both eras, with tokens that are one like the other but for their `jti`.

use std::thread;

use anyhow::Context as _;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use local_tenant::{Dialect, LocalTenant, Options, TokenRequest};
use serde_json::{Value, json};

/// The protocol's two eras.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

impl ValueEnum for Era {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::BOTH
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

impl Era {
    pub(crate) const BOTH: [Self; 2] = [Self::Legacy, Self::Modern];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }

    /// A message that calls a tool.
    pub(crate) fn message(self, id: u64, tool: &str, arguments: &Value) -> Value {
        let mut params = json!({"name": tool, "arguments": arguments});
        if self == Self::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.name(),
                "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    }

    /// The header lines that repeat what such a message says.
    pub(crate) fn mirrors(self, tool: &str) -> String {
        match self {
            Self::Legacy => String::new(),
            Self::Modern => format!("mcp-method: tools/call\r\nmcp-name: {tool}\r\n"),
        }
    }

    /// A whole request, as a client of this era sends it.
    pub(crate) fn request(self, token: &str) -> Vec<u8> {
        self.call("greet", token)
    }

    /// The same for another tool.
    pub(crate) fn call(self, tool: &str, token: &str) -> Vec<u8> {
        let body = self.message(7, tool, &json!({"name": "Ada"})).to_string();
        let mirrors = self.mirrors(tool);
        format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             mcp-protocol-version: {}\r\n{mirrors}content-length: {}\r\n\r\n{body}",
            self.name(),
            body.len()
        )
        .into_bytes()
    }

    /// Whether this is the right answer: read once, then compared byte for byte.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check(self, answer: &[u8]) -> anyhow::Result<()> {
        let answer: Value = serde_json::from_slice(answer).context("the answer is not JSON")?;
        let result = &answer["result"];
        let greeted = result["structuredContent"]["greeting"] == "Hello, Ada (auth0|local-admin)!";
        let complete = self == Self::Legacy || result["resultType"] == "complete";
        anyhow::ensure!(answer["id"] == 7 && greeted && complete, "a wrong answer: {answer}");
        Ok(())
    }
}

/// The tenant, whose tokens name their own `jti`, so that no two are the same.
pub(crate) fn tenant_options(audience: &str) -> Options {
    let mut options = Options::default().with_api_identifier(audience);
    options.api.dialect = Dialect::Rfc9068Profile;
    options
}

/// So many valid tokens, no two the same, made on every core.
pub(crate) fn tokens(tenant: &LocalTenant, count: usize) -> anyhow::Result<Vec<String>> {
    let cores = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let share = |core: usize| (count + core) / cores;
        let makers: Vec<_> = (0..cores).map(|core| scope.spawn(move || some(tenant, share(core)))).collect();
        let mut all = Vec::with_capacity(count);
        for maker in makers {
            all.extend(maker.join().map_err(|_| anyhow::anyhow!("a token could not be made"))??);
        }
        Ok(all)
    })
}

fn some(tenant: &LocalTenant, count: usize) -> anyhow::Result<Vec<String>> {
    let request = TokenRequest { user: "admin".into(), scope: None, audience: None };
    (0..count).map(|_| Ok(tenant.issue_token(&request)?.access_token)).collect()
}
