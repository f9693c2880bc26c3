"""An MCP server on fastmcp, protected by bearer tokens as its documentation does it: `JWTVerifier`, on uvicorn.

Usage: python fastmcp_server.py PORT ISSUER AUDIENCE json|default

`json` has no sessions and answers with JSON; `default` is what fastmcp does by itself.
`versions` alone tells what it is made of.
"""

import sys

import uvicorn
from fastmcp import FastMCP
from fastmcp.server.auth.providers.jwt import JWTVerifier
from fastmcp.server.dependencies import get_access_token
from typing_extensions import TypedDict
from versions import versions

if sys.argv[1:] == ["versions"]:
    print(versions("fastmcp", "uvicorn", "uvloop", "httptools"))
    sys.exit()

PORT, ISSUER, AUDIENCE, MODE = sys.argv[1:5]

verifier = JWTVerifier(
    jwks_uri=f"{ISSUER}.well-known/jwks.json",
    issuer=ISSUER,
    audience=AUDIENCE,
    algorithm="RS256",
    required_scopes=["tool:greet"],
)
mcp = FastMCP("fastmcp-adapter", auth=verifier)


class Greeting(TypedDict):
    greeting: str
    sub: str


@mcp.tool
async def greet(name: str = "there") -> Greeting:
    """Greets the authenticated user, by name if one is given."""
    sub = get_access_token().claims["sub"]
    return {"greeting": f"Hello, {name} ({sub})!", "sub": sub}


is_lean = MODE == "json"
app = mcp.http_app(json_response=is_lean, stateless_http=is_lean)
uvicorn.run(app, host="127.0.0.1", port=int(PORT), log_level="warning", access_log=False)
