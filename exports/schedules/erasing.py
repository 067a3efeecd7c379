"""Erasure in the files of schedules: they are written again without the rows that go.

It runs after the records are hidden, and takes running attempts from their workers, so an attempt
that begins later cannot find the records. The row of a file is committed before the object is
replaced. After a crash in between, the object still has the rows, and the next attempt of the
erasure replaces it.

In the default store every file below the folders of the models is read, those of deleted schedules
too. In a named bucket only files that a schedule lists are known.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from io import BufferedRandom

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from exports import matching_rows
from exports.erasing import FORGOTTEN, names_value, take_from_workers
from exports.formats.open_inference.layout import IDENTITY, INFERENCE_ID, TIMESTAMP
from exports.formats.open_inference.parquet import ParquetWriter
from exports.matching_rows import Matching
from exports.schedules.destinations import (
    DEFAULT,
    ROOT,
    Destination,
    Unknown,
    title,
)
from exports.schedules.files import folder_of_model
from exports.schedules.models import (
    ExportedFile,
    ExportFormat,
    ExportSchedule,
    ScheduledExport,
)
from inferences.erasure.matching_records import Carried
from inferences.models import InferenceKey, RegisteredModel
from inferences.models.row_ids import moment_of
from inferences.store.arrival_order import EARLIEST
from istore import blobs
from istore.errors import StoreError, Unavailable
from istore.failpoints import failpoint
from istore.models import Project

ROWS_AT_ONCE = 5_000
LATEST = 2**63 - 1  # above every arrival
NAMED_VALUE = "The filter named a value that was erased. Give it another one."
DATE = re.compile(r"/date=(\d{4}-\d\d-\d\d)/[^/]+\.parquet")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file of a schedule is, and which arrivals it has.

    ``pk`` is that of its row. 0: the schedule was deleted, and its rows with it.
    """

    destination: str
    key: str
    day: date
    pk: int = 0
    after: int = EARLIEST
    through: int = LATEST

    def may_have(self, days: Collection[date], arrivals: Sequence[int]) -> bool:
        """Return whether a record of these days and arrivals, in order, may be in the file."""
        next_one = bisect_right(arrivals, self.after)
        has_arrival = next_one < len(arrivals) and arrivals[next_one] <= self.through
        return has_arrival and self.day in days


def of_records(model: RegisteredModel, row_ids: list[int]) -> int:
    """Remove the rows of these records from the model's files; return how many rows went."""
    found = model.inferences.filter(id__in=row_ids).values_list("id", "inference_id")
    records = {(name, moment_of(row_id)) for row_id, name in found}
    if not records:
        return 0
    schedules = ExportSchedule.objects.filter(model=model)
    _stop_runs(schedules)
    days = {moment.date() for _, moment in records}
    keys = InferenceKey.objects.filter(registered_model=model)
    names = [name for name, _ in records]
    arrivals = keys.filter(inference_id__in=names).values_list("arrival", flat=True)
    in_order = sorted(arrivals)
    removed = 0
    places = [each for each in _places(model) if each.may_have(days, in_order)]
    for file in _files(places):
        id_column = INFERENCE_ID if str(INFERENCE_ID) in file.columns else IDENTITY
        columns = [str(id_column), str(TIMESTAMP)]
        if set(columns) <= set(file.columns):  # else it is a reader's own table
            removed += file.remove(columns, matching_rows.are_among(records, *columns))
    return removed


def of_value(project: Project, carried: Carried) -> int:
    """Remove the rows with the value from the project's files, and forget filters that name it.

    Return how many rows and filters that was. A schedule whose filter is forgotten is off.
    """
    schedules = ExportSchedule.objects.filter(model__project=project)
    _stop_runs(schedules)
    removed = 0
    for file in _files(_places_of(project)):
        columns = file.columns_with(carried)
        removed += file.remove(columns, matching_rows.have_value(columns, carried))
    named = [each.pk for each in schedules if names_value(each.selection, carried)]
    return removed + ExportSchedule.objects.filter(pk__in=named).update(
        selection=FORGOTTEN,
        enabled=False,
        last_error=NAMED_VALUE,
        last_error_at=Now(),
        updated_at=Now(),
    )


def count_left(project: Project, carried: Carried) -> int:
    """Return how many rows of the project's files still have the value."""
    left = 0
    for file in _files(_places_of(project)):
        columns = file.columns_with(carried)
        left += file.count(columns, matching_rows.have_value(columns, carried))
    return left


def _stop_runs(schedules: QuerySet[ExportSchedule]) -> None:
    """Take running attempts from their workers; delete what they have stored and not committed.

    The next attempt at the chunk writes these files again.
    """
    mine = schedules.filter(format=ExportFormat.PARQUET)
    take_from_workers(ScheduledExport.objects.filter(schedule__in=mine))
    announced = ExportedFile.objects.filter(schedule__in=mine, committed_at=None)
    for row in announced.select_related("schedule"):
        with _told_plainly(row.schedule.destination):
            _check(row.key, Destination(row.schedule.destination).erase(row.key))


def _places_of(project: Project) -> Iterator[Place]:
    for model in project.models.order_by("pk"):
        yield from _places(model)


