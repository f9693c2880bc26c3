// Auth0's SDK for Node against a local tenant's Management API: its own methods, pages, errors and retries, for every operation.
// Usage: node management-sdk.mjs PATH_TO_BINARY
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { Management, ManagementError } from "auth0";
import { checks, startDev } from "./dev.mjs";
import { management } from "./management.mjs";

const { BadRequestError, ConflictError, ForbiddenError, NotFoundError, TooManyRequestsError, UnauthorizedError } = Management;
const { check, summary } = checks("Auth0's SDK for Node");
const api = "https://mcp.example.com/mcp";
const dev = await startDev(process.argv[2], "--fresh-tenant");
const exchanges = [];

/** The items of all pages. */
const all = async (page) => Array.fromAsync(await page);
const values = (items, member) => items.map((item) => item[member]);

/** The SDK's own class of an error, with Auth0's error object. */
async function refused(promise, kind, statusCode, message, errorCode) {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof kind, `${error.name} where ${kind.name} was expected: ${error.message}`);
    const { error: reason, ...body } = error.body;
    assert.ok(reason);
    assert.equal(error.statusCode, statusCode);
    assert.match(error.body.message, message);
    assert.deepEqual(body, { statusCode, message: error.body.message, ...(errorCode && { errorCode }) });
    return true;
  });
}

/** A metadata document, at a URL on this machine. */
async function withDocument(use) {
  const server = createServer((request, response) => {
    const document = { client_id: url, client_name: "An application", redirect_uris: ["http://127.0.0.1/callback"] };
    const found = { "/client.json": document, "/other.json": { ...document, client_id: `${url}x` } }[request.url];
    response.writeHead(found ? 200 : 404, { "content-type": "application/json" }).end(JSON.stringify(found ?? {}));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${server.address().port}/client.json`;
  try {
    await use(url, url.replace("client", "other"), url.replace("client", "none"));
  } finally {
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  }
}

async function tokens(client) {
  await check("gets a token by its secret, once, and none by another", async () => {
    await Promise.all([client.tenants.settings.get(), client.prompts.getSettings()]);
    assert.equal(exchanges.filter(({ path }) => path === "/oauth/token").length, 1);
    const isUnauthorized = (error) => error instanceof ManagementError && error.statusCode === 401;
    await assert.rejects(management(dev, { secret: "another" }).roles.list(), isUnauthorized);
  });
  await check("a token that is none is refused", async () => {
    const other = management(dev, { token: "none" });
    await refused(other.roles.list(), UnauthorizedError, 401, /./);
  });
}

async function settings({ tenants, prompts }) {
  await check("tenant settings: a new tenant's; flags are merged, an unknown one is refused", async () => {
    const before = await tenants.settings.get();
    assert.equal(before.resource_parameter_profile, "audience");
    assert.equal(before.flags.enable_dynamic_client_registration, false);
    const changed = await tenants.settings.update({
      resource_parameter_profile: "compatibility", friendly_name: "Ours", flags: { enable_dynamic_client_registration: true },
    });
    assert.deepEqual(changed, await tenants.settings.get());
    await tenants.settings.update({ flags: { use_scope_descriptions_for_consent: true } });
    const { flags, friendly_name } = await tenants.settings.get();
    assert.deepEqual([flags.enable_dynamic_client_registration, flags.use_scope_descriptions_for_consent], [true, true]);
    assert.equal(friendly_name, "Ours");
    await refused(tenants.settings.update({ flags: { unheard_of: true } }), BadRequestError, 400, /unheard_of/, "invalid_body");
  });
  await check("prompts", async () => {
    assert.equal((await prompts.getSettings()).universal_login_experience, "new");
    assert.equal((await prompts.updateSettings({ universal_login_experience: "classic" })).universal_login_experience, "classic");
    await prompts.updateSettings({ universal_login_experience: "new" });
  });
}

async function apis({ resourceServers }) {
  await check("APIs: created, found by id and by identifier, changed, and only once there", async () => {
    const scopes = [{ value: "tool:greet", description: "Greet" }, { value: "tool:whoami" }];
    const created = await resourceServers.create({ identifier: api, name: "MCP server", scopes, signing_alg: "RS256" });
    assert.equal(created.token_lifetime, 86_400);
    assert.deepEqual(await resourceServers.get(created.id), created);
    assert.deepEqual(await resourceServers.get(api), created);
    const changes = { token_dialect: "rfc9068_profile_authz", enforce_policies: true, allow_offline_access: true };
    const changed = await resourceServers.update(created.id, changes);
    assert.deepEqual(changed, { ...created, ...changes });
    await refused(resourceServers.create({ identifier: api }), ConflictError, 409, /already exists/, "conflict");
    await refused(resourceServers.update(created.id, { identifier: "x" }), BadRequestError, 400, /identifier/, "invalid_body");
    await refused(resourceServers.get("none"), NotFoundError, 404, /does not exist/, "inexistent_resource_server");
  });
  await check("APIs: pages with totals, by identifiers; deleted", async () => {
    for (const name of ["a", "b", "c"]) await resourceServers.create({ identifier: `https://${name}.example.com/`, name });
    const first = await resourceServers.list({ per_page: 2 });
    const { start, limit, total } = first.response;
    assert.deepEqual([start, limit, total, first.data.length, first.hasNextPage()], [0, 2, 5, 2, true]);
    const [system, ...others] = await all(first);
    assert.deepEqual([system.identifier, system.is_system], [`${dev.issuer}api/v2/`, true]);
    assert.deepEqual(values(others, "identifier"), [api, "https://a.example.com/", "https://b.example.com/", "https://c.example.com/"]);
    const some = await all(resourceServers.list({ identifiers: [api, "https://b.example.com/"] }));
    assert.deepEqual(values(some, "name"), ["MCP server", "b"]);
    for (const { id } of others.slice(1)) assert.equal(await resourceServers.delete(id), undefined);
    assert.equal((await all(resourceServers.list())).length, 2);
    await refused(resourceServers.delete(system.id), ForbiddenError, 403, /system/, "operation_not_supported");
  });
}

