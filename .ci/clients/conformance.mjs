// Runs the official conformance suite: its authorization scenarios against the local tenant of `fastmcp-auth0 dev`, its server
// scenarios against the fixture, which is this server with the suite's own tools, and what applies to the three shipped
// tools against `dev`. No check is baselined; in the authorization scenarios warnings and skips count as failures, too.
// Usage: node conformance.mjs PATH_TO_BINARY PATH_TO_FIXTURE
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checks, startDev, startFixture } from "./dev.mjs";
import { behindProxy, judged, suite } from "./suite.mjs";

const folder = mkdtempSync(join(tmpdir(), "conformance-"));
const run = suite(folder);
const { check, summary } = checks("conformance");

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

/** Runs server scenarios; every one that the suite scores must pass, and be there. */
async function scenarios(name, url, options, least) {
  const { code, scored } = await judged(run, name, url, options);
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
