//! `whoami`: what the access token says of its bearer.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Serialize;

use super::NoArguments;
use crate::scope::Scope;
use crate::token::Actor;
use crate::tool::{CallToolResult, SpecError, Tool, ToolCall, ToolError, ToolResult, ToolSpec};

/// Returns the caller's identity and scopes.
pub struct Whoami;

#[derive(Serialize, JsonSchema)]
struct Identity {
    /// Who the token speaks for; claims that the token does not carry are left out.
    user: User,
    /// What the token may do.
    scopes: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
struct User {
    /// The subject.
    sub: String,
    /// The OAuth client.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// The authorized party: the OAuth client, in Auth0's own token dialect.
    #[serde(skip_serializing_if = "Option::is_none")]
    azp: Option<String>,
    /// The user's full name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The user's e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// The identifier of the organization that the user logged in through.
    #[serde(skip_serializing_if = "Option::is_none")]
    org_id: Option<String>,
    /// The name of that organization.
    #[serde(skip_serializing_if = "Option::is_none")]
    org_name: Option<String>,
    /// The party that acts for the user now.
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<CurrentActor>,
}

#[derive(Serialize, JsonSchema)]
struct CurrentActor {
    /// The actor's subject.
    sub: String,
    /// The actor's OAuth client.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// The issuer that knows the actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
}

impl From<&Actor> for CurrentActor {
    fn from(actor: &Actor) -> Self {
        let Actor { subject, client_id, issuer } = actor.clone();
        Self { sub: subject, client_id, iss: issuer }
    }
}

#[async_trait]
impl Tool for Whoami {
    fn spec(&self) -> Result<ToolSpec, SpecError> {
        ToolSpec::new::<NoArguments, Identity>(
            "whoami",
            "Who Am I?",
            "Returns the authenticated user's identity and the scopes that the access token grants.",
        )?
        .read_only()
        .closed_world()
        .requires(["tool:whoami"])
    }

    async fn run(&self, call: ToolCall<'_>) -> ToolResult {
        let who = call.context.principal;
        let identity = Identity {
            user: User {
                sub: who.subject().into(),
                client_id: who.client_id().map(Into::into),
                azp: who.authorized_party().map(Into::into),
                name: who.name().map(Into::into),
                email: who.email().map(Into::into),
                org_id: who.organization_id().map(Into::into),
                org_name: who.organization_name().map(Into::into),
                act: who.actor().map(Into::into),
            },
            scopes: who.scopes().iter().map(Scope::to_string).collect(),
        };
        let text = serde_json::to_string_pretty(&identity)
            .map_err(|error| ToolError::caused_by("the identity can't be shown", error))?;
        CallToolResult::new(text, &identity)
    }
}
