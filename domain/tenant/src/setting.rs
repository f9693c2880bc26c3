//! Everything that is set at a tenant for an MCP server: why, what users meet while it is not, and how to set it by hand.

use serde::{Serialize, Serializer};

/// A setting. Its texts follow Auth0's documentation as of autumn 2026; what is known from users' reports only is marked
/// *reported*.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// `resource_parameter_profile` of the tenant's settings.
    ResourceParameterProfile,
    /// `authorization_response_iss_parameter_supported`.
    IssuerInResponses,
    /// `flags.enable_dynamic_client_registration`.
    DynamicRegistration,
    /// `client_id_metadata_document_supported`.
    MetadataDocuments,
    /// `flags.use_scope_descriptions_for_consent`.
    ScopeDescriptionsAtConsent,
    /// `is_domain_connection` of a connection.
    DomainConnection,
    /// That the API is there.
    Api,
    /// `scopes` of the API.
    ApiScopes,
    /// A scope's description.
    ScopeDescription,
    /// `token_dialect` of the API.
    TokenDialect,
    /// `enforce_policies` of the API.
    Rbac,
    /// `allow_offline_access` of the API.
    OfflineAccess,
    /// `token_lifetime` of the API.
    TokenLifetime,
    /// `signing_alg` of the API.
    SigningAlgorithm,
    /// `token_encryption` of the API.
    TokenEncryption,
    /// `subject_type_authorization.user` of the API.
    UserAccessPolicy,
    /// The default grant of third-party clients.
    DefaultGrant,
    /// `scope` of that grant.
    GrantScopes,
    /// An imported metadata document.
    ClientDocument,
    /// That a role is there.
    Role,
    /// The permissions of a role.
    RolePermissions,
    /// A user's roles.
    RoleAssignment,
    /// Active Rules.
    Rules,
    /// Active Hooks.
    Hooks,
    /// The login page's experience.
    LoginExperience,
    /// `third_party_client_access` of an organization.
    OrganizationAccess,
    /// A custom domain beside the issuer.
    CustomDomain,
    /// How many clients there are.
    ClientCount,
}

/// The texts about a setting.
pub(crate) struct Texts {
    pub(crate) id: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) symptom: &'static str,
    pub(crate) dashboard: &'static str,
    pub(crate) command: &'static str,
}

/// Does it all.
const APPLY: &str = "fastmcp-auth0 tenant apply";

impl Setting {
    /// All settings.
    pub const ALL: [Self; 28] = [
        Self::ResourceParameterProfile,
        Self::IssuerInResponses,
        Self::DynamicRegistration,
        Self::MetadataDocuments,
        Self::ScopeDescriptionsAtConsent,
        Self::DomainConnection,
        Self::Api,
        Self::ApiScopes,
        Self::ScopeDescription,
        Self::TokenDialect,
        Self::Rbac,
        Self::OfflineAccess,
        Self::TokenLifetime,
        Self::SigningAlgorithm,
        Self::TokenEncryption,
        Self::UserAccessPolicy,
        Self::DefaultGrant,
        Self::GrantScopes,
        Self::ClientDocument,
        Self::Role,
        Self::RolePermissions,
        Self::RoleAssignment,
        Self::Rules,
        Self::Hooks,
        Self::LoginExperience,
        Self::OrganizationAccess,
        Self::CustomDomain,
        Self::ClientCount,
    ];

