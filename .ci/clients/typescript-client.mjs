// The official TypeScript SDK's client, given the endpoint and no token, in both eras: 401, discovery, registration, login,
// token, call, refresh.
// Usage: node typescript-client.mjs PATH_TO_BINARY
import assert from "node:assert/strict";
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";
import { checks, startDev } from "./dev.mjs";
import { Keeper } from "./login.mjs";

const { check, summary } = checks("TypeScript SDK");

/** What a client of `mode` does from its first request to a refreshed token. */
async function drive(dev, name, mode, { era, version }) {
  const keeper = new Keeper(dev.issuer);
  const exchanges = [];
  const recorded = async (url, init) => {
    const response = await fetch(url, init);
    const token = new Headers(init?.headers).has("authorization");
    exchanges.push({ url: String(url), method: init?.method ?? "GET", status: response.status, token });
    return response;
  };
  const client = () => new Client({ name: "ci", version: "1" }, { versionNegotiation: { mode } });
  const transport = () =>
    new StreamableHTTPClientTransport(new URL(dev.endpoint), { authProvider: keeper, fetch: recorded });
  const first = transport();

  await check(`${name}: gets a 401, registers, and comes back from the login with a code`, async () => {
    await assert.rejects(client().connect(first), UnauthorizedError);
    assert.deepEqual(exchanges[0], { url: dev.endpoint, method: "POST", status: 401, token: false });
    const registered = exchanges.filter(({ url }) => url === `${dev.issuer}oidc/register`);
    assert.deepEqual(registered.map(({ status }) => status), [201]);
    assert.match(keeper.client.client_id, /^tpc_/);
  });
  const connected = client();
  await check(`${name}: exchanges the code and connects`, async () => {
    await first.finishAuth(keeper.callback);
    await connected.connect(transport());
    assert.equal(connected.getProtocolEra(), era);
    assert.equal(connected.getNegotiatedProtocolVersion(), version);
  });
  await check(`${name}: lists every tool`, async () => {
    const { tools } = await connected.listTools();
    assert.deepEqual(tools.map((tool) => tool.name), ["greet", "whoami", "get_datetime"]);
  });
  const greets = async () => {
    const { structuredContent } = await connected.callTool({ name: "greet", arguments: { name: "Ada" } });
    assert.equal(structuredContent.greeting, "Hello, Ada (auth0|local-admin)!");
  };
  await check(`${name}: greets`, greets);
  await check(`${name}: refreshes a token that the server refuses, without a second login`, async () => {
    const { access_token, refresh_token } = keeper.kept;
    assert.ok(refresh_token, "offline_access was asked for and granted");
    const refused = `${access_token}x`;
    keeper.kept = { ...keeper.kept, access_token: refused };
    await greets();
    assert.notEqual(keeper.kept.access_token, refused);
    assert.notEqual(keeper.kept.refresh_token, refresh_token, "refresh tokens rotate");
    assert.equal(keeper.logins, 1);
  });
  await connected.close();
}

const legacy = { era: "legacy", version: "2025-11-25" };
const modern = { era: "modern", version: "2026-07-28" };
const dev = await startDev(process.argv[2], "--auto-consent", "admin");
try {
  await drive(dev, "legacy", "legacy", legacy);
  await drive(dev, "modern", { pin: "2026-07-28" }, modern);
  await drive(dev, "auto", "auto", modern);
} finally {
  await dev.stop();
}
summary();
