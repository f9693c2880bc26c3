// MCP servers that this project did not write, behind `fastmcp-auth0 dev`: over stdio and HTTP, of both eras. The official SDKs,
// in both eras, log in and call every tool through it, and what comes back is compared with what the server itself answers.
// Usage: node upstreams.mjs PATH_TO_BINARY PATH_TO_PYTHON
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { Client, LOG_LEVEL_META_KEY, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { checks, startDev, startLoggedDev } from "./dev.mjs";
import { Keeper } from "./login.mjs";
import { prepareFolders } from "./upstream-folders.mjs";
import { everything, local, node, rawMember, startNodeServer, startRecorder, startTeam } from "./upstream-servers.mjs";

const [binary, python] = process.argv.slice(2).map((path) => resolve(path));
const { check, summary } = checks("upstreams");
const folder = realpathSync(mkdtempSync(join(tmpdir(), "upstreams-")));
const secret = randomBytes(32).toString("base64url");
const calls = JSON.parse(readFileSync(local("upstream-calls.json"), "utf8"));
const tokens = new Set();
const cleanups = [];

prepareFolders(folder);
const team = await startTeam(python, secret, "team");
cleanups.push(team.stop);
const oldTeam = await startTeam(python, secret, "old_team");
cleanups.push(oldTeam.stop);
const everythingHttp = await startNodeServer(everything, "streamableHttp");
cleanups.push(everythingHttp.stop);
const recorders = {};
for (const [name, { url }] of Object.entries({ team, old_team: oldTeam, everything_http: everythingHttp })) {
  recorders[name] = await startRecorder(url);
  cleanups.push(recorders[name].stop);
}

/** Each upstream: its section, the calls that it is compared by, and how it is reached without us. */
const servers = {
  everything: {
    calls: "everything", prefix: "e_", mode: "legacy", direct: { command: [node, everything, "stdio"] },
    scopes: '{ read = ["demo:read"], write = ["demo:write"], resources = ["demo:read"], prompts = ["demo:read"] }',
    tools: { "simulate-*": "hidden = true" }, besides: ["get-env", "get-roots-list"],
  },
  everything_http: {
    calls: "everything", prefix: "h_", mode: "legacy", direct: { url: everythingHttp.url }, url: recorders.everything_http.url,
    scopes: '{ read = ["demo:read"], write = ["demo:write"] }', tools: { "simulate-*": "hidden = true" }, besides: ["get-env", "get-roots-list"],
  },
  files: {
    calls: "files", prefix: "", mode: "legacy",
    direct: { command: [node, local("node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"), join(folder, "files")] },
    scopes: '{ read = ["files:read"], write = ["files:write"], destructive = ["files:delete"] }',
    tools: {
      read_file: "hidden = true", "write_*": 'scopes = ["files:write"]',
      list_allowed_directories: 'name = "folders"\ntitle = "Folders"\ndescription = "What there is."',
    },
    renamed: { list_allowed_directories: "folders" }, besides: [],
  },
  git: {
    calls: "git", prefix: "", mode: "auto", direct: { command: [join(dirname(python), "mcp-server-git"), "--repository", join(folder, "repo")] },
    scopes: '{ read = ["git:read"], write = ["git:write"] }', besides: [],
  },
  time: {
    calls: "time", prefix: "time-", mode: "auto", direct: { command: [join(dirname(python), "mcp-server-time"), "--local-timezone", "UTC"] },
    scopes: '{ read = ["time:read"] }', besides: [],
  },
  team: {
    calls: "team", prefix: "team_", mode: { pin: "2026-07-28" }, direct: { url: team.url }, url: recorders.team.url,
    more: `caller = "jwt"\ncaller_secret = "${secret}"\n`,
    scopes: '{ read = ["team:use"], resources = ["team:use"], prompts = ["team:use"] }',
    tools: { ask: 'scopes = ["team:use"]', think: 'scopes = ["team:use"]', grow: 'scopes = ["team:use"]' },
    besides: ["who_calls", "hang", "think", "grow"],
  },
  old_team: {
    calls: "team", prefix: "old_", mode: "legacy", direct: { url: oldTeam.url }, url: recorders.old_team.url,
    more: `protocol = "legacy"\ncaller = "jwt"\ncaller_secret = "${secret}"\n`, scopes: '{ read = ["team:use"] }',
    tools: { ask: 'scopes = ["team:use"]', think: 'scopes = ["team:use"]', grow: 'scopes = ["team:use"]' },
    besides: ["who_calls", "hang", "think", "grow"],
  },
};

function section(name, { direct, url, prefix, scopes, tools = {}, more = "" }) {
  const at = url ? `url = ${JSON.stringify(url)}` : `command = ${JSON.stringify(direct.command)}\ninherit_env = ["PATH", "HOME"]`;
  const rules = Object.entries(tools).map(([tool, rule]) => `[upstreams.${name}.tools.${JSON.stringify(tool)}]\n${rule}\n`);
  return `[upstreams.${name}]\n${at}\nprefix = "${prefix}"\nscopes = ${scopes}\n${more}\n${rules.join("")}\n`;
}

const upstreamsToml = Object.entries(servers).map(([name, server]) => section(name, server)).join("");
const tenantToml = `
[[tenant.roles]]
name = "Administrator"
permissions = []
added_scopes = true

[[tenant.roles]]
name = "Editor"
permissions = ["files:read", "files:write"]

[[tenant.users]]
key = "admin"
sub = "auth0|local-admin"
roles = ["Administrator"]

[[tenant.users]]
key = "user"
sub = "auth0|local-user"
roles = ["Editor"]
`;
const config = (name, text) => {
  const path = join(folder, `${name}.toml`);
  writeFileSync(path, text);
  return path;
};

const placed = (value) =>
  JSON.parse(JSON.stringify(value).replaceAll("$FILES", join(folder, "files")).replaceAll("$REPO", join(folder, "repo")));
const throughName = ({ prefix, renamed = {} }, tool) => prefix + (renamed[tool] ?? tool);
const text = (result) => result.content[0].text;

/** What a user and a model would answer; members in the order of their names, because answers arrive in that. */
function answering(client) {
  client.setRequestHandler("elicitation/create", ({ params }) => {
    if (params.mode === "url") return { action: "accept" };
    const { value } = params.requestedSchema.properties;
    return { action: "accept", content: value ? { value: "blue" } : { check: true, email: "ada@example.com", integer: 7, name: "Ada" } };
  });
  client.setRequestHandler("sampling/createMessage", () => ({ model: "a-model", role: "assistant", content: { type: "text", text: "A model." } }));
  client.setRequestHandler("roots/list", () => ({ roots: [{ uri: "file:///project", name: "A project" }] }));
  return client;
}

const newClient = (mode) =>
  answering(new Client({ name: "ci", version: "1" }, {
    capabilities: { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} }, versionNegotiation: { mode },
  }));

