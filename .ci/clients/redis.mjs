// Replicas that share a Redis: quotas, changes, answers that reach the wrong replica; and what happens while Redis is away, hangs, or
// takes no writes. Redis is the real one, the replicas are real processes.
// Usage: node redis.mjs PATH_TO_REPLICA PATH_TO_REDIS_QUOTAS PATH_TO_REDIS_SERVER PATH_TO_REDIS_CLI PATH_TO_LOAD PATH_TO_BINARY
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { checks, startDev } from "./dev.mjs";
import { freePort } from "./processes.mjs";

const [binary, quotasBinary, redisBinary, redisCli, load, server] = process.argv.slice(2);
const { check, summary } = checks("Redis");
const folder = mkdtempSync(join(tmpdir(), "redis-"));
const inFolder = (name) => join(folder, name);
const socket = inFolder("redis.sock");
const STATE_KEY = Buffer.alloc(32, 7).toString("base64");

/** A process whose standard output or error is read line by line. */
class Process {
  constructor(command, args, options, output) {
    this.lines = [];
    const stdio = ["ignore", output === "stdout" ? "pipe" : "ignore", output === "stderr" ? "pipe" : "inherit"];
    this.child = spawn(command, args, { cwd: folder, stdio, ...options });
    this.ended = once(this.child, "exit");
    this.watchers = new Set();
    createInterface({ input: this.child[output] }).on("line", (line) => {
      this.lines.push(line);
      for (const watcher of this.watchers) watcher(line);
    });
  }

  /** Completes at the next line that has a text; or with one that is there already, from a number on. */
  says(text, from = this.lines.length) {
    const there = this.lines.slice(from).find((line) => line.includes(text));
    if (there) return Promise.resolve(there);
    const said = new Promise((done, failed) => {
      const watcher = (line) => line.includes(text) && (this.watchers.delete(watcher), done(line));
      this.watchers.add(watcher);
      void this.ended.then(() => failed(new Error(`it ended without "${text}", and said: ${this.lines.join("\n")}`)));
    });
    // Whoever waits gets it; nobody may wait any longer once a check has failed.
    said.catch(() => {});
    return said;
  }

  count(text) { return this.lines.filter((line) => line.includes(text)).length; }

  async stop() { this.child.kill("SIGTERM"); await this.ended; }
}

/** Redis, with nothing on disk. */
async function startRedis(...options) {
  const redis = new Process(redisBinary, ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder, ...options], {}, "stdout");
  await redis.says("eady to accept connections", 0);
  return redis;
}
const cli = (...args) => execFileSync(redisCli, ["-s", socket, ...args], { encoding: "utf8" }).trim();

/** A replica: `serve`, with the tenant of `dev`. */
class Replica extends Process {
  static async start(quota, redis = { url: `unix://${socket}` }, env = {}) {
    const [port, admin, number] = [await freePort(), await freePort(), (Replica.started = (Replica.started ?? 0) + 1)];
    const file = inFolder(`replica-${number}.toml`);
    const write = (text) => writeFileSync(file,
      `[admin]\nbind = "127.0.0.1:${admin}"\n[mcp]\nstate_keys = ["${STATE_KEY}"]\n[redis]\nurl = "${redis.url}"\ntimeout_ms = 250\n${text}`);
    write(quota);
    const variables = { AUTH0_ISSUER: dev.issuer, AUTH0_AUDIENCE: dev.endpoint, PORT: port, FASTMCP__LOG__FORMAT: "json", ...env };
    const replica = new Replica(binary, ["serve", "--config", file], { env: variables }, "stderr");
    Object.assign(replica, { write, url: `http://127.0.0.1:${port}/mcp`, admin: `http://127.0.0.1:${admin}` });
    await replica.says("the issuer's keys changed", 0);
    return replica;
  }

  async reload(quota) {
    this.write(quota);
    const reloaded = this.says("the configuration was read again");
    this.child.kill("SIGHUP");
    await reloaded;
  }

  post(token, message, headers = {}) {
    const all = {
      authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/json, text/event-stream",
      "mcp-protocol-version": "2025-11-25", ...headers,
    };
    return fetch(this.url, { method: "POST", headers: all, body: JSON.stringify({ jsonrpc: "2.0", ...message }) });
  }

  call(token, name, args = {}) { return this.post(token, { id: 1, method: "tools/call", params: { name, arguments: args } }); }

  ping(token) { return this.post(token, { id: 1, method: "ping" }); }

  /** The statuses of so many pings, one after another. */
  async pings(token, count) {
    const statuses = [];
    for (let sent = 0; sent < count; sent += 1) statuses.push((await this.ping(token)).status);
    return statuses;
  }

