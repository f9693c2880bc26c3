//! Which client may ask for which API, and for which of its scopes: Auth0's policies and client grants; and which logins the
//! tenant's state rules out. The descriptions are Auth0's own words where they are known.

use crate::model::client::ClientRecord;
use crate::model::directory::{
    AccessPolicy, ClientGrant, LoginExperience, ResourceServer, ResourceServerScope, State, SubjectType,
    ThirdPartyClientAccess,
};
use crate::model::options::{THIRD_PARTY_CLIENTS, User};
use crate::oauth::error::OAuthError;

/// What a client may ask for: scopes of an API, or, without one, those of OpenID Connect alone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Access<'a> {
    pub(crate) api: Option<&'a ResourceServer>,
    /// What limits the scopes; without one, nothing does.
    grant: Option<&'a ClientGrant>,
}

impl<'a> Access<'a> {
    /// Returns what a client may ask users for.
    ///
    /// # Errors
    /// `invalid_target` for an API that does not exist, `unauthorized_client` for one that the client may not ask for, and
    /// `invalid_request` if there must be one.
    pub(crate) fn for_user(
        state: &'a State,
        client: &ClientRecord,
        audience: Option<&str>,
    ) -> Result<Self, OAuthError> {
        match audience {
            Some(audience) => Self::of(state, client, audience, SubjectType::User),
            None if client.is_strict() => Err(OAuthError::new(
                "invalid_request",
                "The userinfo audience is not allowed for third party clients",
            )),
            None => Ok(Self { api: None, grant: None }),
        }
    }

    /// Returns what a client may have on its own behalf.
    ///
    /// # Errors
    /// As of [`Self::for_user`].
    pub(crate) fn for_client(
        state: &'a State,
        client: &ClientRecord,
        audience: Option<&str>,
    ) -> Result<Self, OAuthError> {
        let audience = audience.ok_or_else(|| {
            OAuthError::new("invalid_request", "audience is missing, and the tenant has no default_audience")
        })?;
        Self::of(state, client, audience, SubjectType::Client)
    }

    /// Returns what a client may ask for on behalf of a user whose token it exchanges: as Auth0 documents it, it needs a grant of
    /// its own for that.
    ///
    /// # Errors
    /// As of [`Self::for_user`].
    pub(crate) fn for_exchange(
        state: &'a State,
        client: &ClientRecord,
        audience: &str,
    ) -> Result<Self, OAuthError> {
        let refused = |error: OAuthError| error.with_status(403);
        let api = Self::of(state, client, audience, SubjectType::User).map_err(refused)?.api;
        let grant = api.and_then(|api| grant(state, client, api, SubjectType::User));
        match (api, grant) {
            (Some(api), None) => Err(refused(not_authorized(client, api))),
            (api, grant) => Ok(Self { api, grant }),
        }
    }

    fn of(
        state: &'a State,
        client: &ClientRecord,
        audience: &str,
        subject: SubjectType,
    ) -> Result<Self, OAuthError> {
        let api = api(state, audience)?;
        let policy = match subject {
            SubjectType::User => api.subject_type_authorization.user.policy,
            SubjectType::Client => api.subject_type_authorization.client.policy,
        };
        let grant = match policy {
            AccessPolicy::AllowAll if !client.is_strict() => None,
            AccessPolicy::AllowAll | AccessPolicy::RequireClientGrant => {
                Some(grant(state, client, api, subject).ok_or_else(|| not_authorized(client, api))?)
            }
            AccessPolicy::DenyAll => return Err(not_authorized(client, api)),
        };
        Ok(Self { api: Some(api), grant })
    }

    /// Returns the scopes that the client may ask for, in the API's order.
    pub(crate) fn scopes(self) -> impl Iterator<Item = &'a ResourceServerScope> {
        let defined = self.api.map(|api| api.scopes.as_slice()).unwrap_or_default();
        defined.iter().filter(move |scope| self.grant.is_none_or(|grant| covers(grant, &scope.value)))
    }
}

