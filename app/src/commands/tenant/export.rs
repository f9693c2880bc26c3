//! `tenant export`: what the tenant must have, as files for other tools.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use auth0_management::Reading;
use tenant::{ManagementScopes, Present, export};

use super::TenantArguments;
use super::load::{Loaded, blocking, load};
use super::plan::{connected, with_scopes};
use crate::commands::print;
use crate::server::ServerBuilder;

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("tool").required(true).multiple(true))]
pub(super) struct Arguments {
    #[command(flatten)]
    tenant: TenantArguments,
    /// The folder for Terraform's files, with imports of what exists where there is Management access
    #[arg(long, value_name = "FOLDER", group = "tool")]
    terraform: Option<PathBuf>,
    /// The folder for auth0-deploy-cli's file
    #[arg(long, value_name = "FOLDER", group = "tool")]
    deploy_cli: Option<PathBuf>,
    /// Replace files that are there
    #[arg(long)]
    force: bool,
}

pub(super) fn run(builder: ServerBuilder, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let loaded = load(builder, &arguments.tenant)?;
    let present = blocking(|| present(&loaded))?;
    let terraform = |folder: &PathBuf| (folder.clone(), export::terraform(&loaded.wanted, present.as_ref()));
    let deploy_cli =
        |folder: &PathBuf| (folder.clone(), export::deploy_cli(&loaded.wanted, present.as_ref()));
    let folders = arguments.terraform.as_ref().map(terraform);
    for (folder, files) in folders.into_iter().chain(arguments.deploy_cli.as_ref().map(deploy_cli)) {
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        for file in files {
            let path = folder.join(file.path);
            let is_free = arguments.force || !path.exists();
            anyhow::ensure!(is_free, "{} is there already; --force replaces it", path.display());
            fs::write(&path, file.content).with_context(|| format!("can't write {}", path.display()))?;
            print(&path.display().to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads what the tenant has, where there is Management access.
fn present(loaded: &Loaded) -> anyhow::Result<Option<Present>> {
    if loaded.credentials.is_none() {
        return Ok(None);
    }
    let present = connected(loaded)?.read(&loaded.wanted, Reading::Plan);
    present.map(Some).map_err(|error| with_scopes(error, &ManagementScopes::to_plan(&loaded.wanted)))
}
