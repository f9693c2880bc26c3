// What scripts need to start servers of their own: free ports, certificates, a Redis, and what a process says.
import { execFileSync, spawn } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Below the ports that systems give to outgoing connections: one of those could take a replica's while it restarts. */
export const freePort = async () => {
  const port = 20000 + Math.floor(Math.random() * 10000);
  const isFree = await new Promise((done) => {
    const server = createServer().once("error", () => done(false));
    server.listen(port, "127.0.0.1", () => server.close(() => done(true)));
  });
  return isFree ? port : freePort();
};

/** Completes when a process has said a text on standard error; what it says after that is read and dropped. */
export const said = (child, text) =>
  new Promise((done, failed) => {
    const lines = [];
    createInterface({ input: child.stderr }).on("line", (line) => {
      if (lines.length < 100) lines.push(line);
      if (line.includes(text)) done();
      // What explains a request that was lost; a refused connection is what this is about.
      if (line.includes("[error]") && !line.includes("Connection refused")) console.error(line);
    }).once("close", () => failed(new Error(`it ended and said: ${lines.join("\n")}`)));
  });

/** Makes a certificate for a host, signed by itself, and its key. */
export const certificate = (host, certificateFile, keyFile) =>
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
    "-subj", `/CN=${host}`, "-addext", `subjectAltName=DNS:${host}`, "-keyout", keyFile, "-out", certificateFile], { stdio: "ignore" });

/** Starts Redis on a socket in a folder, with nothing on disk. */
export async function startRedis(program, folder) {
  const socket = join(folder, "redis.sock");
  const child = spawn(program, ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", folder], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise((done) => child.once("exit", done));
  await new Promise((done, failed) => {
    createInterface({ input: child.stdout }).on("line", (line) => line.includes("eady to accept connections") && done())
      .once("close", () => failed(new Error("Redis ended")));
  });
  const end = async (signal) => { child.kill(signal); await ended; };
  return { pid: child.pid, url: `unix://${socket}`, stop: () => end("SIGTERM"), kill: () => end("SIGKILL") };
}
