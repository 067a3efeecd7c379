"""Index the texts of stored records: after an upgrade, or when a model's settings change.

A tracked task goes through the records of a model, the newest first, and writes the words of each
anew in the model's present language. Writers index what arrives meanwhile by the same row of the
model, which both hold. A process that still has the former settings may write records without
texts for a second after a change; what is missing is looked for at the end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from django.db import connection, transaction

from inferences.models import (
    Inference,
    InferencePayload,
    InferenceText,
    RegisteredModel,
    TextIndexTask,
    TextSide,
)
from inferences.store.text_indexing import TextSource, is_searched, portions, rows_of
from istore.db.clock import now
from istore.errors import Invalid
from istore.failpoints import failpoint
from istore.json_text import write_json
from istore.tasks.lease_keeper import LeaseKeeper
from istore.tasks.tracking import Stopped

BATCH = 500  # records that are read together
SETTLED = timedelta(seconds=5)  # after which every process has a model's new settings
BEAT = "the beat"  # the actor in the audit log after an upgrade

TEXTS, ROWS = InferenceText._meta.db_table, Inference._meta.db_table
COLD = InferencePayload._meta.db_table
LANGUAGES = """
SELECT cfgname FROM pg_ts_config WHERE pg_ts_config_is_visible(oid)
ORDER BY cfgname <> 'simple', cfgname
"""
NEXT = f"""
SELECT id FROM {COLD} WHERE model_key = %s AND id < %s AND removal_at IS NULL
ORDER BY id DESC LIMIT {BATCH}
"""
MISSING = f"""
SELECT id FROM {COLD} AS cold WHERE model_key = %s AND removal_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM {TEXTS} AS said WHERE said.model_key = %s AND said.id = cold.id
    AND said.side = {TextSide.ANSWER.value} AND said.part = 0)
ORDER BY id DESC LIMIT {BATCH}
"""
# Intents are committed under the lock of the row. So a record without one gets none before the
# end of the transaction, and its removal begins after that and finds what is written here.
HOLD = f"""
SELECT id FROM {ROWS} WHERE model_key = %s AND id = ANY(%s::bigint[])
AND id BETWEEN %s AND %s ORDER BY id FOR SHARE
"""
STAYING = f"""
SELECT id, input_removal_at IS NULL AND input_expired_at IS NULL FROM {COLD}
WHERE model_key = %s AND id = ANY(%s::bigint[]) AND id BETWEEN %s AND %s
AND removal_at IS NULL
"""
FORGET = f"""
DELETE FROM {TEXTS} WHERE model_key = %s AND id = ANY(%s::bigint[]) AND id BETWEEN %s AND %s
"""
WRITE = f"""
INSERT INTO {TEXTS} (id, model_key, side, part, words)
SELECT id, %s, side, part, to_tsvector(%s::regconfig, words)
FROM json_to_recordset(%s) AS each (id bigint, side smallint, part integer, words text)
"""
FORGET_NEXT = f"""
WITH going AS (
    SELECT DISTINCT id FROM (
        SELECT id FROM {TEXTS} WHERE model_key = %s ORDER BY id LIMIT {BATCH}) AS first
)
DELETE FROM {TEXTS} WHERE model_key = %s AND id IN (SELECT id FROM going)
"""
HIGHEST = 2**63 - 1

Values = dict[int, list[dict[str, Any]]]  # the rows of each record


def languages() -> list[str]:
    """Return the text search configurations of the database, ``simple`` first."""
    with connection.cursor() as cursor:
        cursor.execute(LANGUAGES)
        return [name for (name,) in cursor]


def check_language(name: str) -> None:
    """Raise ``Invalid`` unless the database has this text search configuration."""
    if name not in (known := languages()):
        message = f"The languages are {', '.join(known)}."
        raise Invalid(message, "text_search_language")


def start(actor: object, model: RegisteredModel) -> TextIndexTask:
    """Start a task that indexes the model's texts anew, instead of one that is at it.

    Call it in the transaction of the change that makes it necessary.
    """
    for task in model.text_index_tasks.active():
        task.stop()
    task = model.text_index_tasks.create(
        created_by=str(actor)[:300],
        expected_count=InferencePayload.objects.beside(model).count(),
    )
    task.audit(actor, "create")
    task.notify()
    return task


def start_waiting() -> None:
    """Start the tasks of models that wait for one since an upgrade, if they have texts."""
    for model in RegisteredModel.objects.filter(awaits_text_index=True):
        with transaction.atomic():
            held = RegisteredModel.objects.select_for_update().filter(pk=model.pk)
            if not held.filter(awaits_text_index=True).update(awaits_text_index=False):
                continue
            if is_searched(model) and InferencePayload.objects.beside(model).exists():
                start(BEAT, model)


def carry_out(task: TextIndexTask) -> None:
    """Index the texts of the task's model; nothing happens if another worker holds it."""
    if not task.claim():
        return
    with task.recording_outcome():
        model = task.registered_model
        if is_searched(model):
            _index_all(task, model)
        else:
            _forget_all(task, model)


