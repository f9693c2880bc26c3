//! A public endpoint as a client without a token sees it, through whatever is in front of the server.

use serde_json::{Map, Value};
use syntax::loopback::is_loopback_host;
use syntax::strict_json;
use url::Url;

use crate::Endpoint;
use crate::challenge::{self, Parameters};
use crate::check::{Checks, Seen};
use crate::fault::Fault;
use crate::fetch::{Answer, Client};
use crate::shown::shown;

/// Harmless where it is answered without a token.
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";
const OF_CHALLENGE: [&str; 2] = ["challenge", "challenge_scopes"];
const OF_ROOT: &str = "metadata_of_host";
const OF_METADATA: [&str; 3] = ["metadata_resource", "metadata_issuer", "metadata_content"];

pub(crate) fn check(client: &Client, endpoint: &Endpoint, issuer: &str, checks: &mut Checks) {
    let url = endpoint.url.as_str();
    checks.add("transport", url, transport(&endpoint.url));
    match client.post(&endpoint.url, PING) {
        Ok(answer) => {
            let asks_for_login = of_endpoint(&answer, endpoint, checks);
            if !asks_for_login {
                checks.not_judged(&OF_CHALLENGE, url, "the answer is not 401");
            }
        }
        Err(failure) => {
            checks.add("endpoint", url, Err(failure.seen()));
            let why = "there is no answer at this address";
            checks.not_judged(&OF_CHALLENGE, url, why);
            checks.not_judged(&["metadata"], endpoint.metadata_url.as_str(), why);
            checks.not_judged(&OF_METADATA, endpoint.metadata_url.as_str(), why);
            root_url(endpoint).inspect(|url| checks.not_judged(&[OF_ROOT], url.as_str(), why));
            return;
        }
    }
    metadata(client, endpoint, issuer, checks);
    if let Some(url) = root_url(endpoint) {
        checks.add(OF_ROOT, url.as_str(), root(client, &url));
    }
}

fn transport(url: &Url) -> Result<String, Seen> {
    match (url.scheme(), url.host_str().is_some_and(is_loopback_host)) {
        ("https", _) => Ok("https".to_owned()),
        (_, true) => Ok("http, on this machine".to_owned()),
        _ => Err((Fault::PlainHttp, "http, and the host is not this machine".to_owned())),
    }
}

/// Judges the answer to a request without a token. Returns whether it asks for a login.
fn of_endpoint(answer: &Answer, endpoint: &Endpoint, checks: &mut Checks) -> bool {
    let url = endpoint.url.as_str();
    checks.add("endpoint", url, asks_for_login(answer));
    if answer.status != 401 {
        return false;
    }
    match bearer_challenge(answer) {
        Ok(parameters) => {
            checks.add("challenge", url, leads_to_metadata(&parameters, endpoint));
            checks.add("challenge_scopes", url, names_the_scopes(&parameters, endpoint));
        }
        Err(seen) => {
            checks.add("challenge", url, Err(seen));
            checks.not_judged(&["challenge_scopes"], url, "there is no challenge");
        }
    }
    true
}

fn asks_for_login(answer: &Answer) -> Result<String, Seen> {
    let fault = match answer.status {
        401 => return Ok("401 without a token".to_owned()),
        200..=299 => Fault::NotProtected,
        300..=399 => return Err((Fault::EndpointRedirects, answer.shown_redirect())),
        404 | 405 => Fault::WrongPath,
        403 | 421 => Fault::WrongHost,
        502..=504 => Fault::NoUpstream,
        _ => Fault::UnexpectedStatus,
    };
    Err((fault, answer.shown()))
}

fn bearer_challenge(answer: &Answer) -> Result<Parameters, Seen> {
    let fields = || answer.headers.get_all("www-authenticate").iter();
    if fields().next().is_none() {
        return Err((Fault::ChallengeMissing, "the 401 has no WWW-Authenticate".to_owned()));
    }
    let texts: Vec<&str> = fields().filter_map(|field| field.to_str().ok()).collect();
    let found = texts.iter().find_map(|text| challenge::bearer(text));
    found
        .ok_or_else(|| (Fault::ChallengeOfOther, format!("WWW-Authenticate is {}", shown(&texts.join(", ")))))
}

fn leads_to_metadata(parameters: &Parameters, endpoint: &Endpoint) -> Result<String, Seen> {
    let expected = endpoint.metadata_url.as_str();
    match parameters.get("resource_metadata") {
        Some(url) if url == expected => Ok("it leads to the metadata".to_owned()),
        Some(url) => Err((
            Fault::ChallengeMetadata,
            format!("resource_metadata is {}, and should be {expected}", shown(url)),
        )),
        None => Err((Fault::ChallengeMetadata, "the challenge has no resource_metadata".to_owned())),
    }
}