/** A client of the server itself. */
async function directly({ direct, mode }) {
  const client = newClient(mode);
  const [command, ...args] = direct.command ?? [];
  const env = { PATH: process.env.PATH, HOME: process.env.HOME };
  const transport = command
    ? new StdioClientTransport({ command, args, env, stderr: "ignore" })
    : new StreamableHTTPClientTransport(new URL(direct.url));
  await client.connect(transport);
  return client;
}

/** A client that is given our endpoint and no token, and has logged in. */
async function loggedIn(dev, mode, keeper = new Keeper(dev.issuer)) {
  const transport = () => new StreamableHTTPClientTransport(new URL(dev.endpoint), { authProvider: keeper });
  const first = transport();
  await assert.rejects(newClient(mode).connect(first), UnauthorizedError);
  await first.finishAuth(keeper.callback);
  const client = newClient(mode);
  const connected = transport();
  await client.connect(connected);
  tokens.add(keeper.kept.access_token);
  return { client, transport: connected, keeper };
}

/** A call's result, as a text. */
async function outcome(client, name, { arguments: args = {}, mask }) {
  const { content, structuredContent, isError = false } = await client.callTool({ name, arguments: placed(args) });
  const all = JSON.stringify({ content, structuredContent, isError });
  return mask ? all.replace(new RegExp(mask, "g"), "masked") : all;
}

