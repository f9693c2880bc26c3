"""Traces at a collector: rotel takes what two servers export, one behind the other, and prints it. A call of the official Python
SDK's client is one tree of spans below the client's own; while the collector is away requests are served; what comes once it is
back reaches it.

Usage: python traces.py PATH_TO_BINARY
"""

import asyncio
import importlib.util
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import urllib.request

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from checks import ok, same, summary, word

ROTEL = pathlib.Path(importlib.util.find_spec("rotel").origin).with_name("rotel-agent")
CANARY = "canary-7f3a"
# What should happen soon, and fails the check rather than hang it when it does not happen at all.
SOON = 30


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Said:
    """What a process says, line by line."""

    def __init__(self, stream):
        self.text = ""
        self.more = asyncio.Condition()
        self.reading = asyncio.create_task(self.read(stream))

    async def read(self, stream):
        while line := await stream.readline():
            self.text += line.decode()
            async with self.more:
                self.more.notify_all()

    async def until(self, accepts):
        """What `accepts` finds in the text, once it finds something."""
        found = None

        def looks():
            nonlocal found
            found = accepts(self.text)
            return found

        async with self.more:
            try:
                await asyncio.wait_for(self.more.wait_for(looks), SOON)
            except TimeoutError:
                raise AssertionError(f"what was awaited was not said: {self.text}") from None
        return found


class Collector:
    def __init__(self, folder, port):
        self.folder, self.port = folder, port

    async def start(self):
        arguments = [
            "start", "--otlp-http-endpoint", f"127.0.0.1:{self.port}", "--otlp-grpc-endpoint", f"127.0.0.1:{free_port()}",
            "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed",
            "--pid-file", f"{self.folder}/rotel.pid", "--log-file", f"{self.folder}/rotel.log",
        ]  # fmt: skip
        self.process = await asyncio.create_subprocess_exec(ROTEL, *arguments, stdout=subprocess.PIPE)
        self.said = Said(self.process.stdout)
        await self.said.until(lambda text: "Starting Rotel" in text)

    async def spans(self, *wanted):
        """All spans, once there is one of each of these services and names."""

        def accepts(text):
            spans = spans_of(text)
            return spans if {(span["service"], span["Name"]) for span in spans} >= set(wanted) else None

        return await self.said.until(accepts)

    async def stop(self):
        self.process.terminate()
        await self.process.wait()


def spans_of(text):
    """The spans that rotel printed, each with its service, attributes and links."""
    spans = []
    for resource in text.split("ResourceSpans #")[1:]:
        service = re.search(r"-> service\.name: Str\((.*)\)", resource)[1]
        # The last one may have been printed in part.
        for part in re.split(r"^Span #\d+$", resource, flags=re.M)[1:]:
            span = dict(re.findall(r"^ +([A-Z]\w+(?: \w+)?) +: (.*)$", part, flags=re.M))
            if "Status code" in span:
                said, _, links = part.partition("Links:")
                span["attributes"] = dict(re.findall(r"-> ([\w.]+): (?:Str|Int)\((.*)\)", said))
                span["links"] = re.findall(r"-> Trace ID: (\w+)", links)
                spans.append(span | {"service": service})
    return spans


