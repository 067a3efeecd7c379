"""The command ``istore`` (``pip install 'inference-store[cli]'``)."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Runs the command: failures are one line, a closed pipe is the end of the output."""
    try:
        from inference_store.cli.commands import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit("istore: this needs more: pip install 'inference-store[cli]'")
    from inference_store.errors import InferenceStoreError

    try:
        app()
    except BrokenPipeError:
        # Python would try to flush once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (InferenceStoreError, OSError, ValueError) as error:
        sys.exit(f"istore: {_line(error)}")


def _line(error: Exception) -> str:
    """The error on one line."""
    # pydantic would tell a page; its first sentence is enough.
    if callable(told := getattr(error, "errors", None)):
        error = told()[0]["msg"]
    return " ".join(str(error).split())
