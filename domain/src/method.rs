//! The [`Method`] port: methods of a protocol of the server's own, beside MCP's.

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::context::Context;
use crate::input::Outcome;
use crate::scope::{InvalidScope, ScopeSet};
use crate::tool_error::ToolError;

/// The name of a method, and the scopes that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodSpec {
    name: String,
    /// The scopes that are required to call it.
    pub scopes: ScopeSet,
}

/// Why a method's spec is invalid; for the developer who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MethodSpecError {
    /// Not a name.
    #[error(
        "not a method's name: {0:?}; write a namespace of your own and a name, such as com.example/report, of at most {max} \
         letters, digits and any of _-./",
        max = MethodSpec::MAX_NAME_BYTES
    )]
    Name(String),
    /// Not a scope.
    #[error(transparent)]
    Scope(#[from] InvalidScope),
}

impl MethodSpec {
    /// The maximum length of a name, in bytes.
    pub const MAX_NAME_BYTES: usize = 128;

    /// Creates the spec of a method that asks for no scope. A name is a namespace and more, with slashes between them.
    ///
    /// # Errors
    /// [`MethodSpecError::Name`].
    pub fn new(name: &str) -> Result<Self, MethodSpecError> {
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        if name.len() > Self::MAX_NAME_BYTES || !name.contains('/') || !name.split('/').all(is_part) {
            return Err(MethodSpecError::Name(name.chars().take(Self::MAX_NAME_BYTES).collect()));
        }
        Ok(Self { name: name.to_owned(), scopes: ScopeSet::EMPTY })
    }

    /// Asks for these scopes, all of them.
    ///
    /// # Errors
    /// [`MethodSpecError::Scope`].
    pub fn requires<'a>(
        mut self,
        scopes: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, MethodSpecError> {
        self.scopes = ScopeSet::parse_all(scopes)?;
        Ok(self)
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// A call of [`Method::call`].
#[non_exhaustive]
pub struct MethodCall<'a> {
    /// The caller and its client.
    pub context: Context<'a>,
    /// The members of `params`, without those that are the protocol's: nothing has checked them.
    pub params: &'a Map<String, Value>,
}

/// The result of [`Method::call`]: the members of `result`.
pub type MethodResult = Result<Outcome<Map<String, Value>>, MethodError>;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// The params are not what the method takes; the text says where.
    #[error("invalid arguments: {0}")]
    InvalidParams(String),
    /// The method failed.
    #[error(transparent)]
    Failed(#[from] ToolError),
}

/// The port for every method of the server's own.
#[async_trait]
pub trait Method: Send + Sync {
    /// Returns its spec. Asked once, when the catalog is built.
    ///
    /// # Errors
    /// [`MethodSpecError`]; it stops the start.
    fn spec(&self) -> Result<MethodSpec, MethodSpecError>;

    /// Returns the members of `result`.
    ///
    /// # Errors
    /// [`MethodError`].
    async fn call(&self, call: MethodCall<'_>) -> MethodResult;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_namespace_and_more() {
        for good in ["com.example/report", "acme/reports/list", "a-b_c.d/E2"] {
            assert_eq!(MethodSpec::new(good).unwrap().name(), good);
        }
        let long = format!("a/{}", "b".repeat(MethodSpec::MAX_NAME_BYTES - 1));
        for bad in ["", "report", "/", "/report", "acme/", "acme//x", "acme/x y", "acme/é", "a\n/b", &long] {
            assert!(matches!(MethodSpec::new(bad), Err(MethodSpecError::Name(_))), "{bad}");
        }
        assert!(MethodSpec::new(&long[..MethodSpec::MAX_NAME_BYTES]).is_ok());
        assert!(MethodSpec::new("a/b").unwrap().requires(["a b"]).is_err());
    }
}
