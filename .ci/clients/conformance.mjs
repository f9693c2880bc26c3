// Runs the official conformance suite: its authorization scenarios against the local tenant of `fastmcp-auth0 dev`, its server
// scenarios against the fixture, which is this server with the suite's own tools, and what applies to the three shipped
// tools against `dev`. No check is baselined; in the authorization scenarios warnings and skips count as failures, too.
// Usage: node conformance.mjs PATH_TO_BINARY PATH_TO_FIXTURE
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as forward } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { checks, startDev, startFixture } from "./dev.mjs";

const suite = fileURLToPath(new URL("node_modules/@modelcontextprotocol/conformance/dist/index.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "conformance-"));
const { check, summary } = checks("conformance");

/** Runs one command of the suite: how it ended, and every check that it wrote down, by scenario. */
async function run(name, args, line = () => {}) {
  const results = join(folder, name);
  const options = { stdio: ["ignore", "pipe", "inherit"], timeout: 120_000 };
  const child = spawn(process.execPath, [suite, ...args, "-o", results], options);
  const ended = new Promise((done) => child.once("exit", done));
  try {
    for await (const text of createInterface({ input: child.stdout })) await line(text);
    return { code: await ended, scenarios: scenariosIn(results) };
  } finally {
    child.kill();
    await ended;
  }
}

function scenariosIn(results) {
  const files = readdirSync(results, { recursive: true }).filter((file) => file.endsWith("checks.json"));
  return files.map((file) => JSON.parse(readFileSync(join(results, file), "utf8")));
}

/** All of a run must be there and succeed. */
async function judge(name, { code, scenarios }, expected) {
  const found = scenarios.flat();
  for (const { id, status, errorMessage } of found) {
    if (status !== "SUCCESS") console.log(`${status}  ${name}: ${id}: ${errorMessage ?? ""}`);
  }
  for (const { id, status, errorMessage } of found) {
    await check(`${name}: ${id}`, () => assert.equal(status, "SUCCESS", errorMessage));
  }
  await check(`${name}: ${expected.scenarios} scenarios, each with its checks, and the suite's own verdict`, () => {
    assert.equal(scenarios.length, expected.scenarios);
    assert.deepEqual(found.map(({ id }) => id).sort(), expected.checks);
    assert.equal(code, 0);
  });
}

/** The suite takes a port for its callback, and not 0. */
const freePort = () => new Promise((done, fail) => {
  const probe = createServer().once("error", fail).listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => done(port));
  });
});

/** Whoever sits before the browser is this script, and the tenant consents by itself. */
async function authorization(dev) {
  const args = ["authorization", "--url", dev.issuer, "--client-id", "conformance", "--resource", dev.endpoint];
  args.push("-p", String(await freePort()));
  const browse = async (line) => {
    if (!line.startsWith(`${dev.issuer}authorize?`)) return;
    const landed = await fetch(line, { signal: AbortSignal.timeout(30_000) });
    assert.equal(new URL(landed.url).pathname, "/callback", `${landed.status}: ${await landed.text()}`);
  };
  await judge("authorization", await run("authorization", args, browse), {
    scenarios: 2,
    checks: ["authorization-code-grant", "authorization-server-metadata", "authorization-server-metadata-cimd"],
  });
}

/** The suite sends no Authorization header. What passes through here gets one; Host and Origin change only where they name
 * this proxy itself, or the rebinding scenario would mean nothing. */
