//! What `dev --fresh-tenant` says: how to set the tenant up.

use std::path::Path;

use anyhow::Context as _;
use local_tenant::LocalTenant;

use super::{program, quoted};

/// Returns what to do now, to be pasted into another terminal: the first user is given `role`. The client that is named there is
/// the tenant's own, made at this start.
pub(super) fn banner(
    endpoint: &str,
    path: &str,
    tenant: &LocalTenant,
    config: Option<&Path>,
    role: Option<&str>,
) -> anyhow::Result<String> {
    let program = program()?;
    let config = match config {
        Some(file) => {
            format!(" --config {}", quoted(file.to_str().context("the --config file's path is not text")?))
        }
        None => String::new(),
    };
    let (client_id, secret) = tenant.management_client();
    let users = tenant.users().iter();
    let users = users.map(|user| format!("  {:<8} {}", user.key, user.email.as_deref().unwrap_or(&user.sub)));
    let users: Vec<String> = users.collect();
    let first = tenant.users().first();
    let first = first.map_or("USER", |user| user.email.as_deref().unwrap_or(&user.sub));
    Ok(format!(
        "MCP endpoint   {endpoint}\n\
         Issuer         {issuer}   (a local tenant for development, as a new one of Auth0's is; nothing is kept)\n\
         \n\
         Users\n{users}\n\
         \n\
         No client can log in yet. In another terminal, in a folder without a .env:\n\
         \x20 export AUTH0_ISSUER={issuer} AUTH0_AUDIENCE={endpoint} MCP_SERVER_URL={url} \\\n\
         \x20   AUTH0_CLIENT_ID={client_id} AUTH0_CLIENT_SECRET={secret}\n\
         \n\
         What is wrong:\n  {program} tenant doctor{config}\n\
         What has to change:\n  {program} tenant plan{config}\n\
         Change it:\n  {program} tenant apply{config}{assign}\n\
         \n\
         Then give an MCP client the endpoint and no token; its browser shows the tenant's page.\n\
         \n\
         Ctrl-C stops both.",
        issuer = tenant.issuer(),
        url = endpoint.strip_suffix(path).unwrap_or(endpoint),
        users = users.join("\n"),
        assign = assign(first, role),
        secret = secret.expose(),
    ))
}

/// Returns the option that gives a user a role, if there is one to give.
fn assign(user: &str, role: Option<&str>) -> String {
    role.map(|role| format!(" --assign {}", quoted(&format!("{user}={role}")))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_role_is_that_of_the_configuration_and_nothing_of_it_is_the_shells() {
        let given = assign("o'hara@example.com", Some("Tool $(id) Administrator"));
        assert_eq!(given, r" --assign 'o'\''hara@example.com=Tool $(id) Administrator'");
        assert_eq!(assign("ada@example.com", None), "");
    }
}