async function clients({ clients }) {
  await check("clients: strict third parties and first parties, changed, listed by kind, deleted", async () => {
    const callbacks = ["https://app.example.com/callback"];
    const third = await clients.create({ name: "Third", is_first_party: false, app_type: "native", callbacks });
    assert.match(third.client_id, /^tpc_/);
    assert.equal(third.third_party_security_mode, "strict");
    const machine = await clients.create({ name: "Machine", app_type: "non_interactive" });
    assert.deepEqual([machine.is_first_party, machine.grant_types], [true, ["client_credentials"]]);
    assert.ok(machine.client_secret);
    const changed = await clients.update(third.client_id, { name: "Renamed", description: "An application" });
    assert.deepEqual([changed.name, changed.description, changed.callbacks], ["Renamed", "An application", callbacks]);
    assert.deepEqual(await clients.get(third.client_id), changed);
    assert.deepEqual(values(await all(clients.list({ is_first_party: false, per_page: 1 })), "client_id"), [third.client_id]);
    assert.equal((await clients.list({ app_type: "non_interactive", include_totals: true })).response.total, 2);
    await clients.delete(machine.client_id);
    await clients.delete(third.client_id);
    await refused(clients.get(third.client_id), NotFoundError, 404, /does not exist/, "inexistent_client");
    const fixed = clients.update(dev.variables.AUTH0_CLIENT_ID, { is_first_party: false });
    await refused(fixed, BadRequestError, 400, /is_first_party/, "invalid_body");
  });
  await check("clients: by the URL of their metadata document", async () => {
    await withDocument(async (url, other, none) => {
      const preview = await clients.previewCimdMetadata({ external_client_id: url });
      assert.deepEqual(preview.validation, { valid: true, violations: [], warnings: [] });
      assert.deepEqual([preview.client_id, preview.errors, preview.mapped_fields.name], [undefined, undefined, "An application"]);
      const registered = await clients.registerCimdClient({ external_client_id: url });
      assert.match(registered.client_id, /^tpc_/);
      assert.equal((await clients.registerCimdClient({ external_client_id: url })).client_id, registered.client_id);
      assert.equal((await clients.previewCimdMetadata({ external_client_id: url })).client_id, registered.client_id);
      assert.deepEqual(values(await all(clients.list({ external_client_id: url })), "client_id"), [registered.client_id]);

      const invalid = await clients.previewCimdMetadata({ external_client_id: other });
      assert.deepEqual([invalid.validation.valid, invalid.errors], [false, undefined]);
      assert.match(invalid.validation.violations[0], /client_id/);
      const missing = await clients.previewCimdMetadata({ external_client_id: none });
      assert.match(missing.errors[0], /404/);
      assert.equal(missing.validation, undefined);
      await refused(clients.registerCimdClient({ external_client_id: other }), BadRequestError, 400, /client_id/, "invalid_body");
    });
  });
}

