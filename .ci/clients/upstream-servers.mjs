// Starts MCP servers as upstreams on loopback, and records what they are sent.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer, request as forward } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export const local = (path) => fileURLToPath(new URL(path, import.meta.url));
export const node = local("node_modules/.bin/node");
export const everything = local("node_modules/@modelcontextprotocol/server-everything/dist/index.js");

/** Starts a server of Node's on a free port of loopback, wherever it would listen. */
export async function startNodeServer(...script) {
  const child = spawn(node, ["--require", local("loopback.cjs"), ...script], { stdio: ["ignore", "ignore", "pipe"] });
  const lines = createInterface({ input: child.stderr });
  const url = await new Promise((done, failed) => {
    lines.on("line", (line) => line.startsWith("listening on ") && done(line.slice("listening on ".length)));
    lines.once("close", () => failed(new Error(`${script} ended`)));
  });
  return { url, stop: stopper(child) };
}

/** Starts the server on fastmcp; `event` waits for the next thing it says that fits. */
export async function startTeam(python, secret, audience) {
  const child = spawn(python, [local("upstream_server.py"), secret, audience], { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const event = (fits) =>
    new Promise((done, failed) => {
      lines.on("line", (line) => {
        const said = JSON.parse(line);
        if (fits(said)) done(said);
      });
      lines.once("close", () => failed(new Error("the server on fastmcp ended")));
    });
  const { url } = await event(({ url }) => url);
  return { url, event, stop: stopper(child) };
}

function stopper(child) {
  const ended = new Promise((done) => child.once("exit", done));
  return () => {
    child.kill("SIGKILL");
    return ended;
  };
}

/** Passes everything on to a server, and keeps what was sent and answered. */
export async function startRecorder(url) {
  const target = new URL(url);
  const exchanges = [];
  const server = createServer((incoming, outgoing) => {
    const [sent, answered] = [[], []];
    exchanges.push({
      headers: incoming.headers,
      get sent() { return Buffer.concat(sent).toString(); },
      get answered() { return Buffer.concat(answered).toString(); },
    });
    const headers = { ...incoming.headers, host: target.host };
    const options = { host: target.hostname, port: target.port, method: incoming.method, path: incoming.url, headers };
    const upstream = forward(options, (response) => {
      outgoing.writeHead(response.statusCode, response.headers);
      response.on("data", (part) => answered.push(part));
      response.pipe(outgoing);
      response.on("error", () => outgoing.destroy());
    });
    upstream.on("error", () => outgoing.destroy());
    outgoing.on("close", () => upstream.destroy());
    incoming.on("data", (part) => sent.push(part));
    incoming.pipe(upstream);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${server.address().port}${target.pathname}`,
    exchanges,
    stop() {
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

/** The text of a member of a response's result, byte for byte; the answer may be a stream of events. */
export function rawMember(answer, name) {
  const text = answer.startsWith("{") ? answer : answer.split("\n").find((line) => /^data: .*"result":/.test(line))?.slice(6);
  assert.ok(text, `there is no result in ${answer}`);
  const result = text.indexOf('"result":');
  const at = text.indexOf(`"${name}":`, result) + name.length + 3;
  assert.ok(at > result + name.length + 2, `there is no ${name} in ${text}`);
  let depth = 0;
  for (let end = at, isInText = false; end < text.length; end += 1) {
    if (isInText) {
      if (text[end] === "\\") end += 1;
      else if (text[end] === '"') isInText = false;
    } else if (text[end] === '"') isInText = true;
    else if ("[{".includes(text[end])) depth += 1;
    else if ("]}".includes(text[end])) {
      depth -= 1;
      if (depth === 0) return text.slice(at, end + 1);
    }
  }
  throw new Error(`${name} has no end in ${text}`);
}