/** Each tool of a server answers what the server itself answers. */
async function compareTools(era, name, server, client, direct) {
  for (const call of calls[server.calls]) {
    await check(`${era}: ${name}: ${call.tool}`, async () => {
      if (call.changes) prepareFolders(folder);
      const expected = await outcome(direct, call.tool, call);
      if (call.changes) prepareFolders(folder);
      assert.equal(await outcome(client, throughName(server, call.tool), call), expected);
    });
  }
}

/** The names of all tools that these scripts call. */
const called = Object.values(servers).flatMap((server) =>
  [...new Set([...calls[server.calls].map(({ tool }) => tool), ...server.besides])].map((tool) => throughName(server, tool)));

/** What is no tool: resources, templates, prompts, completion. */
async function compareRest(era, client, direct) {
  const both = async (run) => {
    const [ours, theirs] = [await run(client, true), await run(direct, false)];
    const masked = (value) => JSON.stringify(value).replace(/created at [0-9:]+ [AP]M/g, "masked");
    assert.equal(masked(ours), masked(theirs));
  };
  const only = (list, prefix) => list.filter(({ uri, uriTemplate }) => (uri ?? uriTemplate).startsWith(prefix));
  await check(`${era}: resources are listed and read`, () => both(async (peer) => {
    const resources = only((await peer.listResources()).resources, "demo://resource/static");
    assert.ok(resources.length > 3);
    return [resources, await Promise.all(resources.map(async ({ uri }) => (await peer.readResource({ uri })).contents))];
  }));
  await check(`${era}: templates are listed, filled and completed`, () => both(async (peer) => {
    const templates = only((await peer.listResourceTemplates()).resourceTemplates, "demo://");
    assert.equal(templates.length, 2);
    const ref = { type: "ref/resource", uri: templates[0].uriTemplate };
    const { contents } = await peer.readResource({ uri: "demo://resource/dynamic/text/7" });
    const { completion } = await peer.complete({ ref, argument: { name: "resourceId", value: "7" } });
    assert.deepEqual(completion.values, ["7"]);
    return [templates, contents, completion];
  }));
  await check(`${era}: prompts are listed, filled and completed`, () => both(async (peer, isThrough) => {
    const prefix = isThrough ? servers.everything.prefix : "";
    const all = (await peer.listPrompts()).prompts.filter(({ name }) => name.startsWith(prefix));
    const prompts = all.map((prompt) => ({ ...prompt, name: prompt.name.slice(prefix.length) }));
    assert.equal(prompts.length, 4);
    const get = async (name, args) => (await peer.getPrompt({ name: prefix + name, arguments: args })).messages;
    const ref = { type: "ref/prompt", name: `${prefix}completable-prompt` };
    const { completion } = await peer.complete({ ref, argument: { name: "department", value: "S" } });
    assert.deepEqual(completion.values, ["Sales", "Support"]);
    return [prompts, await get("simple-prompt"), await get("args-prompt", { city: "Kyiv" }),
      await get("resource-prompt", { resourceType: "Text", resourceId: "1" }), completion];
  }));
}