async function grants({ clientGrants, clients }) {
  await check("client grants: a default one for users and one of a client, by checkpoint pages, changed, deleted", async () => {
    const machine = await clients.create({ name: "Machine", app_type: "non_interactive" });
    const forAll = { default_for: "third_party_clients", audience: api, subject_type: "user" };
    const byDefault = await clientGrants.create({ ...forAll, scope: ["tool:greet"] });
    const own = await clientGrants.create({ client_id: machine.client_id, audience: api, scope: ["tool:whoami"] });
    assert.equal(own.subject_type, "client");
    assert.deepEqual(await clientGrants.get(byDefault.id), byDefault);
    const first = await clientGrants.list({ take: 1 });
    assert.ok(first.response.next);
    assert.deepEqual((await all(first)).slice(1), [byDefault, own]);
    assert.deepEqual(await all(clientGrants.list(forAll)), [byDefault]);
    assert.deepEqual(await all(clientGrants.list({ client_id: machine.client_id })), [own]);
    const changed = await clientGrants.update(byDefault.id, { scope: ["tool:whoami", "tool:greet"] });
    assert.deepEqual(changed, { ...byDefault, scope: ["tool:whoami", "tool:greet"] });
    const again = { client_id: machine.client_id, audience: api, scope: [] };
    await refused(clientGrants.create(again), ConflictError, 409, /already exists/, "conflict");
    await clientGrants.delete(byDefault.id);
    await clients.delete(machine.client_id);
    assert.equal((await all(clientGrants.list())).length, 1, "the client's grant went with it");
    await refused(clientGrants.get(own.id), ManagementError, 404, /does not exist/, "inexistent_client_grant");
  });
}

async function connections({ connections }) {
  await check("connections: the database and another, at domain level, with clients, deleted", async () => {
    const [database] = await all(connections.list({ name: "Username-Password-Authentication" }));
    assert.deepEqual([database.strategy, database.is_domain_connection], ["auth0", false]);
    const created = await connections.create({ name: "partner", strategy: "auth0", display_name: "Partner" });
    const changed = await connections.update(created.id, { is_domain_connection: true });
    assert.deepEqual([changed.is_domain_connection, changed.display_name], [true, "partner"], "a display name has to be sent again");
    assert.deepEqual(await connections.get(created.id), changed);
    assert.deepEqual(values(await all(connections.list({ take: 1 })), "name"), [database.name, "partner"]);
    assert.deepEqual(values(await all(connections.list({ strategy: ["oidc"] })), "name"), []);
    const client_id = dev.variables.AUTH0_CLIENT_ID;
    const enabled = async () => values(await all(connections.clients.get(created.id)), "client_id");
    await connections.clients.update(created.id, [{ client_id, status: true }]);
    assert.deepEqual(await enabled(), [client_id]);
    await connections.clients.update(created.id, [{ client_id, status: false }]);
    assert.deepEqual(await enabled(), []);
    await connections.delete(created.id);
    await refused(connections.get(created.id), NotFoundError, 404, /does not exist/, "inexistent_connection");
  });
}

