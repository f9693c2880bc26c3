//! Judges a token as the server does, check by check, and goes on after the one that fails.

use std::sync::Arc;

use domain::{
    BearerToken, Catalog, Claims, Clock, NoopObserver, Observer, Principal, Rejection, ScopePolicy,
    TokenCheck, TokenPolicy, TokenVerifier, UnixSeconds, Untrusted, VerifyError,
};
use hyper_transport::HttpSettings;
use jwks_verifier::{Inspection, SignatureCheck, Status, inspect_offline};
use serde::Serialize;

use super::advice;
use super::decoded::{Decoded, Form};
use super::text::{all_quoted, quoted};
use super::times;
use crate::config::Settings;
use crate::server::SetUp;
use crate::wiring::{self, http_settings, without_switched_off};

/// What a token is judged by.
pub(super) struct Judge {
    pub(super) settings: Settings,
    pub(super) catalog: Catalog,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) http: HttpSettings,
    pub(super) policy: TokenPolicy,
    /// The server's own verifier, if it has one instead of the issuer's keys.
    verifier: Option<Arc<dyn TokenVerifier>>,
}

/// What came of it.
pub(super) struct Judged {
    pub(super) checks: Vec<Check>,
    pub(super) decoded: Decoded,
    pub(super) now: UnixSeconds,
    pub(super) is_proved: bool,
    /// The URLs of the endpoints that the token is for.
    pub(super) endpoints: Vec<String>,
    /// Whoever the token would make, once it is accepted; or of a token at the wrong time, while it was.
    pub(super) principal: Option<Principal>,
}

/// One check, and what it says.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    /// What was looked at.
    pub(super) detail: String,
    /// The reason code of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advice: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Pass,
    Fail,
    NotJudged,
}

const EARLIER_FAILED: &str = "an earlier check failed";
const OFFLINE: &str = "no keys are fetched with --offline";

impl Judge {
    pub(super) fn new(set_up: &SetUp, settings: Settings, catalog: Catalog) -> Self {
        Self {
            catalog: without_switched_off(&settings, catalog),
            clock: Arc::clone(&set_up.clock),
            http: http_settings(&settings, settings.server.port),
            policy: settings.token_policy(),
            verifier: set_up.verifier.clone(),
            settings,
        }
    }

    /// Returns which scopes what needs.
    pub(super) fn scopes(&self) -> anyhow::Result<ScopePolicy> {
        wiring::scopes(&self.settings, &self.catalog)
    }

    /// Must be called within a tokio runtime.
    pub(super) async fn judge(&self, token: &str, is_offline: bool) -> Judged {
        let decoded = Decoded::of(token);
        let form = BearerToken::new(token);
        let is_formed = form.as_ref().map(drop).map_err(|error| *error);
        let mut checks =
            vec![Check::new("form", is_formed.map_err(Into::into), form_detail(token, is_formed))];
        let (claims, is_proved) = if let Ok(token) = &form {
            self.verify(token, &decoded, is_offline, &mut checks).await
        } else {
            checks.extend(SignatureCheck::ALL.map(|check| Check::not_judged(check.name(), EARLIER_FAILED)));
            (None, false)
        };
        let now = self.clock.now().seconds();
        let claims = claims.map(Arc::new);
        let (resource, endpoints) = self.endpoints_for(claims.as_deref(), now);
        let of_claims =
            TokenCheck::ALL.map(|check| self.token_check(check, claims.as_deref(), &resource, now));
        checks.extend(of_claims);
        // Of a token that can be good at no time, no scope is worth a word.
        let others_passed = checks.iter().all(|check| check.verdict != Verdict::Fail || is_of_time(check));
        let principal =
            claims.filter(|_| others_passed).and_then(|claims| self.principal(&claims, &resource, now));
        Judged { checks, decoded, now, is_proved, endpoints, principal }
    }

    /// Makes the checks of form and signature. Returns the claims, whoever made them, and whether the signature was proved.
    async fn verify(
        &self,
        token: &BearerToken,
        decoded: &Decoded,
        is_offline: bool,
        checks: &mut Vec<Check>,
    ) -> (Option<Claims>, bool) {
        if let Some(verifier) = self.verifier.as_ref().filter(|_| !is_offline) {
            let verified = verifier.verify(token).await;
            let result = verified.as_ref().map(drop).map_err(|error| (*error).into());
            checks.push(Check::new("signature", result, "by the verifier of this server".to_owned()));
            let is_proved = verified.is_ok();
            return (verified.ok().map(|claims| (*claims).clone()), is_proved);
        }
        let provider = &self.settings.identity_provider;
        let (inspection, status) = if is_offline {
            (inspect_offline(provider, token).await, Status::default())
        } else {
            let observer: Arc<dyn Observer> = Arc::new(NoopObserver);
            let verifier = wiring::verifier(&self.settings, Arc::clone(&self.clock), &observer);
            let inspection = verifier.inspect(token).await;
            let status = verifier.status().borrow().clone();
            (inspection, status)
        };
        checks.extend(
            SignatureCheck::ALL.map(|check| self.signature_check(check, &inspection, decoded, &status)),
        );
        let is_proved = inspection.is_proved();
        (inspection.claims, is_proved)
    }

