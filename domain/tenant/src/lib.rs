//! The tenant as code: what an Auth0 tenant must have for an MCP server ([`Wanted`]), what it has ([`Present`]), and the changes
//! that lead from one to the other ([`Plan`]).
//!
//! Names and values are those of Auth0's Management API v2. Nothing here talks to it: an adapter reads [`Present`] and carries
//! [`Operation`]s out.
//!
//! - `wanted`: what the server and its configuration ask for
//! - `present`: what the tenant has, as it was read
//! - `setting`: everything that is set, with its reason, what its absence looks like, and how to set it by hand
//! - `plan`: the differences, and the operations that remove them, in an order that works
//! - `finding`: the same as a diagnosis, with what a plan can't change
//! - `management_scopes`: the scopes that reading and changing take
//! - `text`, `export`: a plan for people, and as files for other tools

pub mod export;
mod finding;
#[cfg(test)]
mod fixture;
mod management_scopes;
mod plan;
mod present;
mod setting;
mod text;
mod wanted;

pub use finding::{Finding, Severity, findings};
pub use management_scopes::ManagementScopes;
pub use plan::{Action, Blocked, Change, FieldChange, Kept, Operation, Plan, Prune, plan};
pub use present::{
    ApiScope, Client, ClientGrant, ClientPolicy, Connection, DefaultFor, Organization, Permission, Present,
    Prompts, ResourceServer, Role, SubjectType, SubjectTypeAuthorization, TenantFlags, TenantSettings,
    UserPolicy, UserRoles,
};
pub use setting::Setting;
pub use text::{Style, describe, safe};
pub use wanted::{Assignment, Wanted, WantedApi, WantedRole, WantedScope};
