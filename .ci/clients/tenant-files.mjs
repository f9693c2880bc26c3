// Exports what the server wants of a tenant that others use already: Terraform's formatter and parser read the one file, and
// auth0-deploy-cli imports the other, after which everything is there that it can set, and everything of the others.
// Usage: node tenant-files.mjs PATH_TO_BINARY
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { format } from "@cdktn/hcl-tools";
import { parse } from "@cdktn/hcl2json";
import { checks, startDev } from "./dev.mjs";

const deployCli = fileURLToPath(new URL("node_modules/auth0-deploy-cli/lib/index.js", import.meta.url));
const binary = process.argv[2];
const folder = mkdtempSync(join(tmpdir(), "tenant-files-"));
const inFolder = (...names) => join(folder, ...names);
const read = (...names) => readFileSync(inFolder(...names), "utf8");
const { check, summary } = checks("Terraform and auth0-deploy-cli");

const [DATABASE, ROLE, OTHERS] = ["Username-Password-Authentication", "Tool Administrator", "theirs"];
const config = inFolder("config.toml");
writeFileSync(config, `[auth0.tenant]\nconnections = ["${DATABASE}", "social"]\n`);

const dev = await startDev(binary, "--fresh-tenant");
const issuer = new URL(dev.issuer);
const audience = new URL("api/v2/", issuer).href;
const { AUTH0_CLIENT_ID, AUTH0_CLIENT_SECRET, ...server } = dev.variables;
const access = { AUTH0_CLIENT_ID, AUTH0_CLIENT_SECRET };

/** Runs a command of `tenant`; its exit code and what it prints. */
async function tenant(variables, ...args) {
  const env = { PATH: process.env.PATH, ...server, ...variables };
  const run = promisify(execFile)(binary, ["tenant", ...args, "--config", config], { env, cwd: folder, timeout: 60_000 });
  return run.then(({ stdout }) => ({ code: 0, stdout }), ({ code, stdout, stderr }) => ({ code, stdout, stderr }));
}

async function send(url, method, headers, body) {
  const response = await fetch(url, { method, headers, body, signal: AbortSignal.timeout(30_000) });
  assert.ok(response.ok, `${method} ${url}: ${response.status} ${response.ok || (await response.text())}`);
  return response.json();
}

/** Returns a token of the Management API, with the scopes that are given, or all. */
async function managementToken(scope = {}) {
  const client = { client_id: AUTH0_CLIENT_ID, client_secret: AUTH0_CLIENT_SECRET };
  const body = new URLSearchParams({ grant_type: "client_credentials", audience, ...client, ...scope });
  return (await send(new URL("oauth/token", issuer), "POST", {}, body)).access_token;
}

const token = await managementToken();
const management = (method, path, body) => {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  return send(audience + path, method, headers, body && JSON.stringify(body));
};

/** What others have at the tenant: a part of the API, of the role, a grant, and a connection with a secret. */
async function settleIn() {
  const permission = { resource_server_identifier: dev.endpoint, permission_name: OTHERS };
  const scopes = [{ value: OTHERS, description: "What they do ${not.ours} \"here\"" }];
  const api = await management("POST", "resource-servers", { identifier: dev.endpoint, name: "Their API", scopes });
  const machines = { default_for: "third_party_clients", subject_type: "client", audience: dev.endpoint, scope: [OTHERS] };
  await management("POST", "client-grants", machines);
  const role = await management("POST", "roles", { name: ROLE, description: "Their role" });
  await management("POST", `roles/${role.id}/permissions`, { permissions: [permission] });
  const options = { client_id: "abc", client_secret: "kept" };
  const social = { name: "social", display_name: "With them", strategy: "google-oauth2", options };
  const connection = await management("POST", "connections", social);
  return { api, role, connection };
}

/** Checks a folder of Terraform's files, and returns what is in them, by kind of block. */
async function terraform(name) {
  const blocks = {};
  for (const file of ["main.tf", "imports.tf"]) {
    const text = read(name, file);
    assert.equal(await format(text), text, `terraform fmt leaves ${name}/${file} as it is`);
    assert.ok(!text.includes(AUTH0_CLIENT_SECRET) && !text.includes("kept"));
    Object.assign(blocks, await parse(file, text));
  }
  return blocks;
}

const imported = (blocks) => Object.fromEntries(blocks.import.map(({ to, id }) => [to.replace(/^\$\{(.*)\}$/, "$1"), id]));
const only = (resources) => Object.values(resources).flat()[0];

/** The deploy CLI speaks to https alone. */
async function startFront() {
  const [cert, key] = ["certificate.pem", "key.pem"].map((name) => inFolder(name));
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], { stdio: "ignore" });
  const front = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (asked, answer) => {
    const { method, url, headers } = asked;
    const sent = request(new URL(url, issuer), { method, headers: { ...headers, host: issuer.host } }, (response) => {
      answer.writeHead(response.statusCode, response.headers);
      response.pipe(answer);
    });
    asked.pipe(sent.on("error", () => answer.destroy()));
  });
  await new Promise((done) => front.listen(0, "127.0.0.1", done));
  const stop = () => { front.close(); front.closeAllConnections(); };
  return { domain: `127.0.0.1:${front.address().port}`, cert, stop };
}

