"""The fastmcp client, given the endpoint and no token, in its three modes: 401, discovery, registration, login, token, call.

Usage: python fastmcp_client.py PATH_TO_BINARY
"""

import asyncio
import os
import sys
import warnings

# No proxy is asked for loopback; fastmcp has no other way to say so.
for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"]:
    os.environ.pop(name, None)

from fastmcp import Client
from fastmcp.client.auth.oauth import check_if_auth_required
from fastmcp.utilities.tests import HeadlessOAuth

from checks import ok, same, start_dev, stop, summary

warnings.filterwarnings("ignore", message="Using in-memory token storage")

class CountedOAuth(HeadlessOAuth):
    """fastmcp's own provider without a browser; it counts its logins."""

    logins = 0

    async def redirect_handler(self, authorization_url):
        self.logins += 1
        await super().redirect_handler(authorization_url)


async def drive(endpoint, mode, version):
    auth = CountedOAuth(endpoint)
    async with Client(endpoint, auth=auth, mode=mode) as client:
        # A client of a pinned version sends nothing before its first request proper.
        same([tool.name for tool in await client.list_tools()], ["greet", "whoami", "get_datetime"])
        same(auth.logins, 1)
        ok(f"{mode}: registers, logs in and lists every tool")
        greeted = await client.call_tool("greet", {"name": "Ada"})
        same(greeted.structured_content["greeting"], "Hello, Ada (auth0|local-admin)!")
        whoami = await client.call_tool("whoami", {})
        same(whoami.structured_content["user"]["sub"], "auth0|local-admin")
        ok(f"{mode}: calls tools")
        same(client.protocol_version, version)
        ok(f"{mode}: speaks {version}")
        auth.context.token_expiry_time = 1
        await client.call_tool("greet", {"name": "Ada"})
        same(auth.logins, 1)
        ok(f"{mode}: refreshes an expired token, without a second login")


async def main(binary):
    dev, endpoint, _ = start_dev(binary)
    try:
        same(await check_if_auth_required(endpoint), True)
        ok("sees by a GET that a login is needed")
        for mode, version in [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")]:
            await drive(endpoint, mode, version)
    finally:
        stop(dev)
    summary("fastmcp")


asyncio.run(main(sys.argv[1]))