fn names_the_scopes(parameters: &Parameters, endpoint: &Endpoint) -> Result<String, Seen> {
    let expected = challenge::bearer(&endpoint.challenge).unwrap_or_default();
    let scopes =
        |parameters: &Parameters| parameters.get("scope").map_or("none".to_owned(), |text| shown(text));
    let (seen, expected) = (scopes(parameters), scopes(&expected));
    if seen == expected {
        return Ok(format!("a first login asks for: {seen}"));
    }
    Err((Fault::ChallengeScopes, format!("a first login asks for: {seen}; and should for: {expected}")))
}

fn metadata(client: &Client, endpoint: &Endpoint, issuer: &str, checks: &mut Checks) {
    let url = endpoint.metadata_url.as_str();
    match metadata_document(client, &endpoint.metadata_url) {
        Ok(document) => {
            checks.add("metadata", url, Ok("a metadata document".to_owned()));
            checks.add("metadata_resource", url, is_of_resource(&document, endpoint));
            checks.add("metadata_issuer", url, names_the_issuer(&document, issuer));
            checks.add("metadata_content", url, is_as_configured(&document, endpoint));
        }
        Err(seen) => {
            checks.add("metadata", url, Err(seen));
            checks.not_judged(&OF_METADATA, url, "there is no metadata document");
        }
    }
}

fn metadata_document(client: &Client, url: &Url) -> Result<Map<String, Value>, Seen> {
    let answer = client.get(url).map_err(|failure| failure.seen())?;
    match answer.status {
        200 => object(&answer).ok_or_else(|| (Fault::MetadataUnreadable, answer.shown())),
        300..=399 => Err((Fault::MetadataMissing, answer.shown_redirect())),
        _ => Err((Fault::MetadataMissing, answer.shown())),
    }
}

fn object(answer: &Answer) -> Option<Map<String, Value>> {
    strict_json::parse(&answer.body).ok()
}

fn is_of_resource(document: &Map<String, Value>, endpoint: &Endpoint) -> Result<String, Seen> {
    let expected = &endpoint.audience;
    match document.get("resource") {
        Some(resource) if resource == expected.as_str() && endpoint.is_covered => {
            Ok(format!("resource is {expected}"))
        }
        Some(resource) if resource == expected.as_str() => Err((
            Fault::ResourceNotCovering,
            format!("resource is {expected}, which is neither the endpoint's URL nor a prefix of it"),
        )),
        other => {
            Err((Fault::MetadataResource, format!("resource is {}, and should be {expected}", value(other))))
        }
    }
}

fn names_the_issuer(document: &Map<String, Value>, issuer: &str) -> Result<String, Seen> {
    let servers = document.get("authorization_servers");
    let names_it =
        servers.and_then(Value::as_array).is_some_and(|servers| servers.iter().any(|one| one == issuer));
    if names_it {
        return Ok(format!("authorization_servers has {issuer}"));
    }
    let seen = format!("authorization_servers is {}, and should have {issuer}", value(servers));
    Err((Fault::MetadataIssuer, seen))
}

/// Judges what the other checks do not.
fn is_as_configured(document: &Map<String, Value>, endpoint: &Endpoint) -> Result<String, Seen> {
    let judged = ["resource", "authorization_servers"];
    let names =
        endpoint.metadata.keys().chain(document.keys()).filter(|name| !judged.contains(&name.as_str()));
    let mut differing: Vec<String> = names
        .filter(|name| endpoint.metadata.get(*name) != document.get(*name))
        .map(|name| shown(name))
        .collect();
    differing.sort();
    differing.dedup();
    if differing.is_empty() {
        return Ok("as configured".to_owned());
    }
    Err((Fault::MetadataDiffers, format!("other than configured: {}", shown(&differing.join(", ")))))
}

/// Returns where the host's own metadata would be, which clients ask for as well, if the endpoint's is elsewhere.
fn root_url(endpoint: &Endpoint) -> Option<Url> {
    let mut url = endpoint.metadata_url.clone();
    url.set_path(METADATA_PATH);
    Some(url).filter(|url| *url != endpoint.metadata_url)
}

/// Judges what is at the host's own address: 404 is fine, another's page is not.
fn root(client: &Client, url: &Url) -> Result<String, Seen> {
    let answer = client.get(url).map_err(|failure| failure.seen())?;
    match answer.status {
        200 if object(&answer).is_some() => Ok("a metadata document".to_owned()),
        200 => Err((Fault::RootUnreadable, answer.shown())),
        300..=399 => Err((Fault::RootUnreadable, answer.shown_redirect())),
        status => Ok(format!("the answer is {status}, which is fine")),
    }
}

fn value(value: Option<&Value>) -> String {
    value.map_or("absent".to_owned(), |value| shown(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine() {
        let fault = |url: &str| transport(&Url::parse(url).unwrap()).err().map(|(fault, _)| fault);
        for good in ["https://mcp.example.com/mcp", "http://localhost:3001/mcp", "http://[::1]/mcp"] {
            assert_eq!(fault(good), None, "{good}");
        }
        assert_eq!(fault("http://mcp.example.com/mcp"), Some(Fault::PlainHttp));
    }
}