def _places(model: RegisteredModel) -> Iterator[Place]:
    """Yield the files that schedules of the model list, and the others in its folders here."""
    listed = set()
    rows = ExportedFile.objects.filter(schedule__model=model).exclude(committed_at=None)
    columns = "key", "date", "pk", "arrived_after", "arrived_through"
    for to, key, *about in rows.values_list("schedule__destination", *columns):
        yield Place(to, key, *about)
        if to == DEFAULT:
            listed.add(key)
    folder = f"/{folder_of_model(model)}/"
    for each in list(blobs.walk(f"{ROOT}/")):
        found = DATE.search(each.key)
        if found and folder in each.key and each.key not in listed:
            yield Place(DEFAULT, each.key, date.fromisoformat(found[1]))


def _files(places: Iterable[Place]) -> Iterator[_File]:
    """Yield the files that are there, each open until the next one."""
    for place in places:
        with _opened(place) as file:
            if file is not None:
                yield file


@contextmanager
def _opened(place: Place) -> Iterator[_File | None]:
    """Yield a copy of the file on the disk of this process; None if its reader has removed it."""
    with tempfile.TemporaryFile() as copy:
        try:
            with (
                _told_plainly(place.destination),
                Destination(place.destination).open(place.key) as content,
            ):
                shutil.copyfileobj(content, copy)
        except FileNotFoundError:
            _purge_versions(place)
            yield None
            return
        try:
            parquet = pq.ParquetFile(copy)
        except pa.ArrowInvalid as error:
            message = f"{place.key} is no Parquet file any more: {error}"
            raise StoreError("erasure-failed", message) from None
        yield _File(place, parquet)


class _File:
    """A file of a schedule while an erasure looks at it."""

    def __init__(self, place: Place, parquet: pq.ParquetFile) -> None:
        self._place = place
        self._parquet = parquet
        self.columns: list[str] = parquet.schema_arrow.names

    def columns_with(self, carried: Carried) -> list[str]:
        """Return the columns that may have the value."""
        return matching_rows.columns_with({n: n for n in self.columns}, carried)

    def count(self, columns: list[str], matching: Matching) -> int:
        """Return how many rows are meant; ``matching`` reads these columns."""
        if not columns:
            return 0
        batches = self._parquet.iter_batches(ROWS_AT_ONCE, columns=columns)
        return sum(pc.sum(matching(batch)).as_py() or 0 for batch in batches)

    def remove(self, columns: list[str], matching: Matching) -> int:
        """Write the file again without the rows that are meant; return how many those were.

        Without any other row it is deleted.
        """
        found = self.count(columns, matching)
        with _told_plainly(self._place.destination):
            if found:
                self._keep(self._parquet.metadata.num_rows - found, matching)
            else:
                _forget_replaced(self._place)
        return found

    def _keep(self, count: int, matching: Matching) -> None:
        """Leave the rows, so many, that are not meant."""
        key, destination = self._place.key, Destination(self._place.destination)
        with tempfile.TemporaryFile() as fresh:
            if count:
                self._write_without(matching, fresh)
            self._note(count, fresh)
            failpoint("schedules.erasure_noted")
            if count:
                destination.put(key, fresh)
                _forget_replaced(self._place)
            else:
                _check(key, destination.erase(key))
                _strike(self._place)
        failpoint("schedules.erasure_stored")

    def _write_without(self, matching: Matching, fresh: BufferedRandom) -> None:
        schema = self._parquet.schema_arrow
        writer = ParquetWriter(fresh, schema, schema.metadata or {})
        for batch in self._parquet.iter_batches(settings.ISTORE_EXPORT_ROW_GROUP):
            writer.write(batch.filter(pc.invert(matching(batch))))
        writer.close()

    @transaction.atomic
    def _note(self, count: int, fresh: BufferedRandom) -> None:
        """Commit what the file will hold to its row; a repeated attempt changes nothing."""
        row = ExportedFile.objects.select_for_update().filter(pk=self._place.pk).first()
        if row is None:
            return
        ExportSchedule.objects.filter(pk=row.schedule_id).update(
            row_count=F("row_count") - (row.row_count - count), updated_at=Now()
        )
        row.row_count = count
        row.size = fresh.seek(0, 2)
        fresh.seek(0)
        row.sha256 = hashlib.file_digest(fresh, "sha256").hexdigest()
        row.save(update_fields=["row_count", "size", "sha256"])


def _purge_versions(place: Place) -> None:
    """Delete old versions of a file that is gone, by its reader or by an attempt that broke off."""
    with _told_plainly(place.destination):
        _check(place.key, Destination(place.destination).erase(place.key))
    if ExportedFile.objects.filter(pk=place.pk, row_count=0).exists():
        _strike(place)


def _forget_replaced(place: Place) -> None:
    """Delete the versions that a file replaced: an attempt that broke off may have left them."""
    _check(place.key, Destination(place.destination).forget_replaced(place.key))


@transaction.atomic
def _strike(place: Place) -> None:
    """Strike a file without rows from the files of its schedule."""
    rows = ExportedFile.objects.filter(pk=place.pk)
    for schedule in rows.values_list("schedule", flat=True):
        ExportSchedule.objects.filter(pk=schedule).update(
            file_count=F("file_count") - 1, updated_at=Now()
        )
    rows.delete()


def _check(key: str, versions: int) -> None:
    if versions:
        message = f"{key}: {versions} old versions of it are left in the bucket."
        raise StoreError("erasure-failed", message)


@contextmanager
def _told_plainly(destination: str) -> Iterator[None]:
    """Turn errors of the destination into the reason that the erasure shows."""
    try:
        yield
    except Unknown as error:
        raise StoreError("erasure-failed", str(error)) from None
    except (BotoCoreError, ClientError, Unavailable) as error:
        raise StoreError("erasure-failed", f"{title(destination)}: {error}") from error
