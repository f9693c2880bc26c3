//! `token`: an access token of the running local tenant, alone on standard output.

use std::process::ExitCode;

use local_tenant::{TokenRequest, client};

use super::{dev, eprint, print, running_dev, runtime};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The user the token speaks for, by its key in the local tenant
    #[arg(long, default_value = "admin")]
    user: String,
    /// The scopes to ask for, separated by spaces; without it, everything that the user's roles allow
    #[arg(long)]
    scope: Option<String>,
    /// The API the token is for; without it, the server that runs beside the tenant
    #[arg(long)]
    audience: Option<String>,
    /// Where the local tenant listens; without it, the port of the newest `dev` that is running
    #[arg(long)]
    tenant_port: Option<u16>,
}

pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { user, scope, audience, tenant_port } = arguments;
    let tenant_port = tenant_port.or_else(|| Some(running_dev::ports()?.tenant)).unwrap_or(dev::TENANT_PORT);
    let request = TokenRequest { user, scope, audience };
    let issued = runtime()?.block_on(client::request_token(tenant_port, &request))?;
    let granted: Vec<&str> = issued.scope.split(' ').collect();
    let asked = request.scope.as_deref().unwrap_or_default().split_whitespace();
    let missing: Vec<&str> = asked.filter(|scope| !granted.contains(scope)).collect();
    if !missing.is_empty() {
        eprint(&format!("note: the roles of `{}` do not allow {}", request.user, missing.join(" ")));
    }
    print(&issued.access_token);
    Ok(ExitCode::SUCCESS)
}