async function roles({ roles, users }) {
  const sub = "auth0|local-admin";
  await check("roles: created, changed, with permissions, deleted", async () => {
    const role = await roles.create({ name: "Greeters", description: "May greet" });
    assert.deepEqual(await roles.get(role.id), role);
    assert.deepEqual(await roles.update(role.id, { description: "May greet you" }), { ...role, description: "May greet you" });
    const permissions = ["tool:greet", "tool:whoami"].map((permission_name) => ({ resource_server_identifier: api, permission_name }));
    await roles.permissions.add(role.id, { permissions });
    const added = await all(roles.permissions.list(role.id, { per_page: 1 }));
    assert.deepEqual(added[0], { ...permissions[0], resource_server_name: "MCP server", description: "Greet" });
    assert.equal(added.length, 2);
    await roles.permissions.delete(role.id, { permissions: permissions.slice(1) });
    assert.deepEqual(values(await all(roles.permissions.list(role.id)), "permission_name"), ["tool:greet"]);
    const none = [{ resource_server_identifier: api, permission_name: "tool:none" }];
    await refused(roles.permissions.add(role.id, { permissions: none }), ManagementError, 400, /tool:none/, "invalid_body");
    await refused(roles.create({ name: "Greeters" }), ConflictError, 409, /already exists/, "conflict");
  });
  await check("users: found, given roles from both sides, with what these permit", async () => {
    const [role] = await all(roles.list({ name_filter: "greet" }));
    const [user] = await users.listUsersByEmail({ email: "admin@example.com" });
    assert.equal(user.user_id, sub);
    assert.deepEqual(await users.get(sub), user);
    assert.deepEqual(await all(users.list({ q: 'email:"admin@example.com"', search_engine: "v3" })), [user]);
    assert.equal((await users.list()).response.total, 2);
    await users.roles.assign(sub, { roles: [role.id] });
    assert.deepEqual(await all(users.roles.list(sub)), [role]);
    assert.deepEqual(values(await all(roles.users.list(role.id)), "user_id"), [sub]);
    const [permission] = await all(users.permissions.list(sub));
    assert.deepEqual([permission.permission_name, permission.sources[0].source_name], ["tool:greet", "Greeters"]);
    await users.roles.delete(sub, { roles: [role.id] });
    assert.deepEqual(await all(users.permissions.list(sub)), []);
    await roles.users.assign(role.id, { users: [sub] });
    await roles.delete(role.id);
    assert.deepEqual(await all(users.roles.list(sub)), []);
    await refused(users.get("auth0|none"), NotFoundError, 404, /does not exist/, "inexistent_user");
    await refused(roles.get(role.id), NotFoundError, 404, /does not exist/, "inexistent_role");
  });
}

async function others({ organizations, keys, customDomains, logs, rules, hooks }) {
  await check("organizations: they block third-party clients unless they are told otherwise", async () => {
    const created = await organizations.create({ name: "acme", display_name: "Acme" });
    assert.equal(created.third_party_client_access, "block");
    const changed = await organizations.update(created.id, { third_party_client_access: "allow" });
    assert.deepEqual(await organizations.get(created.id), changed);
    assert.deepEqual(await all(organizations.list({ take: 1 })), [changed]);
    await organizations.delete(created.id);
    await refused(organizations.get(created.id), ManagementError, 404, /does not exist/, "inexistent_organization");
  });
  await check("signing keys: those of the key set", async () => {
    const published = (await (await fetch(`${dev.issuer}.well-known/jwks.json`)).json()).keys;
    const signing = await keys.signing.list();
    assert.deepEqual(values(signing, "kid"), values(published, "kid"));
    assert.deepEqual(values(signing, "current"), [true, false]);
  });
  await check("custom domains and logs: none", async () => {
    assert.deepEqual(await customDomains.list(), []);
    assert.deepEqual(await all(logs.list({ search: "type:sapi", per_page: 10 })), []);
  });
  await check("Rules and Hooks", async () => {
    const rule = await rules.create({ name: "enrich", script: "function (user, context, callback) { callback(); }" });
    assert.deepEqual(values(await all(rules.list()), "name"), ["enrich"]);
    await rules.delete(rule.id);
    const hook = await hooks.create({ name: "send", script: "module.exports = () => {};", triggerId: "post-user-registration" });
    assert.deepEqual(values(await all(hooks.list()), "name"), ["send"]);
    await hooks.delete(hook.id);
    await refused(rules.delete(rule.id), ManagementError, 404, /does not exist/, "inexistent_rule");
  });
}

async function limits({ roles }) {
  await check("waits for the limit's reset after a 429, and gives up after its retries", async () => {
    await dev.inject({ fault: "management", answer: "rate", burst: 1, per_second: 1 });
    const before = exchanges.length;
    await roles.list();
    assert.deepEqual(await all(roles.list()), []);
    assert.deepEqual(values(exchanges.slice(before), "status"), [200, 429, 200]);
    await dev.inject({ fault: "management", answer: "rate", burst: 0, per_second: 0 });
    await refused(roles.list({}, { maxRetries: 0 }), TooManyRequestsError, 429, /limit/, "too_many_requests");
    await dev.inject({ fault: "reset" });
  });
}

try {
  const client = management(dev, { exchanges });
  // More at once than Auth0 allows, so that only the last check meets the limit.
  await dev.inject({ fault: "management", answer: "rate", burst: 1000, per_second: 1000 });
  for (const part of [tokens, settings, apis, clients, grants, connections, roles, others, limits]) await part(client);
} finally {
  await dev.stop();
}
summary();
