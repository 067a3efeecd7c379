"""The version of the installed distribution."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("inference-store")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0"
