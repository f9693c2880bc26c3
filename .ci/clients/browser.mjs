// Drives the local tenant's page in a real browser: Allow, Deny, the keyboard alone, and MCP Inspector's own UI from no
// token to a greeting. Leaves screenshots in a folder.
// Usage: node browser.mjs PATH_TO_BINARY PATH_TO_CHROMIUM FOLDER
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { checks, startDev } from "./dev.mjs";

const [binary, executablePath, folder] = process.argv.slice(2);
const { check, summary } = checks("Chromium");
mkdirSync(folder, { recursive: true });

/** Everything that listens or runs, to be ended in reverse. */
const cleanups = [];
const dev = await startDev(binary);
cleanups.push(() => dev.stop());

/** A native client's callback: it resolves with the parameters of the next response. */
const callback = await new Promise((done) => {
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://127.0.0.1");
    response.end("Back at the application.");
    if (url.pathname === "/callback") server.emit("landed", url.searchParams);
  });
  server.listen(0, "127.0.0.1", () => done(server));
});
cleanups.push(() => new Promise((done) => callback.close(done)));
cleanups.push(() => callback.closeAllConnections());
const redirectUri = `http://127.0.0.1:${callback.address().port}/callback`;

const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync"];
const browser = await chromium.launch({ executablePath, args });
cleanups.push(() => browser.close());

async function post(path, body, type) {
  const response = await fetch(new URL(path, dev.issuer), { method: "POST", headers: { "content-type": type }, body });
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response.json();
}

/** Registers a client and begins a login in a new page; the page must load nothing from elsewhere and log no error. */
async function beginLogin(name, pageOptions = {}) {
  const metadata = { client_name: name, redirect_uris: [redirectUri], token_endpoint_auth_method: "none" };
  const { client_id } = await post("oidc/register", JSON.stringify(metadata), "application/json");
  const verifier = randomBytes(32).toString("base64url");
  const state = randomBytes(8).toString("hex");
  const url = new URL("authorize", dev.issuer);
  url.search = new URLSearchParams({
    response_type: "code", client_id, redirect_uri: redirectUri, state, scope: "tool:whoami tool:greet offline_access",
    code_challenge: createHash("sha256").update(verifier).digest("base64url"), code_challenge_method: "S256",
    resource: dev.endpoint,
  });
  const page = await browser.newPage(pageOptions);
  const faults = [];
  page.on("console", (message) => { if (message.type() === "error") faults.push(message.text()); });
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("request", (request) => {
    const { origin } = new URL(request.url());
    if (![new URL(dev.issuer).origin, new URL(redirectUri).origin].includes(origin)) faults.push(request.url());
  });
  await page.goto(url.href);
  return { page, faults, client_id, verifier, state };
}

/** Waits for the browser to come back to the client while `act` makes it. */
async function returned(login, act) {
  const landed = new Promise((done) => callback.once("landed", done));
  await act(login.page);
  const parameters = await landed;
  assert.equal(parameters.get("state"), login.state);
  assert.equal(parameters.get("iss"), dev.issuer);
  await login.page.getByText("Back at the application.").waitFor();
  // The browser asks every site for its icon by itself.
  assert.deepEqual(login.faults.filter((fault) => !fault.includes("favicon") && !fault.includes("404")), []);
  await login.page.close();
  return parameters;
}

/** Redeems the code and greets; who is greeted. */
async function greeted(login, parameters) {
  const form = new URLSearchParams({
    grant_type: "authorization_code", client_id: login.client_id, code: parameters.get("code"),
    redirect_uri: redirectUri, code_verifier: login.verifier,
  });
  const { access_token } = await post("oauth/token", form, "application/x-www-form-urlencoded");
  const call = { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "greet", arguments: { name: "Ada" } } };
  const headers = { authorization: `Bearer ${access_token}`, "content-type": "application/json" };
  const response = await fetch(dev.endpoint, { method: "POST", headers, body: JSON.stringify(call) });
  const body = await response.json();
  return response.ok ? body.result.structuredContent.greeting : body.error;
}

const shot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
const allow = (page) => page.getByRole("button", { name: "Allow" }).click();

