"""Join ground truth, one value or a million, to the inferences it belongs to.

The values are copied to a staging table as they are read. One statement for each way of
joining finds their inferences. Matches are written, and the rest is stored as pending, in
batches with a transaction each. So memory does not grow with the number of values, and an
interrupted join is finished by repeating it: values that are the same already change nothing.
Of several values for one inference the last one counts. A value without an inference becomes
pending (``pending_truths``); a removed or soft-deleted inference gets none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction

from inferences.ground_truth.references import HASH, INFERENCE, METADATA, Reference
from inferences.ground_truth.writes import ACTOR_CHARS, Given, write
from inferences.models import (
    Inference,
    InferenceKey,
    MetadataKind,
    RegisteredModel,
)
from inferences.models.ground_truth import GroundTruth, PendingTruth
from inferences.store.metadata_slots import SIDE_ROWS, place_of
from istore.db import clock
from istore.db.other_servers import own_session
from istore.failpoints import failpoint
from istore.models import AuditEntry

REFUSALS_TOLD = 100  # of the refused rows are reported with their reason
WAIT_AT_ONCE = 5_000  # values of a batch, which blocks recording for tenths of a second
KEYS_MAX = 20  # metadata keys that one file may join by


@dataclass(frozen=True, slots=True)
class Actual:
    """One value of ground truth, what it is joined by, and its place in the file for people."""

    reference: Reference
    truth: dict[str, Any]
    place: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that is refused: its place in the file, and why."""

    place: str
    why: str


@dataclass(slots=True)
class Joined:
    """The result of a join.

    ``actuals`` values were read. ``joined`` inferences have one now, of which ``changed`` had
    none or another before. ``waiting`` values are pending. ``removed`` ones name an inference
    that is gone. ``refusals`` are the first of the ``refused`` rows.
    """

    actuals: int = 0
    joined: int = 0
    changed: int = 0
    waiting: int = 0
    removed: int = 0
    refused: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def refuse(self, refusal: Refusal) -> None:
        """Count a refusal, and keep the first ones for the report."""
        self.refused += 1
        if len(self.refusals) < REFUSALS_TOLD:
            self.refusals.append(refusal)


def join(
    actor: object, model: RegisteredModel, actuals: Iterable[Actual | Refusal]
) -> Joined:
    """Write ground truth to its inferences and return the counts, with the refused rows."""
    joined = Joined()
    given_at = clock.now()
    model.refresh_from_db(fields=["keys_version"])
    with _staging():
        keys = _stage(actuals, joined)
        _match(model, keys)
        joined.changed = _write_matched(actor, model, given_at)
        failpoint("ground_truth.joined")
        joined.changed += _let_wait(actor, model, given_at, keys)
        _count(model, joined)
    return joined


STAGING = """
CREATE TEMPORARY TABLE truth_staged (
    number bigint NOT NULL, joined_by text NOT NULL, key text NOT NULL,
    value text NOT NULL, whole bigint, real float8, awaited text NOT NULL,
    tokens text[] NOT NULL, truth text NOT NULL);
CREATE TEMPORARY TABLE truth_matched (row_id bigint NOT NULL, number bigint NOT NULL);
CREATE TEMPORARY TABLE truth_met (number bigint PRIMARY KEY);
CREATE TEMPORARY TABLE truth_waiting (number bigint PRIMARY KEY);
"""
COPY = "COPY truth_staged FROM STDIN"
ENDED = "DROP TABLE IF EXISTS truth_staged, truth_matched, truth_met, truth_waiting"


@contextmanager
def _staging() -> Iterator[None]:
    """Create temporary tables, which need a session of our own, and drop them at the end."""
    with own_session():
        with connection.cursor() as cursor:
            cursor.execute(ENDED)
            cursor.execute(STAGING)
        try:
            yield
        finally:
            if connection.connection is not None and not connection.connection.broken:
                with connection.cursor() as cursor:
                    cursor.execute(ENDED)


