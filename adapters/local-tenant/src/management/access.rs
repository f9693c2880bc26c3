//! Who calls: the access token, and the scopes that it grants.

use serde_json::Value;

use super::PREFIX;
use super::error::ApiError;
use crate::oauth::tenant::Tenant;

/// The scopes of a verified token.
#[derive(Debug)]
pub(super) struct Access {
    scopes: Vec<String>,
}

impl Access {
    /// Verifies the token of the `Authorization` header: its signature, its issuer, its audience and its expiry.
    pub(super) fn of(tenant: &Tenant, authorization: Option<&str>) -> Result<Self, ApiError> {
        let header = authorization.ok_or_else(ApiError::missing_authentication)?;
        let (scheme, token) = header.split_once(' ').ok_or_else(ApiError::missing_authentication)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(ApiError::missing_authentication());
        }
        let claims =
            tenant.issuer.keys().verified_claims(token.trim()).ok_or_else(ApiError::invalid_token)?;
        // The canonical issuer alone: a token works on the domain that issued it, and the audience has no other form.
        let issuer = tenant.issuer.url();
        let audience = format!("{}{PREFIX}", issuer.trim_end_matches('/'));
        let is_current = claims["exp"].as_i64().is_some_and(|exp| tenant.now() < exp);
        if !is_current || claims["iss"] != issuer.as_str() || !has_audience(&claims["aud"], &audience) {
            return Err(ApiError::invalid_token());
        }
        let scope = claims["scope"].as_str().unwrap_or_default();
        Ok(Self { scopes: scope.split(' ').map(str::to_owned).collect() })
    }

    /// Checks that the token grants one of these scopes.
    pub(super) fn require_any(&self, expected: &[&str]) -> Result<(), ApiError> {
        if expected.iter().any(|scope| self.scopes.iter().any(|granted| granted == scope)) {
            return Ok(());
        }
        Err(ApiError::insufficient_scope(expected))
    }

    /// Returns the access of a token with these scopes, for tests.
    #[cfg(test)]
    pub(super) fn to(scopes: &[&str]) -> Self {
        Self { scopes: scopes.iter().map(|&scope| scope.to_owned()).collect() }
    }
}

fn has_audience(audiences: &Value, expected: &str) -> bool {
    match audiences {
        Value::String(audience) => audience == expected,
        Value::Array(audiences) => audiences.iter().any(|audience| audience == expected),
        _ => false,
    }
}
