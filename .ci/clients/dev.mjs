// Starts `fastmcp-auth0 dev`, or the conformance fixture, on free ports, for the scripts beside this one, and counts checks.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";

export const startDev = (binary, ...options) => start(binary, "inherit", options);

/** The same, whose log can be waited for; whoever blocks, blocks it. */
export async function startLoggedDev(binary, ...options) {
  const dev = await start(binary, "pipe", options);
  const log = createInterface({ input: dev.stderr });
  /** Completes when the log has a line that the pattern fits, from now on. */
  const logged = (pattern) => new Promise((done) => log.on("line", (line) => pattern.test(line) && done(line)));
  return { ...dev, logged };
}

async function start(binary, stderr, options) {
  const args = ["dev", "--port", "0", "--tenant-port", "0", ...options];
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", stderr] });
  child.stderr?.pipe(process.stderr, { end: false });
  const ended = new Promise((done) => child.once("exit", (code, signal) => done(code ?? signal)));
  const banner = [];
  for await (const line of createInterface({ input: child.stdout })) {
    banner.push(line);
    if (line.startsWith("Ctrl-C")) break;
  }
  if (!banner.at(-1)?.startsWith("Ctrl-C")) throw new Error(`dev ended with ${await ended}, after: ${banner.join("\n")}`);
  const word = (label) => banner.find((line) => line.startsWith(label)).split(/\s+/)[label.split(" ").length];
  const issuer = word("Issuer");
  const tenantPort = new URL(issuer).port;
  return {
    endpoint: word("MCP endpoint"),
    issuer,
    pid: child.pid,
    stderr: child.stderr,
    /** The variables that `dev --fresh-tenant` says to set. */
    variables: Object.fromEntries([...banner.join("\n").matchAll(/\b([A-Z][A-Z0-9_]+)=(\S+)/g)].map((match) => match.slice(1))),
    token(user, audience) {
      const target = audience ? ["--audience", audience] : [];
      const args = ["token", "--user", user, "--tenant-port", tenantPort, ...target];
      return execFileSync(binary, args, { encoding: "utf8" }).trim();
    },
    /** Puts a fault of the local tenant into force. */
    async inject(fault) {
      const request = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(fault) };
      assert.ok((await fetch(`${issuer}local-tenant/fault`, request)).ok);
    },
    async stop() {
      child.kill("SIGTERM");
      const code = await ended;
      assert.equal(code, 0, "dev ends in order");
    },
  };
}

/** The fixture says where it is, and a token for it, on its first line. */
export async function startFixture(binary) {
  const child = spawn(binary, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((done) => child.once("exit", (code, signal) => done(code ?? signal)));
  for await (const line of createInterface({ input: child.stdout })) {
    return {
      ...JSON.parse(line),
      async stop() {
        child.kill("SIGTERM");
        assert.equal(await ended, 0, "the fixture ends in order");
      },
    };
  }
  throw new Error(`the fixture ended with ${await ended}`);
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