async function inspectorUi() {
  const launcher = "node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js";
  const port = await new Promise((done) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });
  const home = mkdtempSync(join(tmpdir(), "inspector-"));
  const env = {
    ...process.env, HOME: home, MCP_STORAGE_DIR: home, CLIENT_PORT: String(port), MCP_SANDBOX_PORT: "0",
    MCP_APP_ORIGIN_PORT: "0", MCP_AUTO_OPEN_ENABLED: "false", MCP_INSPECTOR_SECRET_STORE: "memory",
  };
  const options = ["--web", "--transport", "http", "--server-url", dev.endpoint, "--protocol-era", "auto"];
  const child = spawn(process.execPath, [fileURLToPath(new URL(launcher, import.meta.url)), ...options], {
    env, stdio: ["ignore", "pipe", "inherit"], detached: true,
  });
  cleanups.push(() => new Promise((done) => {
    child.once("exit", done);
    process.kill(-child.pid, "SIGTERM");
  }));
  for await (const line of createInterface({ input: child.stdout })) {
    const found = line.match(/http:\/\/\S+MCP_INSPECTOR_API_TOKEN=\S+/);
    if (found) {
      child.stdout.resume();
      return found[0];
    }
  }
  throw new Error("MCP Inspector did not say where it is");
}

try {
  await check("Allow: the user that was picked is greeted", async () => {
    const login = await beginLogin("A native client");
    await shot(login.page, "consent-wide");
    assert.equal(await login.page.getByRole("radio", { name: /Ada Admin/ }).isChecked(), true);
    assert.equal(await greeted(login, await returned(login, allow)), "Hello, Ada (auth0|local-admin)!");
  });
  await check("Allow as another user grants what that user's roles allow", async () => {
    const login = await beginLogin("A native client", { viewport: { width: 360, height: 800 } });
    await shot(login.page, "consent-narrow");
    const wide = await login.page.evaluate("document.documentElement.scrollWidth > window.innerWidth");
    assert.equal(wide, false, "nothing is wider than a phone");
    const parameters = await returned(login, async (page) => {
      await page.getByText("Uma User").click();
      await allow(page);
    });
    assert.equal(await greeted(login, parameters), "insufficient_scope");
  });
  await check("Deny is told to the client", async () => {
    const login = await beginLogin("A native client", { colorScheme: "dark" });
    await shot(login.page, "consent-dark");
    const parameters = await returned(login, (page) => page.getByRole("button", { name: "Deny" }).click());
    assert.equal(parameters.get("error"), "access_denied");
  });
  await check("the keyboard alone picks a user and allows", async () => {
    const login = await beginLogin("A native client");
    const parameters = await returned(login, async (page) => {
      await page.keyboard.press("Tab");
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("ArrowUp");
      await page.keyboard.press("Tab");
      await shot(page, "consent-keyboard");
      assert.equal(await page.evaluate("document.activeElement.value"), "allow");
      await page.keyboard.press("Enter");
    });
    assert.equal(await greeted(login, parameters), "Hello, Ada (auth0|local-admin)!");
  });
  await check("a client's name is text, whatever it holds", async () => {
    const name = `<script>document.title="owned"</script><img src=x onerror=alert(1)>"'`;
    const login = await beginLogin(name);
    await shot(login.page, "consent-hostile-name");
    assert.ok((await login.page.getByRole("heading", { level: 1 }).innerText()).includes(name));
    assert.equal(await login.page.title(), "Log in – Local tenant");
    assert.equal(await login.page.locator("script, img").count(), 0);
    await returned(login, (page) => page.getByRole("button", { name: "Deny" }).click());
  });
  await check("a foreign redirect gets a page, and nobody is sent there", async () => {
    const page = await browser.newPage();
    const url = new URL("authorize", dev.issuer);
    url.search = new URLSearchParams({ client_id: "nobody", redirect_uri: "https://evil.example/" });
    const response = await page.goto(url.href);
    assert.equal(response.status(), 400);
    await shot(page, "failure");
    await page.close();
  });
  await check("MCP Inspector's UI logs in, lists and greets", async () => {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    await page.goto(await inspectorUi(), { waitUntil: "domcontentloaded" });
    // By the keyboard: the switch's own element has no size to click at.
    await page.getByRole("switch", { name: /^Connect or disconnect/ }).press("Space");
    await page.getByRole("heading", { level: 1, name: "MCP Inspector wants to use Local MCP server" }).waitFor();
    await shot(page, "inspector-consent");
    await allow(page);
    await page.getByText("Connected", { exact: true }).waitFor();
    await page.getByText("Tools", { exact: true }).first().click();
    await page.getByRole("button", { name: /Greet User/ }).click();
    await page.getByLabel("name", { exact: true }).fill("Ada");
    await page.getByRole("button", { name: "Execute Tool" }).click();
    await page.getByText("Hello, Ada (auth0|local-admin)!").first().waitFor();
    await shot(page, "inspector-greeting");
    await page.close();
  });
} finally {
  for (const cleanup of cleanups.reverse()) await cleanup();
}
summary();
console.log(`screenshots: ${folder}`);
