// Drives the benchmark's `url` and `compare`, for a moment each, against this server and those on other SDKs.
// Usage: node compare.mjs PATH_TO_BINARY PATH_TO_LOAD PATH_TO_FLOOR PATH_TO_PYTHON
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checks, startDev } from "./dev.mjs";

const [server, load, floor, python] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "compare-"));
const file = (name) => join(folder, name);
const { check, summary } = checks("benchmark");

/** Runs `load` for a moment, and returns its tables' lines. */
function run(...args) {
  const command = [...args, "--seconds", "0.1", "--rounds", "1"];
  const { status, stdout, stderr } = spawnSync(load, command, { encoding: "utf8", timeout: 120_000 });
  assert.equal(status, 0, stderr);
  return stdout.split("\n").filter((line) => line.startsWith("| "));
}

// Not a line for each of its requests.
process.env.FASTMCP__LOG__LEVEL = "warn";
const dev = await startDev(server);
try {
  writeFileSync(file("token"), dev.token("admin"));
  const url = ["url", dev.endpoint, "--connections", "1", "8"];
  for (const era of ["2025-11-25", "2026-07-28"]) {
    await check(`url: this server, ${era}`, () => {
      const lines = run(...url, "--era", era, "--token-file", file("token"), "--pid", `${dev.pid}`);
      assert.equal(lines.length, 3);
      for (const line of lines.slice(1)) assert.match(line, /^\| [18] \| [1-9]\d* \| \d+ \| \d+ \| [1-9]\d*\.\d+ \|$/);
    });
  }
  await check("url: another tool, with its arguments", () =>
    assert.equal(run(...url, "--token-file", file("token"), "--tool", "whoami", "--arguments", "{}").length, 3));
  await check("url: a server that refuses is no figure", () =>
    assert.throws(() => run(...url, "--token", "a.b.c"), /status 401/));
} finally {
  await dev.stop();
}

await check("compare: TypeScript SDK, fastmcp, Python SDK", () => {
  writeFileSync(file("document.md"), "<!-- measured: compare -->\nold\n<!-- /measured -->\n");
  const others = ["--only", "typescript,fastmcp-default,python", "--node", process.execPath, "--python", python];
  const into = ["--write", file("document.md"), "--plot", file("plot.svg")];
  const lines = run("compare", ...others, ...into, "--tokens", "100", "--server", server, "--floor", floor);
  const servers = new Set(lines.slice(1).map((line) => line.split(" | ")[0].slice(2)));
  assert.equal(servers.size, 6);
  assert.equal(lines.length, 1 + 5 * 2 + 1);
  const document = readFileSync(file("document.md"), "utf8");
  assert.ok(lines.every((line) => document.includes(line)) && !document.includes("old"));
  const plot = readFileSync(file("plot.svg"), "utf8");
  for (const server of servers) assert.ok(plot.includes(`>${server}</text>`), server);
});
await check("compare: an adapter that is missing is named", () =>
  assert.throws(() => run("compare", "--only", "rmcp", "--rmcp", file("none"), "--server", server, "--floor", floor), /adapter rmcp is not installed/));
rmSync(folder, { recursive: true });
summary();
