//! `tenant plan`, `apply`, `doctor` and `drift`: the real binary, with a local tenant that is as a new one of Auth0's.
//!
//! - `commands`: what they print, how they end, and which Management scopes they take
//! - `stopped`: an apply that is killed or that fails in the middle
//! - `lists`: what others put into the tenant
//! - `traps`: everything that keeps users out, one at a time
//! - `size`: many scopes, roles and clients; limits of requests
//! - `credentials`: how the Management API is reached

mod commands;
mod credentials;
mod lists;
mod size;
mod stopped;
mod traps;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::Mutex;

use futures_util::FutureExt as _;
use local_tenant::{Fault, LocalTenant, ManagementAnswer, Options};
use serde_json::{Value, json};

use crate::binary::{command, text};
use crate::local_tenant::send;

/// The server's endpoint, where nothing listens.
const API: &str = "http://localhost:1/mcp";
const SERVER: &str = "http://localhost:1";
const DATABASE: &str = "Username-Password-Authentication";
/// Gives the first user the administrators' role.
const ASSIGN: [&str; 2] = ["--assign", "admin@example.com=Tool Administrator"];
/// No test waits for limits, but those that are about them.
const NO_LIMIT: Fault = Fault::Management(ManagementAnswer::Rate { burst: 1_000_000, per_second: 1_000_000 });

/// A fresh tenant, and a folder to run commands in.
struct Fresh {
    tenant: LocalTenant,
    folder: tempfile::TempDir,
    /// For the tests' own requests.
    token: String,
    /// What no output may have.
    secrets: Mutex<Vec<String>>,
}

/// What a run printed, and how it ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The settings of the findings that `doctor --json` prints.
    #[track_caller]
    fn settings(&self) -> Vec<String> {
        texts(&self.json()["findings"], "setting")
    }
}

/// A member of each of a list's items.
fn texts(list: &Value, member: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item[member].as_str().unwrap_or_default().to_owned()).collect()
}

impl Fresh {
    async fn new() -> Self {
        Self::of(Options::default()).await
    }

    async fn of(options: Options) -> Self {
        let tenant = LocalTenant::start(options.with_fresh_state()).await.unwrap();
        tenant.inject(&NO_LIMIT);
        let secret = tenant.management_client().1.expose().to_owned();
        let folder = tempfile::tempdir().unwrap();
        let mut fresh = Self { tenant, folder, token: String::new(), secrets: Mutex::new(vec![secret]) };
        fresh.token = fresh.token_of(None).await;
        fresh
    }

    /// Gets a token for the Management API, of some scopes or of all.
    async fn token_of(&self, scopes: Option<&str>) -> String {
        let (id, secret) = self.tenant.management_client();
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials").append_pair("client_id", id);
        form.append_pair("client_secret", secret.expose());
        form.append_pair("audience", &format!("{}api/v2/", self.tenant.issuer()));
        form.extend_pairs(scopes.map(|scopes| ("scope", scopes)));
        let headers = "content-type: application/x-www-form-urlencoded\r\n";
        let answer = send(self.tenant.port(), "POST", "/oauth/token", headers, &form.finish()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        self.secrets.lock().unwrap().push(token.clone());
        token
    }

    /// Where the server's configuration says that it is.
    fn service(&self) -> Vec<(&str, &str)> {
        vec![("AUTH0_ISSUER", self.tenant.issuer()), ("AUTH0_AUDIENCE", API), ("MCP_SERVER_URL", SERVER)]
    }

    fn client(&self) -> [(&str, &str); 2] {
        let (id, secret) = self.tenant.management_client();
        [("AUTH0_CLIENT_ID", id), ("AUTH0_CLIENT_SECRET", secret.expose())]
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs `tenant ...` as whoever may do everything.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(&self.client(), arguments)
    }

    /// Runs `tenant ...` with credentials of the environment.
    #[track_caller]
    fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
        self.checked(self.prepared(environment, arguments).output().unwrap())
    }

    #[track_caller]
    fn run_with_token(&self, token: &str, arguments: &[&str]) -> Ran {
        self.run_with(&[("AUTH0_API_TOKEN", token)], arguments)
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.prepared(&self.client(), arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn prepared(&self, environment: &[(&str, &str)], arguments: &[&str]) -> std::process::Command {
        let environment = [self.service().as_slice(), environment].concat();
        let mut command = command(&[&["tenant"], arguments].concat(), &environment);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// No output has a secret, a token, or a color.
    #[track_caller]
    fn checked(&self, output: Output) -> Ran {
        let ran = Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) };
        for stream in [&ran.out, &ran.err] {
            for secret in self.secrets.lock().unwrap().iter() {
                assert!(!stream.contains(secret), "a secret: {stream}");
            }
            // What every JWT begins with, also those that the command got itself.
            assert!(!stream.contains("eyJ"), "a token: {stream}");
            assert!(!stream.contains('\u{1b}'), "a color: {stream}");
        }
        ran
    }

    /// Sends what has to succeed to the Management API.
    async fn api(&self, method: &str, path: &str, body: Value) -> Value {
        let headers = format!("authorization: Bearer {}\r\n", self.token);
        let (headers, body) = match body {
            Value::Null => (headers, String::new()),
            body => (format!("{headers}content-type: application/json\r\n"), body.to_string()),
        };
        let answer = send(self.tenant.port(), method, &format!("/api/v2/{path}"), &headers, &body).await;
        assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text);
        if answer.text.is_empty() { Value::Null } else { answer.json() }
    }

