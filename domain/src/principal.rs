//! From claims to a [`Principal`]: the policy that judges a verified token at a moment in time.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::hierarchy::ScopeHierarchy;
use crate::scope::{Scope, ScopeSet};
use crate::time::UnixSeconds;
use crate::token::{Actor, BearerToken, Claims, CustomClaimError, ExtraClaims, Untrusted};
use crate::tool_error::ToolError;

/// The claims that grant scopes.
///
/// With Auth0's RBAC, `scope` is what the user consented to and `permissions` is what the user's roles allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScopeAuthority {
    /// The `scope` claim alone.
    #[default]
    Scope,
    /// The `permissions` claim alone.
    Permissions,
    /// The scopes that are in both claims.
    Both,
    /// The scopes that are in either claim.
    Either,
}

impl ScopeAuthority {
    fn granted(self, claims: &Claims) -> Granted {
        match self {
            Self::Scope => Granted::AsScope,
            Self::Permissions => Granted::AsPermissions,
            Self::Both => Granted::Computed(claims.scope.intersection(&claims.permissions)),
            Self::Either => Granted::Computed(claims.scope.union(&claims.permissions)),
        }
    }
}

/// The subject of an admitted token. Only [`TokenPolicy::admit`] creates one, so holding one proves that it ran. Clones are
/// cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    claims: Arc<Claims>,
    resource: Arc<str>,
    granted: Granted,
    hierarchy: Arc<ScopeHierarchy>,
    /// The token itself, where tokens are exchanged for those of other APIs; for that alone.
    token: Option<Arc<BearerToken>>,
}

/// The scopes that a token grants: those of one claim, or computed from both.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Granted {
    AsScope,
    AsPermissions,
    Computed(ScopeSet),
}

