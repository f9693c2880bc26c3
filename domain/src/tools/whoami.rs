//! `whoami`: what the access token says of its bearer.

use schemars::JsonSchema;
use serde::Serialize;

use super::NoArguments;
use crate::context::Context;
use crate::scope::Scope;
use crate::token::Actor;
use crate::tool::{Json, Tool, ToolHints};
use crate::tool_error::ToolError;

/// Returns the caller's identity and scopes.
pub struct Whoami;

/// The result.
#[derive(Serialize, JsonSchema)]
pub struct Identity {
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

impl Tool for Whoami {
    const NAME: &'static str = "whoami";
    const TITLE: &'static str = "Who Am I?";
    const DESCRIPTION: &'static str =
        "Returns the authenticated user's identity and the scopes that the access token grants.";
    const SCOPES: &'static [&'static str] = &["tool:whoami"];
    const HINTS: ToolHints = ToolHints::UNKNOWN.read_only().closed_world();
    type Input = NoArguments;
    type Output = (String, Json<Identity>);

    async fn call(&self, _: NoArguments, context: Context<'_>) -> Result<Self::Output, ToolError> {
        let caller = context.principal;
        let identity = Identity {
            user: User {
                sub: caller.subject().into(),
                client_id: caller.client_id().map(Into::into),
                azp: caller.authorized_party().map(Into::into),
                name: caller.name().map(Into::into),
                email: caller.email().map(Into::into),
                org_id: caller.organization_id().map(Into::into),
                org_name: caller.organization_name().map(Into::into),
                act: caller.actor().map(Into::into),
            },
            scopes: caller.scopes().iter().map(Scope::to_string).collect(),
        };
        let text = serde_json::to_string_pretty(&identity)
            .map_err(|error| ToolError::caused_by("the identity can't be shown", error))?;
        Ok((text, Json(identity)))
    }
}