  /** The status and the text of a page for operators. Not by `fetch`, which sends what browsers send. */
  operator(path) {
    return new Promise((done, failed) => {
      get(`${this.admin}${path}`, (response) => {
        let text = "";
        response.on("data", (part) => (text += part)).on("end", () => done({ status: response.statusCode, text }));
      }).on("error", failed);
    });
  }

  async metric(name) {
    const { text } = await this.operator("/metrics");
    const line = text.split("\n").find((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    return line && Number(line.split(" ").at(-1));
  }
}

/** The events of a stream, one by one. */
class Events {
  constructor(response) {
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    this.reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    this.text = "";
  }

  async next() {
    for (;;) {
      const end = this.text.indexOf("\n\n");
      if (end >= 0) {
        const event = this.text.slice(0, end);
        this.text = this.text.slice(end + 2);
        const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5)).join("");
        if (data.trim()) return JSON.parse(data);
        continue;
      }
      const { value, done } = await this.reader.read();
      assert.ok(!done, "the stream goes on");
      this.text += value;
    }
  }

  close() { return this.reader.cancel(); }
}

/** A modern client's subscription to what changes. */
async function listen(replica, token) {
  const method = "subscriptions/listen";
  const headers = { "mcp-protocol-version": "2026-07-28", "mcp-method": method };
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": { name: "ci", version: "1" },
  };
  const notifications = { toolsListChanged: true, resourceSubscriptions: ["counter://one"] };
  const events = new Events(await replica.post(token, { id: "s", method, params: { _meta: meta, notifications } }, headers));
  assert.equal((await events.next()).method, "notifications/subscriptions/acknowledged");
  return events;
}

/** Calls the tool that asks, as an older client; returns its stream and what it asks. */
async function ask(replica, token) {
  const events = new Events(await replica.call(token, "ask"));
  const question = await events.next();
  assert.equal(question.method, "elicitation/create");
  return { events, question };
}
const answer = ({ id }) => ({ id, result: { action: "accept", content: { name: "Ada Lovelace" } } });
const textOf = (message) => message.result.content[0].text;

const RATES = `[quota]\nsubject = "6/hour burst 5"\n[quota.tools.count]\nweight = 3\n`;
const withPolicy = (policy, rate = "6/hour burst 5") => `[quota]\nsubject = "${rate}"\nwhen_redis_is_away = "${policy}"\n`;

let redis = await startRedis();
const dev = await startDev(binary);
const [admin, user] = [dev.token("admin"), dev.token("user")];
const replicas = [await Replica.start(RATES), await Replica.start(RATES)];
const [one, other] = replicas;

let monitor;

