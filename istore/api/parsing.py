"""JSON in and out of the API: the strict parser of bodies, and a compact renderer."""

from __future__ import annotations

from typing import Any

import orjson
from django.conf import settings
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from istore.api.problems import CONTENT_TYPE
from istore.errors import TooLarge
from istore.json_text import read_json


class StrictJSONParser(BaseParser):
    """The parser of request bodies; an empty body is an empty object."""

    media_type = "application/json"

    def parse(
        self, stream: Any, media_type: str | None = None, context: Any = None
    ) -> Any:
        body = stream.read(settings.ISTORE_API_MAX_BODY_BYTES + 1)
        if len(body) > settings.ISTORE_API_MAX_BODY_BYTES:
            raise TooLarge("body-too-large", "The body is too large.")
        return read_json(body) if body else {}


def write_response(data: Any) -> bytes:
    """Return the content of a response."""
    return orjson.dumps(data, default=str, option=orjson.OPT_UTC_Z)


class JSONRenderer(BaseRenderer):
    """The renderer of responses: times in RFC 3339, UTC, with microseconds; floats as repr."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self, data: Any, media_type: str | None = None, context: Any = None
    ) -> bytes:
        return b"" if data is None else write_response(data)


class ProblemRenderer(JSONRenderer):
    media_type = CONTENT_TYPE


class Negotiation(DefaultContentNegotiation):
    """The choice of a renderer; who takes anything, or the first one, gets the first one."""

    def select_renderer(
        self, request: Any, renderers: Any, format_suffix: str | None = None
    ) -> Any:
        first = renderers[0]
        accepted = request.META.get("HTTP_ACCEPT", "*/*")
        if accepted in ("*/*", first.media_type) and not (
            format_suffix or "format" in request.GET
        ):
            return first, first.media_type
        return super().select_renderer(request, renderers, format_suffix)