class Dev:
    """`dev` on free ports, with this configuration."""

    def __init__(self, binary, configuration):
        self.binary, self.configuration = binary, configuration

    async def start(self):
        options = ["--port", "0", "--tenant-port", "0", "--config", str(self.configuration)]
        self.process = await asyncio.create_subprocess_exec(
            self.binary, "dev", *options, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.log, said = Said(self.process.stderr), Said(self.process.stdout)
        banner = (await said.until(lambda text: text if "\nCtrl-C" in text else None)).splitlines()
        self.endpoint, self.issuer = (word(self.process, banner, label) for label in ["MCP endpoint", "Issuer"])
        return self

    def token(self, user):
        port = self.issuer.rstrip("/").rpartition(":")[2]
        command = [self.binary, "token", "--user", user, "--tenant-port", port]
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

    async def stop(self):
        self.process.terminate()
        same(await self.process.wait(), 0)


def configured(folder, name, port, more=""):
    path = folder / f"{name}.toml"
    path.write_text(
        f'[traces]\nendpoint = "http://127.0.0.1:{port}/v1/traces"\nservice_name = "{name}"\n'
        f'resource_attributes = "deployment.environment.name=check"\n{more}'
    )
    return path


def lost(admin):
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{admin}/metrics") as metrics:
        return int(re.search(r"^fastmcp_auth0_spans_lost_total (\d+)$", metrics.read().decode(), flags=re.M)[1])


async def call(endpoint, token, tool, arguments):
    """The status of a call without any client."""
    message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(trust_env=False) as http:
        return (await http.post(endpoint, json=message, headers=headers, timeout=5)).status_code


def parents(spans, span):
    """A span's service, kind and name, then its parent's, and so on; and the id of the last one's parent, which is nobody's."""
    line = []
    while True:
        line.append((span["service"], span["Kind"].removeprefix("SPAN_KIND_").lower(), span["Name"]))
        above = [other for other in spans if other["ID"] == span["Parent ID"]]
        if not above:
            return line, span["Parent ID"]
        span = above[0]


async def one_tree(collector, gateway, behind):
    caller = SpanContext(0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7, is_remote=False, trace_flags=TraceFlags(1))
    headers = {"authorization": f"Bearer {gateway.token('admin')}"}
    async with httpx2.AsyncClient(headers=headers, trust_env=False) as http:
        async with Client(streamable_http_client(gateway.endpoint, http_client=http)) as client:
            with use_span(NonRecordingSpan(caller)):
                greeted = await client.call_tool("behind_greet", {"name": CANARY})
    same(CANARY in greeted.structured_content["greeting"], True)
    same(await call(gateway.endpoint, f"opaque-{CANARY}", "behind_greet", {}), 401)
    spans = await collector.spans(("gateway", "POST /mcp"), ("behind", "tools/call greet"))
    innermost = next(span for span in spans if span["service"] == "behind" and span["Name"] == "tool")
    line, above = parents(spans, innermost)
    same(
        line,
        [
            ("behind", "internal", "tool"),
            ("behind", "server", "tools/call greet"),
            ("gateway", "client", "tools/call greet"),
            ("gateway", "internal", "tool"),
            ("gateway", "server", "tools/call behind_greet"),
        ],
    )
    same(above, "00f067aa0ba902b7")
    same(innermost["Trace ID"], "4bf92f3577b34da6a3ce929d0e0e4736")
    ok("a call through an upstream is one tree, below the client's span")

    called = next(span for span in spans if span["Name"] == "tools/call behind_greet")
    steps = [span["Name"] for span in spans if span["Parent ID"] == called["ID"]]
    same(steps, ["verify", "admit", "policy", "tool"])
    expected = {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "behind_greet",
        "mcp.protocol.version": "2026-07-28",
        "network.transport": "tcp",
        "fastmcp_auth0.client_id": "local-tenant-cli",
    }
    same({name: called["attributes"].get(name) for name in expected}, expected)
    request_id = called["attributes"]["fastmcp_auth0.request_id"]
    line = await gateway.log.until(lambda text: next((line for line in text.splitlines() if request_id in line), None))
    same(called["Trace ID"] in line, True)
    ok("its steps are its children, it says what the conventions ask for, and its log line has its trace")

    refused = next(span for span in spans if span["Name"] == "POST /mcp")
    same([refused["Status code"], refused["attributes"]["error.type"]], ["STATUS_CODE_ERROR", "opaque_token"])
    ok("a refused request has a span with the reason code")
    for text in [CANARY, "auth0|local-admin", "Bearer", "eyJ"]:
        same(text in collector.said.text, False)
    ok("neither arguments nor tokens nor subjects are in what the collector got")


async def away(collector, gateway, admin):
    await collector.stop()
    token = gateway.token("admin")
    for _ in range(20):
        same(await call(gateway.endpoint, token, "behind_whoami", {}), 200)
    ok("while the collector is away requests are served")
    await gateway.log.until(lambda text: "spans can't be sent" in text)
    same(lost(admin) > 0, True)
    ok("what is lost is said once, and counted")
    await collector.start()
    same(await call(gateway.endpoint, token, "behind_whoami", {}), 200)
    await collector.spans(("gateway", "tools/call behind_whoami"))
    await gateway.log.until(lambda text: "spans are sent again" in text)
    same(gateway.log.text.count("spans can't be sent"), 1)
    ok("what comes once it is back reaches it")


async def main(binary):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        collector = Collector(folder, free_port())
        await collector.start()
        behind = await Dev(binary, configured(folder, "behind", collector.port)).start()
        admin = f"127.0.0.1:{free_port()}"
        upstream = (
            f'[admin]\nbind = "{admin}"\n[upstreams.behind]\nurl = "{behind.endpoint}"\nprefix = "behind_"\n'
            'scopes.read = ["mcp:read"]\n'
            f'headers.Authorization = "Bearer {behind.token("admin")}"\n'
        )
        gateway = await Dev(binary, configured(folder, "gateway", collector.port, upstream)).start()
        await one_tree(collector, gateway, behind)
        await away(collector, gateway, admin)
        same(await call(gateway.endpoint, gateway.token("admin"), "behind_get_datetime", {}), 200)
        await gateway.stop()
        await collector.spans(("gateway", "tools/call behind_get_datetime"))
        ok("what is left at the end is sent before it")
        await behind.stop()
        await collector.stop()
    summary("traces")


asyncio.run(main(sys.argv[1]))
