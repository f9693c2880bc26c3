//! The hexagon's one door: authenticate, list, call.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use serde_json::{Map, Value};

use crate::catalog::{CatalogEntry, ToolCatalog};
use crate::policy::{Denied, ScopePolicy};
use crate::principal::{Principal, Rejection, TokenPolicy};
use crate::scope::ScopeSet;
use crate::time::Clock;
use crate::token::{BearerToken, NotReady, TokenVerifier, VerifyError};
use crate::tool::{ToolCall, ToolError, ToolName, ToolOutput, ToolSpec};

/// The ports and policies behind every request.
pub struct Service {
    /// Proves signatures.
    pub verifier: Arc<dyn TokenVerifier>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Judges claims.
    pub tokens: TokenPolicy,
    /// The tools on offer.
    pub catalog: ToolCatalog,
    /// Which scopes they need.
    pub scopes: ScopePolicy,
    /// How long one call may take.
    pub tool_deadline: Duration,
}

/// Why a request has no principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It carries no token.
    #[error("no access token")]
    NoToken,
    /// Its token is not acceptable.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Its token can't be judged at the moment.
    #[error("the issuer's keys are not available")]
    KeysUnavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// Why a call has no output.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No tool has that name.
    #[error("there is no tool of that name")]
    UnknownTool,
    /// The token lacks scopes.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The arguments do not fit the tool's schema; the text says where.
    #[error("invalid arguments: {0}")]
    InvalidArguments(String),
    /// The tool said no.
    #[error(transparent)]
    Failed(#[from] ToolError),
    /// The tool panicked. What it panicked with stays out of the answer.
    #[error("the tool failed unexpectedly")]
    Panicked,
    /// The tool took longer than it may.
    #[error("the tool took longer than {} s", .0.as_secs_f64())]
    DeadlineExceeded(Duration),
    /// The tool's structured result does not fit its own output schema.
    #[error("the tool gave a result that does not fit its output schema")]
    InvalidOutput,
}

impl Service {
    /// Who the bearer of `token` is, at this moment. Admission is never remembered.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn authenticate(&self, token: Option<&BearerToken>) -> Result<Principal, AuthError> {
        let token = token.ok_or(AuthError::NoToken)?;
        let claims = self.verifier.verify(token).await.map_err(|error| match error {
            VerifyError::Untrusted(reason) => AuthError::Rejected(Rejection::Untrusted(reason)),
            VerifyError::KeysUnavailable { retry_after } => AuthError::KeysUnavailable { retry_after },
        })?;
        // After the wait for keys, not before: a token may expire meanwhile.
        Ok(self.tokens.admit(&claims, self.clock.now().seconds())?)
    }

    /// The tools that `who` may call, in the catalog's order.
    pub fn tools_for(&self, who: &Principal) -> impl Iterator<Item = &ToolSpec> {
        self.catalog.specs().filter(|spec| self.scopes.permit(who, &spec.name).is_ok())
    }

    /// Every scope that some tool needs, in the catalog's order.
    #[must_use]
    pub fn all_scopes(&self) -> ScopeSet {
        self.scopes.all_scopes(&self.catalog)
    }

    /// Whether requests can be authenticated now.
    ///
    /// # Errors
    /// [`NotReady`] with the reason.
    pub fn ready(&self) -> Result<(), NotReady> {
        self.verifier.ready()
    }

    /// Calls a tool for `who`.
    ///
    /// # Errors
    /// [`CallError`]. Scopes are judged before arguments: who may not call learns nothing of them.
    pub async fn call(
        &self,
        who: &Principal,
        name: &str,
        arguments: Map<String, Value>,
    ) -> Result<ToolOutput, CallError> {
        let name = ToolName::parse(name).map_err(|_| CallError::UnknownTool)?;
        let entry = self.catalog.entry(&name).ok_or(CallError::UnknownTool)?;
        self.scopes.permit(who, &name)?;
        let arguments = validated(entry, arguments)?;
        let output = self.run(entry, ToolCall::new(who, self.clock.as_ref(), arguments)).await?;
        check_output(entry, &output)?;
        Ok(output)
    }

    async fn run(&self, entry: &CatalogEntry, call: ToolCall<'_>) -> Result<ToolOutput, CallError> {
        let running = AssertUnwindSafe(entry.tool.run(call)).catch_unwind();
        let deadline = self.clock.sleep(self.tool_deadline);
        match select(running, deadline).await {
            Either::Left((Ok(result), _)) => Ok(result?),
            Either::Left((Err(_panic), _)) => Err(CallError::Panicked),
            Either::Right(((), _)) => Err(CallError::DeadlineExceeded(self.tool_deadline)),
        }
    }
}

fn validated(entry: &CatalogEntry, arguments: Map<String, Value>) -> Result<Map<String, Value>, CallError> {
    let arguments = Value::Object(arguments);
    entry.spec.input.validate(&arguments).map_err(CallError::InvalidArguments)?;
    match arguments {
        Value::Object(arguments) => Ok(arguments),
        _ => Ok(Map::new()),
    }
}

/// MCP 2026-07-28, server/tools, "Output Schema": a structured result MUST fit the schema.
fn check_output(entry: &CatalogEntry, output: &ToolOutput) -> Result<(), CallError> {
    let fits = match (&entry.spec.output, &output.structured) {
        (None, _) => true,
        (Some(schema), Some(value)) => schema.is_valid(value),
        (Some(_), None) => false,
    };
    if fits { Ok(()) } else { Err(CallError::InvalidOutput) }
}
