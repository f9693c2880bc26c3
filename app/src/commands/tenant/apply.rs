//! `tenant apply`: carries a plan out, change by change. Stopped anywhere, it goes on when it is run again: the plan is made anew.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use auth0_management::{Management, ManagementError};
use serde::Serialize;
use tenant::{Action, Change, ManagementScopes, Operation, Plan};

use super::TenantArguments;
use super::load::{Loaded, blocking, load};
use super::plan::{made, pruning, show, with_scopes};

use crate::commands::{eprint, loading, print};
use crate::server::ServerBuilder;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    tenant: TenantArguments,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Also remove what nothing asks for: scopes of the server's APIs, their default grants and the roles; registration
    #[arg(long)]
    prune: bool,
    /// Print one JSON document; needs --yes
    #[arg(long, requires = "yes")]
    json: bool,
}

/// What became of a plan.
#[derive(Serialize)]
struct Outcome<'a> {
    done: &'a [Change],
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<Failed<'a>>,
    /// What was not begun.
    left: &'a [Change],
    blocked: &'a [tenant::Blocked],
}

#[derive(Serialize)]
struct Failed<'a> {
    change: &'a Change,
    error: String,
}

pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = load(builder, &arguments.tenant)?;
    blocking(|| apply(&loaded, arguments))
}

fn apply(loaded: &Loaded, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (mut management, plan) = made(loaded, pruning(arguments.prune))?;
    if !arguments.json {
        show(loaded, &plan);
    }
    if !plan.changes.is_empty() && !arguments.yes && !is_confirmed(loaded.host())? {
        print("Nothing was changed.");
        return Ok(ExitCode::FAILURE);
    }
    let (done, error) = carried_out(&mut management, &plan, arguments.json);
    let exit_code = report(&plan, done, error, arguments.json)?;
    if !arguments.json && done == plan.changes.len() {
        show_roles_without_users(loaded, &plan);
    }
    Ok(exit_code)
}

/// Says what is left to do where roles were made, and no user was named for any.
fn show_roles_without_users(loaded: &Loaded, plan: &Plan) {
    let made = |change: &Change| match &change.operation {
        Operation::CreateRole { name, .. } => Some(tenant::safe(name)),
        _ => None,
    };
    let roles: Vec<String> = plan.changes.iter().filter_map(made).collect();
    if !roles.is_empty() && loaded.wanted.assignments.is_empty() {
        print(&format!(
            "No user has the new roles yet, and users get scopes by roles. Give one by --assign 'USER=ROLE'; new: {}",
            roles.join(", ")
        ));
    }
}

/// Asks. Only a whole `yes` is one.
fn is_confirmed(host: &str) -> anyhow::Result<bool> {
    let stdin = io::stdin();
    anyhow::ensure!(
        stdin.is_terminal(),
        "nothing was changed: standard input is no terminal to ask at; --yes applies without a question"
    );
    print(&format!("\nApply this at {host}? Type `yes`; anything else changes nothing."));
    let _ = io::stdout().flush();
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("the answer can't be read")?;
    Ok(answer.trim() == "yes")
}

/// Carries changes out until one fails. Returns how many were, and the error.
fn carried_out(management: &mut Management, plan: &Plan, quiet: bool) -> (usize, Option<ManagementError>) {
    let count = plan.changes.len();
    for (index, change) in plan.changes.iter().enumerate() {
        let line = format!("[{}/{count}] {}", index + 1, tenant::safe(&change.target));
        if let Err(error) = management.carry_out(&change.operation) {
            return (index, Some(error));
        }
        if !quiet {
            print(&format!("{line}: {}", done(change.action)));
        }
    }
    (count, None)
}

const fn done(action: Action) -> &'static str {
    match action {
        Action::Create => "created",
        Action::Update => "updated",
        Action::Remove => "pruned",
    }
}

fn report(plan: &Plan, done: usize, error: Option<ManagementError>, json: bool) -> anyhow::Result<ExitCode> {
    let (done, rest) = plan.changes.split_at(done);
    let has_failed = error.is_some();
    let left = rest.get(usize::from(has_failed)..).unwrap_or_default();
    let failed = error.zip(rest.first()).map(|(error, change)| Failed {
        change,
        error: format!("{:#}", with_scopes(error, &ManagementScopes::to_carry_out([&change.operation]))),
    });
    let is_complete = !has_failed && plan.blocked.is_empty();
    if json {
        let outcome = Outcome { done, failed, left, blocked: &plan.blocked };
        print(&loading::json(&outcome)?);
    } else if let Some(failed) = failed {
        eprint(&format!("error: {}: {}", tenant::safe(&failed.change.target), failed.error));
        let names: Vec<String> = left.iter().map(|change| tenant::safe(&change.target)).collect();
        let rest =
            if names.is_empty() { String::new() } else { format!("; not begun: {}", names.join(", ")) };
        eprint(&format!(
            "{} of {} changes were done{rest}. Once that is mended, run it again: it goes on from here.",
            done.len(),
            plan.changes.len()
        ));
    } else if !plan.changes.is_empty() {
        let s = if done.len() == 1 { "" } else { "s" };
        print(&format!("Done: {} change{s}.", done.len()));
    }
    if !json {
        // Said again, where it is seen: the list is long.
        for blocked in &plan.blocked {
            eprint(&format!(
                "not done: {}: {}",
                tenant::safe(&blocked.target),
                tenant::safe(&blocked.problem)
            ));
        }
    }
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
