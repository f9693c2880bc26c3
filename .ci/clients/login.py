"""What an application keeps of a login with the official Python SDK, for the scripts beside this one."""

from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.shared.auth import AuthorizationCodeResult

from checks import same

CALLBACK = "http://127.0.0.1:49152/callback"


class Keeper:
    """What an application keeps; the browser is a request, because the tenant consents by itself."""

    def __init__(self, issuer):
        self.issuer = issuer
        self.tokens = None
        self.client = None
        self.landed = None
        self.logins = 0

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client_info):
        self.client = client_info

    async def browse(self, url):
        self.logins += 1
        async with httpx2.AsyncClient(trust_env=False) as browser:
            response = await browser.get(url, follow_redirects=False)
        same(response.status_code, 302)
        page, _, query = response.headers["location"].partition("?")
        same(page, CALLBACK)
        self.landed = parse_qs(query, strict_parsing=True)
        same(sorted(self.landed), ["code", "iss", "state"])
        same(self.landed["state"], parse_qs(urlsplit(url).query)["state"])
        same(self.landed["iss"], [self.issuer])

    async def callback(self):
        return AuthorizationCodeResult(**{name: value for name, [value] in self.landed.items()})
