// An MCP server on the official TypeScript SDK, protected by bearer tokens as its documentation does it: Express, `requireBearerAuth`,
// and jose with the issuer's key set.
//
// `node server.mjs PORT ISSUER AUDIENCE json|default`: `default` is what the SDK does by itself, `json` answers clients of 2025, too, with JSON.
// `node server.mjs versions` tells what it is made of.
import { readFileSync } from "node:fs";
import { createMcpExpressApp, requireBearerAuth } from "@modelcontextprotocol/express";
import { NodeStreamableHTTPServerTransport, toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler, McpServer, OAuthError, OAuthErrorCode } from "@modelcontextprotocol/server";
import { createRemoteJWKSet, jwtVerify } from "jose";
import * as z from "zod/v4";

const [port, issuer, audience, mode] = process.argv.slice(2);

function version(name) {
  const manifest = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return `${name} ${JSON.parse(readFileSync(manifest, "utf8")).version}`;
}

if (port === "versions") {
  const packages = ["@modelcontextprotocol/server", "@modelcontextprotocol/node", "express", "jose"];
  console.log([...packages.map(version), `Node ${process.versions.node}`].join(", "));
  process.exit();
}

const keys = createRemoteJWKSet(new URL(".well-known/jwks.json", issuer));

async function verifyAccessToken(token) {
  try {
    const { payload } = await jwtVerify(token, keys, { issuer, audience, algorithms: ["RS256"] });
    const { client_id: clientId, scope, exp: expiresAt, sub } = payload;
    return { token, clientId, scopes: scope.split(" "), expiresAt, extra: { sub } };
  } catch (error) {
    throw new OAuthError(OAuthErrorCode.InvalidToken, error.message);
  }
}

const tool = {
  description: "Greets the authenticated user, by name if one is given.",
  inputSchema: z.object({ name: z.string().optional() }),
  outputSchema: z.object({ greeting: z.string(), sub: z.string() }),
};

function greet({ name }, { http }) {
  const { sub } = http.authInfo.extra;
  const structuredContent = { greeting: `Hello, ${name ?? "there"} (${sub})!`, sub };
  return { content: [{ type: "text", text: JSON.stringify(structuredContent) }], structuredContent };
}

/** A server for each request, as the SDK wants it where there are no sessions. */
function makeServer() {
  const server = new McpServer({ name: "typescript-adapter", version: "1.0.0" });
  server.registerTool("greet", tool, greet);
  return server;
}

async function answerWithJson(request, response) {
  const transport = new NodeStreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  response.on("close", () => transport.close());
  await makeServer().connect(transport);
  await transport.handleRequest(request, response, request.body);
}

const modern = toNodeHandler(createMcpHandler(makeServer));
const isModern = (request) => request.get("mcp-protocol-version") >= "2026";

const app = createMcpExpressApp();
const protect = requireBearerAuth({ verifier: { verifyAccessToken }, requiredScopes: ["tool:greet"] });
app.all("/mcp", protect, (request, response) =>
  mode === "default" || isModern(request) ? modern(request, response, request.body) : answerWithJson(request, response),
);
app.listen(Number(port), "127.0.0.1");
