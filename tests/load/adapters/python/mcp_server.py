"""An MCP server on the official Python SDK, protected by bearer tokens: its `TokenVerifier`, by PyJWT, on uvicorn.

Usage: python mcp_server.py PORT ISSUER AUDIENCE json|default

`json` has no sessions and answers with JSON; `default` is what the SDK does by itself.
`versions` alone tells what it is made of.
"""

import sys

import jwt
import uvicorn
from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from typing_extensions import TypedDict
from versions import versions

if sys.argv[1:] == ["versions"]:
    print(versions("mcp", "pyjwt", "uvicorn", "uvloop", "httptools"))
    sys.exit()

PORT, ISSUER, AUDIENCE, MODE = sys.argv[1:5]


class Verifier:
    # Without `cache_keys` it reads the key set anew for each token.
    keys = jwt.PyJWKClient(f"{ISSUER}.well-known/jwks.json", cache_keys=True)

    async def verify_token(self, token: str) -> AccessToken | None:
        try:
            key = self.keys.get_signing_key_from_jwt(token)
            claims = jwt.decode(token, key, algorithms=["RS256"], issuer=ISSUER, audience=AUDIENCE)
        except jwt.PyJWTError:
            return None
        return AccessToken(
            token=token,
            client_id=claims["client_id"],
            scopes=claims["scope"].split(),
            expires_at=claims["exp"],
            subject=claims["sub"],
            claims=claims,
        )


auth = AuthSettings(
    issuer_url=ISSUER,
    resource_server_url=f"http://127.0.0.1:{PORT}/mcp",
    required_scopes=["tool:greet"],
    # The verifier does.
    validate_token_resource=False,
)
mcp = MCPServer("python-adapter", token_verifier=Verifier(), auth=auth, log_level="WARNING")


class Greeting(TypedDict):
    greeting: str
    sub: str


@mcp.tool()
async def greet(name: str = "there") -> Greeting:
    """Greets the authenticated user, by name if one is given."""
    sub = get_access_token().subject
    return {"greeting": f"Hello, {name} ({sub})!", "sub": sub}


is_lean = MODE == "json"
app = mcp.streamable_http_app(json_response=is_lean, stateless_http=is_lean)
uvicorn.run(app, host="127.0.0.1", port=int(PORT), log_level="warning", access_log=False)
