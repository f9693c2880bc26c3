// A new tenant, set up by `tenant apply`: what clients meet before, a whole login by both SDKs after, and each trap of a login,
// made through the Management API, named by `tenant doctor` and mended by `tenant apply`.
// Usage: node tenant-setup.mjs PATH_TO_BINARY PATH_TO_PYTHON
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";
import { checks, startDev } from "./dev.mjs";
import { Keeper } from "./login.mjs";
import { management } from "./management.mjs";

const [binary, python] = process.argv.slice(2).map((path) => resolve(path));
const { check, summary } = checks("tenant setup");
const tools = ["greet", "whoami", "get_datetime"];

/** How `fastmcp-auth0 tenant` ends, and what it says. It knows what `dev` says to export: no other variable, no `.env`. */
function tenant(dev, ...args) {
  const options = { encoding: "utf8", env: dev.variables, cwd: tmpdir(), timeout: 60_000 };
  const { status, stdout, stderr } = spawnSync(binary, ["tenant", ...args], options);
  return { status, stdout, stderr };
}

/** Sets the tenant up, after which nothing is left to do. */
function mend(dev) {
  const applied = tenant(dev, "apply", "--yes", "--assign", "admin@example.com=Tool Administrator");
  assert.equal(applied.status, 0, applied.stderr);
  const planned = tenant(dev, "plan");
  assert.equal(planned.status, 0, planned.stdout);
}

/** How doctor ends, and what it says that users meet of a setting. */
function diagnosis(dev, setting) {
  const { status, stdout } = tenant(dev, "doctor", "--json");
  const { findings } = JSON.parse(stdout);
  const found = findings.find((finding) => finding.setting === setting);
  assert.ok(found, `doctor does not name ${setting}, but ${findings.map((finding) => finding.setting)}`);
  return { status, symptom: found.symptom };
}

/** Logs in as a new client of the TypeScript SDK, given the endpoint alone, and connects. */
async function login(dev) {
  const keeper = new Keeper(dev.issuer);
  let refusal;
  const recorded = async (url, init) => {
    const response = await fetch(url, init);
    if (response.status === 401) refusal = response.headers.get("www-authenticate");
    return response;
  };
  const transport = () => new StreamableHTTPClientTransport(new URL(dev.endpoint), { authProvider: keeper, fetch: recorded });
  const client = () => new Client({ name: "ci", version: "1" });
  const first = transport();
  await client().connect(first).catch((error) => {
    if (!(error instanceof UnauthorizedError)) throw error;
  });
  await first.finishAuth(keeper.callback);
  const connected = client();
  // The SDK's error does not have what the server says of the token.
  await connected.connect(transport()).catch((error) => {
    error.message += `; the server's challenge: ${refusal}`;
    throw error;
  });
  return { client: connected, keeper };
}

async function listed(dev) {
  const { client, keeper } = await login(dev);
  const names = (await client.listTools()).tools.map((tool) => tool.name);
  await client.close();
  return { names, kept: keeper.kept };
}

/** What a login fails with. */
const failure = (dev) => login(dev).then(() => assert.fail("the login works"), (error) => error.message);