try {
  await check("the quotas in Redis are those in the process, and none is exceeded by requests at a time", () => {
    console.log(execFileSync(quotasBinary, [`unix://${socket}`], { encoding: "utf8" }).trim());
  });
  monitor = new Process(redisCli, ["-s", socket, "monitor"], {}, "stdout");
  await monitor.says("OK", 0);

  await check("what was used at one replica is used at the other", async () => {
    const spent = await one.call(admin, "count");
    assert.equal(spent.headers.get("ratelimit-policy"), `"subject";q=5;w=3000`);
    assert.match(spent.headers.get("ratelimit"), /^"subject";r=2;t=600$/);
    assert.deepEqual(await other.pings(admin, 1), [200]);
    const refused = await other.call(admin, "count");
    assert.equal(refused.status, 429);
    assert.match(refused.headers.get("retry-after"), /^(1200|1199|1198)$/);
    assert.match(refused.headers.get("ratelimit"), /^"subject";r=0;t=(1200|1199|1198)$/);
    assert.equal((await refused.json()).error.code, 429);
    assert.deepEqual([await one.pings(admin, 2), await other.pings(admin, 1)], [[200, 429], [429]], "a refused one counted nothing");
    assert.deepEqual(await other.pings(user, 1), [200], "somebody else");
  });

  await check("what is used is in Redis for as long as it means something", () => {
    const keys = cli("keys", "fastmcp-auth0:quota:*").split("\n").filter(Boolean);
    assert.equal(keys.length, 2);
    for (const key of keys) {
      const left = Number(cli("pttl", key));
      assert.ok(left > 0 && left <= 3_000_000, `${left} ms`);
    }
  });

  await check("a reload changes the rates, and what was used stays used", async () => {
    for (const replica of replicas) await replica.reload(`[quota]\nsubject = "60/hour burst 20"\n`);
    const left = (await other.ping(admin)).headers.get("ratelimit");
    assert.match(left, /^"subject";r=1[34];/, left);
    for (const replica of replicas) await replica.reload("");
    assert.equal((await one.ping(admin)).headers.get("ratelimit"), null);
  });

  await check("a change at one replica reaches the subscribers of both, once", async () => {
    const [here, there] = [await listen(one, admin), await listen(other, admin)];
    for (let number = 0; number < 3; number += 1) assert.equal((await one.call(admin, "count")).status, 200);
    assert.equal((await one.call(admin, "announce_tools")).status, 200);
    for (const events of [here, there]) {
      for (let number = 0; number < 3; number += 1) {
        const { method, params } = await events.next();
        assert.deepEqual([method, params.uri], ["notifications/resources/updated", "counter://one"]);
      }
      assert.equal((await events.next()).method, "notifications/tools/list_changed");
      await events.close();
    }
  });

  await check("an answer to the wrong replica completes the call, and another's does not", async () => {
    const { events, question } = await ask(one, admin);
    assert.match(cli("keys", "fastmcp-auth0:waiting:*"), /^fastmcp-auth0:waiting:[\w-]{43}$/);
    assert.equal((await other.post(user, answer(question))).status, 202);
    assert.equal((await other.post(admin, answer({ id: "unknown" }))).status, 202);
    assert.equal(cli("keys", "fastmcp-auth0:waiting:*").split("\n").length, 1, "it waits");
    assert.equal((await other.post(admin, answer(question))).status, 202);
    assert.equal(textOf(await events.next()), "Hello, Ada Lovelace!");
  });

  await check("the TypeScript SDK's client, whose requests and answers reach different replicas", async () => {
    // The client of 2025-11-25 asks one replica, and answers at the other.
    const reach = (url, init) => {
      const isAnswer = init?.body && !JSON.parse(init.body).method;
      return fetch(isAnswer ? other.url : url, init);
    };
    const client = new Client({ name: "ci", version: "1" }, { capabilities: { elicitation: {} }, versionNegotiation: { mode: "legacy" } });
    client.setRequestHandler("elicitation/create", () => ({ action: "accept", content: { name: "Grace" } }));
    const requestInit = { headers: { authorization: `Bearer ${admin}` } };
    await client.connect(new StreamableHTTPClientTransport(new URL(one.url), { requestInit, fetch: reach }));
    for (let number = 0; number < 5; number += 1) {
      assert.equal((await client.callTool({ name: "ask" })).content[0].text, "Hello, Grace!");
    }
    await client.close();
  });

  await check("nothing that tells who it is was said to Redis", async () => {
    cli("echo", "the end");
    await monitor.says("the end", 0);
    const said = monitor.lines.join("\n");
    for (const [command, count] of [["EVALSHA", 8], ["PUBLISH", 10], ["fastmcp-auth0:waiting:", 12]]) {
      assert.ok(monitor.count(command) >= count, `${command}: ${monitor.count(command)}`);
    }
    for (const secret of ["auth0|", "local-", "Lovelace", "Grace", "elicit", "accept", admin, user, STATE_KEY]) {
      assert.ok(!said.includes(secret), secret);
    }
  });

  await check("a Redis that hangs costs one request its time, and the replica counts by itself", async () => {
    for (const replica of replicas) await replica.reload(withPolicy("count_here"));
    const gone = one.says("Redis is away");
    redis.child.kill("SIGSTOP");
    const began = performance.now();
    assert.equal((await one.ping(user)).status, 200);
    await gone;
    const took = performance.now() - began;
    assert.ok(took >= 250 && took < 2000, `${took} ms`);
    assert.deepEqual(await one.pings(user, 5), [200, 200, 200, 200, 429], "five, by this replica alone");
    const back = one.says("connected to Redis");
    redis.child.kill("SIGCONT");
    await back;
    assert.equal(await one.metric("fastmcp_auth0_redis_connected"), 1);
    assert.equal(await one.metric("fastmcp_auth0_quota_not_shared_total"), 6);
  });

  await check("while Redis is away, the policy decides; and the server stays ready", async () => {
    const gone = replicas.map((replica) => replica.says("Redis is away"));
    await monitor.stop();
    await redis.stop();
    await Promise.all(gone);
    for (const replica of replicas) {
      assert.equal(await replica.metric("fastmcp_auth0_redis_connected"), 0);
      assert.equal((await replica.operator("/ready")).status, 200);
      await replica.reload(withPolicy("allow"));
      assert.deepEqual(await replica.pings(user, 8), Array(8).fill(200));
      await replica.reload(withPolicy("refuse"));
      const refused = await replica.ping(user);
      assert.deepEqual([refused.status, refused.headers.get("retry-after")], [503, "1"]);
      assert.equal((await refused.json()).error.code, 503);
    }
    await one.says(`"reason":"quota_unavailable"`, 0);
    for (const replica of replicas) await replica.reload("");
    const { events, question } = await ask(one, admin);
    assert.equal((await other.post(admin, answer(question))).status, 503, "it can't be brought, and may be sent again");
    assert.equal((await one.post(admin, answer(question))).status, 202);
    assert.equal(textOf(await events.next()), "Hello, Ada Lovelace!");
  });

  await check("once Redis is there again, empty, all is as before, and subscribers are told of the lists", async () => {
    const [here, there] = [await listen(one, admin), await listen(other, admin)];
    const back = replicas.map((replica) => replica.says("connected to Redis"));
    redis = await startRedis();
    await Promise.all(back);
    for (const events of [here, there]) assert.equal((await events.next()).method, "notifications/tools/list_changed");
    for (const replica of replicas) await replica.reload(RATES);
    assert.deepEqual([await one.pings(user, 3), await other.pings(user, 3)], [[200, 200, 200], [200, 200, 429]]);
    assert.equal((await other.call(admin, "count")).status, 200);
    assert.equal((await here.next()).method, "notifications/resources/updated");
    const { events, question } = await ask(other, admin);
    assert.equal((await one.post(admin, answer(question))).status, 202);
    assert.equal(textOf(await events.next()), "Hello, Ada Lovelace!");
    await Promise.all([here.close(), there.close()]);
  });

  await check("a Redis that forgot the script is told it again", async () => {
    cli("flushall");
    cli("script", "flush");
    const before = one.count("Redis is away");
    assert.deepEqual([await one.pings(user, 3), await other.pings(user, 3)], [[200, 200, 200], [200, 200, 429]]);
    assert.equal(one.count("Redis is away"), before);
  });

  await check("a Redis that takes no writes is away until it does", async () => {
    for (const replica of replicas) await replica.reload(withPolicy("refuse"));
    const gone = one.says("out of memory");
    cli("config", "set", "maxmemory", "1");
    assert.equal((await one.ping(admin)).status, 503);
    await gone;
    assert.equal(await one.metric("fastmcp_auth0_redis_connected"), 0);
    const back = one.says("connected to Redis");
    cli("config", "set", "maxmemory", "0");
    await back;
    assert.equal((await one.ping(user)).status, 429);
  });

  await check("each outage is told of once", () => {
    for (const replica of replicas) {
      const [away, connected] = [replica.count("Redis is away"), replica.count("connected to Redis")];
      assert.equal(connected, away + 1);
      assert.ok(away <= 4, `${away}`);
    }
  });

  await check("the benchmark of quotas runs: nothing of speed", () => {
    const args = ["quotas", "--redis", `unix://${socket}`, "--server", server, "--seconds", "0.3", "--rounds", "1"];
    assert.match(execFileSync(load, args, { encoding: "utf8" }), /with quotas in Redis \| 32 \|/);
  });

  await check("TLS, with a user and a password", async () => {
    const openssl = (...args) => execFileSync("openssl", args, { cwd: folder, stdio: "ignore" });
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    openssl("req", "-x509", ...key, "-subj", "/CN=ca", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem");
    openssl("req", ...key, "-subj", "/CN=localhost", "-keyout", "redis.key", "-out", "redis.csr");
    writeFileSync(inFolder("san"), "subjectAltName=DNS:localhost");
    openssl("x509", "-req", "-in", "redis.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", "redis.pem");
    const port = await freePort();
    const secure = new Process(redisBinary, ["--port", "0", "--tls-port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--tls-auth-clients", "no",
      "--tls-cert-file", "redis.pem", "--tls-key-file", "redis.key", "--tls-ca-cert-file", "ca.pem",
      "--user", "ada", "on", ">s3cret", "~fastmcp-auth0:*", "&fastmcp-auth0:*", "+@all", "-@dangerous", "--user", "default", "off"], {}, "stdout");
    await secure.says("eady to accept connections", 0);
    const started = [];
    const start = async (password, env) => {
      const replica = await Replica.start(RATES, { url: `rediss://ada:${password}@localhost:${port}` }, env);
      started.push(replica);
      return replica;
    };
    const trusting = { SSL_CERT_FILE: inFolder("ca.pem") };
    const good = await start("s3cret", trusting);
    await good.says("connected to Redis", 0);
    assert.deepEqual(await good.pings(user, 6), [200, 200, 200, 200, 200, 429]);
    assert.equal(await good.metric("fastmcp_auth0_quota_not_shared_total"), undefined);
    await (await start("wr0ng", trusting)).says("refuses the user or the password", 0);
    await (await start("s3cret", {})).says("Redis is away", 0);
    for (const replica of started) {
      assert.ok(!replica.lines.join("\n").includes("s3cret") && !replica.lines.join("\n").includes("wr0ng"));
      await replica.stop();
    }
    await secure.stop();
  });
} finally {
  for (const replica of replicas) await replica.stop();
  await dev.stop();
  monitor?.child.kill();
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
}
summary();
