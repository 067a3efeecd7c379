"""The command with all its commands."""

from inference_store.cli import asking, changing, exporting
from inference_store.cli.app import app

__all__ = ["app", "asking", "changing", "exporting"]
