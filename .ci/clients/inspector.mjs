// Drives MCP Inspector's command line against `fastmcp-auth0 dev` in both eras and checks what it prints.
// Usage: node inspector.mjs PATH_TO_BINARY
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { checks, startDev } from "./dev.mjs";

const launcher = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js";
const dev = await startDev(process.argv[2]);

function inspect(user, era, ...method) {
  const args = [fileURLToPath(new URL(launcher, import.meta.url)), "--cli"];
  args.push("--server-url", dev.endpoint, "--transport", "http", "--protocol-era", era, "--format", "json");
  args.push("--header", `Authorization: Bearer ${dev.token(user)}`, "--method", ...method);
  const options = { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 60_000 };
  return JSON.parse(execFileSync(process.execPath, args, options)).result;
}

const call = (user, era, tool, ...args) => inspect(user, era, "tools/call", "--tool-name", tool, ...args);
const names = (list) => list.tools.map((tool) => tool.name);
const { check, summary } = checks("MCP Inspector");

try {
  for (const era of ["legacy", "modern", "auto"]) {
    await check(`${era}: lists every tool for admin`, () =>
      assert.deepEqual(names(inspect("admin", era, "tools/list")), ["greet", "whoami", "get_datetime"]));
    await check(`${era}: lists what user may call`, () =>
      assert.deepEqual(names(inspect("user", era, "tools/list")), ["whoami", "get_datetime"]));
    await check(`${era}: greets`, () => {
      const result = call("admin", era, "greet", "--tool-arg", "name=Ada");
      assert.equal(result.structuredContent.greeting, "Hello, Ada (auth0|local-admin)!");
      assert.equal(result.isError, false);
    });
    await check(`${era}: tells who calls`, () =>
      assert.deepEqual(call("user", era, "whoami").structuredContent.scopes, ["tool:whoami"]));
    await check(`${era}: tells the time`, () =>
      assert.match(call("user", era, "get_datetime").content[0].text, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/));
    // It looks a tool up in the list before it calls, and the list holds only what the token allows.
    await check(`${era}: does not find a tool without its scope`, () =>
      assert.throws(() => call("user", era, "greet"), (error) => error.stderr.includes("tool_not_found")));
  }
} finally {
  await dev.stop();
}
summary();
