"""The client of the module functions: the one that ``connect()`` made last."""

from __future__ import annotations

import os

from inference_store.errors import NotConnected
from inference_store.sender import AsyncSender, Sender

DEFAULT_URL = "http://127.0.0.1:8000"

current: Sender | None = None
current_async: AsyncSender | None = None


def get_client() -> Sender:
    """Return the client of ``connect()``. Raises ``NotConnected`` before it was called."""
    if current is None:
        raise NotConnected("Call inference_store.connect() first.")
    return current


def get_async_client() -> AsyncSender:
    """Return the client of ``aio.connect()``. Raises ``NotConnected`` before it was called."""
    if current_async is None:
        raise NotConnected("Call inference_store.aio.connect() first.")
    return current_async


def url_and_token(url: str | None, token: str | None) -> tuple[str, str | None]:
    """Return URL and token: as given, else of the environment, else of the local store.

    Raises ``TypeError`` for what is no text, and ``ValueError`` for what is no URL or token.
    """
    url = url or os.environ.get("ISTORE_URL") or DEFAULT_URL
    token = token or os.environ.get("ISTORE_TOKEN")
    return _plain_url(url), plain_token(token or "") or None


def plain_token(token: str) -> str:
    """Return the token without the line end of a file, and without ``Bearer`` of a header.

    Raises ``ValueError`` where no HTTP header can hold the token. The message does not
    repeat the token.
    """
    _check_text("token", token)
    scheme, _, rest = token.strip().partition(" ")
    plain = rest.strip() if scheme.lower() == "bearer" else token.strip()
    if not (plain.isascii() and plain.isprintable()):
        raise ValueError("The token holds characters that no token has.")
    return plain


def _plain_url(url: str) -> str:
    """Return the URL as requests begin with it.

    Raises ``ValueError`` for what is no URL. The message repeats nothing that may be a
    secret: a token in place of the URL, or a password in it. A password there would be sent
    in place of the token.
    """
    _check_text("URL", url)
    url = url.strip().rstrip("/")
    if "@" in url.split("://")[-1].split("/")[0]:
        raise ValueError(
            "The URL holds a user name or a password; the token says who asks."
        )
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not rest.strip("/"):
        shown = "A token" if url.startswith("ist_") else repr(url)
        raise ValueError(f"{shown} is not a URL such as {DEFAULT_URL}.")
    return f"{scheme.lower()}://{rest}"


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"The {name} is a str, not {type(value).__name__}.")