async function behindProxy(endpoint, token, use) {
  const target = new URL(endpoint);
  const proxy = createServer((incoming, outgoing) => {
    const own = [`127.0.0.1:${proxy.address().port}`, `localhost:${proxy.address().port}`];
    const headers = { authorization: `Bearer ${token}`, ...incoming.headers };
    if (own.includes(headers.host)) headers.host = target.host;
    if (own.some((host) => headers.origin === `http://${host}`)) headers.origin = target.origin;
    const options = { host: "127.0.0.1", port: target.port, method: incoming.method, path: incoming.url, headers };
    const upstream = forward(options, (response) => {
      outgoing.writeHead(response.statusCode, response.headers);
      response.pipe(outgoing);
    });
    upstream.on("error", () => outgoing.destroy());
    // A client that goes away takes its request with it.
    outgoing.on("close", () => upstream.destroy());
    incoming.pipe(upstream);
  });
  await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
  try {
    return await use(`http://127.0.0.1:${proxy.address().port}/mcp`);
  } finally {
    proxy.closeAllConnections();
    await new Promise((done) => proxy.close(done));
  }
}

/** Scenarios that belong to extensions that this server does not have. */
const isExtension = (line) => /^(tasks|skills)-/.test(line);

/** Runs server scenarios; every one that the suite scores must pass, and be there. */
async function scenarios(name, url, options, least) {
  const verdicts = new Map();
  const notScored = new Set();
  let unscored = false;
  const { code } = await run(name, ["server", "--url", url, ...options], (line) => {
    if (line.startsWith("Not scored")) unscored = true;
    const found = line.match(/^ *([✓✗]) ([\w-]+)(?:: (\d+) passed, (\d+) failed)?/);
    if (!found) return;
    if (unscored) notScored.add(found[2]);
    else if (found[3] !== undefined) verdicts.set(found[2], { failed: Number(found[4]), passed: Number(found[3]) });
  });
  const scored = [...verdicts].filter(([scenario]) => !notScored.has(scenario) && !isExtension(scenario));
  for (const [scenario, { failed }] of scored) assert.equal(failed, 0, `${name}: ${scenario}`);
  const checked = scored.reduce((sum, [, { passed }]) => sum + passed, 0);
  await check(`${name}: ${scored.length} scenarios, ${checked} checks`, () => assert.ok(scored.length >= least, `${scored.length}`));
  return code;
}

async function fixture(binary) {
  const { endpoint, token, stop } = await startFixture(binary);
  try {
    await behindProxy(endpoint, token, async (url) => {
      for (const [revision, least] of [["2025-11-25", 30], ["2026-07-28", 37]]) {
        const code = await scenarios(`requirements ${revision}`, url, ["--requirements", revision], least);
        assert.equal(code, 0, `the suite's own verdict on ${revision}`);
      }
      await scenarios("suite all, 2026-07-28", url, ["--suite", "all", "--spec-version", "2026-07-28"], 37);
    });
  } finally {
    await stop();
  }
}

/** What a server with three plain tools can pass. */
async function shipped(dev) {
  await behindProxy(dev.endpoint, dev.token("admin"), async (url) => {
    const legacy = ["server-initialize", "ping", "tools-list", "dns-rebinding-protection"];
    const modern = ["tools-list", "dns-rebinding-protection", "input-required-result-unsupported-methods", "http-header-validation"];
    for (const [version, names] of [["2025-11-25", legacy], ["2026-07-28", modern]]) {
      for (const name of names) {
        const options = ["--scenario", name, "--spec-version", version, "--force"];
        const { code, scenarios } = await run(`shipped-${version}-${name}`, ["server", "--url", url, ...options]);
        const failed = scenarios.flat().filter(({ status }) => status === "FAILURE");
        await check(`shipped, ${version}: ${name}`, () => {
          assert.deepEqual(failed, []);
          assert.equal(code, 0);
        });
      }
    }
  });
}

try {
  const config = join(folder, "client.toml");
  writeFileSync(config, `[[tenant.clients]]
id = "conformance"
name = "The conformance suite"
redirect_uris = ["http://127.0.0.1/callback"]
`);
  const dev = await startDev(process.argv[2], "--auto-consent", "admin", "--config", config);
  try {
    await authorization(dev);
    await shipped(dev);
  } finally {
    await dev.stop();
  }
  await fixture(process.argv[3]);
} finally {
  rmSync(folder, { recursive: true });
}
summary();
