// What deploy/ has for Prometheus and Grafana fits what the server shows: promtool checks the metrics, the alerts and their tests, the official
// parser reads OpenMetrics, and every metric that alerts or dashboard name is there.
// Usage: node observe.mjs PATH_TO_BINARY PATH_TO_PROMTOOL PATH_TO_PYTHON
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checks, startDev } from "./dev.mjs";

const [binary, promtoolBinary, python] = process.argv.slice(2);
const { check, summary } = checks("observe");
const deployed = (name) => fileURLToPath(new URL(`../../deploy/${name}`, import.meta.url));
const promtool = (args, input) => execFileSync(promtoolBinary, args, { input, encoding: "utf8", stdio: ["pipe", "pipe", "inherit"] });
/** The metrics that a text names. */
const named = (text) => new Set(text.match(/\b(fastmcp_auth0|process_start)_[a-z0-9_]+\b/g));

const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

const folder = mkdtempSync(join(tmpdir(), "observe-"));
const admin = `127.0.0.1:${await freePort()}`;
const configuration = join(folder, "dev.toml");
// An upstream that is not there would stop `dev`, so the metric of upstreams has no series here.
writeFileSync(configuration, `[admin]\nbind = "${admin}"\n`);
const dev = await startDev(binary, "--config", configuration);

const call = async (token, name, args) => {
  const body = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: args } };
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", accept: "application/json, text/event-stream" };
  return (await fetch(dev.endpoint, { method: "POST", headers, body: JSON.stringify(body) })).status;
};
/** Not `fetch`, which sends what browsers send. */
const scrape = (accept) => execFileSync("curl", ["-sS", "--fail", "-H", `Accept: ${accept}`, `http://${admin}/metrics`], { encoding: "utf8" });

try {
  const [adminToken, userToken] = [dev.token("admin"), dev.token("user")];
  assert.deepEqual(
    [await call(adminToken, "greet", { name: "Ada" }), await call(userToken, "greet", { name: "Ada" }), await call("x", "whoami", {})],
    [200, 403, 401],
  );
  const text = scrape("text/plain");

  await check("promtool accepts the metrics", () => assert.equal(promtool(["check", "metrics"], text), ""));
  await check("Prometheus' own parser accepts OpenMetrics", () => {
    const read = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as f; print(len(list(f(sys.stdin.read()))))";
    const input = scrape("application/openmetrics-text; version=1.0.0");
    assert.ok(Number(execFileSync(python, ["-c", read], { input, encoding: "utf8" })) > 10);
  });
  await check("promtool accepts the alerts", () => assert.match(promtool(["check", "rules", deployed("alerts.yml")]), /SUCCESS/));
  await check("the alerts' tests pass", () => promtool(["test", "rules", deployed("alerts.test.yml")]));

  const samples = new Set(text.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => line.split(/[ {]/)[0]));
  // No upstream, and no Redis.
  for (const name of ["upstream_connected", "redis_connected", "quota_not_shared_total", "rule_refusals_total"]) samples.add(`fastmcp_auth0_${name}`);
  for (const name of ["alerts.yml", "alerts.test.yml", "grafana-dashboard.json"]) {
    await check(`every metric of ${name} is there`, () => {
      const names = named(readFileSync(deployed(name), "utf8"));
      assert.ok(names.size > 5);
      assert.deepEqual([...names].filter((metric) => !samples.has(metric)), []);
    });
  }
  await check("the dashboard shows every metric", () => {
    const shown = named(readFileSync(deployed("grafana-dashboard.json"), "utf8"));
    const families = [...samples].filter((metric) => !/_(sum|count)$/.test(metric));
    assert.deepEqual(families.filter((metric) => !shown.has(metric)), []);
  });
  await check("the dashboard's panels have places of their own", () => {
    const { panels } = JSON.parse(readFileSync(deployed("grafana-dashboard.json"), "utf8"));
    const places = panels.map(({ gridPos: { x, y } }) => `${x} ${y}`);
    assert.equal(new Set(places).size, panels.length);
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  });
} finally {
  await dev.stop();
  rmSync(folder, { recursive: true, force: true });
}
summary();