/** What comes before a result: progress, log messages, and the model's answer. */
async function feedback(era, client, prefixes) {
  for (const prefix of prefixes) {
    await check(`${era}: ${prefix}: progress and log messages arrive, in order`, async () => {
      const logged = [];
      const allLogged = new Promise((done) => client.setNotificationHandler("notifications/message", ({ params }) => {
        logged.push([params.level, params.logger, params.data.msg]);
        if (logged.length === 2) done();
      }));
      const progress = [];
      const onprogress = (told) => progress.push([told.progress, told.total, told.message]);
      const call = { name: `${prefix}work`, arguments: { steps: 2 }, _meta: { [LOG_LEVEL_META_KEY]: "info" } };
      assert.equal(text(await client.callTool(call, { onprogress })), "2 steps");
      await allLogged;
      assert.deepEqual(logged, [["info", "team.work", "did step 1"], ["info", "team.work", "did step 2"]]);
      // The SDK gives up what it has not handled when the result is there.
      assert.ok(progress.length > 0);
      assert.deepEqual(progress, [[1, 2, "step 1"], [2, 2, "step 2"]].slice(0, progress.length));
    });
  }
  await check(`${era}: the client's model answers an upstream with a session`, async () =>
    assert.equal(text(await client.callTool({ name: "old_think", arguments: { prompt: "Who?" } })), "a-model: A model."));
}

async function caller(era, client, dev) {
  for (const [name, prefix] of [["team", "team_"], ["old_team", "old_"]]) {
    await check(`${era}: ${name} verifies who calls`, async () => {
      const { structuredContent } = await client.callTool({ name: `${prefix}who_calls` });
      const { client_id, scope, ...rest } = structuredContent;
      assert.deepEqual(rest, { iss: dev.endpoint, aud: name, sub: "auth0|local-admin" });
      assert.match(client_id, /^tpc_/);
      assert.ok(scope.split(" ").includes("team:use"));
    });
  }
}

/** How a client gives up a call: a modern one closes its stream, a legacy one its connection. */
async function cancels(era, dev, client, keeper) {
  for (const [prefix, server] of [["team_", team], ["old_", oldTeam]]) {
    await check(`${era}: ${prefix}: a call that the client gives up ends at the upstream`, async () => {
      const cancelled = server.event(({ event, is_cancelled }) => event === "hang" && is_cancelled);
      const own = era === "modern" ? client : newClient("legacy");
      if (own !== client) await own.connect(new StreamableHTTPClientTransport(new URL(dev.endpoint), { authProvider: keeper }));
      const controller = new AbortController();
      let call;
      await new Promise((onprogress, failed) => {
        call = own.callTool({ name: `${prefix}hang` }, { signal: controller.signal, onprogress });
        call.catch(failed);
      });
      if (own === client) controller.abort();
      else await own.close();
      await assert.rejects(call);
      await cancelled;
    });
  }
}

async function whatIsNotOffered(client, offered) {
  const unknown = (name) =>
    client.callTool({ name, arguments: {} }).then((result) => assert.fail(JSON.stringify(result)), ({ code, message }) => ({ code, message: message.replace(name, "NAME") }));
  await check("what no rule covers, is hidden or renamed is as unknown as what does not exist", async () => {
    const expected = await unknown("no_such_tool");
    assert.equal(expected.code, -32602);
    for (const name of ["team_uncovered", "read_file", "list_allowed_directories", "e_simulate-research-query", "add"]) {
      assert.ok(!offered.some((tool) => tool.name === name), name);
      assert.deepEqual(await unknown(name), expected, name);
    }
  });
  await check("a renamed tool has its title and description", () => {
    const { title, description } = offered.find(({ name }) => name === "folders");
    assert.deepEqual({ title, description }, { title: "Folders", description: "What there is." });
  });
  await check("a child has the environment that was given, and nothing more", async () =>
    assert.deepEqual(Object.keys(JSON.parse(text(await client.callTool({ name: "e_get-env" })))).sort(), ["HOME", "PATH"]));
  await check("an upstream that wants to know one session's roots gets none: they are not one caller's", async () =>
    assert.match(text(await client.callTool({ name: "e_get-roots-list" })), /no roots are currently configured/));
  await check("schemas and hints are the upstream's", async () => {
    const direct = await directly(servers.files);
    const own = (await direct.listTools()).tools.find(({ name }) => name === "edit_file");
    await direct.close();
    const { inputSchema, outputSchema, annotations } = offered.find(({ name }) => name === "edit_file");
    assert.deepEqual({ inputSchema, outputSchema }, { inputSchema: own.inputSchema, outputSchema: own.outputSchema });
    assert.deepEqual({ ...annotations, ...own.annotations }, annotations);
  });
}

