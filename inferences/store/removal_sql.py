"""The SQL statements of ``removal``, each for one batch of row ids.

The ids stand in a statement once and are looked up as a value. With the ids as constants at
each table, planning takes longer than the execution. The bounds (the lowest and highest id)
let the planner skip partitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connection, models, transaction

from inferences.models import (
    ClassProbability,
    Detection,
    Embedding,
    GroundTruth,
    GroundTruthVersion,
    Inference,
    InferenceKey,
    InferencePayload,
    InferenceText,
    MapPoint,
    MetadataChange,
    MetadataKeyCount,
    OverflowNumber,
    OverflowText,
    RecentEmbedding,
    RegisteredModel,
    TextSide,
)
from inferences.store.segment_touches import touches_of
from inferences.store.side_tables import side_tables
from istore.db import replica

ROWS, PAYLOADS = Inference._meta.db_table, InferencePayload._meta.db_table
GIVEN = "given AS (SELECT %(ids)s::bigint[] AS ids)"


def run(
    statement: str, model: RegisteredModel, ids: Sequence[int]
) -> list[tuple[Any, ...]]:
    """Return the rows that the statement yields for these row ids; nothing without ids."""
    if not ids:
        return []
    # The array is passed as text: the driver takes ten times as long to write a list.
    values: dict[str, Any] = {
        "model": model.pk,
        "ids": f"{{{','.join(map(str, ids))}}}",
    }
    values |= {"lowest": min(ids), "highest": max(ids)}
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        found = cursor.fetchall() if cursor.description else []
    if replica.is_given():  # it must not show them any more
        transaction.on_commit(replica.note_removal)
    return found


def _those(given: str = "given", column: str = "id") -> str:
    """Return the condition that selects the given ids of the model.

    The ids are read by a subquery, which PostgreSQL evaluates once per statement.
    """
    return (
        f"model_key = %(model)s AND {column} = ANY((SELECT ids FROM {given})::bigint[]) "
        f"AND {column} BETWEEN %(lowest)s AND %(highest)s"
    )


def _counting(sign: str, payloads: str) -> str:
    """Return the insert of one delta per key and type, from payloads: {key: [type, text]}."""
    return (
        f"INSERT INTO {MetadataKeyCount._meta.db_table} (model_key, key, type, delta) "
        f"SELECT %(model)s, key, value ->> 0, {sign} count(*) "
        f"FROM {payloads} CROSS JOIN LATERAL jsonb_each(metadata) GROUP BY 2, 3"
    )


_HIDDEN = (
    f"hidden AS (UPDATE {ROWS} SET deleted = true, updated_at = statement_timestamp() "
    f"WHERE {_those()}), "
    f"touched AS ({touches_of('SELECT unnest(ids) FROM given', keep_bounds=True)})"
)
_METADATA = f"payload AS (SELECT metadata FROM {PAYLOADS} WHERE {_those()})"

COUNT = f"WITH {GIVEN}, {_METADATA} {_counting('+', 'payload')}"
# The flag takes the rows out of the partial indexes; the deltas take their metadata off the
# counts.
HIDE = f"WITH {GIVEN}, {_HIDDEN}, {_METADATA} {_counting('-', 'payload')}"
HIDE_SOFTLY = f"""
WITH {GIVEN}, {_HIDDEN}, payload AS (
    UPDATE {PAYLOADS} SET deleted_at = statement_timestamp()
    WHERE {_those()} RETURNING metadata
)
{_counting("-", "payload")}
"""
# Returns row id, keys of input and answer, and whether there is an input without an intent.
INTEND = f"""
WITH {GIVEN}, {_HIDDEN}, intended AS (
    UPDATE {PAYLOADS} SET removal_at = statement_timestamp() WHERE {_those()}
    RETURNING id, metadata, data_storage_key, answer_storage_key, input_removal_at
), counted AS (
    {_counting("-", "intended")}
)
SELECT id, data_storage_key, answer_storage_key,
       data_storage_key <> '' AND input_removal_at IS NULL
FROM intended
"""
# Returns row id and key of the inputs that had no intent yet.
INTEND_INPUTS = f"""
WITH {GIVEN}
UPDATE {PAYLOADS} SET input_removal_at = statement_timestamp()
WHERE {_those()} AND input_removal_at IS NULL AND data_storage_key <> ''
RETURNING id, data_storage_key
"""
# The words of a prompt go with it.
CLEAR_INPUTS = f"""
WITH {GIVEN}, cleared AS (
    UPDATE {PAYLOADS} SET data_storage_key = '', input_removal_at = NULL,
        input_expired_at = statement_timestamp()
    WHERE {_those()} AND input_removal_at IS NOT NULL RETURNING id
), going AS (
    SELECT array_agg(id) AS ids FROM cleared
)
DELETE FROM {InferenceText._meta.db_table}
WHERE {_those("going")} AND side = {TextSide.PROMPT.value}
"""


def _delete(table: type[models.Model], column: str = "id", also: str = "") -> str:
    return _delete_from(table._meta.db_table, column, also)


def _delete_from(table: str, column: str, also: str = "") -> str:
    return f"DELETE FROM {table} WHERE {_those('going', column)} {also}"


@cache
def remove_statement() -> str:
    """Return the statement that deletes rows with an intent, and all that belongs to them."""
    others = "".join(
        f", of_app_{number} AS ({_delete_from(*place)})"
        for number, place in enumerate(side_tables.values())
    )
    return f"{_REMOVE}{others}\nSELECT count(*) FROM payload\n"


# Rows without an intent are not touched, whatever ids are given. Returns how many were
# deleted.
_REMOVE = f"""
WITH {GIVEN}, payload AS (
    DELETE FROM {PAYLOADS} WHERE {_those()} AND removal_at IS NOT NULL RETURNING id
), going AS (
    SELECT array_agg(id) AS ids FROM payload
), gone AS (
    {_delete(Inference)} RETURNING id, inference_id, labels, deleted
), touched AS (  -- an intent hides its row; a store that was damaged may show it
    {touches_of("SELECT id FROM gone WHERE NOT deleted", keep_bounds=True)}
), tombstones AS (
    -- Every row has its key. The conflict is what finds it by the unique key, whatever the
    -- planner believes of the table.
    INSERT INTO {InferenceKey._meta.db_table} AS held
        (model_key, inference_id, row_id, arrival)
    SELECT %(model)s, inference_id, id, 0 FROM gone ORDER BY inference_id
    ON CONFLICT (model_key, inference_id) DO UPDATE
    SET removed_at = statement_timestamp()
), detected AS (  -- the labels let the index of the label filter find them
    {
    _delete(
        Detection,
        also='''AND label_id = ANY((
        SELECT array_agg(DISTINCT label) FROM gone, unnest(labels) AS label)::integer[])''',
    )
}
), distributed AS (
    {_delete(ClassProbability)}
), embedded AS (
    {_delete(Embedding)}
), embedded_lately AS (
    {_delete(RecentEmbedding)}
), mapped AS (
    {_delete(MapPoint)}
), searched AS (
    {_delete(InferenceText)}
), texts AS (
    {_delete(OverflowText)}
), numbers AS (
    {_delete(OverflowNumber)}
), history AS (
    {_delete(MetadataChange, "row_id")}
), truths AS (
    {_delete(GroundTruth)}
), former_truths AS (
    {_delete(GroundTruthVersion, "row_id")}
)"""