    fn signature_check(
        &self,
        check: SignatureCheck,
        inspection: &Inspection,
        decoded: &Decoded,
        status: &Status,
    ) -> Check {
        let Some(result) = inspection.verdict(check) else {
            let reason = if inspection.failure_before(check) { EARLIER_FAILED } else { OFFLINE };
            return Check::not_judged(check.name(), reason);
        };
        let detail = match check {
            SignatureCheck::Parts => parts_detail(decoded.form).to_owned(),
            SignatureCheck::Header => {
                problem(decoded.header.as_ref().and_then(|part| part.problem()), &result)
            }
            SignatureCheck::Claims => {
                problem(decoded.payload.as_ref().and_then(|part| part.problem()), &result)
            }
            SignatureCheck::Algorithm => decoded.shown_parameter("alg"),
            SignatureCheck::Extensions => decoded.shown_parameter("crit"),
            SignatureCheck::Key => self.key_detail(result, decoded, status),
            SignatureCheck::Signature => "by that key".to_owned(),
        };
        let check = Check::new(check.name(), result.map_err(Into::into), detail);
        if decoded.form == Form::EncryptedJwt && check.verdict == Verdict::Fail {
            return Check { advice: Some(advice::ENCRYPTED), ..check };
        }
        check
    }

    fn key_detail(&self, result: Result<(), VerifyError>, decoded: &Decoded, status: &Status) -> String {
        let keys = self.settings.keys.jwks_url.as_url();
        let kid = decoded.shown_parameter("kid");
        match result {
            Ok(()) => format!("{kid}, published at {keys}"),
            Err(VerifyError::KeysUnavailable { .. }) => {
                let failure = status.last_failure.as_deref().unwrap_or("the keys did not come in time");
                format!("{failure} ({keys})")
            }
            Err(VerifyError::Untrusted(_)) if decoded.parameter("kid").is_none() => kid,
            Err(VerifyError::Untrusted(_)) => {
                format!("{kid}; published at {keys}: {}", all_quoted(status.kids.iter().map(String::as_str)))
            }
        }
    }

    /// Returns the resource to judge by: of the first endpoint that the token is for, or else of the main one. And the URLs of
    /// all endpoints that it is for.
    fn endpoints_for(&self, claims: Option<&Claims>, now: UnixSeconds) -> (Arc<str>, Vec<String>) {
        let is_for = |resource: &Arc<str>| {
            claims
                .is_some_and(|claims| self.policy.check(TokenCheck::Audience, claims, resource, now).is_ok())
        };
        let of_token: Vec<_> = self.http.endpoints().filter(|endpoint| is_for(&endpoint.resource)).collect();
        let resource = Arc::clone(&of_token.first().copied().unwrap_or(&self.http.main).resource);
        (resource, of_token.iter().map(|endpoint| endpoint.url()).collect())
    }

    fn token_check(
        &self,
        check: TokenCheck,
        claims: Option<&Claims>,
        resource: &Arc<str>,
        now: UnixSeconds,
    ) -> Check {
        let Some(claims) = claims else { return Check::not_judged(check.name(), EARLIER_FAILED) };
        let result = self.policy.check(check, claims, resource, now);
        let detail = self.detail(check, claims, result.is_err(), now);
        Check::new(check.name(), result.map_err(Failure::Rejected), detail)
    }

