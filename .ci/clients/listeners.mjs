// Where the server listens besides plain TCP: the units of systemd, a socket that is passed on, TLS whose certificate is replaced
// under load, a Unix socket, and nginx in front of one.
// Usage: node listeners.mjs PATH_TO_BINARY PATH_TO_NGINX
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { connect as connectTls } from "node:tls";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { checks, startDev } from "./dev.mjs";
import { certificate as makeCertificate, freePort, said } from "./processes.mjs";

const [binary, nginxBinary] = process.argv.slice(2);
const HOST = "mcp.example.com";
const CLIENTS = 8;
const RENEWALS = 5;
/** At least so many calls from one renewal to the next. */
const CALLS = 100;
const { check, summary } = checks("listeners");
const folder = mkdtempSync(join(tmpdir(), "listeners-"));
const inFolder = (name) => join(folder, name);
const [certificate, key, socket] = ["certificate.pem", "key.pem", "mcp.sock"].map(inFolder);
const run = promisify(execFile);
const tryKill = (pid) => { try { process.kill(pid); } catch { /* it has ended */ } };

const devFile = inFolder("dev.toml");
writeFileSync(devFile, `[endpoints.public]\nurl = "https://${HOST}"\n`);
const dev = await startDev(binary, "--config", devFile);
const processes = [dev];
// What a check that failed leaves running.
process.once("exit", () => processes.forEach(({ pid, exitCode }) => exitCode == null && tryKill(pid)));
const token = dev.token("admin", `https://${HOST}/mcp`);
const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "greet", arguments: { name: "Ada" } } });
const settings = { AUTH0_ISSUER: dev.issuer, AUTH0_AUDIENCE: `https://${HOST}/mcp`, MCP_SERVER_URL: `https://${HOST}` };

