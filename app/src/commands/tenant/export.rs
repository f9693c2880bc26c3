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
    let folders = folders.into_iter().chain(arguments.deploy_cli.as_ref().map(deploy_cli));
    let files: Vec<(PathBuf, String)> = folders
        .flat_map(|(folder, files)| files.into_iter().map(move |file| (folder.join(file.path), file.content)))
        .collect();
    write(&files, arguments.force)?;
    for (path, _) in &files {
        print(&path.display().to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all files, or none where one would replace another without leave. A link that leads nowhere is one as well.
fn write(files: &[(PathBuf, String)], force: bool) -> anyhow::Result<()> {
    for (path, _) in files {
        let is_free = force || path.symlink_metadata().is_err();
        anyhow::ensure!(is_free, "{} is there already; --force replaces it", path.display());
    }
    for (path, content) in files {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
        }
        fs::write(path, content).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}

/// Reads what the tenant has, where there is Management access.
fn present(loaded: &Loaded) -> anyhow::Result<Option<Present>> {
    if loaded.credentials.is_none() {
        return Ok(None);
    }
    let present = connected(loaded)?.read(&loaded.wanted, Reading::Plan);
    present.map(Some).map_err(|error| with_scopes(error, &ManagementScopes::to_plan(&loaded.wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_there_keeps_all_from_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join("made").join(name);
        let files = |content: &str| ["a", "b"].map(|name| (path(name), content.to_owned()));
        write(&files("1"), false).unwrap();
        fs::remove_file(path("a")).unwrap();
        let error = write(&files("2"), false).unwrap_err().to_string();
        assert!(error.contains("--force") && !path("a").exists(), "{error}");
        write(&files("2"), true).unwrap();
        assert_eq!(fs::read_to_string(path("b")).unwrap(), "2");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leads_nowhere_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (link, elsewhere) = (folder.path().join("link"), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        write(&[(link, String::new())], false).unwrap_err();
        assert!(!elsewhere.exists());
    }
}
