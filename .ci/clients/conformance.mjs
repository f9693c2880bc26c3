// Runs the official conformance suite's authorization scenarios against the local tenant of `fastmcp-auth0 dev`: every
// check must succeed, warnings count as failures.
// Usage: node conformance.mjs PATH_TO_BINARY
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { startDev } from "./dev.mjs";

const suite = fileURLToPath(new URL("node_modules/@modelcontextprotocol/conformance/dist/index.js", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "conformance-"));
const config = join(folder, "client.toml");
writeFileSync(config, `[[tenant.clients]]
id = "conformance"
name = "The conformance suite"
redirect_uris = ["http://127.0.0.1/callback"]
`);

/** The suite takes a port for its callback, and not 0. */
const freePort = () => new Promise((done) => {
  const probe = createServer().listen(0, "127.0.0.1", () => {
    const { port } = probe.address();
    probe.close(() => done(port));
  });
});

/** Runs the suite; whoever sits before the browser is this script, and the tenant consents by itself. */
async function authorization(dev) {
  const results = join(folder, "authorization");
  const args = [suite, "authorization", "--url", dev.issuer, "--client-id", "conformance", "--resource", dev.endpoint];
  args.push("-p", String(await freePort()), "-o", results);
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((done) => child.once("exit", done));
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith(`${dev.issuer}authorize?`)) await (await fetch(line)).text();
  }
  return { code: await ended, checks: checksIn(results) };
}

/** Every check that the suite wrote down, of all scenarios. */
function checksIn(results) {
  const files = readdirSync(results, { recursive: true }).filter((file) => file.endsWith("checks.json"));
  return files.flatMap((file) => JSON.parse(readFileSync(join(results, file), "utf8")));
}

const dev = await startDev(process.argv[2], "--auto-consent", "admin", "--config", config);
try {
  const { code, checks } = await authorization(dev);
  for (const check of checks) {
    console.log(`${check.status === "SUCCESS" ? "ok " : check.status} ${check.id}  ${check.errorMessage ?? ""}`);
  }
  assert.equal(code, 0, "the suite's own verdict");
  assert.ok(checks.length >= 3, "both scenarios ran");
  assert.deepEqual(checks.filter((check) => check.status !== "SUCCESS"), []);
  console.log(`conformance, authorization: ${checks.length} passed, 0 failed, 0 warnings`);
} finally {
  await dev.stop();
}