def _stage(actuals: Iterable[Actual | Refusal], joined: Joined) -> list[str]:
    """Copy the rows to the staging table; return the metadata keys that they join by."""
    keys: set[str] = set()
    # One transaction: a file that proves malformed at its end leaves nothing staged.
    with transaction.atomic(), connection.cursor() as cursor, cursor.copy(COPY) as copy:
        for actual in actuals:
            joined.actuals += 1
            if isinstance(actual, Refusal):
                joined.refuse(actual)
                continue
            reference = actual.reference
            if reference.by == METADATA and reference.key not in keys:
                if len(keys) == KEYS_MAX:
                    why = f"More than {KEYS_MAX} metadata keys are joined by."
                    joined.refuse(Refusal(actual.place, why))
                    continue
                keys.add(reference.key)
            row = (
                *(joined.actuals, reference.by, reference.key, reference.text),
                *(reference.whole, reference.real, str(reference), reference.tokens),
                orjson.dumps(actual.truth).decode(),
            )
            copy.write_row(row)
    with connection.cursor() as cursor:
        cursor.execute("CREATE INDEX ON truth_staged (number)")
        cursor.execute("ANALYZE truth_staged")
    return sorted(keys)


ROWS = Inference._meta.db_table
# Served by the unique key; store/lookup.py says why each id has a fenced lookup.
BY_ID = f"""
SELECT keys.row_id, staged.number FROM staged
CROSS JOIN LATERAL (  -- fenced as in lookup.py
    SELECT row_id, removed_at FROM {InferenceKey._meta.db_table}
    WHERE model_key = %(model)s AND inference_id = staged.value OFFSET 0
) AS keys
WHERE staged.joined_by = '{INFERENCE}' AND keys.removed_at IS NULL
  AND keys.row_id IS NOT NULL
"""
# Served by inference_by_hash, a partial index of live rows.
BY_HASH = f"""
SELECT row.id, staged.number FROM staged
JOIN {ROWS} AS row ON row.model_key = %(model)s AND NOT row.deleted
     AND row.data_hash = decode(staged.value, 'hex')
WHERE staged.joined_by = '{HASH}'
"""
COMPARED = {
    MetadataKind.STRING: "value",
    MetadataKind.INT: "whole",
    MetadataKind.FLOAT: "real",
}


def _ways(model: RegisteredModel, keys: list[str]) -> tuple[str, dict[str, Any]]:
    """Return SQL that selects pairs of a row id and the number of a staged value for that row."""
    values: dict[str, Any] = {"model": model.pk}
    ways = [BY_ID, BY_HASH]
    for number, key in enumerate(keys):
        values[f"key_{number}"] = key
        for kind, column in COMPARED.items():
            place = place_of(model, key, kind)
            if place is None:
                continue
            table = SIDE_ROWS[place.side]._meta.db_table
            there = (
                f"row.{place.slot} = staged.{column}"
                if place.slot
                else f"row.key_id = {place.key_id} AND row.value = staged.{column}"
            )
            live = "AND NOT row.deleted" if place.slot else ""
            ways.append(
                f"SELECT row.id, staged.number FROM staged "
                f"JOIN {ROWS if place.slot else table} AS row "
                f"ON row.model_key = %(model)s {live} AND {there} "
                f"WHERE staged.joined_by = '{METADATA}' "
                f"AND staged.key = %(key_{number})s"
            )
    return " UNION ALL ".join(ways), values


MEANT = """
WITH staged (number, joined_by, key, value, whole, real) AS MATERIALIZED (
    SELECT * FROM unnest(%(numbers)s::bigint[], %(bys)s::text[], %(keys)s::text[],
        %(texts)s::text[], %(wholes)s::bigint[], %(reals)s::float8[])
), ways (row_id, number) AS ({ways})
SELECT number, max(row_id) FROM ways GROUP BY number
"""