    fn detail(&self, check: TokenCheck, claims: &Claims, failed: bool, now: UnixSeconds) -> String {
        let accepted = |values: String| if failed { format!("; accepted: {values}") } else { String::new() };
        let text = |value: Option<&String>| value.map_or_else(|| "none".to_owned(), |value| quoted(value));
        let policy = &self.policy;
        match check {
            TokenCheck::TokenType => {
                let known = all_quoted(policy.token_types.iter().copied());
                format!("typ {}{}", text(claims.token_type.as_ref()), accepted(known))
            }
            TokenCheck::Issuer => {
                let known = all_quoted(policy.issuers.iter().map(String::as_str));
                format!("iss {}{}", quoted(&claims.issuer), accepted(known))
            }
            TokenCheck::Audience => {
                let own = policy.resources.iter().map(AsRef::as_ref);
                let known = all_quoted(own.chain(policy.additional_audiences.iter().map(String::as_str)));
                format!("aud {}{}", all_quoted(claims.audience.iter().map(String::as_str)), accepted(known))
            }
            TokenCheck::Expiry => {
                let leeway = policy.leeway.as_secs();
                format!("exp {} (leeway {leeway} s)", times::shown(claims.expires_at, now))
            }
            TokenCheck::Start => {
                let start =
                    |name: &str, at: Option<UnixSeconds>| Some(format!("{name} {}", times::shown(at?, now)));
                let starts: Vec<String> = [start("nbf", claims.not_before), start("iat", claims.issued_at)]
                    .into_iter()
                    .flatten()
                    .collect();
                if starts.is_empty() { "no nbf and no iat".to_owned() } else { starts.join("; ") }
            }
            TokenCheck::Subject => format!("sub {}", quoted(&claims.subject)),
            TokenCheck::Client => match (&claims.client_id, &claims.authorized_party) {
                (None, Some(party)) => format!("azp {}", quoted(party)),
                (client, _) => format!("client_id {}", text(client.as_ref())),
            },
            TokenCheck::Binding => {
                if claims.sender_constrained { "cnf is there" } else { "no cnf" }.to_owned()
            }
        }
    }

    /// Admits the token as the server would; one that has expired, or is not valid yet, as of when it is.
    fn principal(&self, claims: &Arc<Claims>, resource: &Arc<str>, now: UnixSeconds) -> Option<Principal> {
        let start = claims.not_before.max(claims.issued_at).unwrap_or(now);
        let end = UnixSeconds(claims.expires_at.0.saturating_sub(1));
        [now, end, start].into_iter().find_map(|at| self.policy.admit(claims, resource, at).ok())
    }
}

fn is_of_time(check: &Check) -> bool {
    [Rejection::Expired, Rejection::NotYetValid]
        .iter()
        .any(|rejection| check.reason == Some(rejection.code()))
}

/// Why a check fails.
#[derive(Clone, Copy)]
enum Failure {
    Rejected(Rejection),
    KeysUnavailable,
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Untrusted(untrusted) => Self::Rejected(untrusted.into()),
            VerifyError::KeysUnavailable { .. } => Self::KeysUnavailable,
        }
    }
}

impl From<Untrusted> for Failure {
    fn from(untrusted: Untrusted) -> Self {
        Self::Rejected(untrusted.into())
    }
}

impl Check {
    fn new(name: &'static str, result: Result<(), Failure>, detail: String) -> Self {
        let (verdict, reason, advice) = match result {
            Ok(()) => (Verdict::Pass, None, None),
            Err(Failure::Rejected(rejection)) => {
                (Verdict::Fail, Some(rejection.code()), Some(advice::on(rejection)))
            }
            Err(Failure::KeysUnavailable) => {
                (Verdict::Fail, Some(advice::KEYS_UNAVAILABLE), Some(advice::FETCH_KEYS))
            }
        };
        Self { name, verdict, detail, reason, advice }
    }

    fn not_judged(name: &'static str, why: &str) -> Self {
        Self { name, verdict: Verdict::NotJudged, detail: why.to_owned(), reason: None, advice: None }
    }
}

fn form_detail(token: &str, result: Result<(), Untrusted>) -> String {
    match result {
        Ok(()) => format!("{} bytes", token.len()),
        Err(Untrusted::TooLarge) => format!("{} bytes; at most {}", token.len(), BearerToken::MAX_BYTES),
        Err(_) => "it has characters that no token has".to_owned(),
    }
}

const fn parts_detail(form: Form) -> &'static str {
    match form {
        Form::SignedJwt => "three, as a signed JWT has",
        Form::Opaque => "one: an opaque token",
        Form::EncryptedJwt => "five: an encrypted JWT (JWE)",
        Form::Malformed => "neither three, as a signed JWT has, nor five, nor one",
    }
}

/// Returns what is wrong with a part of the token, by whoever can say it best.
fn problem(problem: Option<&str>, result: &Result<(), VerifyError>) -> String {
    match (problem, result) {
        (_, Ok(())) => "well-formed".to_owned(),
        (Some(problem), Err(_)) => problem.to_owned(),
        (None, Err(error)) => error.to_string(),
    }
}
