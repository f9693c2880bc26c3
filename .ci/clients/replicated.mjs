#!/usr/bin/env node
// Stands for the binary in the clients' scripts: `dev` is the real one's local tenant with three replicas of `serve` behind a
// proxy, and `token` asks for tokens that are good there. Without arguments it stands for the conformance suite's fixture.
// The variable REPLICATED has, as JSON: binary, fixture, kind and program of the proxy, its port, settings of the replicas.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort, said } from "./processes.mjs";
import { startProxy } from "./proxies.mjs";

const REPLICAS = 3;
const { binary, fixture, kind, program, port, settings = {} } = JSON.parse(process.env.REPLICATED);
const [command, ...options] = process.argv.slice(2);
const base = `http://localhost:${port}`;
const variables = Object.fromEntries(Object.entries(settings).map(([key, value]) => [`FASTMCP__${key.replaceAll(".", "__").toUpperCase()}`, value]));
const children = [];

function start(program, args, stdio, more) {
  const child = spawn(program, args, { stdio, env: { ...process.env, ...more } });
  children.push({ child, ended: new Promise((done) => child.once("exit", done)) });
  return child;
}

/** The tenant and the replicas: what `dev` says, but for the endpoint, and the replicas' ports. */
async function replicatedDev() {
  const dev = start(binary, ["dev", ...options], ["ignore", "pipe", "inherit"], { FASTMCP__ENDPOINTS__PUBLIC__URL: base });
  const banner = [];
  for await (const line of createInterface({ input: dev.stdout })) {
    banner.push(line.startsWith("MCP endpoint") ? `MCP endpoint   ${base}/mcp` : line);
    if (line.startsWith("Ctrl-C")) break;
  }
  const issuer = banner.find((line) => line.startsWith("Issuer")).split(/\s+/)[1];
  const ports = [];
  while (ports.length < REPLICAS) ports.push(await freePort());
  await Promise.all(ports.map((own) => {
    const tenant = { AUTH0_ISSUER: issuer, AUTH0_AUDIENCE: `${base}/mcp`, MCP_SERVER_URL: base, PORT: own };
    return said(start(binary, ["serve"], ["ignore", "ignore", "pipe"], { ...tenant, ...variables }), "the issuer's keys changed");
  }));
  return { ports, lines: banner };
}

async function replicatedFixture() {
  const child = start(fixture, [port, REPLICAS], ["ignore", "pipe", "inherit"], variables);
  for await (const line of createInterface({ input: child.stdout })) return { ports: JSON.parse(line).ports, lines: [line] };
  throw new Error("the fixture ended");
}

if (command === "token") {
  process.stdout.write(execFileSync(binary, ["token", ...options, "--audience", `${base}/mcp`]));
} else {
  const folder = mkdtempSync(join(tmpdir(), "replicated-"));
  const { ports, lines } = await (command === "dev" ? replicatedDev() : replicatedFixture());
  const proxy = await startProxy(kind, program, { folder, port, replicas: ports });
  process.once("SIGTERM", async () => {
    await proxy.stop();
    for (const { child } of children) child.kill("SIGTERM");
    const codes = await Promise.all(children.map(({ ended }) => ended));
    rmSync(folder, { recursive: true });
    process.exit(codes.every((code) => code === 0) ? 0 : 1);
  });
  console.log(lines.join("\n"));
}
