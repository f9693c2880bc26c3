"""Which versions are installed."""

import platform
from importlib import metadata


def versions(*names: str) -> str:
    """Names packages with their versions, as far as they are there, and Python's."""
    installed = {package.name.lower(): package.version for package in metadata.distributions()}
    found = [f"{name} {installed[name]}" for name in names if name in installed]
    return ", ".join([*found, f"Python {platform.python_version()}"])
