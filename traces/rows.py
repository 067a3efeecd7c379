"""Write the rows of spans, in the transaction of their inferences and in one statement."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import connection

from inferences.models import InferenceKey, RegisteredModel
from istore.json_text import write_json
from protocols.otlp.readings import Reading
from protocols.otlp.spans import Span as SentSpan
from traces.models import COLUMN_CHARS, NAME_CHARS, Span, inference_id_of
from traces.records import moment_of


def row_of(span: SentSpan, reading: Reading) -> dict[str, Any]:
    """Return the row of a span, as ``write`` takes it."""
    return {
        "inference_id": inference_id_of(span),
        "trace": span.trace_id.hex(),
        "span": span.span_id.hex(),
        "parent": span.parent_id.hex() if any(span.parent_id) else None,
        "kind": reading.kind,
        "name": (span.name or reading.kind)[:NAME_CHARS],
        "started": _write(moment_of(span.start)),
        "ended": _write(moment_of(max(span.start, span.end))),
        "is_error": reading.is_error,
        "service": _column(reading.service),
        "session": _column(reading.session),
    }


def write(model: RegisteredModel, rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows of inferences that this transaction has stored."""
    with connection.cursor() as cursor:
        cursor.execute(
            WRITE,
            {
                "model": model.pk,
                "project": model.project_id,
                "rows": write_json(list(rows)),
            },
        )


def _column(text: str) -> str:
    return text.replace("\0", "")[:COLUMN_CHARS]


def _write(moment: datetime) -> str:
    return moment.isoformat()


# The key is probed once for each name, as in ``inferences.store.lookup``. A row that is there
# already is left of an inference that is gone: the new inference has it then.
WRITE = f"""
INSERT INTO {Span._meta.db_table} AS held (
    model_key, trace_id, span_id, parent_id, id, kind, name, started_at, ended_at, is_error,
    project_key, service, session)
SELECT %(model)s, decode(given.trace, 'hex'), decode(given.span, 'hex'),
       decode(given.parent, 'hex'), key.row_id, given.kind, given.name, given.started,
       given.ended, given.is_error, %(project)s, given.service, given.session
FROM json_to_recordset(%(rows)s) AS given (
    inference_id varchar, trace text, span text, parent text, kind varchar, name varchar,
    started timestamptz, ended timestamptz, is_error boolean,
    service varchar, session varchar)
CROSS JOIN LATERAL (
    SELECT row_id FROM {InferenceKey._meta.db_table}
    WHERE model_key = %(model)s AND inference_id = given.inference_id OFFSET 0
) AS key
ORDER BY 2, 3
ON CONFLICT (model_key, trace_id, span_id) DO UPDATE
SET parent_id = excluded.parent_id, id = excluded.id, kind = excluded.kind,
    name = excluded.name, started_at = excluded.started_at, ended_at = excluded.ended_at,
    is_error = excluded.is_error, service = excluded.service, session = excluded.session,
    project_key = excluded.project_key
"""
