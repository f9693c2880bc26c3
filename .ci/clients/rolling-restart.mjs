// Two replicas behind nginx, as config/nginx.example.conf has it, are restarted one after the other under load: every request
// is answered with 200.
// Usage: node rolling-restart.mjs PATH_TO_BINARY PATH_TO_NGINX
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checks, startDev } from "./dev.mjs";
import { certificate as makeCertificate, freePort, said } from "./processes.mjs";

const [binary, nginxBinary] = process.argv.slice(2);
const HOST = "mcp.example.com";
const CLIENTS = 16;
const ROUNDS = 2;
const { check, summary } = checks("rolling restart");
const folder = mkdtempSync(join(tmpdir(), "rolling-restart-"));
const inFolder = (name) => join(folder, name);

/** One of the replicas: `serve` with the tenant of `dev`. */
class Replica {
  constructor(port, issuer) { Object.assign(this, { port, issuer }); }

  async start() {
    const env = {
      AUTH0_ISSUER: this.issuer, AUTH0_AUDIENCE: `https://${HOST}/mcp`, MCP_SERVER_URL: `https://${HOST}`, PORT: this.port,
      FASTMCP__LIMITS__DRAIN_DELAY_SECONDS: 1,
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
}

/** The example, with this machine's addresses and files. */
async function startNginx(replicas) {
  const port = await freePort();
  const [certificate, key] = ["certificate.pem", "key.pem"].map(inFolder);
  makeCertificate(HOST, certificate, key);
  let example = readFileSync(new URL("../../config/nginx.example.conf", import.meta.url), "utf8");
  for (const [text, replacement] of [
    ["127.0.0.1:3001", `127.0.0.1:${replicas[0].port}`], ["127.0.0.1:3002", `127.0.0.1:${replicas[1].port}`],
    ["listen 443 ssl", `listen 127.0.0.1:${port} ssl`], ["/etc/nginx/mcp.example.com.crt", certificate],
    ["/etc/nginx/mcp.example.com.key", key],
  ]) {
    assert.equal(example.split(text).length, 2, `the example has ${text} once`);
    example = example.replace(text, replacement);
  }
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${inFolder(name)};`);
  writeFileSync(inFolder("nginx.conf"), `daemon off; pid ${inFolder("pid")}; error_log stderr notice;
    events {} http { access_log off; ${paths.join(" ")} ${example} }`);
  const child = spawn(nginxBinary, ["-c", inFolder("nginx.conf"), "-e", "stderr"], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((done) => child.once("exit", done));
  await said(child, "start worker process ");
  return { port, ca: readFileSync(certificate), async stop() { child.kill("SIGQUIT"); await ended; } };
}

const dev = await (async () => {
  const file = inFolder("dev.toml");
  writeFileSync(file, `[endpoints.public]\nurl = "https://${HOST}"\n`);
  return startDev(binary, "--config", file);
})();
const replicas = [new Replica(await freePort(), dev.issuer), new Replica(await freePort(), dev.issuer)];
await Promise.all(replicas.map((replica) => replica.start()));
const nginx = await startNginx(replicas);
const token = dev.token("admin", `https://${HOST}/mcp`);
const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "greet", arguments: { name: "Ada" } } });

const call = (agent) =>
  new Promise((done) => {
    const headers = {
      host: HOST, authorization: `Bearer ${token}`, "content-type": "application/json", "content-length": Buffer.byteLength(body),
    };
    const options = { host: "127.0.0.1", port: nginx.port, path: "/mcp", method: "POST", servername: HOST, ca: nginx.ca, agent, headers };
    const sent = request(options, (answer) => {
      let text = "";
      answer.on("data", (part) => (text += part)).on("end", () => done(answer.statusCode === 200 && !text.includes("Hello, Ada") ? text : answer.statusCode));
    });
    sent.on("error", (error) => done(error.code)).end(body);
  });

const counts = new Map();
let isOver = false;
const client = async (agent) => {
  while (!isOver) {
    const outcome = await call(agent);
    counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  }
};

try {
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    client(index % 2 === 0 ? new Agent({ keepAlive: true, maxSockets: 1 }) : false));
  await check(`${ROUNDS} rolling restarts of two replicas lose no request`, async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const replica of replicas) {
        await replica.stop();
        await replica.start();
      }
    }
    isOver = true;
    await Promise.all(clients);
    console.log(JSON.stringify(Object.fromEntries(counts)));
    assert.deepEqual([...counts.keys()], [200]);
    assert.ok(counts.get(200) > 500, "there was a load");
  });
} finally {
  isOver = true;
  await nginx.stop();
  for (const replica of replicas) replica.child.kill("SIGTERM");
  await dev.stop();
  rmSync(folder, { recursive: true, force: true });
}
summary();
