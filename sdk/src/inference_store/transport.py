"""What both clients share: building requests, retries, and reading responses."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

import httpx2
import pydantic

from inference_store.errors import (
    ConnectionFailed,
    InferenceStoreError,
    TimedOut,
    UnexpectedAnswer,
    error_of,
    problem_of,
)
from inference_store.requests import API, Call
from inference_store.retries import (
    REPEATED_FAILURES,
    REPEATED_STATUSES,
    Retries,
    retry_after_of,
)
from inference_store.version import __version__

T = TypeVar("T")

USER_AGENT = f"inference-store/{__version__} Python/{platform.python_version()}"


class Attempt:
    """The tries of one call: what the client sends, and when it sends it again."""

    def __init__(
        self, call: Call[Any], base: str, token: str | None, retries: Retries
    ) -> None:
        self.call = call
        self.retries = retries
        self.tries = 0
        self.request = _request(call, base, token)

    def wait_after_failure(self, error: httpx2.TransportError) -> float:
        """Return the seconds until the next try; raise the failure if there is none."""
        self.tries += 1
        if self.call.is_repeatable and isinstance(error, REPEATED_FAILURES):
            wait = self.retries.wait(self.tries)
            if wait is not None:
                return wait
        raise _failure(error, self.request["url"]) from error

    def wait_after(self, response: httpx2.Response) -> float | None:
        """Return the seconds until the next try, or None if this response is final."""
        self.tries += 1
        if self.call.is_repeatable and response.status_code in REPEATED_STATUSES:
            return self.retries.wait(self.tries, retry_after_of(response))
        return None


def read(call: Call[T], response: httpx2.Response) -> T:
    """Return what the response means.

    Raises the exception of its status, and ``UnexpectedAnswer`` if it cannot be parsed.
    """
    if response.status_code >= 300:
        return _absent_or_raise(call, response)
    try:
        return call.read(response)
    except (pydantic.ValidationError, KeyError, TypeError) as error:
        detail = f"{response.url} answered with something else than expected."
        raise UnexpectedAnswer(detail, status=response.status_code) from error


def _absent_or_raise(call: Call[T], response: httpx2.Response) -> T:
    is_ours = problem_of(response).get("code") == "not-found"
    if call.may_be_absent and response.status_code == 404:
        # A 404 without the store's own code means a wrong URL, not an absent thing.
        if is_ours:
            return cast(T, None)
        detail = f"There is no Inference Store at {response.url}."
        raise UnexpectedAnswer(detail, status=404)
    error = error_of(response, retry_after_of(response))
    if is_ours and (missing := _missing(call)):
        error.detail = missing
    raise error


def _missing(call: Call[Any]) -> str | None:
    """What an address of the API names, as one of these things is not there.

    The store's 404 does not say what is missing, so that it does not reveal what other
    projects have.
    """
    if not call.url.startswith(API):
        return None
    parts = [unquote(part) for part in call.url.removeprefix(API).split("/")]
    if call.method == "POST" and parts[-1] in ACTIONS:
        parts.pop()
    pairs = list(zip(parts[::2], parts[1::2], strict=False))
    kinds = [kind for kind, _ in pairs]
    named = [
        f"{NOUNS[kind]} {name!r}"
        for kind, name in pairs
        if kind in NOUNS
        if kind != "metadata" or "inferences" in kinds
    ]
    return f"There is no {', or no '.join(named)}." if named else None


NOUNS = {
    "projects": "project",
    "models": "model",
    "inferences": "inference",
    "metadata": "metadata",
    "retention-tasks": "retention task",
    "export-tasks": "export task",
    "export-schedules": "export schedule",
    "datasets": "dataset",
    "erasures": "erasure",
}
# What a POST does with a whole collection stands in its address where else an id is.
ACTIONS = frozenset(("filter", "count", "delete", "batch", "protection"))


def _request(call: Call[Any], base: str, token: str | None) -> dict[str, Any]:
    headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **call.headers}
    if token and not call.is_signed:
        headers["Authorization"] = f"Bearer {token}"
    if call.needs_idempotency_key:
        headers["Idempotency-Key"] = str(uuid4())
    request: dict[str, Any] = {
        "method": call.method,
        "url": base + call.url if call.url.startswith("/") else call.url,
        "headers": headers,
        "content": call.content,
        "params": _parameters(call.parameters) or None,
    }
    if call.timeout is not None:
        request["timeout"] = call.timeout
    return request


def _parameters(given: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return query parameters: a list repeats the name, False and None are left out."""
    pairs = []
    for name, value in given.items():
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is True:
                pairs.append((name, "true"))
            elif item is not None and item is not False:
                pairs.append((name, str(item)))
    return pairs


def _failure(error: httpx2.TransportError, url: str) -> InferenceStoreError:
    host = httpx2.URL(url).netloc.decode() + _way_to(url)
    if isinstance(error, httpx2.TimeoutException):
        return TimedOut(f"{host} did not answer in time.")
    return ConnectionFailed(
        f"{host} cannot be reached: {error or type(error).__name__}"
    )


def _way_to(url: str) -> str:
    """Return the words that name the HTTP proxy of the environment: it may have failed."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or (parts.hostname and proxy_bypass(parts.hostname)):
        return ""
    # Only host and port of the proxy: its URL may hold credentials.
    named = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    name = named.hostname or ""
    return f" (through the HTTP proxy {name}{f':{named.port}' if named.port else ''})"