/** `serve` with these settings, perhaps started by another program. */
async function serve(more, command = [binary, "serve"]) {
  const env = { ...settings, PORT: "0", ...more };
  const child = spawn(command[0], command.slice(1), { env, cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  processes.push(child);
  const ended = new Promise((done) => child.once("exit", done));
  return {
    child,
    said: (text) => said(child, text),
    hangUp: () => child.kill("SIGHUP"),
    async stop() { child.kill("SIGTERM"); assert.equal(await ended, 0, "the server ends in order"); },
  };
}

/** Calls `greet` by curl, and returns the HTTP version. */
async function curl(url, ...options) {
  const written = await run("curl", ["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_version} %{response_code}",
    "--header", `Authorization: Bearer ${token}`, "--header", "Content-Type: application/json", "--data", body, ...options, url]);
  const [version, status] = written.stdout.split("\n").at(-1).split(" ");
  assert.equal(status, "200", written.stdout);
  assert.ok(written.stdout.includes("Hello, Ada"), written.stdout);
  return version;
}

await check("systemd finds no fault with the units, and rates the service 2.5 or better", async () => {
  for (const unit of ["fastmcp-auth0.service", "fastmcp-auth0.socket"]) {
    const text = readFileSync(new URL(`../../deploy/systemd/${unit}`, import.meta.url), "utf8");
    writeFileSync(inFolder(unit), text.replaceAll("/usr/local/bin/fastmcp-auth0", binary));
  }
  const units = ["fastmcp-auth0.service", "fastmcp-auth0.socket"].map(inFolder);
  const verified = await run("systemd-analyze", ["verify", ...units]);
  assert.ok(!verified.stderr.includes("fastmcp-auth0"), verified.stderr);
  const rated = await run("systemd-analyze", ["security", "--offline=true", "--threshold=25", "--no-pager", units[0]]);
  console.log(rated.stdout.match(/Overall exposure level.*: [\d.]+/)[0]);
});

await check("a socket that systemd passes on is served, and the call that came first is answered", async () => {
  const port = await freePort();
  const variables = Object.entries({ ...settings, FASTMCP__SERVER__BIND: "systemd" }).map(([name, value]) => `--setenv=${name}=${value}`);
  const command = ["systemd-socket-activate", `--listen=127.0.0.1:${port}`, ...variables, binary, "serve"];
  const server = await serve({ PATH: process.env.PATH }, command);
  await server.said("Listening on");
  // Nothing runs yet: this connection is what starts it.
  await curl(`http://127.0.0.1:${port}/mcp`, "--header", `Host: ${HOST}`);
  await server.stop();
});

await check("TLS by curl in both versions of HTTP, and a certificate that is replaced under load loses no call", async () => {
  makeCertificate(HOST, certificate, key);
  const port = await freePort();
  const server = await serve({ PORT: port, FASTMCP__TLS__CERTIFICATE_FILE: certificate, FASTMCP__TLS__KEY_FILE: key });
  await server.said("the issuer's keys changed");
  const url = `https://${HOST}:${port}/mcp`;
  const there = ["--resolve", `${HOST}:${port}:127.0.0.1`, "--cacert", certificate];
  assert.equal(await curl(url, ...there, "--http1.1"), "1.1");
  assert.equal(await curl(url, ...there, "--http2"), "2");
  assert.equal(await curl(url, ...there, "--http2", "--tls-max", "1.2"), "2");

  const presented = () => new Promise((done, failed) => {
    const stream = connectTls({ host: "127.0.0.1", port, servername: HOST, rejectUnauthorized: false }, () => {
      done(stream.getPeerX509Certificate().fingerprint256);
      stream.destroy();
    }).once("error", failed);
  });
  const call = (agent) => new Promise((done) => {
    const headers = { host: HOST, authorization: `Bearer ${token}`, "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const options = { host: "127.0.0.1", port, path: "/mcp", method: "POST", servername: HOST, rejectUnauthorized: false, agent, headers };
    request(options, (answer) => answer.resume().on("end", () => done(answer.statusCode))).on("error", (error) => done(error.code)).end(body);
  });
  const counts = new Map();
  let isOver = false;
  const client = async (agent) => {
    while (!isOver) {
      const outcome = await call(agent);
      counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
    }
  };
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    client(index % 2 === 0 ? new Agent({ keepAlive: true, maxSockets: 1 }) : false));
  const seen = new Set([await presented()]);
  for (let renewal = 0; renewal < RENEWALS; renewal += 1) {
    makeCertificate(HOST, inFolder("new.pem"), inFolder("new-key.pem"));
    renameSync(inFolder("new.pem"), certificate);
    renameSync(inFolder("new-key.pem"), key);
    const read = server.said("the certificate was read again");
    server.hangUp();
    await read;
    seen.add(await presented());
    while (counts.size <= 1 && (counts.get(200) ?? 0) < CALLS * (renewal + 1)) await call(false);
  }
  isOver = true;
  await Promise.all(clients);
  console.log(JSON.stringify(Object.fromEntries(counts)));
  assert.deepEqual([...counts.keys()], [200]);
  assert.equal(seen.size, RENEWALS + 1, "each was presented");
  assert.equal(await curl(url, ...there, "--http2"), "2");
  await server.stop();
});

await check("a Unix socket by curl, and behind nginx", async () => {
  const server = await serve({ FASTMCP__SERVER__BIND: `unix:${socket}`, FASTMCP__SERVER__SOCKET_MODE: "0666" });
  await server.said("the issuer's keys changed");
  assert.equal(statSync(socket).mode & 0o777, 0o666);
  await curl(`http://${HOST}/mcp`, "--unix-socket", socket);
  assert.equal(await curl(`http://${HOST}/mcp`, "--unix-socket", socket, "--http2-prior-knowledge"), "2");

  const port = await freePort();
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${inFolder(name)};`);
  // The folder is this user's alone, and root's nginx would have workers of another.
  const user = process.getuid() === 0 ? "user root;" : "";
  writeFileSync(inFolder("nginx.conf"), `${user} daemon off; pid ${inFolder("pid")}; error_log stderr notice; events {} http { access_log off;
    ${paths.join(" ")} upstream mcp { server unix:${socket}; keepalive 4; } server { listen 127.0.0.1:${port}; location / {
    proxy_pass http://mcp; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_buffering off; } } }`);
  const nginx = spawn(nginxBinary, ["-c", inFolder("nginx.conf"), "-e", "stderr"], { stdio: ["ignore", "ignore", "pipe"] });
  processes.push(nginx);
  const ended = new Promise((done) => nginx.once("exit", done));
  await said(nginx, "start worker process ");
  for (let index = 0; index < 3; index += 1) await curl(`http://127.0.0.1:${port}/mcp`, "--header", `Host: ${HOST}`);
  nginx.kill("SIGQUIT");
  await ended;
  await server.stop();
  assert.throws(() => statSync(socket), "the file is gone");
});

await dev.stop();
processes.length = 0;
rmSync(folder, { recursive: true, force: true });
summary();
