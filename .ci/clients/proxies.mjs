// Starts nginx and HAProxy in front of replicas, as the examples in config have them, with this machine's ports and files.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { said } from "./processes.mjs";

const example = (name) => readFileSync(new URL(`../../config/${name}`, import.meta.url), "utf8");

/** The example with texts of it replaced, each of which it must have once. */
function adapted(name, replacements) {
  return Object.entries(replacements).reduce((text, [old, replacement]) => {
    assert.equal(text.split(old).length, 2, `${name} has ${old} once`);
    return text.replace(old, replacement);
  }, example(name));
}

const servers = (replicas) => Object.fromEntries(replicas.map((port, index) => [`127.0.0.1:300${index + 1}`, `127.0.0.1:${port}`]));

/** `tls`, if there is any, names the files `certificate` and `key`, and `both` in one. */
const kinds = {
  nginx({ folder, port, replicas, tls }) {
    const files = { "/etc/nginx/mcp.example.com.crt": tls?.certificate, "/etc/nginx/mcp.example.com.key": tls?.key };
    const listen = { "listen 443 ssl": `listen 127.0.0.1:${port}${tls ? " ssl" : ""}` };
    let text = adapted("nginx.example.conf", { ...servers(replicas), ...listen, ...files });
    if (!tls) text = text.replaceAll(/^ *ssl_certificate.*$/gm, "");
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${join(folder, name)};`);
    const file = join(folder, "nginx.conf");
    writeFileSync(file, `daemon off; pid ${join(folder, "nginx.pid")}; error_log stderr notice;
      events {} http { access_log off; ${paths.join(" ")} ${text} }`);
    return { args: ["-c", file, "-e", "stderr"], started: "start worker process ", end: "SIGQUIT" };
  },
  haproxy({ folder, port, replicas, tls }) {
    const bind = `bind 127.0.0.1:${port}${tls ? ` ssl crt ${tls.both} alpn h2,http/1.1` : ""}`;
    const line = "bind :443 ssl crt /etc/haproxy/mcp.example.com.pem alpn h2,http/1.1";
    const file = join(folder, "haproxy.cfg");
    writeFileSync(file, adapted("haproxy.example.cfg", { ...servers(replicas), [line]: bind }));
    return { args: ["-W", "-db", "-f", file], started: "Loading success", end: "SIGUSR1" };
  },
};

/** Starts the proxy of this kind, and ends it in order with `stop`. */
export async function startProxy(kind, program, options) {
  const { args, started, end } = kinds[kind](options);
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((done) => child.once("exit", done));
  await said(child, started);
  return { pid: child.pid, async stop() { child.kill(end); await ended; } };
}
