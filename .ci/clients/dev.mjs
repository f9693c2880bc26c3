// Starts `fastmcp-auth0 dev` on free ports, for the scripts beside this one, and counts their checks.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";

export async function startDev(binary, ...options) {
  const args = ["dev", "--port", "0", "--tenant-port", "0", ...options];
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "inherit"] });
  const banner = [];
  for await (const line of createInterface({ input: child.stdout })) {
    banner.push(line);
    if (line.startsWith("Ctrl-C")) break;
  }
  const word = (label) => banner.find((line) => line.startsWith(label)).split(/\s+/)[label.split(" ").length];
  const issuer = word("Issuer");
  const tenantPort = new URL(issuer).port;
  return {
    endpoint: word("MCP endpoint"),
    issuer,
    token: (user) =>
      execFileSync(binary, ["token", "--user", user, "--tenant-port", tenantPort], { encoding: "utf8" }).trim(),
    async stop() {
      child.kill("SIGTERM");
      const code = await new Promise((done) =>
        child.exitCode === null ? child.once("exit", done) : done(child.exitCode));
      assert.equal(code, 0, "dev ends in order");
    },
  };
}

export function checks(title) {
  let passed = 0;
  return {
    async check(name, run) {
      await run();
      passed += 1;
      console.log(`ok  ${name}`);
    },
    summary: () => console.log(`${title}: ${passed} passed, 0 failed`),
  };
}
