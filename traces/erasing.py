"""Erasure in spans: they have a copy of their inference's session, as it came."""

from __future__ import annotations

from inferences.erasure.matching_records import Carried
from istore.models import Project
from traces.models import COLUMN_CHARS, Span

SESSION_KEY = "conversation_id"


def forget_session(project: Project, carried: Carried) -> int:
    """Empty the copies whose inference no longer has the session; return how many there were.

    Spans of inferences that still have it are gone by now, with the inference.
    """
    if carried.is_source or carried.key != SESSION_KEY or carried.type != "string":
        return 0
    spans = Span.objects.filter(project=project)
    return spans.filter(session=carried.value[:COLUMN_CHARS]).update(session="")
