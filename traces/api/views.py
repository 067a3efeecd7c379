"""The API of traces: the list of a project, and one trace as a tree of spans."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inferences.store.api.scoped_views import ProjectView
from inferences.store.token_prices import prices_for
from istore.api.schema import PROBLEMS
from istore.db.statement_timeout import statement_timeout
from istore.errors import Invalid
from protocols.otlp.draft import KINDS
from traces.api.serializers import (
    TraceQuerySerializer,
    TraceSerializer,
    TracesSerializer,
)
from traces.api.trace_json import trace_to_json
from traces.listing import ERROR, OK, TraceQuery, list_traces
from traces.tree import read_trace

DESCRIPTIONS = {
    "start": "Traces that began then or later: a day, a time, or `24h`.",
    "end": "Traces that began then or earlier: a day, a time, or `24h`.",
    "model": "A span of it is an inference of this model.",
    "service": "A span of it is of this service.",
    "session": "A span of it is of this session.",
    "kind": "A span of it is of this kind.",
    "status": "`error`: a span of it failed; `ok`: none did.",
    "name": "The name of a span of it has this text, in upper or lower case.",
    "least_seconds": "It took as long, or longer.",
    "most_seconds": "It took as long, or less.",
    "limit": "Up to 500; 50 by default.",
    "cursor": "The `next` of the page before.",
}
CHOICES: dict[str, list[Any]] = {"status": [OK, ERROR], "kind": list(KINDS)}


class TracesView(ProjectView):
    """The traces of a project, newest first.

    The model, service, session, kind and name that are asked for are those of one span. A page
    ends after two seconds of searching: `searched_until` says how far it came, and `next` goes on.
    """

    @extend_schema(
        operation_id="list_traces",
        parameters=[
            OpenApiParameter(name, str, description=text, enum=CHOICES.get(name))
            for name, text in DESCRIPTIONS.items()
        ],
        responses={200: TracesSerializer, **PROBLEMS},
    )
    def get(self, request: Request, project_id: str) -> Response:
        project = self.project(project_id)
        given = request.query_params
        for name in given:
            if name not in DESCRIPTIONS:
                message = "There is no such parameter."
                raise Invalid(message, name, code="unknown-parameter")
        query: TraceQuery = TraceQuerySerializer.parse(given.dict())
        with statement_timeout():
            page = list_traces(project, query)
        return Response(TracesSerializer(page).data)


class TraceView(ProjectView):
    """One trace with its spans, depth first; the first 20,000 of them by time."""

    @extend_schema(
        operation_id="get_trace", responses={200: TraceSerializer, **PROBLEMS}
    )
    def get(self, request: Request, project_id: str, trace_id: str) -> HttpResponse:
        project = self.project(project_id)
        with statement_timeout():
            trace = read_trace(project, bytes.fromhex(trace_id))
        if trace is None:
            raise Http404
        return self.respond(trace_to_json(trace, prices_for(project)))
