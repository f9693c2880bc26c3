"""An MCP server on fastmcp over Streamable HTTP, as a team may have one: with no login of its own, and told of the caller by a JWT.

It prints its URL on the first line, and a line for whatever happens that a test waits for.

Usage: python upstream_server.py SECRET AUDIENCE
"""

import asyncio
import base64
import json
import socket
import sys

import jwt
import mcp_types
import uvicorn
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.server.dependencies import get_http_headers
from fastmcp.tools import ToolResult
from fastmcp.utilities.types import Image
from mcp_types import ToolAnnotations

SECRET, AUDIENCE = sys.argv[1:3]

mcp = FastMCP("team")


def tell(**event):
    print(json.dumps(event), flush=True)


def caller():
    """The claims of whoever calls, or an error."""
    token = get_http_headers().get("fastmcp-auth0-caller", "")
    try:
        return jwt.decode(token, SECRET, algorithms=["HS256"], audience=AUDIENCE, leeway=30, options={"require": ["exp", "sub"]})
    except jwt.InvalidTokenError as error:
        raise ToolError(f"the caller is unknown: {error}") from None


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True, title="Who calls"))
def who_calls() -> dict:
    """Tells the caller's claims."""
    claims = caller()
    return {name: claims[name] for name in ["iss", "aud", "sub", "client_id", "scope"]}


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: float, b: float) -> float:
    """Adds."""
    return a + b


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
def odd() -> ToolResult:
    """Content of several kinds, in texts that are not plain."""
    content = [
        mcp_types.TextContent(type="text", text="Grüße, \"Ada\" \\ \u2028 🜁", annotations=mcp_types.Annotations(priority=0.5)),
        mcp_types.ResourceLink(type="resource_link", uri="team://notes/7", name="seven"),
    ]
    return ToolResult(content=content, structured_content={"z": 1.0, "a": [1e100, None], "ß": {"deep": []}})


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
def picture() -> Image:
    """A picture of one pixel."""
    data = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    return Image(data=base64.b64decode(data), format="png")


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
def fail() -> str:
    """Fails."""
    raise ToolError("it failed, as it should")


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
async def work(steps: int, ctx: Context) -> str:
    """Tells of its progress, and of each step in the log."""
    for step in range(1, steps + 1):
        await ctx.report_progress(step, steps, f"step {step}")
        await ctx.info(f"did step {step}", logger_name="team.work")
    return f"{steps} steps"


@mcp.tool(annotations=ToolAnnotations(read_only_hint=True))
async def hang(ctx: Context) -> str:
    """Never ends by itself."""
    await ctx.report_progress(0)
    tell(event="hang", is_cancelled=False)
    try:
        await asyncio.Event().wait()
    finally:
        tell(event="hang", is_cancelled=True)
    return ""


@mcp.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False))
async def ask(question: str, ctx: Context):
    """Asks the user, as each revision has it."""
    if ctx.request_context.protocol_version >= "2026":
        if not ctx.input_responses:
            schema = {"type": "object", "properties": {"value": {"type": "string"}}, "required": ["value"]}
            params = mcp_types.ElicitRequestFormParams(message=question, requested_schema=schema)
            request = mcp_types.ElicitRequest(params=params)
            return mcp_types.InputRequiredResult(input_requests={"answer": request}, request_state="asked")
        answer = ctx.input_responses["answer"]
        return f"{answer.action}: {(answer.content or {}).get('value')} ({ctx.request_state})"
    answer = await ctx.elicit(question, str)
    return f"{answer.action}: {getattr(answer, 'data', None)} (asked)"


@mcp.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False))
async def think(prompt: str, ctx: Context) -> str:
    """Has the client's model answer; only for clients with a session."""
    message = mcp_types.SamplingMessage(role="user", content=mcp_types.TextContent(type="text", text=prompt))
    result = await ctx.session.create_message([message], max_tokens=50, related_request_id=ctx.request_id)
    return f"{result.model}: {result.content.text}"


@mcp.tool(annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False))
async def grow(name: str, ctx: Context) -> str:
    """Adds a tool of this name."""

    def grown() -> str:
        return f"I am {name}"

    mcp.tool(grown, name=name, annotations=ToolAnnotations(read_only_hint=True))
    await ctx.send_notification(mcp_types.ToolListChangedNotification())
    return name


@mcp.tool
def uncovered() -> str:
    """No rule covers it: it says nothing of itself."""
    return "nobody should read this"


@mcp.resource("team://motto", mime_type="text/plain", description="What we say")
def motto() -> str:
    return "Grüße an alle"


@mcp.resource("team://notes/{number}", mime_type="application/json")
def note(number: str) -> str:
    return json.dumps({"number": number})


@mcp.prompt(description="Greets in a language")
def greeting(name: str, language: str = "English") -> str:
    return f"Greet {name} in {language}."


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(mcp.http_app(), log_level="warning")
    tell(url=f"http://127.0.0.1:{listener.getsockname()[1]}/mcp")
    await uvicorn.Server(config).serve(sockets=[listener])


asyncio.run(main())
