// Every client's script against three replicas that share Redis, behind nginx or HAProxy (replicated.mjs).
// Usage: node replicated-clients.mjs PATH_TO_BINARY PATH_TO_FIXTURE PATH_TO_PYTHON PATH_TO_REDIS nginx|haproxy PATH_TO_PROXY
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { checks } from "./dev.mjs";
import { freePort, startRedis } from "./processes.mjs";

const [binary, fixture, python, redisBinary, kind, program] = process.argv.slice(2);
const { check, summary } = checks(`clients behind ${kind}`);
const folder = mkdtempSync(join(tmpdir(), "replicated-clients-"));
const beside = (name) => fileURLToPath(new URL(name, import.meta.url));
const standIn = beside("replicated.mjs");
const node = (script, ...args) => [process.execPath, beside(script), ...args];
const SCRIPTS = {
  "the conformance suite": node("conformance.mjs", standIn, standIn),
  "MCP Inspector": node("inspector.mjs", standIn),
  "the TypeScript SDK": node("typescript-client.mjs", standIn),
  "the TypeScript SDK's features": node("typescript-features.mjs", standIn),
  "the Python SDK": [python, beside("python_client.py"), standIn],
  "the Python SDK's features": [python, beside("python_features.py"), standIn],
  fastmcp: [python, beside("fastmcp_client.py"), standIn],
};

const redis = await startRedis(redisBinary, folder);
try {
  for (const [name, [command, ...args]] of Object.entries(SCRIPTS)) {
    await check(name, async () => {
      const settings = { "redis.url": redis.url, "mcp.state_keys": randomBytes(32).toString("base64") };
      const replicated = JSON.stringify({ binary, fixture, kind, program, port: await freePort(), settings });
      const child = spawn(command, args, { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, REPLICATED: replicated } });
      const code = await new Promise((done) => child.once("exit", done));
      if (code !== 0) throw new Error(`${name} ended with ${code}`);
    });
  }
} finally {
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
}
summary();
