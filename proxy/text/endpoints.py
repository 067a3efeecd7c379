"""The endpoints of text APIs, and how a path names one, and the model that it asks.

A client's base address is ``<proxy>/models/<model id>`` (for OpenAI's with ``/v1``), or the
proxy's own: then the body names the model. KServe V1 names it before ``:predict``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from proxy.error_forms import ErrorForm, in_anthropic, in_openai, in_v2
from proxy.paths import REMEMBERED, REMEMBERED_BYTES, decode, encode
from proxy.targets import Target

OF_MODEL = b"/models/"
KSERVE, PREDICT = b"/v1/models/", b":predict"
# A base address that names a version, as ``…/v1`` and ``…/v1beta/openai`` do.
VERSIONED = re.compile(r"/v[0-9][0-9a-z]*(/|$)")
VERSION = "v1/"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its path below the base address, and the form of its errors.

    ``is_kept`` says that its calls are inferences; others are passed on without a copy.
    """

    path: str
    error_form: ErrorForm = in_openai
    is_kept: bool = True

    def path_at(self, target: Target) -> str:
        """Return its path below the base address of a model's server.

        The version is left out where that address names one itself: people give the base
        address of a client library, which often ends in ``/v1``.
        """
        path = self.path
        if self is PREDICTION:
            path = path.format(encode(target.name))
        if path.startswith(VERSION) and VERSIONED.search(
            urlsplit(target.base_url).path
        ):
            path = path.removeprefix(VERSION)
        return f"/{path}"


PREDICTION = Endpoint("v1/models/{}:predict", in_v2)
# Those with the longest path first: one path may end in another.
ENDPOINTS = (
    Endpoint("v1/messages/count_tokens", in_anthropic, is_kept=False),
    Endpoint("v1/chat/completions"),
    Endpoint("v1/completions"),
    Endpoint("v1/embeddings"),
    Endpoint("v1/moderations", is_kept=False),
    Endpoint("v1/responses"),
    Endpoint("v1/messages", in_anthropic),
    Endpoint("v1/rerank"),
    Endpoint("api/generate", in_v2),
    Endpoint("api/embed", in_v2),
    Endpoint("api/chat", in_v2),
)
# By GET: the models that the token may call, or one of them.
LIST, TAGS = "v1/models", "api/tags"


@dataclass(frozen=True, slots=True)
class Route:
    """An endpoint and the model that the path names; "" if the body names it."""

    endpoint: Endpoint
    model_id: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """A question which models there are: all, or the one that is named.

    ``path`` is ``LIST`` or ``TAGS``. ``is_one`` says that one model's own entry is meant, not
    a list of one.
    """

    path: str
    model_id: str = ""
    is_one: bool = False


def is_text_path(path: bytes) -> bool:
    """Return whether a path is one of text APIs, known or not."""
    return path.startswith((b"/v1/", b"/models/")) or path.strip(b"/") in OWN_PATHS


def read_route(path: bytes) -> Route | None:
    """Return the route of a raw, encoded path by POST; None if there is no such endpoint."""
    return _read(path) if len(path) > REMEMBERED_BYTES else _remembered(path)


def error_form_of(path: bytes, is_anthropic: bool) -> ErrorForm:
    """Return the form of errors at a path, also at one of no endpoint.

    ``is_anthropic`` says that the client has sent a header of Anthropic's API.
    """
    if route := read_route(path):
        return route.endpoint.error_form
    if path.endswith(TAGS.encode()):
        return in_v2
    return in_anthropic if is_anthropic else in_openai


def read_listing(path: bytes) -> Listing | None:
    """Return what a raw, encoded path asks by GET; None for anything else."""
    own, model_id = path, ""
    if path.startswith(OF_MODEL):
        for ending in (LIST, TAGS):
            before, found, rest = path.rpartition(b"/" + ending.encode())
            if found and (rest == b"" or (rest.startswith(b"/") and ending == LIST)):
                model_id, own = (
                    decode(before.removeprefix(OF_MODEL)) or "",
                    found + rest,
                )
                break
        if not model_id:
            return None
    own = own.removeprefix(b"/")
    if own in (LIST.encode(), TAGS.encode()):
        return Listing(own.decode(), model_id)
    if (b"/" + own).startswith(KSERVE) and not model_id:
        named = decode(own.removeprefix(KSERVE[1:]))
        return Listing(LIST, named, is_one=True) if named else None
    # Below the address of one model any name means that model.
    return Listing(LIST, model_id, is_one=True) if model_id else None


def _read(path: bytes) -> Route | None:
    if path.startswith(KSERVE) and path.endswith(PREDICT):
        model_id = decode(path.removeprefix(KSERVE).removesuffix(PREDICT))
        return Route(PREDICTION, model_id) if model_id else None
    for endpoint in ENDPOINTS:
        ending = b"/" + endpoint.path.encode()
        if path == ending:
            return Route(endpoint)
        if path.startswith(OF_MODEL) and path.endswith(ending):
            model_id = decode(path.removeprefix(OF_MODEL).removesuffix(ending))
            return Route(endpoint, model_id) if model_id else None
    return None


_remembered = lru_cache(REMEMBERED)(_read)
OWN_PATHS = {each.path.encode() for each in ENDPOINTS} | {TAGS.encode()}
