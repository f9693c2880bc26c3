// Drives MCP Inspector's command line against `fastmcp-auth0 dev` in both eras and checks what it prints.
// Usage: node inspector.mjs PATH_TO_BINARY
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const binary = process.argv[2];
const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const dev = spawn(binary, ["dev", "--port", "0", "--tenant-port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
const banner = [];
for await (const line of createInterface({ input: dev.stdout })) {
  banner.push(line);
  if (line.startsWith("Ctrl-C")) break;
}
const word = (label) => banner.find((line) => line.startsWith(label)).split(/\s+/)[label.split(" ").length];
const endpoint = word("MCP endpoint");
const tenantPort = new URL(word("Issuer")).port;

const token = (user) =>
  execFileSync(binary, ["token", "--user", user, "--tenant-port", tenantPort], { encoding: "utf8" }).trim();

function inspect(user, era, ...method) {
  const args = [here("node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js"), "--cli"];
  args.push("--server-url", endpoint, "--transport", "http", "--protocol-era", era, "--format", "json");
  args.push("--header", `Authorization: Bearer ${token(user)}`, "--method", ...method);
  const options = { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 };
  return JSON.parse(execFileSync(process.execPath, args, options)).result;
}

const call = (user, era, tool, ...args) => inspect(user, era, "tools/call", "--tool-name", tool, ...args);
const names = (list) => list.tools.map((tool) => tool.name);

let passed = 0;
function check(name, run) {
  run();
  passed += 1;
  console.log(`ok  ${name}`);
}

try {
  for (const era of ["legacy", "modern", "auto"]) {
    check(`${era}: lists every tool for admin`, () =>
      assert.deepEqual(names(inspect("admin", era, "tools/list")), ["greet", "whoami", "get_datetime"]));
    check(`${era}: lists what user may call`, () =>
      assert.deepEqual(names(inspect("user", era, "tools/list")), ["whoami", "get_datetime"]));
    check(`${era}: greets`, () => {
      const result = call("admin", era, "greet", "--tool-arg", "name=Ada");
      assert.equal(result.structuredContent.greeting, "Hello, Ada (auth0|local-admin)!");
      assert.equal(result.isError, false);
    });
    check(`${era}: tells who calls`, () =>
      assert.deepEqual(call("user", era, "whoami").structuredContent.scopes, ["tool:whoami"]));
    check(`${era}: tells the time`, () =>
      assert.match(call("user", era, "get_datetime").content[0].text, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/));
    // It looks a tool up in the list before it calls, and the list holds only what the token allows.
    check(`${era}: does not find a tool without its scope`, () =>
      assert.throws(() => call("user", era, "greet"), (error) => error.stderr.includes("tool_not_found")));
  }
} finally {
  dev.kill("SIGTERM");
}
const code = await new Promise((done) => (dev.exitCode === null ? dev.once("exit", done) : done(dev.exitCode)));
assert.equal(code, 0, "dev ends in order");
console.log(`MCP Inspector: ${passed} passed, 0 failed`);
