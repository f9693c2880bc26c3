// Three replicas that share Redis, behind nginx or HAProxy as the examples in config have them, under load: what is lost when they
// are restarted one after the other (nothing), when Redis ends and is started again (nothing), and when a replica is killed (what
// it had).
// Usage: node replicas.mjs PATH_TO_BINARY PATH_TO_REDIS nginx|haproxy PATH_TO_PROXY
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checks, startDev } from "./dev.mjs";
import { certificate as makeCertificate, freePort, said, startRedis } from "./processes.mjs";
import { startProxy } from "./proxies.mjs";

const [binary, redisBinary, kind, program] = process.argv.slice(2);
const HOST = "mcp.example.com";
const CLIENTS = 16;
const ROUNDS = 2;
const STATE_KEY = randomBytes(32).toString("base64");
const { check, summary } = checks(`replicas behind ${kind}`);
const folder = mkdtempSync(join(tmpdir(), "replicas-"));
const inFolder = (name) => join(folder, name);

/** One of the replicas: `serve` with the tenant of `dev`. */
class Replica {
  constructor(port, issuer) { Object.assign(this, { port, issuer }); }

  async start() {
    const env = {
      AUTH0_ISSUER: this.issuer, AUTH0_AUDIENCE: `https://${HOST}/mcp`, MCP_SERVER_URL: `https://${HOST}`, PORT: this.port,
      FASTMCP__LIMITS__DRAIN_DELAY_SECONDS: 1, FASTMCP__REDIS__URL: redis.url, FASTMCP__MCP__STATE_KEYS: STATE_KEY,
      FASTMCP__QUOTA__SUBJECT: "1000000/second",
    };
    this.child = spawn(binary, ["serve"], { env, cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    this.ended = new Promise((done) => this.child.once("exit", done));
    // It listens before it fetches its keys.
    await said(this.child, "the issuer's keys changed");
  }

  async stop() {
    this.child.kill("SIGTERM");
    assert.equal(await this.ended, 0, "the replica ends in order");
  }

  async kill() {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}

let redis = await startRedis(redisBinary, folder);
const devFile = inFolder("dev.toml");
writeFileSync(devFile, `[endpoints.public]\nurl = "https://${HOST}"\n`);
const dev = await startDev(binary, "--config", devFile);
const replicas = [];
for (let count = 0; count < 3; count += 1) replicas.push(new Replica(await freePort(), dev.issuer));
await Promise.all(replicas.map((replica) => replica.start()));
const [certificate, key, both] = ["certificate.pem", "key.pem", "both.pem"].map(inFolder);
makeCertificate(HOST, certificate, key);
writeFileSync(both, readFileSync(certificate) + readFileSync(key));
const ca = readFileSync(certificate);
const port = await freePort();
const proxy = await startProxy(kind, program, { folder, port, replicas: replicas.map(({ port }) => port), tls: { certificate, key, both } });
const token = dev.token("admin", `https://${HOST}/mcp`);
const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "greet", arguments: { name: "Ada" } } });

const call = (agent) =>
  new Promise((done) => {
    const headers = {
      host: HOST, authorization: `Bearer ${token}`, "content-type": "application/json", "content-length": Buffer.byteLength(body),
    };
    const options = { host: "127.0.0.1", port, path: "/mcp", method: "POST", servername: HOST, ca, agent, headers };
    const sent = request(options, (answer) => {
      let text = "";
      answer.on("data", (part) => (text += part)).on("end", () => done(answer.statusCode === 200 && !text.includes("Hello, Ada") ? text : answer.statusCode));
      answer.on("error", (error) => done(error.code));
    });
    sent.on("error", (error) => done(error.code)).end(body);
  });

/** Keeps clients calling while `work` is done and until each has had 50 answers more: how often each outcome was seen. The work
 * begins when there have been some, and can wait for more. */
async function underLoad(work) {
  const counts = {};
  let during = 0;
  let [isBegun, isOver] = [false, false];
  let [left, isEnough] = [0, () => {}];
  const more = () => new Promise((done) => ([left, isEnough] = [200, done]));
  const client = async (agent) => {
    let last = 50;
    while (!isOver || last > 0) {
      if (isOver) last -= 1;
      const outcome = await call(agent);
      counts[outcome] = (counts[outcome] ?? 0) + 1;
      if (!isOver && isBegun) during += 1;
      if ((left -= 1) === 0) isEnough();
    }
  };
  const loaded = more();
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    client(index % 2 === 0 ? new Agent({ keepAlive: true, maxSockets: 1 }) : false));
  try {
    await loaded;
    isBegun = true;
    await work(more);
  } finally {
    isOver = true;
    await Promise.all(clients);
  }
  console.log(JSON.stringify({ ...counts, during }));
  assert.ok(during > 200, "there was a load");
  return counts;
}

try {
  await check(`${ROUNDS} rolling restarts lose no request`, async () => {
    const counts = await underLoad(async (more) => {
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const replica of replicas) {
          await replica.stop();
          await more();
          await replica.start();
        }
      }
    });
    assert.deepEqual(Object.keys(counts), ["200"]);
  });
  await check("Redis that ends and is started again loses no request", async () => {
    const counts = await underLoad(async (more) => {
      const away = Promise.all(replicas.map(({ child }) => said(child, "Redis is away")));
      await redis.kill();
      await away;
      await more();
      const back = Promise.all(replicas.map(({ child }) => said(child, "connected to Redis")));
      redis = await startRedis(redisBinary, folder);
      await back;
    });
    assert.deepEqual(Object.keys(counts), ["200"]);
  });
  await check("a replica that is killed loses what it had, at most a request of each client", async () => {
    const { 200: _, ...lost } = await underLoad(async (more) => {
      await replicas[0].kill();
      await more();
      await replicas[0].start();
    });
    assert.ok(Object.values(lost).reduce((sum, count) => sum + count, 0) <= CLIENTS, JSON.stringify(lost));
  });
} finally {
  await proxy.stop();
  for (const replica of replicas) replica.child.kill("SIGTERM");
  await dev.stop();
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
}
summary();
