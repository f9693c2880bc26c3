//! By which credentials the Management API is used. They are no part of the server's configuration: serving needs none.

use std::path::{Path, PathBuf};
use std::time::Duration;

use auth0_management::{Credentials, Management, Progress, Secret};
use domain::Clock as _;
use system_clock::SystemClock;
use tokio::runtime::Handle;
use url::Url;

use super::super::eprint;
use crate::config::{Sources, read_secret};

/// The variables that other tools of Auth0's read as well.
const TOKEN: &str = "AUTH0_API_TOKEN";
const CLIENT_ID: &str = "AUTH0_CLIENT_ID";
const CLIENT_SECRET: &str = "AUTH0_CLIENT_SECRET";

/// Named at each argument: a heading for what follows would be that of every later option as well.
const HEADING: &str = "Management access: AUTH0_API_TOKEN, or AUTH0_CLIENT_ID and AUTH0_CLIENT_SECRET, or";

#[derive(Debug, clap::Args)]
pub(super) struct AccessArguments {
    /// A file with an access token for the Management API
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    token_file: Option<PathBuf>,
    /// A file with the client secret, beside the id in the environment
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    client_secret_file: Option<PathBuf>,
}

impl AccessArguments {
    /// Returns the credentials, if there are any: of files, of `.env`, or of the environment.
    ///
    /// # Errors
    /// When there is only a part of them, or a file can't be read.
    pub(super) fn credentials(&self, sources: &Sources) -> anyhow::Result<Option<Credentials>> {
        if let Some(file) = &self.token_file {
            return Ok(Some(Credentials::Token(secret_of(file)?)));
        }
        // What the command line names goes before what happens to be set.
        if let (None, Some(token)) = (&self.client_secret_file, sources.variable(TOKEN)) {
            return Ok(Some(Credentials::Token(checked(token, TOKEN)?)));
        }
        let secret = match &self.client_secret_file {
            Some(file) => Some(secret_of(file)?),
            None => sources.variable(CLIENT_SECRET).map(Secret::new),
        };
        match (sources.variable(CLIENT_ID), secret) {
            (Some(id), Some(secret)) => Ok(Some(Credentials::Client { id: id.to_owned(), secret })),
            (Some(_), None) => anyhow::bail!(
                "{CLIENT_ID} is set, and {CLIENT_SECRET} is not; --client-secret-file can take its place"
            ),
            (None, Some(_)) => anyhow::bail!("there is a client secret, and {CLIENT_ID} is not set"),
            (None, None) => Ok(None),
        }
    }
}

/// Returns what to do where there are no credentials.
pub(super) fn how_to_get_access(scopes: &str) -> String {
    format!(
        "no access to the Management API: set {CLIENT_ID} and {CLIENT_SECRET} to those of an application with the grant \
         client_credentials, or {TOKEN} to a token. Dashboard: Applications, APIs, Auth0 Management API: in Machine to Machine \
         Applications authorize one for {scopes}; or take the token of API Explorer"
    )
}

/// Creates the client, which says when it has to wait.
pub(super) fn management(tenant: &Url, credentials: Credentials) -> Management {
    let (clock, handle) = (SystemClock::start(), Handle::current());
    let wait = move |time: Duration| handle.block_on(clock.sleep(time));
    Management::new(tenant.clone(), credentials, wait).on_progress(|progress| match progress {
        Progress::Waiting(time) => {
            eprint(&format!("the tenant's limit of requests is reached: waiting {} s", time.as_secs()));
        }
    })
}

fn secret_of(file: &Path) -> anyhow::Result<Secret> {
    let text = read_secret(file).map_err(|error| anyhow::anyhow!("{} {error}", file.display()))?;
    let (text, name) = (text.trim(), file.display().to_string());
    anyhow::ensure!(!text.is_empty(), "{name} is empty");
    checked(text, &name)
}

/// Wraps what a header field can carry.
fn checked(text: &str, name: &str) -> anyhow::Result<Secret> {
    anyhow::ensure!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{name} has more than one word");
    Ok(Secret::new(text))
}
