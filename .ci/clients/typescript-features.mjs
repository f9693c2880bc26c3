// The official TypeScript SDK's client against the fixture, in both eras: progress, a question to the user, resources.
// Usage: node typescript-features.mjs PATH_TO_FIXTURE
import assert from "node:assert/strict";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { checks, startFixture } from "./dev.mjs";

const { check, summary } = checks("TypeScript SDK, features");
const fixture = await startFixture(process.argv[2]);

async function connect(mode) {
  const capabilities = { elicitation: {} };
  const client = new Client({ name: "ci", version: "1" }, { capabilities, versionNegotiation: { mode } });
  client.setRequestHandler("elicitation/create", async (request) => {
    assert.equal(request.params.message, "Who are you?");
    return { action: "accept", content: { username: "ada", email: "ada@example.com" } };
  });
  const requestInit = { headers: { authorization: `Bearer ${fixture.token}` } };
  await client.connect(new StreamableHTTPClientTransport(new URL(fixture.endpoint), { requestInit }));
  return client;
}

try {
  for (const [era, mode] of [["legacy", "legacy"], ["modern", { pin: "2026-07-28" }]]) {
    const client = await connect(mode);
    await check(`${era}: progress`, async () => {
      const seen = [];
      const onprogress = ({ progress, total }) => seen.push([progress, total]);
      const result = await client.callTool({ name: "test_tool_with_progress" }, { onprogress });
      assert.deepEqual(seen, [[0, 100], [50, 100], [100, 100]]);
      assert.equal(result.content[0].text, "The work is done.");
    });
    await check(`${era}: a question to the user`, async () => {
      const result = await client.callTool({ name: "test_elicitation", arguments: { message: "Who are you?" } });
      assert.match(result.content[0].text, /^User response: action=accept, content=.*ada@example\.com/);
    });
    await check(`${era}: resources`, async () => {
      const { resources } = await client.listResources();
      assert.ok(resources.some(({ uri }) => uri === "test://static-text"));
      const { contents } = await client.readResource({ uri: "test://template/7/data" });
      assert.equal(JSON.parse(contents[0].text).id, "7");
    });
    await client.close();
  }
} finally {
  await fixture.stop();
}
summary();
