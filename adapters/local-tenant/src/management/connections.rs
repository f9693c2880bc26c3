//! `/connections`.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, value};
use super::body::{Body, Kind};
use super::error::{ApiError, Entity};
use super::query::Paging;
use super::{Call, MAX_ENTITIES, MAX_NAME_CHARS, check_room, new_id};
use crate::model::directory::{Connection, State};

/// Auth0's maximum for one request.
const MAX_CHANGED_CLIENTS: usize = 50;

/// What is kept as it is sent, and decides nothing here.
const OTHERS: &[(&str, Kind)] = &[
    ("show_as_button", Kind::Flag),
    ("realms", Kind::List),
    ("metadata", Kind::Object),
    ("authentication", Kind::Object),
    ("connected_accounts", Kind::Object),
    ("cross_app_access_requesting_app", Kind::Object),
    ("cross_app_access_resource_app", Kind::Object),
];

pub(super) fn list(call: &Call<'_>) -> Result<Answer, ApiError> {
    let name = call.query.one("name")?;
    let strategies: Vec<&str> = call.query.all("strategy").collect();
    let is_asked = |connection: &&Connection| {
        name.is_none_or(|name| connection.name == name)
            && (strategies.is_empty() || strategies.contains(&connection.strategy.as_str()))
    };
    let found = call.state().connections.iter().filter(is_asked).map(value).collect();
    call.query.answer(found, "connections", Paging::PagesOrCheckpoints)
}

pub(super) fn get(call: &Call<'_>) -> Result<Answer, ApiError> {
    present(&call.state(), call.id()).map(Answer::ok)
}

pub(super) fn create(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    let name = body.require_text("name", MAX_NAME_CHARS)?;
    let mut connection = Connection {
        id: new_id("con_")?,
        display_name: None,
        strategy: body.require_text("strategy", MAX_NAME_CHARS)?,
        is_domain_connection: false,
        enabled_clients: Vec::new(),
        options: serde_json::Map::new(),
        others: serde_json::Map::from_iter([("realms".to_owned(), json!([name]))]),
        name,
    };
    apply(&mut connection, &mut body)?;
    body.finish()?;
    call.change(|state| {
        check_room(&state.connections, "connections")?;
        if state.connections.iter().any(|known| known.name == connection.name) {
            return Err(ApiError::conflict("A connection with the same name already exists"));
        }
        let answer = Answer::created(&connection);
        state.connections.push(connection);
        Ok(answer)
    })
}

/// Changes a connection. As at Auth0, a display name that is not sent is overwritten with the name.
pub(super) fn update(call: &Call<'_>) -> Result<Answer, ApiError> {
    let mut body = call.body()?;
    call.change(|state| {
        let connection = find(state, call.id())?;
        if !body.has("display_name") {
            connection.display_name = Some(connection.name.clone());
        }
        apply(connection, &mut body)?;
        // Name and strategy, too: they are fixed at creation.
        body.finish()?;
        Ok(Answer::ok(connection))
    })
}

pub(super) fn delete(call: &Call<'_>) -> Result<Answer, ApiError> {
    call.change(|state| {
        let id = find(state, call.id())?.id.clone();
        state.connections.retain(|connection| connection.id != id);
        Ok(Answer::no_content())
    })
}

pub(super) fn clients(call: &Call<'_>) -> Result<Answer, ApiError> {
    let state = call.state();
    let enabled = &present(&state, call.id())?.enabled_clients;
    let found = enabled.iter().map(|id| json!({"client_id": id})).collect();
    call.query.answer(found, "clients", Paging::Checkpoints)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientStatus {
    client_id: String,
    status: bool,
}

pub(super) fn update_clients(call: &Call<'_>) -> Result<Answer, ApiError> {
    let changes: Value = syntax::strict_json::parse(&call.body)
        .map_err(|error| ApiError::invalid_body(format!("Payload validation error: '{error}'.")))?;
    let changes: Vec<ClientStatus> = super::body::read("clients", changes)?;
    if changes.is_empty() || changes.len() > MAX_CHANGED_CLIENTS {
        let why = format!("Array does not have from 1 to {MAX_CHANGED_CLIENTS} items");
        return Err(ApiError::property("clients", why));
    }
    if changes.iter().any(|change| change.status && call.tenant.clients.get(&change.client_id).is_none()) {
        return Err(ApiError::no_such(Entity::Client));
    }
    call.change(|state| {
        let enabled = &mut find(state, call.id())?.enabled_clients;
        for ClientStatus { client_id, status } in changes {
            enabled.retain(|id| *id != client_id);
            if status {
                enabled.push(client_id);
            }
        }
        check_clients(enabled)?;
        Ok(Answer::no_content())
    })
}

fn present<'a>(state: &'a State, id: &str) -> Result<&'a Connection, ApiError> {
    let connection = state.connections.iter().find(|connection| connection.id == id);
    connection.ok_or_else(|| ApiError::no_such(Entity::Connection))
}

fn find<'a>(state: &'a mut State, id: &str) -> Result<&'a mut Connection, ApiError> {
    let connection = state.connections.iter_mut().find(|connection| connection.id == id);
    connection.ok_or_else(|| ApiError::no_such(Entity::Connection))
}

fn apply(connection: &mut Connection, body: &mut Body) -> Result<(), ApiError> {
    if let Some(name) = body.text("display_name", MAX_NAME_CHARS)? {
        connection.display_name = Some(name);
    }
    if let Some(options) = body.take::<Option<_>>("options")? {
        connection.options = options.unwrap_or_default();
    }
    if let Some(clients) = body.take::<Option<_>>("enabled_clients")? {
        connection.enabled_clients = clients.unwrap_or_default();
        check_clients(&connection.enabled_clients)?;
    }
    if let Some(is_domain_connection) = body.take("is_domain_connection")? {
        connection.is_domain_connection = is_domain_connection;
    }
    body.keep(OTHERS, &mut connection.others)
}

fn check_clients(clients: &[String]) -> Result<(), ApiError> {
    if clients.len() > MAX_ENTITIES {
        return Err(ApiError::too_many_entities(format!("a connection has at most {MAX_ENTITIES} clients")));
    }
    Ok(())
}
