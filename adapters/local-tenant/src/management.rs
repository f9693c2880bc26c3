//! The part of Auth0's Management API v2 that sets a tenant up, under `/api/v2/`, with Auth0's names, statuses, errors, paging
//! and limits. Where Auth0 does not document what it does, the comments here say so.
//!
//! Only tokens of this tenant for the audience `{issuer}api/v2/` are accepted, and web pages never reach it: the router refuses
//! requests with an `Origin`.

mod access;
mod answer;
mod apis;
mod body;
mod client_grants;
mod clients;
mod connections;
mod error;
mod observed;
mod organizations;
mod query;
mod roles;
mod routes;
mod settings;
mod users;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Request, Response};

use self::access::Access;
use self::answer::Answer;
use self::body::Body;
use self::error::ApiError;
use self::query::Query;
use self::routes::{Handler, Operation, Route};
use crate::http::body as http_body;
use crate::model::directory::State;
use crate::model::random::random_id;
use crate::model::rate_limit::Quota;
use crate::oauth::log;
use crate::oauth::tenant::Tenant;

/// What every path of the API begins with.
pub(crate) const PREFIX: &str = "/api/v2/";

/// Enough for an API with 500 scopes and their descriptions.
const MAX_BODY_BYTES: usize = 1024 * 1024;
/// The maximum number of entities of each kind.
const MAX_ENTITIES: usize = 1000;
/// The maximum length of all entities but the clients, as JSON.
const MAX_STATE_BYTES: usize = 16 * 1024 * 1024;
const MAX_NAME_CHARS: usize = 300;

/// A request that is authorized and read.
struct Call<'a> {
    tenant: &'a Tenant,
    access: &'a Access,
    /// What the path has in the places of `{id}`, decoded.
    ids: Vec<String>,
    query: Query,
    body: Bytes,
}

impl Call<'_> {
    fn id(&self) -> &str {
        self.ids.first().map(String::as_str).unwrap_or_default()
    }

    fn body(&self) -> Result<Body, ApiError> {
        Body::parse(&self.body)
    }

    fn state(&self) -> Arc<State> {
        self.tenant.directory.state()
    }

    /// Changes the directory as a whole or not at all, within the limit of its size.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T, ApiError>) -> Result<T, ApiError> {
        self.tenant.directory.change(|state| {
            let changed = change(state)?;
            if state.json_bytes() > MAX_STATE_BYTES {
                return Err(ApiError::too_many_entities(format!(
                    "the tenant's entities are longer than {MAX_STATE_BYTES} bytes"
                )));
            }
            Ok(changed)
        })
    }
}

/// Responds to any request for a path that begins with [`PREFIX`], whose `Host` and `Origin` were checked.
pub(crate) async fn respond(tenant: &Tenant, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let active = tenant.issuer.faults().active();
    let quota = tenant.management_limit.take(tenant.now(), active.management.rate());
    let outcome =
        if quota.is_exceeded { Err(ApiError::too_many_requests()) } else { handle(tenant, request).await };
    let mut response = outcome.map_or_else(
        |error| {
            log::refused(&path, error.code(), error.message());
            error.into_response()
        },
        Answer::into_response,
    );
    write_quota(quota, response.headers_mut());
    response
}

fn write_quota(quota: Quota, headers: &mut HeaderMap) {
    headers.insert("x-ratelimit-limit", quota.limit.into());
    headers.insert("x-ratelimit-remaining", quota.remaining.into());
    headers.insert("x-ratelimit-reset", quota.reset.into());
}

async fn handle(tenant: &Tenant, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let (head, incoming) = request.into_parts();
    let authorization = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let access = Access::of(tenant, authorization)?;
    let Route { operation, ids } = Route::of(&head.method, head.uri.path())?;
    access.require_any(operation.scopes)?;
    let query = Query::parse(head.uri.query().unwrap_or_default());
    let body = if incoming.is_end_stream() {
        Bytes::new()
    } else {
        http_body::read_up_to(&head.headers, "application/json", incoming, MAX_BODY_BYTES).await?
    };
    let call = Call { tenant, access: &access, ids, query, body };
    perform(operation, &call).await
}

async fn perform(operation: &Operation, call: &Call<'_>) -> Result<Answer, ApiError> {
    let faults = call.tenant.issuer.faults();
    // Before the faults, so that nothing happens between a look at them and the operation.
    let document = match operation.handler {
        Handler::Plain(_) => None,
        Handler::Document(_) => Some(clients::fetch_document(call).await?),
    };
    if let Some(status) = faults.wait_for_management().await {
        return Err(ApiError::fault(status));
    }
    let answer = match (operation.handler, document) {
        (Handler::Plain(handler), _) => handler(call),
        (Handler::Document(handler), Some(document)) => handler(call, document),
        (Handler::Document(_), None) => Err(ApiError::no_such_path()),
    }?;
    if operation.is_write() {
        faults.count_management_write();
        faults.wait_while_management_hangs().await;
    }
    Ok(answer)
}

/// Returns a new id that begins with `prefix`.
fn new_id(prefix: &str) -> Result<String, ApiError> {
    random_id().map(|id| format!("{prefix}{id}")).ok_or_else(ApiError::no_randomness)
}

/// Checks that there is room for another entity.
fn check_room<T>(entities: &[T], kind: &str) -> Result<(), ApiError> {
    if entities.len() < MAX_ENTITIES {
        return Ok(());
    }
    Err(ApiError::too_many_entities(format!("the tenant has the maximum number of {kind}, {MAX_ENTITIES}")))
}

#[cfg(test)]
mod tests;
