//! From the payload of a proved token to [`Claims`]: JSON types are judged here, values in the domain.
//!
//! One rule for every claim: an optional claim that is `null` is absent, and any other JSON type than the specified one is
//! refused by name. The exception is `cnf`: it binds the token whatever its value, since a reader that takes `null` for
//! absence where the issuer did not would accept a stolen token. `jsonwebtoken`'s own checks of exp, nbf and aud are not
//! used, on purpose: the domain judges those, with its clock, so that a fake verifier can exercise every rejection.
//!
//! [`read`] knows the claims that RFC 7519, RFC 9068, RFC 8693 and OpenID Connect define. A provider's own are named by its
//! [`OwnClaims`], kept in the same pass, and read with [`optional`] and the types below it:
//!
//! ```
//! use domain::{Claims, ScopeSet, Untrusted};
//! use jwks_verifier::claims::{self, OwnClaims, optional};
//! use serde_json::Value;
//!
//! #[derive(Default)]
//! struct Own {
//!     scp: Option<Value>,
//! }
//!
//! impl OwnClaims for Own {
//!     fn slot(&mut self, name: &str) -> Option<&mut Option<Value>> {
//!         (name == "scp").then_some(&mut self.scp)
//!     }
//! }
//!
//! fn read(payload: &[u8], token_type: Option<String>) -> Result<Claims, Untrusted> {
//!     let (mut claims, own) = claims::read::<Own>(payload, token_type)?;
//!     let scopes = optional("scp", own.scp, claims::texts)?.unwrap_or_default();
//!     claims.scope = ScopeSet::granted_by(scopes.iter().map(String::as_str));
//!     Ok(claims)
//! }
//!
//! let payload = br#"{"iss":"https://t/","aud":"api","exp":100,"sub":"u","scp":["a","b"]}"#;
//! assert_eq!(read(payload, None).unwrap().scope.to_string(), "a b");
//! ```

use domain::{Actor, Claims, CustomClaims, ExtraClaims, ScopeSet, UnixSeconds, Untrusted};
use serde_json::{Number, Value};
use syntax::strict_json::{self, Fault, Json, Members, Unread};

pub use crate::jws::MAX_DEPTH;

/// The claims that one provider defines.
pub trait OwnClaims: Default {
    /// Returns where the claim of that name is kept; `None` for a claim that is not the provider's own. It takes
    /// precedence, so a provider can also read a registered claim in its own way, except `cnf`.
    fn slot(&mut self, name: &str) -> Option<&mut Option<Value>>;
}

/// No claims but the registered ones.
impl OwnClaims for () {
    fn slot(&mut self, _: &str) -> Option<&mut Option<Value>> {
        None
    }
}

/// Reads the registered claims, and keeps the provider's own.
///
/// Strict JSON only: with duplicate members, one token could mean two things, to a gateway and to this server.
///
/// # Errors
/// [`Untrusted`], if a claim is missing or has the wrong type, or the payload is no such JSON.
pub fn read<O: OwnClaims>(payload: &[u8], token_type: Option<String>) -> Result<(Claims, O), Untrusted> {
    let Ok(Json::Object(wire)) = strict_json::read::<WireClaims<O>>(payload, MAX_DEPTH) else {
        return Err(Untrusted::Malformed);
    };
    let scope = optional("scope", wire.scope, text)?.unwrap_or_default();
    let claims = Claims {
        token_type,
        issuer: required("iss", wire.iss, text)?,
        audience: required("aud", wire.aud, text_or_texts)?,
        expires_at: required("exp", wire.exp, number)?.floor(),
        subject: required("sub", wire.sub, text)?,
        not_before: optional("nbf", wire.nbf, number)?.map(|date| date.ceil()),
        issued_at: optional("iat", wire.iat, number)?.map(|date| date.ceil()),
        client_id: optional("client_id", wire.client_id, text)?,
        authorized_party: None,
        scope: ScopeSet::granted_by(scope.split(' ')),
        permissions: ScopeSet::EMPTY,
        name: optional("name", wire.name, text)?,
        email: optional("email", wire.email, text)?,
        organization_id: None,
        token_id: optional("jti", wire.jti, text)?,
        sender_constrained: wire.has_cnf,
        extra: wire.extra.map(|extra| extra_claims(*extra)).transpose()?,
    };
    Ok((claims, wire.own))
}

fn extra_claims(wire: WireExtra) -> Result<Box<ExtraClaims>, Untrusted> {
    Ok(Box::new(ExtraClaims {
        organization_name: None,
        actors: optional("act", wire.act, actors)?.unwrap_or_default(),
        authentication_context: optional("acr", wire.acr, text)?,
        authentication_methods: optional("amr", wire.amr, |value| few(texts(value)?))?.unwrap_or_default(),
        authenticated_at: optional("auth_time", wire.auth_time, number)?.map(|date| date.floor()),
        grant_types: Vec::new(),
        custom: wire.custom,
    }))
}

/// The claims as they are, each read under its own name afterwards, so that an error can say which one is at fault.
#[derive(Default)]
struct WireClaims<O> {
    iss: Option<Value>,
    aud: Option<Value>,
    exp: Option<Value>,
    sub: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    client_id: Option<Value>,
    scope: Option<Value>,
    name: Option<Value>,
    email: Option<Value>,
    jti: Option<Value>,
    has_cnf: bool,
    extra: Option<Box<WireExtra>>,
    own: O,
}