async function before(dev) {
  await check("a new tenant: doctor names problems, plan has changes, drift too, and nothing is changed by them", () => {
    const { status, stdout } = tenant(dev, "doctor");
    assert.equal(status, 1);
    assert.match(stdout, /^problem +tenant settings: resource_parameter_profile is "audience"/m);
    assert.match(stdout, /^problem +api .*: it does not exist/m);
    for (const command of ["plan", "drift", "plan"]) assert.equal(tenant(dev, command).status, 2);
    assert.equal(JSON.parse(tenant(dev, "plan", "--json").stdout).blocked.length, 0);
  });
  await check("a client can't register, and doctor says so", async () => {
    assert.match(await failure(dev), /registration is not enabled/);
    assert.match(diagnosis(dev, "dynamic_registration").symptom, /can't register/);
  });
}

async function after(dev, other) {
  await check("apply does it all, and a second time nothing", () => {
    mend(dev);
    mend(other);
    for (const command of ["doctor", "drift"]) assert.equal(tenant(dev, command).status, 0);
    assert.deepEqual(JSON.parse(tenant(dev, "apply", "--yes", "--json").stdout).done, []);
  });
  await check("the TypeScript SDK logs in, calls the tools, and refreshes", async () => {
    const { client, keeper } = await login(dev);
    const call = async (name, args) => (await client.callTool({ name, arguments: args })).structuredContent;
    assert.deepEqual((await client.listTools()).tools.map((tool) => tool.name), tools);
    assert.equal((await call("greet", { name: "Ada" })).greeting, "Hello, Ada (auth0|local-admin)!");
    assert.equal((await call("whoami", {})).user.sub, "auth0|local-admin");
    const { access_token, refresh_token } = keeper.kept;
    keeper.kept = { ...keeper.kept, access_token: `${access_token}x` };
    assert.equal((await call("whoami", {})).user.sub, "auth0|local-admin");
    assert.notEqual(keeper.kept.refresh_token, refresh_token);
    assert.equal(keeper.logins, 1);
    await client.close();
  });
  await check("the Python SDK does, too", () => {
    const script = fileURLToPath(new URL("python_client.py", import.meta.url));
    execFileSync(python, [script, dev.endpoint, dev.issuer], { stdio: ["ignore", "ignore", "inherit"], timeout: 120_000 });
  });
  await check("a user without a role gets the tools that need no scope", async () => {
    assert.deepEqual((await listed(other)).names, ["get_datetime"]);
  });
}

/** The traps in which a login fails: doctor quotes what the client's error says. */
const failing = [
  {
    setting: "resource_parameter_profile", says: "The userinfo audience is not allowed for third party clients",
    make: ({ tenants }) => tenants.settings.update({ resource_parameter_profile: "audience" }),
  },
  {
    setting: "resource_parameter_profile", says: "opaque_token", called: "an opaque token",
    make: ({ tenants }) =>
      tenants.settings.update({ resource_parameter_profile: "audience", dynamic_client_registration_security_mode: "permissive" }),
    // Older tenants may have it, so that apply leaves it as it is.
    undo: ({ tenants }) => tenants.settings.update({ dynamic_client_registration_security_mode: "strict" }),
  },
  {
    setting: "domain_connection", says: "no connections enabled for the client",
    make: async ({ connections }) => {
      for await (const { id } of await connections.list()) await connections.update(id, { is_domain_connection: false });
    },
  },
  {
    setting: "default_grant", says: "is not authorized to access resource server",
    make: async ({ clientGrants }) => {
      for await (const { id } of await clientGrants.list({ default_for: "third_party_clients" })) await clientGrants.delete(id);
    },
  },
  {
    setting: "api", says: "Service not found", make: ({ resourceServers }, { endpoint }) => resourceServers.delete(endpoint),
  },
];

/** The traps in which a login works, and something is missing, or there that should not be. */
const silent = [
  {
    setting: "offline_access", says: "log in again", make: ({ resourceServers }, { endpoint }) =>
      resourceServers.update(endpoint, { allow_offline_access: false }),
    good: ({ kept }) => assert.ok(kept.refresh_token), bad: ({ kept }) => assert.equal(kept.refresh_token, undefined),
  },
  {
    setting: "api_scopes", says: "the token lacks the scope", make: ({ resourceServers }, { endpoint }) =>
      resourceServers.update(endpoint, { scopes: [{ value: "tool:greet", description: "Greet you by name" }] }),
    good: ({ names }) => assert.deepEqual(names, tools), bad: ({ names }) => assert.deepEqual(names, ["greet", "get_datetime"]),
  },
  {
    setting: "role_permissions", says: "only the tools that need no scope", make: async ({ roles }) => {
      for await (const { id } of await roles.list()) {
        const { data } = await roles.permissions.list(id);
        const named = ({ resource_server_identifier, permission_name }) => ({ resource_server_identifier, permission_name });
        const permissions = data.map(named);
        await roles.permissions.delete(id, { permissions });
      }
    },
    good: ({ names }) => assert.deepEqual(names, tools), bad: ({ names }) => assert.deepEqual(names, ["get_datetime"]),
  },
  {
    setting: "rbac", says: "whoever asks for a scope gets it", isOfOther: true, make: ({ resourceServers }, { endpoint }) =>
      resourceServers.update(endpoint, { enforce_policies: false }),
    good: ({ names }) => assert.deepEqual(names, ["get_datetime"]), bad: ({ names }) => assert.deepEqual(names, tools),
  },
];

async function traps(dev, other) {
  const api = management(dev);
  for (const { setting, says, called = setting, make, undo = () => {} } of failing) {
    await check(`${called}: the login fails as doctor says, and works again after apply`, async () => {
      await make(api, dev);
      const message = await failure(dev);
      assert.ok(message.includes(says), `${JSON.stringify(message)} does not say ${says}`);
      const { status, symptom } = diagnosis(dev, setting);
      assert.ok(status === 1 && symptom.includes(says));
      await undo(api);
      mend(dev);
      assert.deepEqual((await listed(dev)).names, tools);
    });
  }
  for (const { setting, says, make, good, bad, isOfOther } of silent) {
    const trapped = isOfOther ? other : dev;
    await check(`${setting}: the login works and is not right, doctor says so, and apply mends it`, async () => {
      await make(management(trapped), trapped);
      bad(await listed(trapped));
      assert.ok(diagnosis(trapped, setting).symptom.includes(says));
      mend(trapped);
      good(await listed(trapped));
    });
  }
}

const dev = await startDev(binary, "--fresh-tenant", "--auto-consent", "admin");
try {
  // Of a user whom nobody gives a role.
  const other = await startDev(binary, "--fresh-tenant", "--auto-consent", "user");
  try {
    // More at once than Auth0 allows: one command after another would wait.
    for (const it of [dev, other]) await it.inject({ fault: "management", answer: "rate", burst: 1000, per_second: 1000 });
    await before(dev);
    await after(dev, other);
    await traps(dev, other);
  } finally {
    await other.stop();
  }
} finally {
  await dev.stop();
}
summary();