/** The answer to a call by a legacy client, as it came. */
async function rawCall(dev, params) {
  const token = dev.token("admin");
  tokens.add(token);
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/json, text/event-stream" };
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
  return (await fetch(dev.endpoint, { method: "POST", headers, body })).text();
}

/** Byte for byte: what the upstream answered to our own call, and what our client got. */
async function bytes(dev) {
  for (const [name, prefix] of [["team", "team_"], ["old_team", "old_"]]) {
    await check(`${name}: content passes byte for byte`, async () => {
      const before = recorders[name].exchanges.length;
      const ours = await rawCall(dev, { name: `${prefix}odd`, arguments: {} });
      const theirs = recorders[name].exchanges.slice(before).find(({ sent }) => sent.includes('"tools/call"')).answered;
      for (const member of ["content", "structuredContent"]) assert.equal(rawMember(ours, member), rawMember(theirs, member));
    });
  }
}

/** What a stream has before its result, without an SDK in between. */
async function wholeStreams(dev) {
  for (const prefix of ["team_", "old_"]) {
    await check(`${prefix}: all progress and log messages come before the result`, async () => {
      const params = { name: `${prefix}work`, arguments: { steps: 3 }, _meta: { progressToken: "p" } };
      const messages = (await rawCall(dev, params)).split("\n").filter((line) => line.startsWith("data: {")).map((line) => JSON.parse(line.slice(6)));
      const told = messages.map(({ method, params, result }) =>
        method === "notifications/progress" ? [params.progressToken, params.progress, params.total, params.message] : method ? params.data.msg : result.content[0].text);
      assert.deepEqual(told, [
        ["p", 1, 3, "step 1"], "did step 1", ["p", 2, 3, "step 2"], "did step 2", ["p", 3, 3, "step 3"], "did step 3", "3 steps",
      ]);
    });
  }
}