    async fn get(&self, path: &str) -> Value {
        self.api("GET", path, Value::Null).await
    }

    /// All items of a list that has no more of them than a page.
    async fn list(&self, path: &str) -> Vec<Value> {
        self.get(&format!("{path}?per_page=100")).await.as_array().unwrap().clone()
    }

    /// The item of a list with this value of a member.
    async fn find(&self, path: &str, member: &str, value: &str) -> Option<Value> {
        self.list(path).await.into_iter().find(|item| item[member] == value)
    }

    async fn our_api(&self) -> Value {
        self.get(&api_path()).await
    }

    async fn our_grant(&self) -> Value {
        self.find("client-grants", "audience", API).await.unwrap()
    }

    async fn role(&self, name: &str) -> Value {
        self.find("roles", "name", name).await.unwrap()
    }

    async fn change_api(&self, change: Value) {
        self.api("PATCH", &api_path(), change).await;
    }

    async fn change_grant(&self, change: Value) {
        let id = id(&self.our_grant().await);
        self.api("PATCH", &format!("client-grants/{id}"), change).await;
    }

    async fn change_settings(&self, change: Value) {
        self.api("PATCH", "tenants/settings", change).await;
    }

    /// Sets the tenant up, with an administrator.
    #[track_caller]
    fn apply(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["apply", "--yes"], ASSIGN.as_slice(), arguments].concat()).expect(0)
    }

    /// How many writes the Management API has carried out.
    fn writes(&self) -> u64 {
        let has = |count: u64| {
            tokio::task::unconstrained(self.tenant.management_writes(count)).now_or_never().is_some()
        };
        (0..10_000).find(|count| !has(count + 1)).unwrap()
    }

    /// Everything of the tenant that `apply` may change, without the ids that Auth0 makes up.
    async fn state(&self) -> Value {
        let mut apis = self.list("resource-servers").await;
        let mut grants = self.list("client-grants").await;
        let mut connections = self.list("connections").await;
        for item in apis.iter_mut().chain(&mut grants).chain(&mut connections) {
            item.as_object_mut().unwrap().remove("id");
        }
        let mut roles = Vec::new();
        for role in self.list("roles").await {
            let permissions = self.get(&format!("roles/{}/permissions?per_page=100", id(&role))).await;
            let users = self.get(&format!("roles/{}/users", id(&role))).await;
            roles.push(json!({
                "name": role["name"], "description": role["description"], "permissions": permissions,
                "users": users,
            }));
        }
        json!({
            "settings": self.get("tenants/settings").await, "apis": apis, "grants": grants,
            "connections": connections, "roles": roles,
        })
    }

    /// Makes the tenant as new again.
    async fn forget(&self) {
        for api in self.list("resource-servers").await {
            if api["is_system"] != true {
                self.api("DELETE", &format!("resource-servers/{}", id(&api)), Value::Null).await;
            }
        }
        for kind in ["roles", "organizations", "rules", "hooks", "connections"] {
            for item in self.list(kind).await {
                let id = id(&item).replace(' ', "%20");
                self.api("DELETE", &format!("{kind}/{id}"), Value::Null).await;
            }
        }
        self.api("POST", "connections", json!({"name": DATABASE, "strategy": "auth0"})).await;
        self.api("PATCH", "prompts", json!({"universal_login_experience": "new"})).await;
        self.change_settings(json!({
            "resource_parameter_profile": "audience",
            "authorization_response_iss_parameter_supported": false,
            "client_id_metadata_document_supported": false,
            "flags": {"enable_dynamic_client_registration": false, "use_scope_descriptions_for_consent": false},
        }))
        .await;
    }
}

fn api_path() -> String {
    format!("resource-servers/{}", encoded(API))
}

/// Percent-encodes a segment of a path.
fn encoded(text: &str) -> String {
    text.replace('%', "%25").replace(':', "%3A").replace('/', "%2F").replace('|', "%7C").replace(' ', "%20")
}

fn id(item: &Value) -> String {
    item["id"].as_str().unwrap().to_owned()
}

/// The names of a list of scopes.
fn scope_names(api: &Value) -> BTreeSet<String> {
    texts(&api["scopes"], "value").into_iter().collect()
}

fn path_text(path: &Path) -> &str {
    path.to_str().unwrap()
}
