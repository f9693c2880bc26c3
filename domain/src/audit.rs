//! Who was let do what, and why not, for whoever has to account for it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::catalog::Catalog;
use crate::policy::ScopePolicy;
use crate::principal::{Principal, ScopeAuthority, TokenPolicy};
use crate::rules::AccessRules;
use crate::scope::{Scope, ScopeSet};
use crate::time::UnixMillis;

/// The port that keeps decisions. [`Auditor::record`] is called amid a request, and must neither block nor panic.
pub trait Auditor: Send + Sync {
    /// Returns whether decisions are kept at all: one that nobody keeps is not even put together.
    fn is_on(&self) -> bool;

    /// Takes a decision down.
    fn record(&self, decision: &Decision<'_>) -> Recording;
}

/// What came of taking a decision down.
pub enum Recording {
    /// The request goes on, whether or not the decision is kept.
    GoesOn,
    /// It can't be kept, and nothing may be done without.
    Failed,
    /// The request waits for it to be kept.
    Waits(Pin<Box<dyn Future<Output = Result<(), NotRecorded>> + Send>>),
}

/// A decision could not be kept, and nothing may be done without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRecorded;

/// A decision about a request. No text in it is a client's, other than the request id, which has an alphabet and a length.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'d> {
    /// When it was made.
    pub at: UnixMillis,
    /// The id of the request in the log.
    pub request_id: &'d str,
    /// Whom it is about; `None` where no token was accepted.
    pub principal: Option<&'d Principal>,
    /// The identifier of the protected resource that was asked for.
    pub audience: &'d str,
    /// MCP's method, or one of the server's own; `None` where no token was accepted, for nothing else of the request was read, and
    /// for a method that there is not, of who asks too often.
    pub method: Option<&'d str>,
    /// The tool, prompt or method by its name, the resource by its URI or template, as the catalog has it; `None` for what is
    /// not in the catalog.
    pub target: Option<&'d str>,
    /// The reason code of a refusal; `None`: it is allowed.
    pub refused: Option<&'static str>,
    /// The scopes that it takes.
    pub needed: Option<&'d ScopeSet>,
    /// The names of the rules that refuse it.
    pub rules: &'d [Arc<str>],
    /// The names of the rules in shadow mode that would refuse it.
    pub would_refuse: &'d [Arc<str>],
    /// The version of the rules that decided.
    pub policy: &'d PolicyVersion,
}

impl Decision<'_> {
    /// Returns the needed scopes that the token does not grant.
    #[must_use]
    pub fn missing(&self) -> ScopeSet {
        match (self.principal, self.needed) {
            (Some(principal), Some(needed)) if !principal.holds_all(needed) => principal.missing(needed),
            _ => ScopeSet::EMPTY,
        }
    }
}

/// An auditor that keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopAuditor;

impl Auditor for NoopAuditor {
    fn is_on(&self) -> bool {
        false
    }

    fn record(&self, _: &Decision<'_>) -> Recording {
        Recording::GoesOn
    }
}

/// The version of the rules in force: equal for equal rules, on every replica and after every restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion(String);

impl PolicyVersion {
    /// Returns the version of rules: when a token is accepted, which scopes imply others, which scopes each tool, resource,
    /// prompt and method takes, and which rules there are beyond scopes.
    #[must_use]
    pub fn of(
        tokens: &TokenPolicy,
        catalog: &Catalog,
        scopes: &ScopePolicy,
        access: Option<&dyn AccessRules>,
    ) -> Self {
        let tools = catalog.tools.iter_from(None);
        let tools = tools.map(|tool| (tool.name().as_str(), scopes.required(tool).map(sorted)));
        let resources = catalog.resources.specs().map(|spec| (spec.address.as_str(), sorted(&spec.scopes)));
        let prompts = catalog.prompts.specs().map(|spec| (spec.name.as_str(), sorted(&spec.scopes)));
        let methods = catalog.methods.specs().map(|spec| (spec.name(), sorted(&spec.scopes)));
        let hierarchy = &tokens.hierarchy;
        let broader = hierarchy.names().into_iter().map(|scope| {
            let broader: Vec<&str> = hierarchy.broader(scope).map(Scope::as_str).collect();
            (scope.as_str(), broader)
        });
        // A list, and maps in alphabetical order: one text for equal rules.
        let mut rules = json!([
            tokens.token_types,
            tokens.issuers,
            texts(&tokens.resources),
            tokens.additional_audiences,
            tokens.leeway.as_secs(),
            match tokens.authority {
                ScopeAuthority::Scope => "scope",
                ScopeAuthority::Permissions => "permissions",
                ScopeAuthority::Both => "both",
                ScopeAuthority::Either => "either",
            },
            broader.collect::<BTreeMap<_, _>>(),
            tools.collect::<BTreeMap<_, _>>(),
            resources.collect::<BTreeMap<_, _>>(),
            prompts.collect::<BTreeMap<_, _>>(),
            methods.collect::<BTreeMap<_, _>>(),
        ]);
        if let (Value::Array(rules), Some(access)) = (&mut rules, access) {
            rules.push(access.document());
        }
        let digest = digest(&SHA256, rules.to_string().as_bytes());
        let first = digest.as_ref().iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        Self(format!("{first:016x}"))
    }

    /// Returns the version as text: hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn sorted(scopes: &ScopeSet) -> Vec<&str> {
    let mut scopes: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
    scopes.sort_unstable();
    scopes
}

fn texts(texts: &[Arc<str>]) -> Vec<&str> {
    texts.iter().map(AsRef::as_ref).collect()
}
