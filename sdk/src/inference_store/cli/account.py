"""URL and token of the command: from the environment, else from ``istore login``."""

from __future__ import annotations

import json
import os
from pathlib import Path

import typer

from inference_store import Client
from inference_store.connection import DEFAULT_URL
from inference_store.errors import NotAuthenticated


def account_file() -> Path:
    """Return the file of URL and token, which ``istore login`` writes in the user's directory."""
    return Path(typer.get_app_dir("istore")) / "account.json"


def client() -> Client:
    """Return a client with the URL and token of the user who runs the command."""
    saved = read_account()
    url = os.environ.get("ISTORE_URL") or saved.get("url") or DEFAULT_URL
    token = os.environ.get("ISTORE_TOKEN")
    # A token is sent only to the store for which it was saved, never to another URL.
    if not token and saved.get("url") == url.rstrip("/"):
        token = saved.get("token")
    if not token:
        raise NotAuthenticated(f"There is no token for {url}: run istore login {url}")
    return Client(url, token)


def read_account() -> dict[str, str]:
    """Return URL and token as ``istore login`` saved them; {} if it never did."""
    try:
        account = json.loads(account_file().read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        message = f"{account_file()} cannot be read: run istore login again."
        raise ValueError(message) from None
    return account if isinstance(account, dict) else {}


def write_account(url: str, token: str) -> Path:
    """Write the file, with mode 0600 from the first byte, and return its path."""
    path = account_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"url": url, "token": token}, file)
    fresh.replace(path)
    return path
