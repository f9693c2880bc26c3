"""The official Python SDK's client through upstreams, in both eras, beside the servers themselves: upstreams.mjs starts it.

Usage: python upstreams_client.py FILE_OF_WHAT_IS_GIVEN
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import warnings
from contextlib import AsyncExitStack

import httpx2
import mcp.types as types
from mcp.client.auth.oauth2 import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata
from mcp.shared.exceptions import MCPDeprecationWarning

from checks import ok, same, summary
from login import CALLBACK, Keeper

# Of what both eras have, the later one deprecates some.
warnings.filterwarnings("ignore", category=MCPDeprecationWarning)


async def elicited(context, params):
    if params.mode == "url":
        return types.ElicitResult(action="accept")
    if "value" in params.requested_schema["properties"]:
        return types.ElicitResult(action="accept", content={"value": "blue"})
    # In the order of the names, because answers arrive in that.
    content = {"check": True, "email": "ada@example.com", "integer": 7, "name": "Ada"}
    return types.ElicitResult(action="accept", content=content)


async def sampled(context, params):
    return types.CreateMessageResult(
        model="a-model", role="assistant", content=types.TextContent(type="text", text="A model.")
    )


async def rooted(context):
    return types.ListRootsResult(roots=[types.Root(uri="file:///project", name="A project")])


class Peer:
    """A client, and the log messages that it got."""

    def __init__(self, transport, mode):
        self.logged = []
        self.client = Client(
            transport, mode=mode, elicitation_callback=elicited, sampling_callback=sampled, list_roots_callback=rooted,
            logging_callback=self.log,
        )

    async def log(self, params):
        self.logged.append((params.level, params.logger, params.data.get("msg") if isinstance(params.data, dict) else None))

    async def outcome(self, name, call):
        """A call's result, as a text."""
        result = await self.client.call_tool(name, call.get("arguments", {}))
        shown = result.model_dump(by_alias=True, exclude_none=True, mode="json")
        shown = {member: shown.get(member) for member in ["content", "structuredContent", "isError"]}
        text = json.dumps(shown, ensure_ascii=False)
        return re.sub(call["mask"], "masked", text) if "mask" in call else text


def transport_to(direct):
    if "url" in direct:
        return streamable_http_client(direct["url"], http_client=httpx2.AsyncClient(trust_env=False))
    command, *args = direct["command"]
    env = {name: os.environ[name] for name in ["PATH", "HOME"]}
    return stdio_client(StdioServerParameters(command=command, args=args, env=env))


async def compare_tools(given, mode, through, direct):
    for name, server in given["servers"].items():
        for call in given["calls"][server["calls"]]:
            tool = call["tool"]
            if call.get("changes"):
                subprocess.run(given["prepare"], check=True)
            expected = await direct[name].outcome(tool, call)
            if call.get("changes"):
                subprocess.run(given["prepare"], check=True)
            same(await through.outcome(server["prefix"] + server["renamed"].get(tool, tool), call), expected)
        ok(f"Python, {mode}: {name}: every tool answers what the server itself answers")


async def compare_rest(given, mode, through, direct):
    prefix = given["servers"]["everything"]["prefix"]

    def shown(result):
        text = json.dumps(result.model_dump(by_alias=True, exclude_none=True, mode="json"))
        return json.loads(re.sub("created at [0-9:]+ [AP]M", "masked", text))

    async def both(run):
        same(await run(through.client, prefix), await run(direct["everything"].client, ""))

    async def resources(client, _):
        listed = shown(await client.list_resources())["resources"]
        listed = [resource for resource in listed if resource["uri"].startswith("demo://resource/static")]
        same(len(listed) > 3, True)
        return listed, [shown(await client.read_resource(resource["uri"]))["contents"] for resource in listed]

    async def templates(client, _):
        listed = shown(await client.list_resource_templates())["resourceTemplates"]
        listed = [template for template in listed if template["uriTemplate"].startswith("demo://")]
        ref = types.ResourceTemplateReference(type="ref/resource", uri=listed[0]["uriTemplate"])
        completed = await client.complete(ref, {"name": "resourceId", "value": "7"})
        same(completed.completion.values, ["7"])
        return listed, shown(await client.read_resource("demo://resource/dynamic/text/7"))["contents"]

    async def prompts(client, prefix):
        listed = [prompt for prompt in shown(await client.list_prompts())["prompts"] if prompt["name"].startswith(prefix)]
        same(len(listed), 4)
        got = shown(await client.get_prompt(f"{prefix}args-prompt", {"city": "Kyiv"}))["messages"]
        ref = types.PromptReference(type="ref/prompt", name=f"{prefix}completable-prompt")
        completed = await client.complete(ref, {"name": "department", "value": "S"})
        same(completed.completion.values, ["Sales", "Support"])
        return [{**prompt, "name": prompt["name"].removeprefix(prefix)} for prompt in listed], got

    for run in [resources, templates, prompts]:
        await both(run)
    ok(f"Python, {mode}: resources, templates, prompts and completion are the server's")


async def feedback(mode, through):
    for prefix in ["team_", "old_"]:
        progress = []

        async def progressed(*told):
            progress.append(told)

        through.logged.clear()
        meta = {"io.modelcontextprotocol/logLevel": "info"}
        await through.client.call_tool(f"{prefix}work", {"steps": 2}, meta=meta, progress_callback=progressed)
        same(progress, [(1, 2, "step 1"), (2, 2, "step 2")])
        same(through.logged, [("info", "team.work", "did step 1"), ("info", "team.work", "did step 2")])
    thought = await through.client.call_tool("old_think", {"prompt": "Who?"})
    same(thought.content[0].text, "a-model: A model.")
    ok(f"Python, {mode}: progress, log messages and the client's model")


async def drive(given, mode, direct):
    keeper = Keeper(given["issuer"])
    metadata = OAuthClientMetadata(
        client_name="the Python SDK", redirect_uris=[CALLBACK], token_endpoint_auth_method="none"
    )
    auth = OAuthClientProvider(given["endpoint"], metadata, keeper, keeper.browse, keeper.callback)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(auth=auth, trust_env=False, timeout=60))
        through = Peer(streamable_http_client(given["endpoint"], http_client=http), mode)
        await stack.enter_async_context(through.client)
        await compare_tools(given, mode, through, direct)
        await compare_rest(given, mode, through, direct)
        await feedback(mode, through)
        same(keeper.logins, 1)
        ok(f"Python, {mode}: one login")


async def main():
    with open(sys.argv[1]) as file:
        given = json.load(file)
    async with asyncio.timeout(180), AsyncExitStack() as stack:
        direct = {}
        for name, server in given["servers"].items():
            direct[name] = Peer(transport_to(server["direct"]), server["mode"])
            await stack.enter_async_context(direct[name].client)
        for mode in ["legacy", "2026-07-28"]:
            await drive(given, mode, direct)
    summary("upstreams, Python SDK")


asyncio.run(main())