def _index_all(task: TextIndexTask, model: RegisteredModel) -> None:
    position = HIGHEST if task.position is None else task.position
    while ids := _ids(NEXT, model.pk, position):
        _index_counted(task, model, ids)
        position = ids[-1]
        failpoint("text_reindexing.batch")
    time.sleep(max(0.0, (task.created_at + SETTLED - now()).total_seconds()))
    while ids := _ids(MISSING, model.pk, model.pk):
        _index_counted(task, model, ids, moves=False)


def _index_counted(
    task: TextIndexTask,
    model: RegisteredModel,
    ids: Sequence[int],
    *,
    moves: bool = True,
) -> None:
    """Index some records, and count them with what was written of them."""
    keeper = LeaseKeeper(task)
    with keeper.in_background() as check:
        for portion in portions(_sources(model, ids)):
            values = _values(model, portion)
            check()
            with transaction.atomic():
                _write(model, values)
                progress: dict[str, Any] = {
                    "indexed_count": task.indexed_count + len(values)
                }
                if moves:
                    progress["position"] = min(values)
                task.advance(**progress)


def index_rows(model: RegisteredModel, ids: Sequence[int]) -> None:
    """Index these records anew, in the transaction of the caller."""
    for portion in portions(_sources(model, ids)):
        _write(model, _values(model, portion))


def _values(
    model: RegisteredModel, portion: Sequence[tuple[int, TextSource]]
) -> Values:
    sources = [source for _, source in portion]
    rows = rows_of(model, sources)
    return {row_id: each for (row_id, _), each in zip(portion, rows, strict=True)}


def _sources(
    model: RegisteredModel, ids: Sequence[int]
) -> list[tuple[int, TextSource]]:
    """Return where the texts of the records are, in the order of the ids."""
    bounds = (min(ids), max(ids))
    kept = {
        each.id: each
        for each in InferencePayload.objects.beside(model).filter(
            id__in=ids, id__range=bounds
        )
    }
    rows = Inference.objects.filter(registered_model=model, id__in=ids)
    sizes = dict(rows.filter(id__range=bounds).values_list("id", "data_size"))
    return [
        (row_id, source_of(kept[row_id], sizes.get(row_id, 0)))
        for row_id in ids
        if row_id in kept
    ]


def source_of(payload: InferencePayload, input_size: int = 0) -> TextSource:
    """Return where the texts of a stored record are."""
    return TextSource(
        data=payload.data,
        answer_key=payload.answer_storage_key,
        input_key=payload.input_key,
        content_type=payload.data_content_type,
        notes=payload.notes or {},
        input_size=input_size,
        is_input_gone=bool(payload.input_removal_at or payload.input_expired_at),
    )


def _write(model: RegisteredModel, values: Values) -> None:
    """Replace the texts of these records, except those that are being removed."""
    ids = sorted(values)
    if not ids:
        return
    language = _hold_language(model)
    those = (model.pk, ids, ids[0], ids[-1])
    with connection.cursor() as cursor:
        cursor.execute(HOLD, those)
        cursor.execute(STAYING, those)
        staying = dict(cursor.fetchall())
        cursor.execute(FORGET, (model.pk, list(staying), ids[0], ids[-1]))
        rows = [
            {"id": row_id, **row}
            for row_id, has_prompt in staying.items()
            for row in values[row_id]
            if has_prompt or row["side"] != TextSide.PROMPT
        ]
        cursor.execute(WRITE, (model.pk, language, write_json(rows)))


def _hold_language(model: RegisteredModel) -> str:
    """Return the model's present language, which holds until the commit."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT text_search, text_search_language "
            f"FROM {RegisteredModel._meta.db_table} WHERE id = %s FOR SHARE",
            [model.pk],
        )
        found = cursor.fetchone()
    if found is None:
        raise Stopped("The model was removed.")
    model.text_search, model.text_search_language = found
    if not is_searched(model):
        raise Stopped("The texts of the model are no longer searched.")
    return model.text_search_language


def _forget_all(task: TextIndexTask, model: RegisteredModel) -> None:
    for count in _forget_some(model):
        most = task.expected_count
        task.advance(indexed_count=min(task.indexed_count + count, most))


def _forget_some(model: RegisteredModel) -> Iterator[int]:
    """Delete the texts of the model batch by batch; yield about how many records had them."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(FORGET_NEXT, (model.pk, model.pk))
            if not cursor.rowcount:
                return
            yield max(1, cursor.rowcount // 2)


def _ids(sql: str, *values: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [row_id for (row_id,) in cursor]
