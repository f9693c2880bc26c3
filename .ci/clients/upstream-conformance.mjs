// The official conformance suite against this project's fixture, which passes all of it, and against the same behind
// `fastmcp-auth0 dev`: what passes directly passes behind it, too. The suite's own reference server is in no package.
// Usage: node upstream-conformance.mjs PATH_TO_BINARY PATH_TO_FIXTURE
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checks, startDev, startFixture } from "./dev.mjs";
import { behindProxy, judged, suite } from "./suite.mjs";

const [binary, fixtureBinary] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "upstream-conformance-"));
const run = suite(folder);
const { check, summary } = checks("upstream conformance");
const cleanups = [];

/** `dev` in front of a server, offering all of it. */
async function behind(name, url, more, use) {
  const config = join(folder, `${name}.toml`);
  const scopes = ["read", "write", "destructive", "resources", "prompts"].map((kind) => `${kind} = ["suite:use"]`);
  writeFileSync(config, `[upstreams.suite]\nurl = "${url}"\nprefix = ""\nscopes = { ${scopes.join(", ")} }\n${more}`);
  const dev = await startDev(binary, "--auto-consent", "admin", "--config", config);
  try {
    return await behindProxy(dev.endpoint, dev.token("admin"), use);
  } finally {
    await dev.stop();
  }
}

const told = (verdicts) => {
  const passing = verdicts.filter(([, { failed }]) => failed === 0);
  const checked = verdicts.reduce((sum, [, { passed }]) => sum + passed, 0);
  return `${passing.length} of ${verdicts.length} scenarios, ${checked} checks`;
};

/** The suite's run of what a revision requires, against a URL. */
const verdictsOn = (name, url, revision) => judged(run, `${name}-${revision}`, url, ["--requirements", revision]);

async function compare(name, revision, direct, through) {
  console.log(`    ${name}, ${revision}: direct ${told(direct.scored)}; behind ${told(through.scored)}`);
  await check(`${name}, ${revision}: what passes directly passes behind`, () => {
    const passing = direct.scored.filter(([, { failed }]) => failed === 0);
    assert.ok(passing.length > 0, "something passes directly");
    const behind = new Map(through.scored);
    const lost = passing.filter(([scenario]) => behind.get(scenario)?.failed !== 0);
    if (lost.length > 0) console.log(through.failures.filter((failure) => !direct.failures.includes(failure)).join("\n"));
    assert.deepEqual(lost.map(([scenario]) => scenario), []);
  });
  const unscored = new Map(direct.others);
  const differing = through.others.filter(([scenario, { failed }]) => failed > 0 && unscored.get(scenario)?.failed === 0);
  for (const [scenario, { failed }] of differing) console.log(`    not scored: ${scenario} has ${failed} failed checks behind, and none directly`);
}

/** This project's own fixture passes all of both revisions; it takes a token of its own, which is the server's, not the caller's. */
async function fixture() {
  const { endpoint, token, stop } = await startFixture(fixtureBinary);
  cleanups.push(stop);
  const direct = await behindProxy(endpoint, token, async (url) => [
    await verdictsOn("fixture-direct", url, "2025-11-25"), await verdictsOn("fixture-direct", url, "2026-07-28"),
  ]);
  const headers = `headers = { Authorization = "Bearer ${token}" }\n`;
  await behind("fixture", endpoint, headers, async (url) => {
    for (const [index, revision] of ["2025-11-25", "2026-07-28"].entries()) {
      await compare("fixture", revision, direct[index], await verdictsOn("fixture-behind", url, revision));
    }
  });
}

try {
  await fixture();
} finally {
  for (const cleanup of cleanups.reverse()) await cleanup();
  rmSync(folder, { recursive: true });
}
summary();
