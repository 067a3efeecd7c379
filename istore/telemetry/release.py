"""The release that runs: that of the client, which is released with the server."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("inference-store")
except PackageNotFoundError:  # a checkout without the client installed
    VERSION = "unknown"
