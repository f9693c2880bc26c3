//! What is sent: `tools/call` of `greet` in both eras, with tokens that are one like the other but for their `jti`.

use std::thread;

use anyhow::Context as _;
use clap::ValueEnum;
use clap::builder::PossibleValue;
use local_tenant::{Dialect, LocalTenant, Options, TokenRequest};
use serde_json::{Value, json};

/// The public host of the servers that are measured, as clients name it.
pub(crate) const HOST: &str = "load.example";

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

    /// A message with these params.
    pub(crate) fn message(self, id: u64, method: &str, mut params: Value) -> Value {
        if self == Self::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.name(),
                "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    }

    /// A message that calls a tool.
    pub(crate) fn tool_call(self, id: u64, tool: &str, arguments: &Value) -> Value {
        self.message(id, "tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// The header lines that repeat what a message says.
    pub(crate) fn mirrors(self, method: &str, name: Option<&str>) -> String {
        match self {
            Self::Legacy => String::new(),
            Self::Modern => {
                let name = name.map(|name| format!("mcp-name: {name}\r\n")).unwrap_or_default();
                format!("mcp-method: {method}\r\n{name}")
            }
        }
    }

    /// A whole request, as a client of this era sends it.
    pub(crate) fn request(self, token: &str) -> Vec<u8> {
        self.call("greet", token)
    }

    /// The same for another tool.
    pub(crate) fn call(self, tool: &str, token: &str) -> Vec<u8> {
        self.ask("tools/call", Some(tool), json!({"name": tool, "arguments": {"name": "Ada"}}), token)
    }

    /// A request of any method, for what has this name, if it is for something.
    pub(crate) fn ask(self, method: &str, name: Option<&str>, params: Value, token: &str) -> Vec<u8> {
        self.post(&self.mirrors(method, name), &self.message(7, method, params), token)
    }

    /// Any message, with these header fields besides.
    pub(crate) fn post(self, fields: &str, message: &Value, token: &str) -> Vec<u8> {
        let body = message.to_string();
        format!(
            "POST /mcp HTTP/1.1\r\nhost: {HOST}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             mcp-protocol-version: {}\r\n{fields}content-length: {}\r\n\r\n{body}",
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
    tokens_with(None, tenant, count)
}

/// The same with these scopes, instead of all that there are.
pub(crate) fn tokens_with(
    scope: Option<&str>,
    tenant: &LocalTenant,
    count: usize,
) -> anyhow::Result<Vec<String>> {
    let cores = thread::available_parallelism()?.get();
    thread::scope(|threads| {
        let share = |core: usize| (count + core) / cores;
        let makers: Vec<_> =
            (0..cores).map(|core| threads.spawn(move || some(scope, tenant, share(core)))).collect();
        let mut all = Vec::with_capacity(count);
        for maker in makers {
            all.extend(maker.join().map_err(|_| anyhow::anyhow!("a token could not be made"))??);
        }
        Ok(all)
    })
}

fn some(scope: Option<&str>, tenant: &LocalTenant, count: usize) -> anyhow::Result<Vec<String>> {
    let request = TokenRequest { user: "admin".into(), scope: scope.map(str::to_owned), audience: None };
    (0..count).map(|_| Ok(tenant.issue_token(&request)?.access_token)).collect()
}