/** As docs/protect-any-server.md has it. */
function verifyCaller(jwt, secret, audience) {
  const [header, payload, signature] = (jwt ?? "").split(".");
  const expected = createHmac("sha256", secret).update(`${header}.${payload}`).digest();
  const given = Buffer.from(signature ?? "", "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new Error("a wrong signature");
  const { alg } = JSON.parse(Buffer.from(header, "base64url"));
  const claims = JSON.parse(Buffer.from(payload, "base64url"));
  if (alg !== "HS256" || claims.aud !== audience || !(claims.exp > Date.now() / 1000)) throw new Error("not for us, or too late");
  return claims;
}

async function secrecy() {
  for (const name of ["team", "old_team"]) {
    await check(`${name}: Node verifies who calls, and refuses what was changed`, () => {
      const called = recorders[name].exchanges.filter(({ sent }) => sent.includes('"tools/call"'));
      assert.ok(called.length > 5);
      for (const { headers } of called) assert.ok(headers["fastmcp-auth0-caller"], "every call tells of its caller");
      const jwt = called.at(-1).headers["fastmcp-auth0-caller"];
      assert.equal(verifyCaller(jwt, secret, name).sub, "auth0|local-admin");
      assert.throws(() => verifyCaller(jwt, `${secret}x`, name));
      assert.throws(() => verifyCaller(jwt, secret, "another"));
      assert.throws(() => verifyCaller(undefined, secret, name), /a wrong signature/);
    });
  }
  await check("docs/protect-any-server.md has the code that is tried here, for Node and Python", () => {
    const page = readFileSync(local("../../docs/protect-any-server.md"), "utf8");
    assert.ok(page.includes(verifyCaller.toString()));
    const [, inPython] = readFileSync(local("upstream_server.py"), "utf8").match(/\n(def caller\(\):\n(?:    .*\n)+)/);
    assert.ok(page.includes(inPython));
  });
  await check("no request to an upstream has a client's token", () => {
    const all = Object.values(recorders).flatMap(({ exchanges }) => exchanges);
    assert.ok(all.length > 50 && tokens.size > 4);
    for (const { headers, sent } of all) {
      assert.ok(!("authorization" in headers));
      const whole = JSON.stringify(headers) + sent;
      for (const token of tokens) assert.ok(!whole.includes(token) && !whole.includes(token.split(".")[2]));
      for (const [, header] of whole.matchAll(/\b(eyJ[\w-]+)\.[\w-]+\.[\w-]+/g)) {
        assert.equal(JSON.parse(Buffer.from(header, "base64url")).alg, "HS256");
      }
    }
  });
}

/** A modern client that listens hears of lists that an upstream changes. */
async function listens(client) {
  const heard = (method) => new Promise((done) => client.setNotificationHandler(method, done));
  const subscription = await client.listen({ toolsListChanged: true, resourcesListChanged: true });
  for (const prefix of ["team_", "old_"]) {
    await check(`${prefix}: a new tool is told to who listens, and can be called`, async () => {
      const changed = heard("notifications/tools/list_changed");
      await client.callTool({ name: `${prefix}grow`, arguments: { name: "grown" } });
      await changed;
      const { tools } = await client.listTools(undefined, { cacheMode: "bypass" });
      assert.ok(tools.some(({ name }) => name === `${prefix}grown`));
      assert.equal(text(await client.callTool({ name: `${prefix}grown` })), "I am grown");
    });
  }
  await check("a new resource is told to who listens, and can be read", async () => {
    const changed = heard("notifications/resources/list_changed");
    const args = { name: "new.gz", data: "data:text/plain,hello", outputType: "resourceLink" };
    const result = await client.callTool({ name: "e_gzip-file-as-resource", arguments: args });
    await changed;
    const { contents } = await client.readResource({ uri: result.content[0].uri });
    assert.equal(contents[0].mimeType, "application/gzip");
  });
  await subscription.close();
}

/** The processes that a process started, whose command line has a text (Linux). */
function childrenOf(pid, text) {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number).filter((child) => {
    try {
      const stat = readFileSync(`/proc/${child}/stat`, "utf8");
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      return parent === pid && readFileSync(`/proc/${child}/cmdline`, "utf8").includes(text);
    } catch {
      return false;
    }
  });
}

async function dies(dev, client) {
  await check("kill -9 of an upstream in the middle of 50 calls: each is answered, and the upstream is back", async () => {
    const [child, ...others] = childrenOf(dev.pid, "server-everything");
    assert.deepEqual(others, []);
    const back = dev.logged(/"connected".*"upstream":"everything"|"upstream":"everything".*"connected"/);
    const under = Array.from({ length: 50 }, () => {
      let begun;
      const hasBegun = new Promise((done) => (begun = done));
      const params = { name: "e_trigger-long-running-operation", arguments: { duration: 30, steps: 300 } };
      const answered = client.callTool(params, { onprogress: begun }).then(({ isError }) => isError, () => true);
      return { hasBegun, answered };
    });
    await Promise.all(under.map(({ hasBegun }) => hasBegun));
    process.kill(child, "SIGKILL");
    // None of them can have ended by then.
    assert.deepEqual(await Promise.all(under.map(({ answered }) => answered)), Array(50).fill(true));
    await back;
    assert.equal(text(await client.callTool({ name: "e_echo", arguments: { message: "back" } })), "Echo: back");
    assert.notEqual(childrenOf(dev.pid, "server-everything")[0], child);
  });
}

