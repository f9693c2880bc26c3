//! The tenant: its discovery documents, its keys, its clock.

use jiff::fmt::rfc2822::DateTimeParser;
use serde_json::{Map, Value};
use syntax::strict_json;
use url::Url;

use crate::Subject;
use crate::check::{Checks, Seen};
use crate::fault::Fault;
use crate::fetch::{Answer, Client, Failure};
use crate::keys;
use crate::shown::{shown, shown_bytes};

type Document = Map<String, Value>;

/// `Date` has whole seconds, and so has the clock.
const ROUNDING_SECONDS: i64 = 2;
const OF_DISCOVERY: [&str; 5] = ["issuer", "keys_url", "pkce", "registration", "response_issuer"];

pub(crate) fn check(client: &Client, subject: &Subject, now: &dyn Fn() -> i64, checks: &mut Checks) {
    let mut clock = None;
    let mut timed = |url: &Url| {
        let before = now();
        let answer = client.get(url);
        let after = now();
        if let Some(date) = answer.as_ref().ok().and_then(date) {
            clock.get_or_insert_with(|| Comparison { url: url.to_string(), date, before, after });
        }
        answer
    };
    match discovery(&subject.issuer, &mut timed) {
        Ok((url, document)) => {
            checks.add("discovery", &url, Ok("a discovery document".to_owned()));
            of_discovery(&document, &url, subject, checks);
        }
        Err((url, seen)) => {
            checks.add("discovery", &url, Err(seen));
            checks.not_judged(&OF_DISCOVERY, &url, "there is no discovery document");
        }
    }
    for issuer in &subject.additional_issuers {
        let (target, outcome) = additional_issuer(issuer, &mut timed);
        checks.add("additional_issuer", &target, outcome);
    }
    let outcome = timed(&subject.jwks_url).map_err(|failure| failure.seen()).and_then(|answer| keys(&answer));
    checks.add("keys", subject.jwks_url.as_str(), outcome);
    match clock {
        Some(clock) => checks.add("clock", &clock.url, clock.judge(subject.leeway_seconds)),
        None => checks.not_judged(&["clock"], &subject.issuer, "no answer of the tenant has a Date"),
    }
}

/// Gets the document of OpenID Connect Discovery, or else that of RFC 8414. Of neither, the first says why.
fn discovery(
    issuer: &str,
    get: &mut dyn FnMut(&Url) -> Result<Answer, Failure>,
) -> Result<(String, Document), (String, Seen)> {
    let mut ask = |name: &str| {
        let target = format!("{}/.well-known/{name}", issuer.trim_end_matches('/'));
        match discovery_at(&target, get) {
            Ok(document) => Ok((target, document)),
            Err(seen) => Err((target, seen)),
        }
    };
    ask("openid-configuration").or_else(|first| ask("oauth-authorization-server").map_err(|_| first))
}

fn discovery_at(
    target: &str,
    get: &mut dyn FnMut(&Url) -> Result<Answer, Failure>,
) -> Result<Document, Seen> {
    let url = Url::parse(target).map_err(|error| (Fault::DiscoveryMissing, error.to_string()))?;
    let answer = get(&url).map_err(|failure| failure.seen())?;
    found(&answer, Fault::DiscoveryMissing)?;
    let unreadable = |_| (Fault::DiscoveryUnreadable, shown_bytes(&answer.body));
    strict_json::parse(&answer.body).map_err(unreadable)
}

/// Returns what is wrong with an answer that is not 200.
fn found(answer: &Answer, otherwise: Fault) -> Result<(), Seen> {
    match answer.status {
        200 => Ok(()),
        300..=399 => Err((Fault::TenantRedirects, answer.shown_redirect())),
        _ => Err((otherwise, answer.shown())),
    }
}