/// Returns the API with this identifier.
///
/// # Errors
/// `invalid_target` (RFC 8707 section 2).
pub(crate) fn api<'a>(state: &'a State, identifier: &str) -> Result<&'a ResourceServer, OAuthError> {
    let found = state.apis.iter().find(|api| api.identifier == identifier);
    found.ok_or_else(|| OAuthError::new("invalid_target", format!("Service not found: {identifier}")))
}

/// Returns the APIs but the Management API, the first one first.
pub(crate) fn own_apis(state: &State) -> impl Iterator<Item = &ResourceServer> {
    state.apis.iter().filter(|api| !api.is_system)
}

/// Returns the grant that a client has for an API: its own one, or that for all third-party clients.
pub(crate) fn grant<'a>(
    state: &'a State,
    client: &ClientRecord,
    api: &ResourceServer,
    subject: SubjectType,
) -> Option<&'a ClientGrant> {
    let mut grants =
        state.grants.iter().filter(|it| it.audience == api.identifier && it.subject_type == subject);
    let is_default = |grant: &&ClientGrant| {
        client.is_third_party() && grant.default_for.as_deref() == Some(THIRD_PARTY_CLIENTS)
    };
    let own = grants.clone().find(|grant| grant.client_id.as_deref() == Some(client.id.as_str()));
    own.or_else(|| grants.find(is_default))
}

/// Returns whether a grant has this scope.
pub(crate) fn covers(grant: &ClientGrant, scope: &str) -> bool {
    grant.allow_all_scopes || grant.scope.iter().any(|granted| granted == scope)
}

/// Checks that users can log in through this client at all.
///
/// # Errors
/// `invalid_request`.
pub(crate) fn check_login(state: &State, client: &ClientRecord) -> Result<(), OAuthError> {
    let is_usable = state.connections.iter().any(|it| it.is_domain_connection || !client.is_third_party());
    if !is_usable {
        return Err(invalid("no connections enabled for the client"));
    }
    if client.is_strict() { check_strict_login(state) } else { Ok(()) }
}

/// Checks that nothing is active that strict third-party clients are incompatible with.
fn check_strict_login(state: &State) -> Result<(), OAuthError> {
    let obstacle = if !state.rules.is_empty() {
        format!("Rules are active: {}", state.rules.join(", "))
    } else if !state.hooks.is_empty() {
        format!("Hooks are active: {}", state.hooks.join(", "))
    } else if state.prompts.universal_login_experience == LoginExperience::Classic {
        "the Classic Login experience is active".to_owned()
    } else {
        return Ok(());
    };
    Err(invalid(format!("third-party clients in strict mode can't log users in while {obstacle}")))
}

/// Checks that the user's organization, if there is one, lets the client in.
///
/// # Errors
/// `invalid_request`.
pub(crate) fn check_organization(
    state: &State,
    client: &ClientRecord,
    user: &User,
) -> Result<(), OAuthError> {
    let Some(id) = user.org_id.as_deref().filter(|_| client.is_third_party()) else {
        return Ok(());
    };
    let organization = state.organizations.iter().find(|organization| organization.id == id);
    match organization.map(|organization| organization.third_party_client_access) {
        Some(ThirdPartyClientAccess::Allow) => Ok(()),
        Some(ThirdPartyClientAccess::Block) | None => {
            Err(invalid(format!("parameter organization is invalid: {id}")))
        }
    }
}

fn not_authorized(client: &ClientRecord, api: &ResourceServer) -> OAuthError {
    let (client, api) = (&client.id, &api.identifier);
    let description = format!("Client \"{client}\" is not authorized to access resource server \"{api}\"");
    OAuthError::new("unauthorized_client", description)
}

fn invalid(description: impl Into<String>) -> OAuthError {
    OAuthError::new("invalid_request", description)
}
