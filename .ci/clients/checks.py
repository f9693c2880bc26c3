"""What the Python clients' scripts share: checks that are counted, and `dev` on free ports."""

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
    command = [binary, "dev", "--port", "0", "--tenant-port", "0", "--auto-consent", "admin"]
    dev = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    banner = []
    for line in dev.stdout:
        banner.append(line)
        if line.startswith("Ctrl-C"):
            break

    def word(label):
        return next(line for line in banner if line.startswith(label)).removeprefix(label).split()[0]

    try:
        return dev, word("MCP endpoint"), word("Issuer")
    except StopIteration:
        dev.kill()
        raise AssertionError(f"dev ended with {dev.wait()} and said: {banner}") from None


def stop(process):
    process.send_signal(signal.SIGTERM)
    same(process.wait(), 0)