fn of_discovery(document: &Document, url: &str, subject: &Subject, checks: &mut Checks) {
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    checks.add("issuer", url, is_issuer(document, &subject.issuer, Fault::IssuerDiffers));
    checks.add(
        "keys_url",
        url,
        match text("jwks_uri") {
            Some(keys) if keys == subject.jwks_url.as_str() => Ok(format!("jwks_uri is {}", shown(keys))),
            other => Err((
                Fault::KeysUrlDiffers,
                format!("jwks_uri is {}, and the server fetches {}", named(other), subject.jwks_url),
            )),
        },
    );
    let methods = document.get("code_challenge_methods_supported");
    let has_s256 =
        methods.and_then(Value::as_array).is_some_and(|methods| methods.iter().any(|one| one == "S256"));
    checks.add(
        "pkce",
        url,
        if has_s256 {
            Ok("S256 is announced".to_owned())
        } else {
            Err((Fault::PkceMissing, "code_challenge_methods_supported lacks S256".to_owned()))
        },
    );
    let registers = text("registration_endpoint").is_some();
    let documents = is_true(document, "client_id_metadata_document_supported");
    checks.add(
        "registration",
        url,
        match (registers, documents) {
            (true, true) => {
                Ok("registration_endpoint and client ID metadata documents are announced".to_owned())
            }
            (true, false) => Ok("registration_endpoint is announced".to_owned()),
            (false, true) => Ok("client ID metadata documents are announced".to_owned()),
            (false, false) => Err((
                Fault::RegistrationMissing,
                "neither registration_endpoint nor client_id_metadata_document_supported is announced"
                    .to_owned(),
            )),
        },
    );
    let names_itself = is_true(document, "authorization_response_iss_parameter_supported");
    checks.add(
        "response_issuer",
        url,
        if names_itself {
            Ok("responses name their issuer".to_owned())
        } else {
            Err((
                Fault::ResponseIssuerMissing,
                "authorization_response_iss_parameter_supported is not announced".to_owned(),
            ))
        },
    );
}

fn is_issuer(document: &Document, expected: &str, fault: Fault) -> Result<String, Seen> {
    match document.get("issuer").and_then(Value::as_str) {
        Some(issuer) if issuer == expected => Ok(format!("issuer is {}", shown(issuer))),
        other => Err((fault, format!("issuer is {}, and {expected} is configured", named(other)))),
    }
}

fn additional_issuer(
    issuer: &str,
    get: &mut dyn FnMut(&Url) -> Result<Answer, Failure>,
) -> (String, Result<String, Seen>) {
    match discovery(issuer, get) {
        Ok((target, document)) => {
            let outcome = is_issuer(&document, issuer, Fault::AdditionalIssuerDiffers);
            (target, outcome)
        }
        // Tokens of a domain that is not there are nobody's problem.
        Err((target, (_, seen))) => (target, Err((Fault::AdditionalIssuerDiffers, seen))),
    }
}

fn keys(answer: &Answer) -> Result<String, Seen> {
    found(answer, Fault::KeysRefused)?;
    let unreadable = || (Fault::KeysUnreadable, shown_bytes(&answer.body));
    let document: Value = strict_json::parse(&answer.body).map_err(|_| unreadable())?;
    let usable = keys::usable(&document).ok_or_else(unreadable)?;
    match usable.len() {
        0 => Err((Fault::KeysUnusable, shown_bytes(&answer.body))),
        1 => Ok("1 key for RS256".to_owned()),
        count => Ok(format!("{count} keys for RS256")),
    }
}

fn is_true(document: &Document, name: &str) -> bool {
    document.get(name).is_some_and(|value| value == true)
}

fn named(text: Option<&str>) -> String {
    text.map_or("absent".to_owned(), shown)
}

/// The tenant's clock at an answer, and the machine's before and after it.
struct Comparison {
    url: String,
    date: i64,
    before: i64,
    after: i64,
}

impl Comparison {
    fn judge(&self, leeway: i64) -> Result<String, Seen> {
        let tolerance = leeway.saturating_add(ROUNDING_SECONDS);
        let ahead = self.before.saturating_sub(self.date);
        let behind = self.date.saturating_sub(self.after);
        let seen = |seconds: i64, direction: &str| {
            format!(
                "this machine's clock is {seconds} s {direction} the tenant's; tokens.leeway_seconds is {leeway}"
            )
        };
        if ahead > tolerance {
            return Err((Fault::ClockAhead, seen(ahead, "ahead of")));
        }
        if behind > tolerance {
            return Err((Fault::ClockBehind, seen(behind, "behind")));
        }
        Ok("the clocks agree".to_owned())
    }
}

/// Returns when an answer was made, by the tenant's clock; what a cache kept for a while is older (RFC 9111 section 5.1).
fn date(answer: &Answer) -> Option<i64> {
    let date = DateTimeParser::new().parse_timestamp(answer.header("date")?).ok()?;
    let age = answer.header("age").and_then(|age| age.trim().parse::<u32>().ok()).unwrap_or_default();
    Some(date.as_second().saturating_add(age.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_the_leeway() {
        let judge = |date, before, after| {
            let comparison = Comparison { url: String::new(), date, before, after };
            comparison.judge(60).map_err(|(fault, _)| fault)
        };
        assert!(judge(1000, 1062, 1063).is_ok());
        assert_eq!(judge(1000, 1063, 1063), Err(Fault::ClockAhead));
        // A slow answer is no difference.
        assert!(judge(1000, 930, 938).is_ok());
        assert_eq!(judge(1000, 930, 937), Err(Fault::ClockBehind));
        assert_eq!(judge(i64::MAX, 0, i64::MIN), Err(Fault::ClockBehind));
    }
}