impl Principal {
    /// Returns the `sub` claim, never empty: `auth0|...` for a user, `ID@clients` for a machine.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.claims.subject
    }

    /// Returns the `iss` claim.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.issuer
    }

    /// Returns the OAuth client: `client_id`, or else `azp`.
    #[must_use]
    pub fn client(&self) -> &str {
        self.client_id().or(self.authorized_party()).unwrap_or_default()
    }

    /// Returns the `client_id` claim.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.claims.client_id.as_deref()
    }

    /// Returns the `azp` claim.
    #[must_use]
    pub fn authorized_party(&self) -> Option<&str> {
        self.claims.authorized_party.as_deref()
    }

    /// Returns the `name` claim.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.claims.name.as_deref()
    }

    /// Returns the `email` claim.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.claims.email.as_deref()
    }

    /// Returns the `org_id` claim: the Auth0 organization that the user logged in through.
    #[must_use]
    pub fn organization_id(&self) -> Option<&str> {
        self.claims.organization_id.as_deref()
    }

    /// Returns the `org_name` claim: the name of that organization, if the tenant puts it into tokens.
    #[must_use]
    pub fn organization_name(&self) -> Option<&str> {
        self.extra()?.organization_name.as_deref()
    }

    /// Returns the `act` claim: the party that acts for the subject now (RFC 8693 section 4.1).
    #[must_use]
    pub fn actor(&self) -> Option<&Actor> {
        self.actors().first()
    }

    /// Returns the chain of delegations: the current actor first, then the prior ones, which are for information only.
    #[must_use]
    pub fn actors(&self) -> &[Actor] {
        self.extra().map_or(&[], |extra| &extra.actors)
    }

    /// Returns the `jti` claim: the token's identifier.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.claims.token_id.as_deref()
    }

    /// Returns the `acr` claim: the authentication context class.
    #[must_use]
    pub fn authentication_context(&self) -> Option<&str> {
        self.extra()?.authentication_context.as_deref()
    }

    /// Returns the `amr` claim: how the user authenticated, for example with `mfa`. Empty if it is absent.
    #[must_use]
    pub fn authentication_methods(&self) -> &[String] {
        self.extra().map_or(&[], |extra| &extra.authentication_methods)
    }

    /// Returns the `auth_time` claim: when the user authenticated.
    #[must_use]
    pub fn authenticated_at(&self) -> Option<UnixSeconds> {
        self.extra()?.authenticated_at
    }

    /// Returns the `gty` claim: the grants that the token came from, for example `client-credentials`. Empty if it is absent.
    #[must_use]
    pub fn grant_types(&self) -> &[String] {
        self.extra().map_or(&[], |extra| &extra.grant_types)
    }

    /// Returns the custom claim of that name, an https or http URL, as a `T`; `None` if it is absent or null.
    ///
    /// # Errors
    /// [`CustomClaimError`], also for an absent claim if the token's custom claims are too long to be kept.
    pub fn custom_claim<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CustomClaimError> {
        self.extra().map_or(Ok(None), |extra| extra.custom.get(name))
    }

    fn extra(&self) -> Option<&ExtraClaims> {
        self.claims.extra.as_deref()
    }

    /// Returns the scopes that the token itself grants, by the policy's [`ScopeAuthority`]. To decide whether they suffice, use
    /// [`Principal::holds`].
    #[must_use]
    pub fn scopes(&self) -> &ScopeSet {
        match &self.granted {
            Granted::AsScope => &self.claims.scope,
            Granted::AsPermissions => &self.claims.permissions,
            Granted::Computed(scopes) => scopes,
        }
    }

    /// Returns whether the token grants a scope, itself or by a broader one. Every decision about scopes is made by this.
    #[must_use]
    pub fn holds(&self, scope: &Scope) -> bool {
        let granted = self.scopes();
        granted.contains(scope) || self.hierarchy.implies(granted, scope)
    }

    /// Returns whether the token grants all of these scopes.
    #[must_use]
    pub fn holds_all(&self, required: &ScopeSet) -> bool {
        required.iter().all(|scope| self.holds(scope))
    }

    /// Returns the required scopes that the token does not grant.
    #[must_use]
    pub fn missing(&self, required: &ScopeSet) -> ScopeSet {
        required.iter().filter(|scope| !self.holds(scope)).cloned().collect()
    }

    /// Returns the identifier of the protected resource that it was admitted to.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Returns the `exp` claim, without leeway.
    #[must_use]
    pub fn expires_at(&self) -> UnixSeconds {
        self.claims.expires_at
    }

    /// Keeps the token that it was admitted by.
    pub(crate) fn with_token(self, token: &BearerToken) -> Self {
        Self { token: Some(Arc::new(token.clone())), ..self }
    }

    pub(crate) fn token(&self) -> Option<&BearerToken> {
        self.token.as_deref()
    }

    /// Returns the same principal without its token, for what outlasts the request.
    #[must_use]
    pub fn without_token(self) -> Self {
        Self { token: None, ..self }
    }
}

/// Lets tools use `?` on custom claims.
impl From<CustomClaimError> for ToolError {
    fn from(error: CustomClaimError) -> Self {
        Self::new(error.to_string())
    }
}

/// Why a token is not accepted. [`Rejection::code`] is stable: logs, challenges and docs/troubleshooting.md use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Its signature or its form does not verify.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// `typ` is not that of an access token.
    #[error("the token's type is not an access token's")]
    TokenType,
    /// `iss` is none of the configured issuers.
    #[error("the token was issued by another issuer")]
    Issuer,
    /// `aud` holds neither the resource's identifier nor an additional audience.
    #[error("the token was issued for another audience")]
    Audience,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `sub` is empty.
    #[error("the token names no subject")]
    NoSubject,
    /// Neither `client_id` nor `azp` is there, or it is empty.
    #[error("the token names no client")]
    NoClient,
    /// `cnf` is there (RFC 7800). Taken without the proof that it asks for, a stolen token would be as good as its owner's.
    #[error(
        "the token is bound to a key of its client (DPoP or mTLS), and this server takes bearer tokens only"
    )]
    SenderConstrained,
}

