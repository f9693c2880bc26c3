"""The official Python SDK's client, given the endpoint and no token, in both eras: 401, discovery, registration, login,
token, call.

Usage: python python_client.py PATH_TO_BINARY
"""

import asyncio
import signal
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth.oauth2 import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

CALLBACK = "http://127.0.0.1:49152/callback"


class Keeper:
    """What an application keeps; the browser is a request, because the tenant consents by itself."""

    def __init__(self):
        self.tokens = None
        self.client = None
        self.landed = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info

    async def browse(self, url):
        async with httpx2.AsyncClient(trust_env=False) as browser:
            response = await browser.get(url, follow_redirects=False)
        location = response.headers["location"]
        assert location.startswith(CALLBACK + "?"), location
        self.landed = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    async def callback(self):
        return AuthorizationCodeResult(
            code=self.landed["code"], state=self.landed.get("state"), iss=self.landed.get("iss")
        )


async def logs_in_lists_and_greets(endpoint, mode):
    keeper = Keeper()
    metadata = OAuthClientMetadata(
        client_name="the Python SDK", redirect_uris=[CALLBACK], token_endpoint_auth_method="none"
    )
    auth = OAuthClientProvider(endpoint, metadata, keeper, keeper.browse, keeper.callback)
    async with httpx2.AsyncClient(auth=auth, trust_env=False) as http:
        async with Client(streamable_http_client(endpoint, http_client=http), mode=mode) as client:
            tools = (await client.list_tools()).tools
            assert [tool.name for tool in tools] == ["greet", "whoami", "get_datetime"], tools
            greeted = await client.call_tool("greet", {"name": "Ada"})
            assert greeted.structured_content["greeting"] == "Hello, Ada (auth0|local-admin)!", greeted
    assert keeper.client.client_id.startswith("tpc_"), keeper.client.client_id


def start_dev(binary):
    command = [binary, "dev", "--port", "0", "--tenant-port", "0", "--auto-consent", "admin"]
    dev = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    endpoint = None
    for line in dev.stdout:
        if line.startswith("MCP endpoint"):
            endpoint = line.split()[2]
        if line.startswith("Ctrl-C"):
            break
    return dev, endpoint


def main():
    dev, endpoint = start_dev(sys.argv[1])
    passed = 0
    try:
        for mode in ["legacy", "2026-07-28", "auto"]:
            asyncio.run(logs_in_lists_and_greets(endpoint, mode))
            print(f"ok  {mode}: logs in, lists, greets")
            passed += 1
    finally:
        dev.send_signal(signal.SIGTERM)
        code = dev.wait()
    assert code == 0, f"dev ends in order, not with {code}"
    print(f"Python SDK: {passed} passed, 0 failed")


main()