def rows_meant(
    model: RegisteredModel, references: Sequence[Reference]
) -> dict[int, int]:
    """By the place of a reference the last row that it means, of those that mean any."""
    keys = sorted(
        {reference.key for reference in references if reference.by == METADATA}
    )
    ways, values = _ways(model, keys[:KEYS_MAX])
    values |= {
        "numbers": list(range(len(references))),
        "bys": [reference.by for reference in references],
        "keys": [reference.key for reference in references],
        "texts": [reference.text for reference in references],
        "wholes": [reference.whole for reference in references],
        "reals": [reference.real for reference in references],
    }
    with connection.cursor() as cursor:
        cursor.execute(MEANT.format(ways=ways), values)
        return dict(cursor.fetchall())


def _match(model: RegisteredModel, keys: list[str]) -> None:
    """Find the rows that staged values belong to; for each row the last value counts.

    The same statement stores which values matched any row. An inference that arrives after it
    is found under the lock of ``_let_some_wait``, or not at all.
    """
    ways, values = _ways(model, keys)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE truth_matched, truth_met")
        cursor.execute(
            "WITH staged AS NOT MATERIALIZED (SELECT * FROM truth_staged), "
            f"ways (row_id, number) AS MATERIALIZED ({ways}), met AS "
            "(INSERT INTO truth_met SELECT DISTINCT number FROM ways) "
            "INSERT INTO truth_matched SELECT row_id, max(number) FROM ways "
            "GROUP BY row_id",
            values,
        )
        cursor.execute(
            "CREATE INDEX IF NOT EXISTS truth_rows ON truth_matched (row_id)"
        )
        cursor.execute("ANALYZE truth_matched")
        cursor.execute("ANALYZE truth_met")


def _write_matched(actor: object, model: RegisteredModel, given_at: datetime) -> int:
    """Write the matched values in batches; return how many inferences changed."""
    changed, above = 0, -(2**63)
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT row_id, truth FROM truth_matched JOIN truth_staged "
                "USING (number) WHERE row_id > %s ORDER BY row_id LIMIT %s",
                [above, settings.ISTORE_REMOVAL_BATCH],
            )
            rows = cursor.fetchall()
        if not rows:
            return changed
        given = {
            row_id: Given(orjson.loads(truth), str(actor), given_at)
            for row_id, truth in rows
        }
        with transaction.atomic():
            if count := write(model, given):
                _say(actor, model, changed=count)
        changed += count
        above = rows[-1][0]


UNMATCHED = f"""
INSERT INTO truth_waiting
SELECT max(number) FROM truth_staged AS staged
WHERE NOT EXISTS (SELECT FROM truth_met WHERE truth_met.number = staged.number)
  -- Fenced: a join would read all keys of the model. See lookup.py.
  AND NOT EXISTS (SELECT FROM {InferenceKey._meta.db_table} AS keys
                  WHERE keys.model_key = %(model)s AND staged.joined_by = '{INFERENCE}'
                  AND keys.inference_id = staged.value AND keys.removed_at IS NOT NULL
                  OFFSET 0)
GROUP BY awaited
"""
WAIT = f"""
INSERT INTO {PendingTruth._meta.db_table} AS kept
    (model_key, awaited, tokens, truth, actor, set_at)
SELECT %(model)s, awaited, tokens, truth::jsonb, %(actor)s, %(at)s
FROM truth_waiting JOIN truth_staged USING (number)
WHERE number BETWEEN %(low)s AND %(high)s ORDER BY number
ON CONFLICT (model_key, awaited) DO UPDATE SET tokens = excluded.tokens,
    truth = excluded.truth, actor = excluded.actor, set_at = excluded.set_at
-- The same again waits on, and is written anew only to wait longer.
WHERE kept.truth <> excluded.truth OR kept.tokens <> excluded.tokens
   OR kept.set_at < excluded.set_at - interval '1 day'
"""
NEXT = """
SELECT min(number), max(number) FROM (SELECT number FROM truth_waiting
    WHERE number > %s ORDER BY number LIMIT %s) AS batch
"""
CAME = """
WITH staged AS MATERIALIZED (
    SELECT truth_staged.* FROM truth_waiting JOIN truth_staged USING (number)
    WHERE number BETWEEN %(low)s AND %(high)s
), ways (row_id, number) AS ({ways})
DELETE FROM truth_waiting WHERE number IN (SELECT number FROM ways)
"""


