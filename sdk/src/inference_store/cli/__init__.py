"""The command ``istore`` (``pip install 'inference-store[cli]'``)."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command. An error prints one line; a closed pipe ends the output silently."""
    try:
        from inference_store.cli.commands import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(
            "istore: the command needs more packages: pip install 'inference-store[cli]'"
        )
    from inference_store.errors import InferenceStoreError

    try:
        app()
    except BrokenPipeError:
        # At exit Python flushes standard output again, which would fail on the closed pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (InferenceStoreError, OSError, ValueError) as error:
        sys.exit(f"istore: {_line(error)}")


def _line(error: Exception) -> str:
    """Return the error as one line."""
    # pydantic's message has many lines; the first error is enough.
    if callable(errors := getattr(error, "errors", None)):
        error = errors()[0]["msg"]
    return " ".join(str(error).split())