/// Claims that few tokens carry, in a box so that the other tokens need no memory for them.
#[derive(Default)]
struct WireExtra {
    act: Option<Value>,
    acr: Option<Value>,
    amr: Option<Value>,
    auth_time: Option<Value>,
    custom: CustomClaims,
}

impl<'a, O: OwnClaims> Members<'a> for WireClaims<O> {
    fn take(&mut self, name: &str, value: Unread<'_, 'a>) -> Result<(), Fault> {
        if name == "cnf" {
            self.has_cnf = true;
            return value.skip();
        }
        if let Some(slot) = self.own.slot(name) {
            *slot = Some(value.value()?);
            return Ok(());
        }
        let slot = match name {
            "iss" => &mut self.iss,
            "aud" => &mut self.aud,
            "exp" => &mut self.exp,
            "sub" => &mut self.sub,
            "nbf" => &mut self.nbf,
            "iat" => &mut self.iat,
            "client_id" => &mut self.client_id,
            "scope" => &mut self.scope,
            "name" => &mut self.name,
            "email" => &mut self.email,
            "jti" => &mut self.jti,
            "act" => &mut self.extra().act,
            "acr" => &mut self.extra().acr,
            "amr" => &mut self.extra().amr,
            "auth_time" => &mut self.extra().auth_time,
            _ if CustomClaims::is_name(name) => {
                self.extra().custom.insert(name, value.raw()?.get());
                return Ok(());
            }
            _ => return value.skip(),
        };
        *slot = Some(value.value()?);
        Ok(())
    }
}

impl<O> WireClaims<O> {
    fn extra(&mut self) -> &mut WireExtra {
        self.extra.get_or_insert_default()
    }
}

/// Reads a claim that may be absent or null.
///
/// # Errors
/// [`Untrusted::InvalidClaim`] with the name, if it has the wrong type.
pub fn optional<T>(
    name: &'static str,
    claim: Option<Value>,
    read: impl FnOnce(Value) -> Option<T>,
) -> Result<Option<T>, Untrusted> {
    let claim = claim.filter(|value| !value.is_null());
    claim.map(|value| read(value).ok_or(Untrusted::InvalidClaim(name))).transpose()
}

/// Reads a claim that must be there.
///
/// # Errors
/// [`Untrusted::MissingClaim`] or [`Untrusted::InvalidClaim`] with the name.
pub fn required<T>(
    name: &'static str,
    claim: Option<Value>,
    read: impl FnOnce(Value) -> Option<T>,
) -> Result<T, Untrusted> {
    let claim = claim.ok_or(Untrusted::MissingClaim(name))?;
    read(claim).ok_or(Untrusted::InvalidClaim(name))
}

/// Returns a string.
#[must_use]
pub fn text(value: Value) -> Option<String> {
    if let Value::String(text) = value { Some(text) } else { None }
}

/// Returns an array of strings.
#[must_use]
pub fn texts(value: Value) -> Option<Vec<String>> {
    if let Value::Array(values) = value { values.into_iter().map(text).collect() } else { None }
}

/// Returns an array of strings; a string counts as one of a single item.
#[must_use]
pub fn text_or_texts(value: Value) -> Option<Vec<String>> {
    if value.is_string() { text(value).map(|one| vec![one]) } else { texts(value) }
}

/// Returns the strings if there are no more than [`ExtraClaims::MAX_VALUES`].
#[must_use]
pub fn few(texts: Vec<String>) -> Option<Vec<String>> {
    (texts.len() <= ExtraClaims::MAX_VALUES).then_some(texts)
}

/// Returns a number as a date.
fn number(value: Value) -> Option<NumericDate> {
    if let Value::Number(number) = value { Some(NumericDate(number)) } else { None }
}

/// The chain of an `act` claim (RFC 8693 section 4.1), the current actor first.
fn actors(value: Value) -> Option<Vec<Actor>> {
    let mut actors = Vec::new();
    let mut next = Some(value);
    while let Some(value) = next {
        let Value::Object(mut members) = value else { return None };
        if actors.len() == Actor::MAX_CHAIN {
            return None;
        }
        next = members.remove("act").filter(|value| !value.is_null());
        actors.push(Actor {
            subject: text(members.remove("sub")?)?,
            client_id: optional("act", members.remove("client_id"), text).ok()?,
            issuer: optional("act", members.remove("iss"), text).ok()?,
        });
    }
    Some(actors)
}

/// A `NumericDate` (RFC 7519 section 2), which may have a fraction. `exp` rounds down and `nbf` and `iat` up, so that no
/// token is good for longer than it says. A number outside the range of `i64` becomes the nearest one within.
struct NumericDate(Number);

impl NumericDate {
    fn floor(&self) -> UnixSeconds {
        self.rounded(f64::floor)
    }

    fn ceil(&self) -> UnixSeconds {
        self.rounded(f64::ceil)
    }

    fn rounded(&self, round: fn(f64) -> f64) -> UnixSeconds {
        if let Some(whole) = self.0.as_i64() {
            return UnixSeconds(whole);
        }
        let seconds = round(self.0.as_f64().unwrap_or(f64::NAN));
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
        UnixSeconds(seconds as i64)
    }
}

#[cfg(test)]
mod tests;
