"""Calls as values: what to send, and how to parse the response. Nothing is sent here.

A function of the SDK builds a ``Call``, or ``Steps`` of several, and a blocking or an
asynchronous client sends it. So each request is written once for both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel

from inference_store.errors import UnexpectedAnswer

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

Reader = Callable[[httpx2.Response], T]
Json = Mapping[str, Any] | BaseModel

API = "/api/v1/"
IDEMPOTENT = frozenset({"GET", "PUT", "DELETE"})


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how to read its response.

    ``may_repeat``: this POST is idempotent, so it may be retried. ``may_be_absent``: a 404
    means None. ``is_signed``: the URL is presigned and may be on another host, so the token
    is not sent.
    """

    method: str
    url: str
    read: Reader[T]
    content: bytes | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    may_repeat: bool = False
    may_be_absent: bool = False
    is_signed: bool = False
    timeout: float | None = None

    @property
    def is_repeatable(self) -> bool:
        return self.may_repeat or self.method in IDEMPOTENT

    @property
    def needs_idempotency_key(self) -> bool:
        return self.method == "POST" and not self.is_repeatable


@dataclass(frozen=True)
class Pause:
    """A step that sends nothing: the client waits, blocking or asynchronously."""

    seconds: float


# A step may be steps of its own: the result of each is sent into the generator.
Steps = Generator[Call[Any] | Pause | Generator[Any, Any, Any], Any, T]
Plan = Call[T] | Steps[T]


def get(*path: str, read: Reader[T], **more: Any) -> Call[T]:
    return Call("GET", at(*path), read, **more)


def delete(*path: str, read: Reader[T], **more: Any) -> Call[T]:
    # An empty id would leave the URL of the collection, and delete that.
    if "" in path:
        raise ValueError("An id or key is empty: nothing to delete was named.")
    return Call("DELETE", at(*path), read, **more)


def post(*path: str, body: Json, read: Reader[T], **more: Any) -> Call[T]:
    return _with_body("POST", path, body, read, **more)


def put(*path: str, body: Json, read: Reader[T], **more: Any) -> Call[T]:
    return _with_body("PUT", path, body, read, **more)


def patch(*path: str, body: Json, read: Reader[T], **more: Any) -> Call[T]:
    return _with_body("PATCH", path, body, read, **more)


def _with_body(
    method: str, path: tuple[str, ...], body: Json, read: Reader[T], **more: Any
) -> Call[T]:
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    return Call(method, at(*path), read, encode_json(body), headers=headers, **more)


def at(*path: str) -> str:
    """Return the path below the API; each part becomes one percent-encoded segment."""
    return API + "/".join(segment(part) for part in path)


def segment(text: str) -> str:
    """Return the text percent-encoded; "." and ".." too, which would change the path."""
    return quote(text, safe="") if text.strip(".") else "%2E" * len(text)


def encode_json(body: Json) -> bytes:
    """Return the body as JSON, without fields that were not set."""
    if isinstance(body, BaseModel):
        body = body.model_dump(mode="json", exclude_none=True)
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


def one(model: type[M]) -> Reader[M]:
    """Return a function that reads a JSON object as the model."""
    return lambda response: model.model_validate(json_object(response))


def member(name: str) -> Reader[Any]:
    """Return a function that reads one member of a JSON object."""
    return lambda response: json_object(response)[name]


def member_or(name: str, default: str) -> Reader[str]:
    """Return a function that reads one member, or the default if the body is empty."""

    def read(response: httpx2.Response) -> str:
        body = json_object(response) if response.content else {}
        return str(body.get(name, default))

    return read


def json_object(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON object of the response."""
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        kind = response.headers.get("content-type", "nothing")
        raise UnexpectedAnswer(
            f"{response.url} answered with {kind}, not with a JSON object.",
            status=response.status_code,
        )
    return body
