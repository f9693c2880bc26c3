// Runs the official conformance suite, for the scripts beside this one.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createServer, request as forward } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("node_modules/@modelcontextprotocol/conformance/dist/index.js", import.meta.url));

/** What runs one command of the suite, with its results in a folder: how it ended, and every check that it wrote down, by scenario. */
export const suite = (folder) => async (name, args, line = () => {}) => {
  const results = join(folder, name);
  const options = { stdio: ["ignore", "pipe", "inherit"], timeout: 120_000 };
  const child = spawn(process.execPath, [program, ...args, "-o", results], options);
  const ended = new Promise((done) => child.once("exit", done));
  try {
    for await (const text of createInterface({ input: child.stdout })) await line(text);
    return { code: await ended, scenarios: scenariosIn(results) };
  } finally {
    child.kill();
    await ended;
  }
};

function scenariosIn(results) {
  const files = readdirSync(results, { recursive: true }).filter((file) => file.endsWith("checks.json"));
  return files.map((file) => JSON.parse(readFileSync(join(results, file), "utf8")));
}

/** The suite sends no Authorization header. What passes through here gets one; Host and Origin change only where they name
 * this proxy itself, or the rebinding scenario would mean nothing. */
export async function behindProxy(endpoint, token, use) {
  const target = new URL(endpoint);
  const proxy = createServer((incoming, outgoing) => {
    const own = [`127.0.0.1:${proxy.address().port}`, `localhost:${proxy.address().port}`];
    const headers = { authorization: `Bearer ${token}`, ...incoming.headers };
    if (own.includes(headers.host)) headers.host = target.host;
    if (own.some((host) => headers.origin === `http://${host}`)) headers.origin = target.origin;
    const options = { host: "127.0.0.1", port: target.port, method: incoming.method, path: incoming.url, headers };
    const upstream = forward(options, (response) => {
      outgoing.writeHead(response.statusCode, response.headers);
      response.pipe(outgoing);
    });
    upstream.on("error", () => outgoing.destroy());
    // A client that goes away takes its request with it.
    outgoing.on("close", () => upstream.destroy());
    incoming.pipe(upstream);
  });
  await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
  try {
    return await use(`http://127.0.0.1:${proxy.address().port}/mcp`);
  } finally {
    proxy.closeAllConnections();
    await new Promise((done) => proxy.close(done));
  }
}

/** Scenarios that belong to extensions that this server does not have. */
const isExtension = (line) => /^(tasks|skills)-/.test(line);

/** Runs server scenarios: how the suite ended, and the verdict on each that it scores, and on the others. */
export async function judged(run, name, url, options) {
  const verdicts = new Map();
  const notScored = new Set();
  let unscored = false;
  const { code, scenarios } = await run(name, ["server", "--url", url, ...options], (line) => {
    if (line.startsWith("Not scored")) unscored = true;
    const found = line.match(/^ *([✓✗]) ([\w-]+)(?:: (\d+) passed, (\d+) failed)?/);
    if (!found) return;
    if (unscored) notScored.add(found[2]);
    else if (found[3] !== undefined) verdicts.set(found[2], { failed: Number(found[4]), passed: Number(found[3]) });
  });
  const isScored = ([scenario]) => !notScored.has(scenario) && !isExtension(scenario);
  const failures = scenarios.flat().filter(({ status }) => status === "FAILURE").map(({ id, errorMessage }) => `${id}: ${errorMessage ?? ""}`);
  return { code, failures, scored: [...verdicts].filter(isScored), others: [...verdicts].filter((verdict) => !isScored(verdict)) };
}
