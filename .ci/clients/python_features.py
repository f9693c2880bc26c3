"""The official Python SDK's client against the fixture, in both eras: progress, a question to the user, resources.

Usage: python python_features.py PATH_TO_FIXTURE
"""

import asyncio
import json
import signal
import subprocess
import sys

import httpx2
import mcp.types as types
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client


async def answer(context, params):
    assert params.message == "Who are you?", params
    return types.ElicitResult(action="accept", content={"username": "ada", "email": "ada@example.com"})


async def uses_features(fixture, mode):
    headers = {"authorization": f"Bearer {fixture['token']}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
        transport = streamable_http_client(fixture["endpoint"], http_client=http)
        async with Client(transport, mode=mode, elicitation_callback=answer) as client:
            seen = []

            async def progressed(progress, total, message):
                seen.append((progress, total))

            await client.call_tool("test_tool_with_progress", {}, progress_callback=progressed)
            assert seen == [(0, 100), (50, 100), (100, 100)], seen
            asked = await client.call_tool("test_elicitation", {"message": "Who are you?"})
            assert "action=accept" in asked.content[0].text and "ada@example.com" in asked.content[0].text, asked
            listed = (await client.list_resources()).resources
            assert any(str(resource.uri) == "test://static-text" for resource in listed), listed
            read = await client.read_resource("test://template/7/data")
            assert json.loads(read.contents[0].text)["id"] == "7", read


def main():
    child = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, text=True)
    passed = 0
    try:
        fixture = json.loads(child.stdout.readline())
        for mode in ["legacy", "2026-07-28"]:
            asyncio.run(uses_features(fixture, mode))
            print(f"ok  {mode}: progress, a question to the user, resources")
            passed += 1
    finally:
        child.send_signal(signal.SIGTERM)
        code = child.wait()
    assert code == 0, f"the fixture ends in order, not with {code}"
    print(f"Python SDK, features: {passed} passed, 0 failed")


main()
