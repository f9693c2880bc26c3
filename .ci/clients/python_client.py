"""The official Python SDK's client, given the endpoint and no token, in both eras: 401, discovery, registration, login,
token, call, refresh.

Usage: python python_client.py PATH_TO_BINARY
   or: python python_client.py ENDPOINT ISSUER
"""

import asyncio
import sys

import httpx2
from mcp.client.auth.oauth2 import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientMetadata

from checks import ok, same, start_dev, stop, summary
from login import CALLBACK, Keeper


async def greets(client):
    greeted = await client.call_tool("greet", {"name": "Ada"})
    same(greeted.structured_content["greeting"], "Hello, Ada (auth0|local-admin)!")


async def drive(endpoint, issuer, mode, version):
    """What a client of `mode` does from its first request to a refreshed token."""
    keeper = Keeper(issuer)
    exchanges = []

    async def record(response):
        request = response.request
        exchanges.append((request.method, str(request.url), response.status_code, "authorization" in request.headers))

    metadata = OAuthClientMetadata(
        client_name="the Python SDK", redirect_uris=[CALLBACK], token_endpoint_auth_method="none"
    )
    auth = OAuthClientProvider(endpoint, metadata, keeper, keeper.browse, keeper.callback)
    async with httpx2.AsyncClient(auth=auth, trust_env=False, event_hooks={"response": [record]}) as http:
        async with Client(streamable_http_client(endpoint, http_client=http), mode=mode) as client:
            # A client of a pinned version sends nothing before its first request proper.
            tools = (await client.list_tools()).tools
            same(exchanges[0], ("POST", endpoint, 401, False))
            same([status for _, url, status, _ in exchanges if url == f"{issuer}oidc/register"], [201])
            same(keeper.client.client_id[:4], "tpc_")
            ok(f"{mode}: gets a 401, registers and logs in")
            same(client.protocol_version, version)
            ok(f"{mode}: speaks {version}")
            same([tool.name for tool in tools], ["greet", "whoami", "get_datetime"])
            ok(f"{mode}: lists every tool")
            await greets(client)
            ok(f"{mode}: greets")

            before = keeper.tokens
            if not before.refresh_token:
                raise AssertionError("offline_access was asked for and not granted")
            # It refreshes what it holds for expired, not what the server refuses.
            auth.context.token_expiry_time = 1
            await greets(client)
            if before.refresh_token == keeper.tokens.refresh_token:
                raise AssertionError("the refresh token was not rotated")
            same(keeper.logins, 1)
            ok(f"{mode}: refreshes an expired token, without a second login")


async def drive_all(endpoint, issuer):
    async with asyncio.timeout(120):
        for mode, version in [("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28"), ("auto", "2026-07-28")]:
            await drive(endpoint, issuer, mode, version)


def main():
    if len(sys.argv) == 3:
        asyncio.run(drive_all(*sys.argv[1:]))
    else:
        dev, endpoint, issuer = start_dev(sys.argv[1])
        try:
            asyncio.run(drive_all(endpoint, issuer))
        finally:
            stop(dev)
    summary("Python SDK")


main()