/** Imports a file, with the scopes of the Management API that it names and no others. */
async function deploy(front, file) {
  const scope = readFileSync(file, "utf8").match(/^# Scopes of the Management API: (.*)$/m)[1];
  const settings = { AUTH0_DOMAIN: front.domain, AUTH0_ACCESS_TOKEN: await managementToken({ scope }), AUTH0_CLIENT_ID };
  writeFileSync(inFolder("deploy.json"), JSON.stringify(settings));
  const env = { PATH: process.env.PATH, NODE_EXTRA_CA_CERTS: front.cert };
  const args = [deployCli, "import", "--config_file", inFolder("deploy.json"), "--input_file", file];
  await promisify(execFile)(process.execPath, args, { env, cwd: folder, timeout: 300_000 });
}

let front;
try {
  const theirs = await settleIn();

  await check("exports with and without access to the tenant", async () => {
    assert.equal((await tenant(access, "export", "--terraform", "adopt", "--deploy-cli", "deploy")).code, 0);
    assert.equal((await tenant({}, "export", "--terraform", "new")).code, 0);
  });

  await check("Terraform: adopts what is there, and keeps what is theirs", async () => {
    const blocks = await terraform("adopt");
    const ids = Object.values(imported(blocks));
    for (const { id } of Object.values(theirs)) assert.ok(ids.includes(id), `${id} is imported`);
    for (const to of Object.keys(imported(blocks))) {
      const [kind, name] = to.split(".");
      assert.ok(blocks.resource[kind][name], `${to} is a resource`);
    }
    const scopes = only(blocks.resource.auth0_resource_server_scopes).scopes;
    assert.deepEqual(scopes.map((scope) => scope.name), [OTHERS, "tool:greet", "tool:whoami"]);
    // In JSON, Terraform escapes templates as in its own language.
    assert.equal(scopes[0].description, "What they do $${not.ours} \"here\"");
    const permissions = only(blocks.resource.auth0_role_permissions).permissions;
    assert.deepEqual(permissions.map((permission) => permission.name), [OTHERS, "tool:greet", "tool:whoami"]);
    const social = blocks.resource.auth0_connection.social[0];
    assert.deepEqual([social.display_name, social.is_domain_connection, social.options], ["With them", true, undefined]);
  });

  await check("Terraform: without access, makes everything and looks connections up", async () => {
    const blocks = await terraform("new");
    assert.deepEqual(Object.keys(imported(blocks)), ["auth0_tenant.tenant",
      "auth0_connection.username_password_authentication", "auth0_connection.social"]);
    assert.deepEqual(only(blocks.resource.auth0_client_grant).scopes, ["tool:greet", "tool:whoami"]);
  });

  front = await startFront();
  await check("auth0-deploy-cli imports its file, with the scopes that it names", () => deploy(front, inFolder("deploy", "tenant.yaml")));

  await check("after that, nothing is left to change but the database, which is not in the file", async () => {
    assert.ok(!read("deploy", "tenant.yaml").includes(AUTH0_CLIENT_SECRET));
    const { code, stdout } = await tenant(access, "plan", "--json");
    const { changes, blocked } = JSON.parse(stdout);
    const fields = changes.flatMap(({ target, fields }) => fields.map(({ field }) => `${target}: ${field}`));
    assert.deepEqual([fields, blocked, code], [[`connection ${DATABASE}: is_domain_connection`], [], 2]);
  });

  await check("after that, what is theirs is still there", async () => {
    const api = await management("GET", `resource-servers/${theirs.api.id}`);
    assert.equal(api.name, "Their API");
    assert.deepEqual(api.scopes.find((scope) => scope.value === OTHERS), theirs.api.scopes[0]);
    const grants = await management("GET", `client-grants?audience=${encodeURIComponent(dev.endpoint)}`);
    assert.deepEqual(grants.map(({ subject_type, scope }) => [subject_type, scope]),
      [["client", [OTHERS]], ["user", ["tool:greet", "tool:whoami"]]]);
    assert.equal((await management("GET", `roles/${theirs.role.id}`)).description, "Their role");
    const permissions = await management("GET", `roles/${theirs.role.id}/permissions`);
    assert.ok(permissions.some((permission) => permission.permission_name === OTHERS));
    const { options, display_name } = await management("GET", `connections/${theirs.connection.id}`);
    assert.deepEqual({ options, display_name }, { options: theirs.connection.options, display_name: "With them" });
  });
} finally {
  front?.stop();
  await dev.stop();
  rmSync(folder, { recursive: true });
}
summary();