/** The Python SDK does the same. */
async function inPython(dev) {
  const given = {
    endpoint: dev.endpoint, issuer: dev.issuer, calls: placed(calls), prepare: [node, local("upstream-folders.mjs"), folder],
    servers: Object.fromEntries(Object.entries(servers).map(([name, { calls, prefix, mode, direct, renamed = {} }]) =>
      [name, { calls, prefix, mode: mode.pin ?? mode, direct, renamed }])),
  };
  const args = [local("upstreams_client.py"), config("given", JSON.stringify(given))];
  const child = spawn(python, args, { stdio: ["ignore", "inherit", "inherit"] });
  const code = await new Promise((done) => child.once("exit", done));
  await check("the Python SDK gets the same", () => assert.equal(code, 0));
}

async function asAdmin() {
  const dev = await startLoggedDev(binary, "--auto-consent", "admin", "--config", config("admin", upstreamsToml + tenantToml));
  cleanups.push(() => dev.stop());
  const direct = {};
  for (const [name, server] of Object.entries(servers)) {
    direct[name] = await directly(server);
    cleanups.push(() => direct[name].close());
  }
  const modern = { pin: "2026-07-28" };
  for (const [era, mode] of [["legacy", "legacy"], ["modern", modern]]) {
    const { client, keeper } = await loggedIn(dev, mode);
    const { tools } = await client.listTools();
    await check(`${era}: the tools that are offered are those that are called here`, () =>
      assert.deepEqual(tools.map(({ name }) => name).sort(), called.toSorted()));
    for (const [name, server] of Object.entries(servers)) await compareTools(era, name, server, client, direct[name]);
    await compareRest(era, client, direct.everything);
    await feedback(era, client, ["team_", "old_"]);
    await caller(era, client, dev);
    await cancels(era, dev, client, keeper);
    if (mode === modern) await whatIsNotOffered(client, tools);
    await client.close();
  }
  await inPython(dev);
  const { client } = await loggedIn(dev, modern);
  await bytes(dev);
  await wholeStreams(dev);
  await listens(client);
  await dies(dev, client);
  await client.close();
  await secrecy();
  return dev;
}

/** Whoever lacks a scope is asked to step up. */
async function asUser() {
  const text = `${upstreamsToml}${tenantToml}\n[scopes]\nlogin = ["files:read"]\n`;
  const dev = await startDev(binary, "--auto-consent", "user", "--config", config("user", text));
  cleanups.push(() => dev.stop());
  for (const [era, mode] of [["legacy", "legacy"], ["modern", { pin: "2026-07-28" }]]) {
    prepareFolders(folder);
    const { client, transport, keeper } = await loggedIn(dev, mode);
    await check(`${era}: a user is offered what the token permits`, async () => {
      const { tools } = await client.listTools();
      assert.deepEqual(tools.filter(({ annotations }) => !annotations.readOnlyHint), []);
      assert.ok(tools.some(({ name }) => name === "read_text_file"));
    });
    const write = { name: "write_file", arguments: { path: join(folder, "files", "w.txt"), content: era } };
    const refused = async (params, scope) => {
      const headers = { authorization: `Bearer ${keeper.kept.access_token}`, "content-type": "application/json" };
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
      const response = await fetch(dev.endpoint, { method: "POST", headers, body });
      assert.equal(response.status, 403);
      const challenge = response.headers.get("www-authenticate");
      assert.match(challenge, /^Bearer error="insufficient_scope"|^Bearer .*error="insufficient_scope"/);
      assert.ok(/scope="([^"]*)"/.exec(challenge)[1].split(" ").includes(scope), challenge);
    };
    await check(`${era}: without the scope it is 403, with a challenge that names it`, () => refused(write, "files:write"));
    await check(`${era}: the SDK steps up, and then the call succeeds`, async () => {
      await assert.rejects(client.callTool(write), UnauthorizedError);
      await transport.finishAuth(keeper.callback);
      tokens.add(keeper.kept.access_token);
      assert.ok(!(await client.callTool(write)).isError);
      assert.equal(readFileSync(write.arguments.path, "utf8"), era);
      assert.equal(keeper.logins, 2);
    });
    await check(`${era}: what the user may not do stays refused`, () =>
      refused({ name: "move_file", arguments: { source: "a", destination: "b" } }, "files:delete"));
    await client.close();
  }
}