def _let_wait(
    actor: object, model: RegisteredModel, given_at: datetime, keys: list[str]
) -> int:
    """Store unmatched values as pending; write those whose inference has arrived meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute(UNMATCHED, {"model": model.pk})
        cursor.execute("ANALYZE truth_waiting")
    came, above = 0, 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(NEXT, [above, WAIT_AT_ONCE])
            low, high = cursor.fetchone()
        if high is None:
            break
        came += _let_some_wait(actor, model, given_at, keys, (low, high))
        above = high
    if not came:
        return 0
    model.refresh_from_db(fields=["keys_version"])
    _match(model, keys)
    return _write_matched(actor, model, given_at)


def _let_some_wait(
    actor: object,
    model: RegisteredModel,
    given_at: datetime,
    keys: list[str],
    numbers: tuple[int, int],
) -> int:
    """Store a range of numbered values as pending, except those whose inference has arrived.

    The model's row is locked for this batch, so nothing is recorded for the model meanwhile.
    Returns how many values have an inference now.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # FOR NO KEY UPDATE excludes recording, which holds FOR SHARE; foreign keys pass.
        held = RegisteredModel.objects.select_for_update(no_key=True)
        locked = held.get(pk=model.pk)
        # Built anew under the lock: a metadata key may have got its slot meanwhile.
        ways, values = _ways(locked, keys)
        values |= {"low": numbers[0], "high": numbers[1]}
        cursor.execute(CAME.format(ways=ways), values)
        came: int = cursor.rowcount
        values |= {"actor": str(actor)[:ACTOR_CHARS], "at": given_at}
        cursor.execute(WAIT, values)
        if cursor.rowcount:
            _say(actor, model, waiting=cursor.rowcount)
            if not locked.awaits_truth:
                RegisteredModel.objects.filter(pk=model.pk).update(awaits_truth=True)
    failpoint("ground_truth.waiting")
    return came


def _say(actor: object, model: RegisteredModel, **counts: int) -> None:
    """Write the audit entry, in the transaction of the change."""
    AuditEntry.write(
        actor, "ground_truth.join", model.model_id, model.project, **counts
    )


def _count(model: RegisteredModel, joined: Joined) -> None:
    """Count pending, joined and removed values for the report."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM truth_waiting")
        (joined.waiting,) = cursor.fetchone()
        cursor.execute(
            "SELECT count(*) FROM truth_matched CROSS JOIN LATERAL (SELECT "
            f"FROM {GroundTruth._meta.db_table} "
            "WHERE model_key = %s AND id = row_id OFFSET 0) AS truth",
            [model.pk],
        )
        (joined.joined,) = cursor.fetchone()
        cursor.execute(
            "SELECT count(*) FROM truth_staged AS staged "
            "CROSS JOIN LATERAL (SELECT row_id "
            f"FROM {InferenceKey._meta.db_table} WHERE model_key = %(model)s "
            "AND inference_id = staged.value OFFSET 0) AS keys "
            f"LEFT JOIN LATERAL (SELECT deleted FROM {ROWS} "
            "WHERE model_key = %(model)s AND id = keys.row_id OFFSET 0) AS row ON true "
            f"WHERE staged.joined_by = '{INFERENCE}' AND row.deleted IS DISTINCT FROM "
            "false AND keys.row_id IS NOT NULL",
            {"model": model.pk},
        )
        (joined.removed,) = cursor.fetchone()
