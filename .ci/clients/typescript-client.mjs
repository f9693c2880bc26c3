// The official TypeScript SDK's client, given the endpoint and no token, in both eras: 401, discovery, registration, login,
// token, call.
// Usage: node typescript-client.mjs PATH_TO_BINARY
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from "@modelcontextprotocol/client";
import { checks, startDev } from "./dev.mjs";

const { check, summary } = checks("TypeScript SDK");

/** What an application keeps; the browser is a fetch, because the tenant consents by itself. */
class Keeper {
  redirectUrl = "http://127.0.0.1:49152/callback";
  clientMetadata = {
    client_name: "the TypeScript SDK", redirect_uris: [this.redirectUrl], token_endpoint_auth_method: "none",
    grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
  };
  #state = randomBytes(16).toString("hex");
  state = () => this.#state;
  clientInformation = () => this.client;
  saveClientInformation = (client) => { this.client = client; };
  tokens = () => this.kept;
  saveTokens = (tokens) => { this.kept = tokens; };
  saveCodeVerifier = (verifier) => { this.verifier = verifier; };
  codeVerifier = () => this.verifier;
  async redirectToAuthorization(url) {
    const response = await fetch(url, { redirect: "manual" });
    const landed = new URL(response.headers.get("location"));
    assert.equal(landed.origin + landed.pathname, this.redirectUrl);
    assert.equal(landed.searchParams.get("state"), this.#state);
    this.callback = landed.searchParams;
  }
}

/** A connected client, and what it kept. */
async function logIn(dev, mode) {
  const keeper = new Keeper();
  const client = () => new Client({ name: "ci", version: "1" }, { versionNegotiation: { mode } });
  const transport = () => new StreamableHTTPClientTransport(new URL(dev.endpoint), { authProvider: keeper });
  const first = transport();
  await assert.rejects(client().connect(first), UnauthorizedError);
  await first.finishAuth(keeper.callback);
  const connected = client();
  await connected.connect(transport());
  return { client: connected, keeper };
}

const dev = await startDev(process.argv[2], "--auto-consent", "admin");
try {
  for (const [era, mode] of [["legacy", "legacy"], ["modern", { pin: "2026-07-28" }], ["auto", "auto"]]) {
    await check(`${era}: logs in, lists, greets, refreshes`, async () => {
      const { client, keeper } = await logIn(dev, mode);
      assert.match(keeper.client.client_id, /^tpc_/);
      const { tools } = await client.listTools();
      assert.deepEqual(tools.map((tool) => tool.name), ["greet", "whoami", "get_datetime"]);
      const greet = () => client.callTool({ name: "greet", arguments: { name: "Ada" } });
      assert.equal((await greet()).structuredContent.greeting, "Hello, Ada (auth0|local-admin)!");
      const { access_token, refresh_token } = keeper.kept;
      assert.ok(refresh_token, "offline_access was asked for and granted");
      // A token that the server refuses makes the client refresh.
      keeper.kept = { ...keeper.kept, access_token: `${access_token}x` };
      assert.equal((await greet()).structuredContent.greeting, "Hello, Ada (auth0|local-admin)!");
      assert.notEqual(keeper.kept.refresh_token, refresh_token, "refresh tokens rotate");
      await client.close();
    });
  }
} finally {
  await dev.stop();
}
summary();