/** One command, without a file. */
async function oneCommand() {
  const dev = await startDev(binary, "--auto-consent", "admin", "--", ...servers.files.direct.command);
  try {
    await check("one command: a login, and a tool is called", async () => {
      const { client } = await loggedIn(dev, "auto");
      const { tools } = await client.listTools();
      assert.ok(tools.some(({ name }) => name === "read_text_file"));
      const result = await client.callTool({ name: "list_directory", arguments: { path: join(folder, "files") } });
      assert.match(text(result), /\[FILE\] pixel\.png/);
      await client.close();
    });
  } finally {
    await dev.stop();
  }
}

/** The same file in production: `check` tells what becomes of it, and `serve` serves it. */
async function inProduction(dev) {
  const only = Object.fromEntries(["files", "team"].map((name) => [name, servers[name]]));
  const file = config("serve", Object.entries(only).map(([name, server]) => section(name, server)).join(""));
  const env = { PATH: process.env.PATH, HOME: folder, AUTH0_ISSUER: dev.issuer, AUTH0_AUDIENCE: dev.endpoint, PORT: "0" };
  await check("check tells which tools are offered, for which scopes, and why others are not", async () => {
    const { stdout } = await promisify(execFile)(binary, ["check", "--json", "--config", file], { env, cwd: folder });
    const report = JSON.parse(stdout);
    const scopes = Object.fromEntries(report.tools.map((tool) => [tool.name, tool.scopes.join(" ")]));
    assert.equal(scopes.read_text_file, "files:read");
    assert.equal(scopes.edit_file, "files:delete");
    assert.equal(scopes.team_ask, "team:use");
    const notOffered = Object.fromEntries(report.upstreams.flatMap(({ not_offered }) => not_offered).map(({ name, reason }) => [name, reason]));
    assert.match(notOffered.read_file, /a rule hides it/);
    assert.match(notOffered.uncovered, /no rule covers it/);
  });
  await check("serve is ready with its upstreams, and serves their tools", async () => {
    const child = spawn(binary, ["serve", "--config", file], { env, cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    const ended = new Promise((done) => child.once("exit", done));
    const lines = createInterface({ input: child.stderr });
    const { port } = await new Promise((done, failed) => {
      // Either may come first.
      let listening, keys;
      lines.on("line", (line) => {
        console.error(line);
        listening ??= line.match(/"address":"127\.0\.0\.1:(?<port>[1-9]\d*)/)?.groups;
        keys ||= line.includes("the issuer's keys changed");
        if (listening && keys) done(listening);
      });
      lines.once("close", () => failed(new Error("serve ended")));
    });
    try {
      const headers = { authorization: `Bearer ${dev.token("admin")}`, "content-type": "application/json" };
      const params = { name: "list_directory", arguments: { path: join(folder, "files") } };
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
      const response = await fetch(`http://127.0.0.1:${port}/mcp`, { method: "POST", headers, body });
      assert.match(text((await response.json()).result), /\[FILE\] pixel\.png/);
      assert.equal((await fetch(`http://127.0.0.1:${port}/ready`)).status, 200);
    } finally {
      child.kill("SIGTERM");
      assert.equal(await ended, 0, "serve ends in order");
    }
  });
}

try {
  const dev = await asAdmin();
  await inProduction(dev);
  await asUser();
  await oneCommand();
} finally {
  for (const cleanup of cleanups.reverse()) await cleanup();
  rmSync(folder, { recursive: true, force: true });
}
summary();