impl Rejection {
    /// Returns the code for people and programs to search by; it never changes.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Untrusted(Untrusted::TooLarge) => "token_too_large",
            Self::Untrusted(Untrusted::Malformed) => "malformed_token",
            Self::Untrusted(Untrusted::Opaque) => "opaque_token",
            Self::Untrusted(Untrusted::Algorithm) => "wrong_algorithm",
            Self::Untrusted(Untrusted::CriticalHeader) => "critical_header",
            Self::Untrusted(Untrusted::UnknownKey) => "unknown_key",
            Self::Untrusted(Untrusted::Signature) => "bad_signature",
            Self::Untrusted(Untrusted::MissingClaim(_)) => "missing_claim",
            Self::Untrusted(Untrusted::InvalidClaim(_)) => "invalid_claim",
            Self::TokenType => "wrong_token_type",
            Self::Issuer => "wrong_issuer",
            Self::Audience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::NoSubject => "no_subject",
            Self::NoClient => "no_client",
            Self::SenderConstrained => "sender_constrained",
        }
    }
}

/// What [`TokenPolicy::admit`] checks of a verified token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenCheck {
    /// The header's `typ` is that of an access token.
    TokenType,
    /// `iss` is an accepted issuer.
    Issuer,
    /// `aud` has the resource's identifier, or an additional audience.
    Audience,
    /// `exp` has not passed.
    Expiry,
    /// Neither `nbf` nor `iat` lies ahead.
    Start,
    /// `sub` is not empty.
    Subject,
    /// `client_id` or `azp` names a client.
    Client,
    /// There is no `cnf`.
    Binding,
}

impl TokenCheck {
    /// Every check, in the order in which they are made.
    pub const ALL: [Self; 8] = [
        Self::TokenType,
        Self::Issuer,
        Self::Audience,
        Self::Expiry,
        Self::Start,
        Self::Subject,
        Self::Client,
        Self::Binding,
    ];

    /// Returns the name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TokenType => "token type",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expiry => "expiry",
            Self::Start => "start",
            Self::Subject => "subject",
            Self::Client => "client",
            Self::Binding => "binding",
        }
    }
}

/// The rules by which a token is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPolicy {
    /// The values of `typ` that mark an access token of the identity provider, compared without regard to case (RFC 7515
    /// section 4.1.9).
    pub token_types: &'static [&'static str],
    /// The values of `iss` that are accepted, compared byte for byte: the canonical tenant host and custom domains.
    pub issuers: Vec<String>,
    /// The identifiers of the protected resources that are served, one for each public endpoint (RFC 8707).
    pub resources: Vec<Arc<str>>,
    /// The accepted values of `aud` besides the resource's own.
    pub additional_audiences: Vec<String>,
    /// The maximum difference between the issuer's clock and this one. It keeps a token valid this long past `exp`, so it is
    /// small.
    pub leeway: Duration,
    /// The claims that grant scopes.
    pub authority: ScopeAuthority,
    /// The scopes that those imply.
    pub hierarchy: Arc<ScopeHierarchy>,
}

impl TokenPolicy {
    /// Judges claims at `now` (RFC 9068 section 4, RFC 7519 section 4.1). The only way to a [`Principal`]. `resource` is the
    /// identifier of the protected resource that was asked, one of which `aud` must hold, or an additional one (RFC 8707).
    ///
    /// # Errors
    /// The [`Rejection`] of the first of [`TokenCheck::ALL`] that fails.
    pub fn admit(
        &self,
        claims: &Arc<Claims>,
        resource: &Arc<str>,
        now: UnixSeconds,
    ) -> Result<Principal, Rejection> {
        for check in TokenCheck::ALL {
            self.check(check, claims, resource, now)?;
        }
        Ok(Principal {
            claims: Arc::clone(claims),
            resource: Arc::clone(resource),
            granted: self.authority.granted(claims),
            hierarchy: Arc::clone(&self.hierarchy),
            token: None,
        })
    }

