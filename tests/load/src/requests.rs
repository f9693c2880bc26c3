//! What is sent: `tools/call` of `greet` in both eras, with tokens that are one like the other but for their `jti`.

use std::fmt::Write as _;
use std::thread;

use anyhow::Context as _;
use local_tenant::{Dialect, LocalTenant, Options, TokenRequest};
use serde_json::{Value, json};

/// The protocol's two eras.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    Legacy,
    Modern,
}

impl Era {
    pub(crate) const BOTH: [Self; 2] = [Self::Legacy, Self::Modern];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
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
    pub(crate) fn ask(self, method: &str, name: Option<&str>, mut params: Value, token: &str) -> Vec<u8> {
        let mut mirrors = String::new();
        if self == Self::Modern {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": self.name(),
                "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
            mirrors = format!("mcp-method: {method}\r\n");
            if let Some(name) = name {
                let _ = write!(mirrors, "mcp-name: {name}\r\n");
            }
        }
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        self.post(&mirrors, &message, token)
    }

    /// Any message, with these header fields besides.
    pub(crate) fn post(self, fields: &str, message: &Value, token: &str) -> Vec<u8> {
        let body = message.to_string();
        format!(
            "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
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
