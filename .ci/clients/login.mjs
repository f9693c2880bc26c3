// What an application keeps of a login with the official TypeScript SDK, for the scripts beside this one.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

/** What an application keeps; the browser is a fetch, because the tenant consents by itself. */
export class Keeper {
  redirectUrl = "http://127.0.0.1:49152/callback";
  clientMetadata = {
    client_name: "the TypeScript SDK", redirect_uris: [this.redirectUrl], token_endpoint_auth_method: "none",
    grant_types: ["authorization_code", "refresh_token"], response_types: ["code"],
  };
  logins = 0;
  #issuer;
  #state = randomBytes(16).toString("hex");
  constructor(issuer) { this.#issuer = issuer; }
  state = () => this.#state;
  clientInformation = () => this.client;
  saveClientInformation = (client) => { this.client = client; };
  tokens = () => this.kept;
  saveTokens = (tokens) => { this.kept = tokens; };
  saveCodeVerifier = (verifier) => { this.verifier = verifier; };
  codeVerifier = () => this.verifier;
  saveDiscoveryState = (found) => { this.found = found; };
  discoveryState = () => this.found;
  async redirectToAuthorization(url) {
    this.logins += 1;
    const response = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(30_000) });
    assert.equal(response.status, 302);
    const landed = new URL(response.headers.get("location"));
    assert.equal(landed.origin + landed.pathname, this.redirectUrl);
    assert.equal(landed.searchParams.get("state"), this.#state);
    assert.equal(landed.searchParams.get("iss"), this.#issuer);
    assert.ok(landed.searchParams.get("code") || landed.searchParams.get("error"));
    this.callback = landed.searchParams;
  }
}