    /// Makes one of the checks of [`TokenPolicy::admit`], for whoever explains a refusal.
    ///
    /// # Errors
    /// The check's [`Rejection`].
    #[inline]
    pub fn check(
        &self,
        check: TokenCheck,
        claims: &Claims,
        resource: &Arc<str>,
        now: UnixSeconds,
    ) -> Result<(), Rejection> {
        let (passes, rejection) = match check {
            TokenCheck::TokenType => (self.is_access_token(claims), Rejection::TokenType),
            TokenCheck::Issuer => (self.issuers.contains(&claims.issuer), Rejection::Issuer),
            TokenCheck::Audience => (self.is_for(resource, claims), Rejection::Audience),
            TokenCheck::Expiry => (!self.has_expired(claims, now), Rejection::Expired),
            TokenCheck::Start => (self.has_begun(claims, now), Rejection::NotYetValid),
            TokenCheck::Subject => (!claims.subject.is_empty(), Rejection::NoSubject),
            TokenCheck::Client => (names_client(claims), Rejection::NoClient),
            TokenCheck::Binding => (!claims.sender_constrained, Rejection::SenderConstrained),
        };
        if passes { Ok(()) } else { Err(rejection) }
    }

    /// Judges a principal's claims again for the same resource, where something outlasts the policy that admitted it.
    ///
    /// # Errors
    /// As [`TokenPolicy::admit`].
    pub fn readmit(&self, principal: &Principal, now: UnixSeconds) -> Result<Principal, Rejection> {
        self.admit(&principal.claims, &principal.resource, now)
    }

    fn is_access_token(&self, claims: &Claims) -> bool {
        let is_known = |typ: &str| self.token_types.iter().any(|known| known.eq_ignore_ascii_case(typ));
        claims.token_type.as_deref().is_some_and(is_known)
    }

    fn is_for(&self, resource: &Arc<str>, claims: &Claims) -> bool {
        let is_served = self.resources.contains(resource);
        let accepts = |audience: &String| {
            (is_served && **audience == **resource) || self.additional_audiences.contains(audience)
        };
        claims.audience.iter().any(accepts)
    }

    /// RFC 7519 section 4.1.4: "on or after" the expiration time is too late.
    fn has_expired(&self, claims: &Claims, now: UnixSeconds) -> bool {
        now.0 >= claims.expires_at.0.saturating_add(self.leeway_seconds())
    }

    fn has_begun(&self, claims: &Claims, now: UnixSeconds) -> bool {
        let starts = [claims.not_before, claims.issued_at];
        !starts.into_iter().flatten().any(|start| now.0 < start.0.saturating_sub(self.leeway_seconds()))
    }

    fn leeway_seconds(&self) -> i64 {
        i64::try_from(self.leeway.as_secs()).unwrap_or(i64::MAX)
    }
}

