//! `[tokens]`: when a token is acceptable.

use std::time::Duration;

use domain::ScopeAuthority;

use super::context::Context;
use crate::config::key::{Key, Reload, Whole, Words, seconds};
use crate::config::reader::Reader;

static LEEWAY: Key<Whole> = Key::new(
    "tokens.leeway_seconds",
    seconds(0, 300),
    Reload::Applied,
    "how far the tenant's clock may be off; also added to a token's life",
);
static AUTHORITY: Key<Words<ScopeAuthority>> = Key::new(
    "tokens.authority",
    Words(&[
        ("scope", ScopeAuthority::Scope),
        ("permissions", ScopeAuthority::Permissions),
        ("both", ScopeAuthority::Both),
        ("either", ScopeAuthority::Either),
    ]),
    Reload::Applied,
    "which claims grant scopes",
);

pub(super) const KEYS: &[&Key] = &[&LEEWAY, &AUTHORITY];

/// When a token is acceptable.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// How far the issuer's clock may be off ours.
    pub leeway: Duration,
    /// Which claims grant scopes.
    pub authority: ScopeAuthority,
}

pub(super) fn read(read: &mut Reader, _: &Context<'_>) -> Tokens {
    Tokens {
        leeway: read.seconds(&LEEWAY),
        authority: read.choice(&AUTHORITY).unwrap_or(ScopeAuthority::Scope),
    }
}
