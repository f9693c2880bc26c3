// A crate that `new` writes, outside of this repository: it is formatted, has no lint and passes its own tests, and the official
// TypeScript SDK's client, given the endpoint and no token, logs in and calls its tool on SQLite.
// Usage: node own-server.mjs PATH_TO_BINARY TARGET_DIRECTORY
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";
import { checks, startDev } from "./dev.mjs";
import { Keeper } from "./login.mjs";

const [binary, target] = process.argv.slice(2).map((path) => resolve(path));
const { check, summary } = checks("own server");
const folder = mkdtempSync(join(tmpdir(), "own-server-"));
const crate = join(folder, "my-notes");
const cargo = (...args) =>
  execFileSync("cargo", args, { cwd: crate, stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, CARGO_TARGET_DIR: target } });

try {
  await check("a crate is written, and a second time its folder is left alone", () => {
    execFileSync(binary, ["new", crate], { stdio: ["ignore", "ignore", "inherit"] });
    assert.throws(() => execFileSync(binary, ["new", crate], { stdio: "ignore" }));
  });
  await check("it is formatted, has no lint, and passes its tests", () => {
    cargo("fmt", "--check");
    cargo("clippy", "--quiet", "--all-targets", "--", "-D", "warnings");
    cargo("test", "--quiet");
    cargo("build", "--quiet");
  });
  process.chdir(crate);
  const dev = await startDev(join(target, "debug", "my-notes"), "--auto-consent", "admin");
  try {
    const keeper = new Keeper(dev.issuer);
    const connect = async () => {
      const client = new Client({ name: "ci", version: "1" });
      const transport = new StreamableHTTPClientTransport(new URL(dev.endpoint), { authProvider: keeper });
      await client.connect(transport).catch(async (error) => {
        if (!(error instanceof UnauthorizedError)) throw error;
        await transport.finishAuth(keeper.callback);
        await client.connect(new StreamableHTTPClientTransport(new URL(dev.endpoint), { authProvider: keeper }));
      });
      return client;
    };
    await check("a client logs in, and calls the tools on SQLite", async () => {
      const client = await connect();
      assert.equal(keeper.logins, 1);
      assert.equal(client.getServerVersion().name, "my-notes");
      const { tools } = await client.listTools();
      assert.deepEqual(tools.map(({ name }) => name), ["word_count", "save_note", "list_notes"]);
      const call = async (name, args) => (await client.callTool({ name, arguments: args })).structuredContent;
      assert.deepEqual(await call("save_note", { text: "buy milk" }), { id: 1, text: "buy milk" });
      assert.deepEqual(await call("list_notes", {}), { notes: [{ id: 1, text: "buy milk" }] });
      assert.deepEqual(await call("word_count", { text: "buy milk" }), { words: 2 });
      await client.close();
    });
    await check("a user without the scope may not save", async () => {
      const headers = { authorization: `Bearer ${dev.token("user")}`, "content-type": "application/json" };
      const params = { name: "save_note", arguments: { text: "a" } };
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params });
      const refused = await fetch(dev.endpoint, { method: "POST", headers, body });
      assert.equal(refused.status, 403);
      assert.match(refused.headers.get("www-authenticate"), /scope="[^"]*notes:write/);
    });
  } finally {
    await dev.stop();
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
summary();