    /// Returns its identifier, which never changes.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.texts().id
    }

    /// Returns why it is set.
    #[must_use]
    pub fn reason(self) -> &'static str {
        self.texts().reason
    }

    /// Returns what a user meets while it is not set.
    #[must_use]
    pub fn symptom(self) -> &'static str {
        self.texts().symptom
    }

    /// Returns where the dashboard sets it.
    #[must_use]
    pub fn dashboard(self) -> &'static str {
        self.texts().dashboard
    }

    /// Returns the command that sets it.
    #[must_use]
    pub fn command(self) -> &'static str {
        self.texts().command
    }

    #[expect(clippy::too_many_lines, reason = "a table")]
    const fn texts(self) -> Texts {
        match self {
            Self::ResourceParameterProfile => Texts {
                id: "resource_parameter_profile",
                reason: "MCP clients name the API by `resource` (RFC 8707); with another profile Auth0 reads `audience` alone",
                symptom: "Auth0 says \"The userinfo audience is not allowed for third party clients\", or the client gets an opaque \
                          token, which the server refuses as opaque_token",
                dashboard: "Settings, Advanced, Settings: Resource Parameter Compatibility Profile",
                command: APPLY,
            },
            Self::IssuerInResponses => Texts {
                id: "issuer_in_responses",
                reason: "a client that knows several authorization servers can tell whose response it got (RFC 9207)",
                symptom: "most clients go on, without protection against mix-up attacks; one that requires `iss` refuses to log in",
                dashboard: "Settings, Advanced, Settings: Include Issuer in Authorization Responses",
                command: APPLY,
            },
            Self::DynamicRegistration => Texts {
                id: "dynamic_registration",
                reason: "`registration` of [auth0.tenant]: whether clients register themselves (RFC 7591)",
                symptom: "switched off, a client without an id of its own says that it can't register; switched on, anyone who reaches \
                          the tenant can register an application",
                dashboard: "Settings, Advanced, Settings: Dynamic Client Registration (DCR)",
                command: APPLY,
            },
            Self::MetadataDocuments => Texts {
                id: "metadata_documents",
                reason: "`registration` of [auth0.tenant]: whether the tenant announces client ID metadata documents",
                symptom: "switched off, a client that has only a document can't log in; switched on, clients that have one use it, and \
                          Auth0 knows it only if it was imported",
                dashboard: "Settings, Advanced, Settings: Client ID Metadata Document (CIMD) Registration",
                command: APPLY,
            },
            Self::ScopeDescriptionsAtConsent => Texts {
                id: "scope_descriptions_at_consent",
                reason: "whoever consents reads what a scope permits, not its name",
                symptom: "the consent page shows names such as tool:whoami",
                dashboard: "it has no switch for this",
                command: APPLY,
            },
            Self::DomainConnection => Texts {
                id: "domain_connection",
                reason: "third-party clients log users in by connections at domain level only",
                symptom: "the login ends with invalid_request, \"no connections enabled for the client\" (reported)",
                dashboard: "Authentication, the connection, Settings: Promote Connection to Domain Level; and `connections` of \
                            [auth0.tenant] names it",
                command: APPLY,
            },
            Self::Api => Texts {
                id: "api",
                reason: "tokens are issued for an API, whose identifier is the server's audience",
                symptom: "Auth0 says \"Service not found: ...\" (reported)",
                dashboard: "Applications, APIs: Create API",
                command: APPLY,
            },
            Self::ApiScopes => Texts {
                id: "api_scopes",
                reason: "Auth0 drops requested scopes that the API does not define",
                symptom: "the login works, and the token lacks the scope: calls are refused as insufficient_scope; ChatGPT says \"Not \
                          all requested permissions were granted\" (reported)",
                dashboard: "Applications, APIs, the API, Permissions",
                command: APPLY,
            },
            Self::ScopeDescription => Texts {
                id: "scope_description",
                reason: "what whoever consents reads of the scope",
                symptom: "the consent page says nothing of what the scope permits",
                dashboard: "Applications, APIs, the API, Permissions",
                command: APPLY,
            },
            Self::TokenDialect => Texts {
                id: "token_dialect",
                reason: "access tokens of RFC 9068, with the claim `permissions`",
                symptom: "without `_authz` tokens have no `permissions`: tokens.authority \"permissions\" or \"both\" refuses every tool \
                          that needs a scope",
                dashboard: "Applications, APIs, the API, Settings: Access Token Settings, and RBAC Settings: Add Permissions in the \
                            Access Token",
                command: APPLY,
            },
            Self::Rbac => Texts {
                id: "rbac",
                reason: "users get the scopes that their roles have, and no others",
                symptom: "nothing fails, and that is the danger: whoever asks for a scope gets it, with any role or none",
                dashboard: "Applications, APIs, the API, Settings, RBAC Settings: Enable RBAC",
                command: APPLY,
            },
            Self::OfflineAccess => Texts {
                id: "offline_access",
                reason: "clients that ask for `offline_access` get a refresh token",
                symptom: "users log in again whenever the access token expires: after an hour for third-party clients",
                dashboard: "Applications, APIs, the API, Settings, Access Settings: Allow Offline Access",
                command: APPLY,
            },
            Self::TokenLifetime => Texts {
                id: "token_lifetime",
                reason: "`token_lifetime_seconds` of [auth0.tenant]",
                symptom: "access tokens live for another time than was decided",
                dashboard: "Applications, APIs, the API, Settings: Maximum Access Token Lifetime",
                command: APPLY,
            },
            Self::SigningAlgorithm => Texts {
                id: "signing_algorithm",
                reason: "the server accepts RS256 and nothing else",
                symptom: "every token is refused as wrong_algorithm",
                dashboard: "Auth0's documentation says that it can't be changed later: create another API, with another identifier",
                command: "set auth0.audience to another identifier, then fastmcp-auth0 tenant apply",
            },
            Self::TokenEncryption => Texts {
                id: "token_encryption",
                reason: "the server has no key to decrypt tokens with",
                symptom: "every token is refused as opaque_token",
                dashboard: "Applications, APIs, the API, Settings: JSON Web Encryption (JWE)",
                command: APPLY,
            },
            Self::UserAccessPolicy => Texts {
                id: "user_access_policy",
                reason: "with deny_all no client gets a token for a user",
                symptom: "every login is refused as unauthorized_client",
                dashboard: "Applications, APIs, the API, Settings: Application Access Policy, for user access",
                command: APPLY,
            },
            Self::DefaultGrant => Texts {
                id: "default_grant",
                reason: "third-party clients, which nobody can grant anything one by one, need a grant for users",
                symptom: "the login ends with unauthorized_client, or `Client \"tpc_...\" is not authorized to access resource server \
                          ...` (reported)",
                dashboard: "Applications, APIs, the API, Settings, Default Permissions for Third-Party Applications: User-Delegated \
                            Access",
                command: APPLY,
            },
            Self::GrantScopes => Texts {
                id: "grant_scopes",
                reason: "a scope that the default grant lacks, no third-party client gets",
                symptom: "the login works, and the token lacks the scope, whatever the user's roles are",
                dashboard: "Applications, APIs, the API, Settings, Default Permissions for Third-Party Applications",
                command: APPLY,
            },
            Self::ClientDocument => Texts {
                id: "client_document",
                reason: "`client_documents` of [auth0.tenant]: Auth0 knows clients with a document once it was imported",
                symptom: "Auth0 does not know the client",
                dashboard: "Applications, Applications, Create Application: Import from URL",
                command: APPLY,
            },
            Self::Role => Texts {
                id: "role",
                reason: "users get scopes by roles; [auth0.tenant] names this one",
                symptom: "no user can be given its permissions",
                dashboard: "User Management, Roles: Create Role",
                command: APPLY,
            },
            Self::RolePermissions => Texts {
                id: "role_permissions",
                reason: "users get the scopes that their roles have",
                symptom: "the login works, but the client lists only the tools that need no scope",
                dashboard: "User Management, Roles, the role, Permissions",
                command: APPLY,
            },
            Self::RoleAssignment => Texts {
                id: "role_assignment",
                reason: "the assignment was asked for",
                symptom: "the user logs in, but the client lists only the tools that need no scope",
                dashboard: "User Management, Users, the user, Roles",
                command: APPLY,
            },
            Self::Rules => Texts {
                id: "rules",
                reason: "third-party clients in strict mode do not log in while Rules are active",
                symptom: "the login of third-party clients fails",
                dashboard: "Auth Pipeline, Rules: migrate them to Actions",
                command: "auth0 api get rules; auth0 api patch rules/RULE_ID --data '{\"enabled\": false}'",
            },
            Self::Hooks => Texts {
                id: "hooks",
                reason: "third-party clients in strict mode do not log in while Hooks are active",
                symptom: "the login of third-party clients fails",
                dashboard: "Auth Pipeline, Hooks: migrate them to Actions",
                command: "auth0 api get hooks; auth0 api patch hooks/HOOK_ID --data '{\"enabled\": false}'",
            },
            Self::LoginExperience => Texts {
                id: "login_experience",
                reason: "third-party clients in strict mode log in by Universal Login only",
                symptom: "the login of third-party clients fails",
                dashboard: "Branding, Universal Login: the new experience",
                command: "auth0 api patch prompts --data '{\"universal_login_experience\": \"new\"}'",
            },
            Self::OrganizationAccess => Texts {
                id: "organization_access",
                reason: "an organization has to admit third-party clients before its members log in by them",
                symptom: "a login through the organization ends with \"parameter organization is invalid: org_...\"",
                dashboard: "Organizations, the organization, Overview: Allow Third-Party Application Access",
                command: "auth0 api patch organizations/ORGANIZATION_ID --data '{\"third_party_client_access\": \"allow\"}'",
            },
            Self::CustomDomain => Texts {
                id: "custom_domain",
                reason: "tokens name the domain that the login used as their issuer",
                symptom: "tokens of the other domain are refused as wrong_issuer",
                dashboard: "Branding, Custom Domains shows them",
                command: "set auth0.issuer to the domain that clients use, and name the other in auth0.additional_issuers",
            },
            Self::ClientCount => Texts {
                id: "client_count",
                reason: "clients that registered themselves stay, and a plan allows so many",
                symptom: "registration fails with 403 too_many_entities (reported)",
                dashboard: "Applications, Applications: delete those that nobody uses",
                command: "auth0 apps list; auth0 apps delete CLIENT_ID",
            },
        }
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_setting_has_an_id_of_its_own_and_says_everything() {
        let ids: BTreeSet<&str> = Setting::ALL.into_iter().map(Setting::id).collect();
        assert_eq!(ids.len(), Setting::ALL.len());
        for setting in Setting::ALL {
            for text in [setting.reason(), setting.symptom(), setting.dashboard(), setting.command()] {
                assert!(!text.trim().is_empty() && !text.contains("  "), "{setting:?}: {text:?}");
            }
        }
    }
}
