"""What the search over all pages finds of traces."""

from __future__ import annotations

from django.urls import reverse

from istore.accounts.access import Caller
from istore.web.finding import Found
from protocols.otlp.spans import TRACE_ID_BYTES
from traces.models import Span


def find_traces(caller: Caller, text: str, most: int) -> list[Found]:
    """Return the traces of the caller's projects with exactly this id."""
    try:
        trace_id = bytes.fromhex(text)
    except ValueError:
        return []
    if len(trace_id) != TRACE_ID_BYTES:
        return []
    return [
        Found(
            trace_id.hex(),
            reverse("traces:trace", args=[project.project_id, trace_id.hex()]),
            f"trace in {project.project_id}",
            "clock",
        )
        for project in caller.visible_projects()[:most]
        if Span.objects.of_trace(project, trace_id).exists()
    ]
