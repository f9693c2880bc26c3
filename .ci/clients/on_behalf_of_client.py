"""Auth0's SDK for APIs in Python as the client that exchanges tokens at the local tenant: what it sends is taken, and what it gets
is what it expects of Auth0.

Usage: python on_behalf_of_client.py PATH_TO_BINARY
"""

import asyncio
import base64
import json
import subprocess
import sys
import tempfile
from urllib.parse import urlsplit

import httpx
from auth0_api_python import ApiClient, ApiClientOptions
from auth0_api_python.errors import ApiError

from checks import ok, same, start, stop, summary, word

ORDERS = "https://orders.example.com/"
CONFIG = f"""
[downstream.apis.orders]
audience = "{ORDERS}"
scopes = ["orders:read", "orders:write"]
"""
# What `dev` calls the client.
CLIENT, SECRET = "local-exchange", "not-a-secret"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


async def plain(url, *_, **__):
    """The SDK finds the tenant by https alone, and the local tenant has http."""
    async with httpx.AsyncClient() as http:
        response = await http.get(str(url).replace("https:", "http:"))
        return response.json()


def api(issuer, audience, secret=SECRET):
    options = ApiClientOptions(
        domain=urlsplit(issuer).netloc, audience=audience, client_id=CLIENT, client_secret=secret, custom_fetch=plain
    )
    return ApiClient(options)


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


async def refused(exchange, status, code):
    try:
        await exchange
    except ApiError as error:
        same((error.status_code, error.code), (status, code))
    else:
        raise AssertionError(f"not refused with {status}")


async def checks(binary, endpoint, issuer):
    def token(user, audience=None):
        target = ["--audience", audience] if audience else []
        command = [binary, "token", "--user", user, "--tenant-port", str(urlsplit(issuer).port), *target]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    client, subject = api(issuer, endpoint), token("admin")
    result = await client.get_token_on_behalf_of(subject, ORDERS, "orders:read")
    same((result["issued_token_type"], result["token_type"], result["expires_in"]), (ACCESS_TOKEN, "Bearer", 86400))
    same("scope" in result, False)
    found = claims(result["access_token"])
    same((found["sub"], found["aud"], found["scope"]), ("auth0|local-admin", ORDERS, "orders:read"))
    same((found["client_id"], found["act"]), (CLIENT, {"sub": CLIENT, "act": {"sub": "local-tenant-cli"}}))
    ok("a user's token is exchanged for one of another API")

    everything = await client.get_token_on_behalf_of(subject, ORDERS)
    same(everything["scope"], "orders:read orders:write")
    ok("without a scope it has all that the user's roles assign")

    await refused(client.get_token_on_behalf_of(token("user"), ORDERS, "orders:read"), 403, "access_denied")
    await refused(client.get_token_on_behalf_of(subject, "https://nowhere.example/"), 403, "invalid_target")
    await refused(client.get_token_on_behalf_of(token("admin", ORDERS), ORDERS), 401, "invalid_grant")
    await refused(client.get_token_on_behalf_of("opaque", ORDERS), 401, "invalid_grant")
    await refused(api(issuer, endpoint, "wrong").get_token_on_behalf_of(subject, ORDERS), 401, "invalid_client")
    ok("refusals have the SDK's error with the status")


def main(binary):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(CONFIG)
        config.flush()
        dev, banner = start(binary, "--config", config.name)
        endpoint, issuer = word(dev, banner, "MCP endpoint"), word(dev, banner, "Issuer")
        try:
            asyncio.run(checks(binary, endpoint, issuer))
        except BaseException:
            dev.kill()
            raise
        stop(dev)
    summary("auth0-api-python")


main(sys.argv[1])
