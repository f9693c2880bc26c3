//! `tenant plan`: what has to change at the tenant.

use std::process::ExitCode;

use anyhow::Context as _;
use auth0_management::{Management, ManagementError, Reading};
use serde::Serialize;
use tenant::{ManagementScopes, Plan, Prune, describe, plan};

use super::access::{how_to_get_access, management};
use super::load::{Loaded, blocking, load};
use super::{DIFFERENT, TenantArguments, style};
use crate::commands::loading::json;
use crate::commands::{eprint, print};
use crate::server::ServerBuilder;
use crate::wiring::{audience_warnings, http_settings};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    tenant: TenantArguments,
    /// Also remove what nothing asks for: scopes of the server's APIs, their default grants and the roles; registration
    #[arg(long)]
    prune: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// A plan as JSON.
#[derive(Serialize)]
struct Report<'a> {
    /// The tenant's URL.
    tenant: &'a str,
    #[serde(flatten)]
    plan: &'a Plan,
    /// The Management scopes that reading took, and that carrying the plan out takes.
    scopes: Scopes,
}

#[derive(Serialize)]
struct Scopes {
    plan: Vec<&'static str>,
    apply: Vec<&'static str>,
}

pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = load(builder, &arguments.tenant)?;
    let (_, plan) = blocking(|| made(&loaded, pruning(arguments.prune)))?;
    let scopes = scopes(&loaded, &plan);
    if arguments.json {
        let tenant = loaded.settings.managed_tenant.url.as_str();
        let report = Report { tenant, plan: &plan, scopes };
        print(&json(&report)?);
    } else {
        show(&loaded, &plan);
        if !plan.changes.is_empty() {
            print(&format!("Management scopes that applying takes: {}", scopes.apply.join(" ")));
        }
    }
    Ok(exit_code(&plan))
}

/// Returns 1 where something wanted can't be done, 2 where there is something to do, and 0 otherwise.
pub(super) fn exit_code(plan: &Plan) -> ExitCode {
    if !plan.blocked.is_empty() {
        ExitCode::FAILURE
    } else if plan.changes.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    }
}

pub(super) const fn pruning(prune: bool) -> Prune {
    if prune { Prune::Remove } else { Prune::Keep }
}

/// Prints a plan, and a warning of an audience that clients may refuse.
pub(super) fn show(loaded: &Loaded, plan: &Plan) {
    if !plan.changes.is_empty() {
        print(&format!("At {}:\n", loaded.host()));
    }
    print(&describe(plan, style()));
    // An API's identifier can't be changed later.
    let http = http_settings(&loaded.settings, loaded.settings.server.port);
    for warning in audience_warnings(&loaded.settings, &http) {
        eprint(&format!("warning: {}", tenant::safe(&warning)));
    }
}

/// Reads the tenant and makes the plan.
pub(super) fn made(loaded: &Loaded, prune: Prune) -> anyhow::Result<(Management, Plan)> {
    let mut management = connected(loaded)?;
    let present = management.read(&loaded.wanted, Reading::Plan);
    let present = present.map_err(|error| with_scopes(error, &ManagementScopes::to_plan(&loaded.wanted)))?;
    let plan = plan(&loaded.wanted, &present, prune);
    Ok((management, plan))
}

/// Returns the client of the Management API.
///
/// # Errors
/// When there are no credentials.
pub(super) fn connected(loaded: &Loaded) -> anyhow::Result<Management> {
    let credentials = loaded.credentials.clone();
    let credentials = credentials
        .with_context(|| how_to_get_access(&ManagementScopes::to_plan(&loaded.wanted).to_string()))?;
    Ok(management(&loaded.settings.managed_tenant.url, credentials))
}

/// Says which scopes are needed where one is missing.
pub(super) fn with_scopes(error: ManagementError, scopes: &ManagementScopes) -> anyhow::Error {
    let is_forbidden = error.is_forbidden();
    let error = anyhow::Error::new(error);
    if is_forbidden { error.context(format!("this takes the Management scopes {scopes}")) } else { error }
}

fn scopes(loaded: &Loaded, plan: &Plan) -> Scopes {
    let to_plan = ManagementScopes::to_plan(&loaded.wanted);
    let to_apply = ManagementScopes::to_carry_out(plan.changes.iter().map(|change| &change.operation));
    Scopes { plan: to_plan.iter().collect(), apply: to_apply.and(&to_plan).iter().collect() }
}
