"""What the Python clients' scripts share: checks that are counted, and `dev` on free ports."""

import re
import signal
import subprocess

passed = 0


def ok(check):
    global passed
    passed += 1
    print(f"ok  {check}", flush=True)


def same(found, expected):
    if found != expected:
        raise AssertionError(f"{found!r}, where {expected!r} was expected")


def summary(title):
    print(f"{title}: {passed} passed, 0 failed")


def start_dev(binary):
    """The process, its endpoint and its issuer."""
    dev, banner = start(binary, "--auto-consent", "admin")
    return dev, word(dev, banner, "MCP endpoint"), word(dev, banner, "Issuer")


def start_fresh(binary):
    """The process with a new tenant, its issuer, and the id and the secret of the Management API's client."""
    dev, banner = start(binary, "--fresh-tenant")
    exported = dict(re.findall(r"\b([A-Z][A-Z0-9_]+)=(\S+)", "".join(banner)))
    return dev, word(dev, banner, "Issuer"), exported["AUTH0_CLIENT_ID"], exported["AUTH0_CLIENT_SECRET"]


def start(binary, *options):
    """The process, and what it says first."""
    command = [binary, "dev", "--port", "0", "--tenant-port", "0", *options]
    dev = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    banner = []
    for line in dev.stdout:
        banner.append(line)
        if line.startswith("Ctrl-C"):
            break
    return dev, banner


def word(dev, banner, label):
    try:
        return next(line for line in banner if line.startswith(label)).removeprefix(label).split()[0]
    except StopIteration:
        dev.kill()
        raise AssertionError(f"dev ended with {dev.wait()} and said: {banner}") from None


def stop(process):
    process.send_signal(signal.SIGTERM)
    same(process.wait(), 0)
