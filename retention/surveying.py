"""Survey what a policy would remove: counts, bytes and days. It writes nothing.

The survey counts what a sweep with the same limits removes: live, unprotected records, and the
inputs of unprotected inferences, including soft-deleted ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection, transaction

from inferences.models import Inference, InferencePayload, RegisteredModel
from inferences.models.row_ids import LOW_BITS, ORIGIN, first_id_at, moment_of
from istore.db.statement_timeout import statement_timeout
from retention.models import Limits

COUNTED_AT_LEAST = 20_000  # rows that are read if reading all of them takes too long
DAY_MICROSECONDS = 86_400_000_000


@dataclass(slots=True)
class Part:
    """The number of records or inputs, their bytes, and their oldest and newest time."""

    count: int = 0
    bytes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    def add(
        self, count: int, size: int, lowest: int | None, highest: int | None
    ) -> None:
        """Add a count, its bytes, and its lowest and highest row id."""
        if not count or lowest is None or highest is None:
            return
        self.count += count
        self.bytes += size
        oldest, newest = moment_of(lowest), moment_of(highest)
        self.oldest = min(self.oldest or oldest, oldest)
        self.newest = max(self.newest or newest, newest)


@dataclass(slots=True)
class Survey:
    """What would be removed, and what stays because it is protected.

    ``days`` maps each day that has any to (records, inputs). If ``is_exact`` is False the figures
    are a lower bound.
    """

    records: Part = field(default_factory=Part)
    inputs: Part = field(default_factory=Part)
    protected_records: Part = field(default_factory=Part)
    protected_inputs: Part = field(default_factory=Part)
    days: dict[date, tuple[int, int]] = field(default_factory=dict)
    is_exact: bool = True


def survey(model: RegisteredModel, limits: Limits, most: int | None = None) -> Survey:
    """Return the survey, counted in a read-only transaction.

    With ``most``, only that many of the oldest rows are read.
    """
    values = {
        "model": model.pk,
        "inputs": first_id_at(limits.inputs),
        "records": first_id_at(limits.records),
        "below": first_id_at(max(limits.inputs, limits.records)),
        "most": most,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")
        cursor.execute(EVERYTHING if most is None else THE_OLDEST, values)
        rows = cursor.fetchall()
    found = Survey(is_exact=most is None)
    for row in rows:
        _add(found, row)
    return found


def survey_in_time(model: RegisteredModel, limits: Limits) -> Survey:
    """Return an exact survey if it is fast enough, else a lower bound.

    The exact one may take half of ``ISTORE_QUERY_SECONDS``. After that only the oldest
    ``COUNTED_AT_LEAST`` rows are read.
    """
    try:
        with statement_timeout(settings.ISTORE_QUERY_SECONDS / 2):
            return survey(model, limits)
    except OperationalError:
        with statement_timeout():
            return survey(model, limits, COUNTED_AT_LEAST)


def _add(found: Survey, row: tuple[Any, ...]) -> None:
    day, is_protected, records, first, last, inputs, size, first_input, last_input = row
    of_records = found.protected_records if is_protected else found.records
    of_inputs = found.protected_inputs if is_protected else found.inputs
    of_records.add(records, 0, first, last)
    of_inputs.add(inputs, int(size or 0), first_input, last_input)
    if not is_protected and (records or inputs):
        found.days[ORIGIN.date() + timedelta(days=day)] = records, inputs


# The primary key (model_key, id) serves the range and the order.
ROWS = f"""
    SELECT id, deleted, is_protected, data_size FROM {Inference._meta.db_table}
    WHERE model_key = %(model)s AND id < %(below)s
"""


def _survey(rows: str) -> str:
    """Return SQL that reads the range once, with the payloads, both in the order of ids."""
    going = "NOT deleted AND row.id < %(records)s"
    aging = "cold.id IS NOT NULL AND row.id < %(inputs)s"
    return f"""
    SELECT floor((row.id >> {LOW_BITS}) / {DAY_MICROSECONDS}.0)::int, is_protected,
           count(*) FILTER (WHERE {going}),
           min(row.id) FILTER (WHERE {going}), max(row.id) FILTER (WHERE {going}),
           count(*) FILTER (WHERE {aging}), sum(data_size) FILTER (WHERE {aging}),
           min(row.id) FILTER (WHERE {aging}), max(row.id) FILTER (WHERE {aging})
    FROM ({rows}) AS row
    LEFT JOIN {InferencePayload._meta.db_table} AS cold
      ON cold.model_key = %(model)s AND cold.id = row.id AND cold.id < %(below)s
     AND cold.data_storage_key <> '' AND cold.removal_at IS NULL
     AND cold.input_removal_at IS NULL
    GROUP BY 1, 2 ORDER BY 1
    """


EVERYTHING = _survey(ROWS)
THE_OLDEST = _survey(f"{ROWS} ORDER BY id LIMIT %(most)s")