fn names_client(claims: &Claims) -> bool {
    let client = claims.client_id.as_ref().or(claims.authorized_party.as_ref());
    client.is_some_and(|client| !client.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::CustomClaims;

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn policy() -> TokenPolicy {
        TokenPolicy {
            token_types: &["at+jwt", "application/at+jwt", "JWT"],
            issuers: vec!["https://t.auth0.com/".into(), "https://login.example.com/".into()],
            resources: vec!["https://api".into()],
            additional_audiences: vec!["https://old-api".into()],
            leeway: Duration::from_secs(30),
            authority: ScopeAuthority::Scope,
            hierarchy: Arc::default(),
        }
    }

    fn claims() -> Claims {
        Claims {
            token_type: Some("at+jwt".into()),
            issuer: "https://t.auth0.com/".into(),
            audience: vec!["https://api".into()],
            subject: "auth0|ada".into(),
            expires_at: UnixSeconds(NOW.0 + 60),
            not_before: None,
            issued_at: None,
            client_id: Some("client".into()),
            authorized_party: None,
            scope: ScopeSet::granted_by(["a", "b"]),
            permissions: ScopeSet::granted_by(["b", "c"]),
            name: None,
            email: None,
            organization_id: None,
            token_id: None,
            sender_constrained: false,
            extra: None,
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Claims), expected: Result<(), Rejection>) {
        let mut claims = claims();
        change(&mut claims);
        assert_eq!(policy().admit(&Arc::new(claims), &"https://api".into(), NOW).map(drop), expected);
    }

    #[test]
    fn the_rules_one_by_one() {
        use Rejection as R;
        check(|_| {}, Ok(()));
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt"] {
            check(|c| c.token_type = Some(typ.into()), Ok(()));
        }
        for typ in [None, Some(""), Some("id+jwt"), Some("logout+jwt"), Some("at+jwt ")] {
            check(|c| c.token_type = typ.map(Into::into), Err(R::TokenType));
        }
        check(|c| c.issuer = "https://login.example.com/".into(), Ok(()));
        for issuer in ["", "https://t.auth0.com", "https://T.auth0.com/", "https://t.auth0.com//"] {
            check(|c| c.issuer = issuer.into(), Err(R::Issuer));
        }
        check(|c| c.audience = vec!["https://t.auth0.com/userinfo".into(), "https://api".into()], Ok(()));
        for audience in ["https://api/", "https://ap", ""] {
            check(|c| c.audience = vec![audience.into()], Err(R::Audience));
        }
        check(|c| c.audience.clear(), Err(R::Audience));
        check(|c| c.subject.clear(), Err(R::NoSubject));
        check(|c| c.client_id = None, Err(R::NoClient));
        check(|c| c.client_id = Some(String::new()), Err(R::NoClient));
        check(|c| c.sender_constrained = true, Err(R::SenderConstrained));
        check(
            |c| {
                c.client_id = None;
                c.authorized_party = Some("azp".into());
            },
            Ok(()),
        );
    }

    /// Good claims but for what one check is about.
    fn failing(check: TokenCheck) -> (Claims, Rejection) {
        use Rejection as R;
        let mut claims = claims();
        let rejection = match check {
            TokenCheck::TokenType => {
                claims.token_type = None;
                R::TokenType
            }
            TokenCheck::Issuer => {
                claims.issuer.clear();
                R::Issuer
            }
            TokenCheck::Audience => {
                claims.audience.clear();
                R::Audience
            }
            TokenCheck::Expiry => {
                claims.expires_at = UnixSeconds(0);
                R::Expired
            }
            TokenCheck::Start => {
                claims.issued_at = Some(UnixSeconds(NOW.0 + 1000));
                R::NotYetValid
            }
            TokenCheck::Subject => {
                claims.subject.clear();
                R::NoSubject
            }
            TokenCheck::Client => {
                claims.client_id = None;
                R::NoClient
            }
            TokenCheck::Binding => {
                claims.sender_constrained = true;
                R::SenderConstrained
            }
        };
        (claims, rejection)
    }

    #[test]
    fn admit_refuses_by_every_check_and_no_check_by_what_another_is_about() {
        let (policy, api) = (policy(), "https://api".into());
        for check in TokenCheck::ALL {
            let (claims, rejection) = failing(check);
            for other in TokenCheck::ALL {
                let expected = if other == check { Err(rejection) } else { Ok(()) };
                assert_eq!(policy.check(other, &claims, &api, NOW), expected, "{check:?}, {other:?}");
            }
            assert_eq!(policy.admit(&Arc::new(claims), &api, NOW), Err(rejection), "{check:?}");
        }
    }

    #[test]
    fn an_audience_counts_for_nothing_at_a_resource_that_is_not_served() {
        let other: Arc<str> = "https://other".into();
        let claims = Claims { audience: vec![other.to_string()], ..claims() };
        assert_eq!(policy().check(TokenCheck::Audience, &claims, &other, NOW), Err(Rejection::Audience));
    }

    #[test]
    fn the_first_check_that_fails_is_the_reason() {
        let (policy, api) = (policy(), "https://api".into());
        let mut everything = Claims {
            token_type: None,
            issuer: String::new(),
            audience: Vec::new(),
            expires_at: UnixSeconds(0),
            issued_at: Some(UnixSeconds(NOW.0 + 1000)),
            subject: String::new(),
            client_id: None,
            sender_constrained: true,
            ..claims()
        };
        for check in TokenCheck::ALL {
            let (_, rejection) = failing(check);
            assert_eq!(policy.admit(&Arc::new(everything.clone()), &api, NOW), Err(rejection));
            let good = claims();
            match check {
                TokenCheck::TokenType => everything.token_type = good.token_type,
                TokenCheck::Issuer => everything.issuer = good.issuer,
                TokenCheck::Audience => everything.audience = good.audience,
                TokenCheck::Expiry => everything.expires_at = good.expires_at,
                TokenCheck::Start => everything.issued_at = good.issued_at,
                TokenCheck::Subject => everything.subject = good.subject,
                TokenCheck::Client => everything.client_id = good.client_id,
                TokenCheck::Binding => everything.sender_constrained = good.sender_constrained,
            }
        }
        assert!(policy.admit(&Arc::new(everything), &api, NOW).is_ok());
    }

    #[test]
    fn time_is_judged_with_the_leeway_and_not_a_second_more() {
        use Rejection as R;
        let at = |offset: i64| UnixSeconds(NOW.0 + offset);
        check(|c| c.expires_at = at(-29), Ok(()));
        check(|c| c.expires_at = at(-30), Err(R::Expired));
        check(|c| c.expires_at = UnixSeconds(i64::MIN), Err(R::Expired));
        check(|c| c.expires_at = UnixSeconds(i64::MAX), Ok(()));
        check(|c| c.not_before = Some(at(30)), Ok(()));
        check(|c| c.not_before = Some(at(31)), Err(R::NotYetValid));
        check(|c| c.issued_at = Some(at(30)), Ok(()));
        check(|c| c.issued_at = Some(at(31)), Err(R::NotYetValid));
        check(|c| c.issued_at = Some(UnixSeconds(i64::MIN)), Ok(()));
        check(|c| c.not_before = Some(UnixSeconds(i64::MAX)), Err(R::NotYetValid));
    }

    #[test]
    fn tools_read_the_claims_that_few_tokens_carry() {
        let admit = |claims| policy().admit(&Arc::new(claims), &"https://api".into(), NOW).unwrap();
        let actor = |subject: &str| Actor { subject: subject.into(), client_id: None, issuer: None };
        let mut custom = CustomClaims::default();
        custom.insert("https://a/team", r#""blue""#);
        let extra = ExtraClaims {
            organization_name: Some("acme".into()),
            actors: vec![actor("agent"), actor("prior")],
            authentication_context: Some("acr".into()),
            authentication_methods: vec!["mfa".into()],
            authenticated_at: Some(UnixSeconds(5)),
            grant_types: vec!["client-credentials".into()],
            custom,
        };
        let principal =
            admit(Claims { token_id: Some("j".into()), extra: Some(Box::new(extra)), ..claims() });
        assert_eq!((principal.token_id(), principal.organization_name()), (Some("j"), Some("acme")));
        assert_eq!(
            (principal.actor(), principal.actors()),
            (Some(&actor("agent")), &[actor("agent"), actor("prior")][..])
        );
        assert_eq!(
            (principal.authentication_context(), principal.authentication_methods()),
            (Some("acr"), &["mfa".to_owned()][..])
        );
        assert_eq!(
            (principal.authenticated_at(), principal.grant_types()),
            (Some(UnixSeconds(5)), &["client-credentials".to_owned()][..])
        );
        assert_eq!(principal.custom_claim("https://a/team"), Ok(Some("blue".to_owned())));
        let error = ToolError::from(principal.custom_claim::<u8>("https://a/team").unwrap_err());
        assert_eq!(
            error.to_string(),
            "the token's custom claim https://a/team has another type than this tool expects"
        );
        let principal = admit(claims());
        assert_eq!(
            (principal.token_id(), principal.organization_name(), principal.actor()),
            (None, None, None)
        );
        assert_eq!(
            (
                principal.actors().len(),
                principal.authentication_methods().len(),
                principal.grant_types().len()
            ),
            (0, 0, 0)
        );
        assert_eq!((principal.authentication_context(), principal.authenticated_at()), (None, None));
        assert_eq!(principal.custom_claim::<String>("https://a/team"), Ok(None));
    }

    #[test]
    fn authority_chooses_the_claims_that_grant() {
        let granted = |authority| {
            TokenPolicy { authority, ..policy() }
                .admit(&Arc::new(claims()), &"https://api".into(), NOW)
                .unwrap()
                .scopes()
                .to_string()
        };
        assert_eq!(granted(ScopeAuthority::Scope), "a b");
        assert_eq!(granted(ScopeAuthority::Permissions), "b c");
        assert_eq!(granted(ScopeAuthority::Both), "b");
        assert_eq!(granted(ScopeAuthority::Either), "a b c");
    }
}
