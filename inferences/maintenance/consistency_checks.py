"""Check that rows agree with each other, and with the objects that they name.

Rows are read in windows of ids, each window in one statement: it has one snapshot, so
unfinished work of others is not seen. A repair does only what the store can derive by itself:
orphaned rows are deleted, search indexes are rebuilt from the record, counts are corrected,
intents are carried out. A record whose object is missing has lost it; that is only reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import repeat
from threading import Lock
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from inferences.maintenance.orphan_blobs import models_of
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
from inferences.models.row_ids import LOWEST, first_id_at
from inferences.store import (
    class_migration,
    removal,
    segment_touches,
    text_indexing,
    text_reindexing,
)
from inferences.store.recording import lower_bounds
from inferences.store.side_tables import side_tables
from istore import blobs
from istore.blobs import packs
from istore.checks.verification import Finding, Scope

AT_ONCE = 500  # records whose objects are looked up together
THREADS = 8  # that ask the blob store
CHUNK = 1024 * 1024
OLD_INTENT = timedelta(hours=1)  # beat carries out intents every minute
HIGHEST = 2**63 - 1

ROW, COLD = Inference._meta.db_table, InferencePayload._meta.db_table
KEYS = InferenceKey._meta.db_table
DETECTED = Detection._meta.db_table
CLASSES = ClassProbability._meta.db_table
WORDS = InferenceText._meta.db_table
# Side tables of the records, and their column with the row id.
SIDES = {
    "detection": (DETECTED, "id"),
    "class": (CLASSES, "id"),
    "embedding": (Embedding._meta.db_table, "id"),
    "recent embedding": (RecentEmbedding._meta.db_table, "id"),
    "map point": (MapPoint._meta.db_table, "id"),
    "searched text": (WORDS, "id"),
    "text": (OverflowText._meta.db_table, "id"),
    "number": (OverflowNumber._meta.db_table, "id"),
    "history": (MetadataChange._meta.db_table, "row_id"),
    "actual": (GroundTruth._meta.db_table, "id"),
    "former actual": (GroundTruthVersion._meta.db_table, "row_id"),
}


def sides() -> dict[str, tuple[str, str]]:
    """Return the side tables of the records, those of other apps as well."""
    return SIDES | side_tables


def _alone(what: str, table: str, column: str) -> str:
    """Return the query for side rows without a record."""
    return (
        f"SELECT DISTINCT '{what}-alone', side.{column} FROM {table} AS side "
        f"WHERE side.model_key = %(model)s AND side.{column} BETWEEN %(low)s AND %(high)s "
        f"AND NOT EXISTS (SELECT FROM hot WHERE hot.id = side.{column})"
    )


# All checks of one window are one statement, so they see one snapshot.
ROWS = f"""
WITH hot AS MATERIALIZED (
    SELECT id, inference_id, labels, scores, classes, probabilities, deleted, is_protected
    FROM {ROW}
    WHERE model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s
), cold AS MATERIALIZED (
    SELECT id, deleted_at, removal_at, input_removal_at, input_expired_at FROM {COLD}
    WHERE model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s
), detected AS MATERIALIZED (
    SELECT id, count(*) AS number FROM {DETECTED}
    WHERE model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s GROUP BY id
), distributed AS MATERIALIZED (
    SELECT id, count(*) AS number FROM {CLASSES}
    WHERE model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s GROUP BY id
)
SELECT 'without-payload', id FROM hot WHERE NOT EXISTS (
    SELECT FROM cold WHERE cold.id = hot.id)
UNION ALL
SELECT 'payload-alone', id FROM cold WHERE NOT EXISTS (
    SELECT FROM hot WHERE hot.id = cold.id)
UNION ALL
SELECT 'without-key', id FROM hot WHERE NOT EXISTS (
    SELECT FROM {KEYS} AS key WHERE key.model_key = %(model)s
    AND key.inference_id = hot.inference_id AND key.row_id = hot.id
    AND key.removed_at IS NULL)
UNION ALL
SELECT 'detections-differ', hot.id FROM hot LEFT JOIN detected USING (id)
WHERE coalesce(number, 0) <> coalesce(cardinality(labels), 0)
UNION ALL
SELECT 'classes-differ', hot.id FROM hot LEFT JOIN distributed USING (id)
WHERE coalesce(number, 0) <> coalesce(cardinality(classes), 0)
UNION ALL
SELECT 'classes-as-labels', id FROM hot
WHERE %(of_one_class)s AND NOT %(awaits_classes)s
AND labels IS NOT NULL AND classes IS NULL
UNION ALL
SELECT 'not-the-best-class', id FROM hot
WHERE classes IS NOT NULL AND (
    cardinality(labels) IS DISTINCT FROM least(cardinality(classes), 1)
    OR cardinality(classes) > 0 AND NOT EXISTS (
        SELECT FROM unnest(classes, probabilities) AS each (label, score)
        WHERE each.label = labels[1] AND each.score IS NOT DISTINCT FROM scores[1]
        AND each.score IS NOT DISTINCT FROM (
            SELECT max(score) FROM unnest(probabilities) AS score)))
UNION ALL
SELECT 'hidden-for-no-reason', hot.id FROM hot JOIN cold USING (id)
WHERE deleted AND deleted_at IS NULL AND removal_at IS NULL
UNION ALL
SELECT 'deleted-but-shown', hot.id FROM hot JOIN cold USING (id)
WHERE NOT deleted AND (deleted_at IS NOT NULL OR removal_at IS NOT NULL)
UNION ALL
SELECT 'protected-but-hidden', hot.id FROM hot JOIN cold USING (id)
WHERE is_protected AND deleted AND deleted_at IS NOT NULL AND removal_at IS NULL
UNION ALL
SELECT 'protected-but-expiring', hot.id FROM hot JOIN cold USING (id)
WHERE is_protected AND input_removal_at IS NOT NULL AND removal_at IS NULL
UNION ALL
SELECT 'texts-missing', cold.id FROM cold JOIN hot USING (id)
WHERE %(texts)s = 'searched' AND removal_at IS NULL AND NOT EXISTS (
    SELECT FROM {WORDS} AS said WHERE said.model_key = %(model)s AND said.id = cold.id
    AND said.side = {TextSide.ANSWER.value} AND said.part = 0)
UNION ALL
SELECT DISTINCT 'texts-left', id FROM {WORDS} AS said
WHERE %(texts)s = 'not searched' AND model_key = %(model)s AND id BETWEEN %(low)s AND %(high)s
UNION ALL
SELECT DISTINCT 'prompt-left', id FROM {WORDS} AS said JOIN cold USING (id)
WHERE model_key = %(model)s AND side = {TextSide.PROMPT.value} AND input_expired_at IS NOT NULL
"""


def _rows_statement() -> str:
    alone = (_alone(what, *place) for what, place in sides().items())
    return " UNION ALL ".join([ROWS, *alone])


SAID = {
    "without-payload": "The record has lost its other half.",
    "payload-alone": "Half a record without the other.",
    "without-key": "Its id is not held for it.",
    "key-alone": "An id is held for a record that is not there.",
    "detections-differ": "The index of detections does not agree with the record.",
    "classes-differ": "The index of probabilities does not agree with the record.",
    "classes-as-labels": "All classes are its labels, where one is the answer.",
    "not-the-best-class": "Its label is not the best of its classes.",
    "hidden-for-no-reason": "Hidden, neither soft-deleted nor being removed.",
    "deleted-but-shown": "Deleted, and still found by queries.",
    "protected-but-hidden": "Protected, and soft-deleted by retention.",
    "protected-but-expiring": "Protected, and its input is being removed.",
    "texts-missing": "Its prompt and answer are not found by their words.",
    "texts-left": "Its words are kept, and the texts of the model are not searched.",
    "prompt-left": "The words of its prompt are kept, and the input was removed.",
    "counts-differ": "The count of a metadata key is wrong.",
}
END_OF_WINDOW = f"""
SELECT max(id) FROM (
    SELECT id FROM {ROW} WHERE model_key = %s AND id >= %s ORDER BY id LIMIT %s
) AS page
"""


def rows(scope: Scope) -> Iterator[Finding]:
    """Check that records, payloads, keys and side rows name each other."""
    for model in models_of(scope):
        for low, high in _windows(model, scope):
            values: dict[str, Any] = {
                "model": model.pk,
                "low": low,
                "high": high,
                "of_one_class": model.answers_one_class,
                "awaits_classes": model.awaits_classes,
                "texts": _state_of_texts(model),
            }
            with connection.cursor() as cursor:
                cursor.execute(_rows_statement(), values)
                found = cursor.fetchall()
            by_kind: dict[str, list[int]] = {}
            for kind, row_id in found:
                by_kind.setdefault(kind, []).append(row_id)
            for kind, ids in by_kind.items():
                mended = scope.repair and _mend(model, kind, ids)
                for row_id in ids:
                    said = SAID.get(kind, "A side row of no record.")
                    yield Finding(kind, _where(model, row_id), said, mended)


def _state_of_texts(model: RegisteredModel) -> str:
    """Return whether the model's texts are searched; "changing" while a task is at them."""
    if model.awaits_text_index or model.text_index_tasks.active().exists():
        return "changing"
    return "searched" if text_indexing.is_searched(model) else "not searched"


def _windows(model: RegisteredModel, scope: Scope) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids without gaps, up to the highest possible id.

    So side rows without a record lie in one of them, wherever they are.
    """
    low = first_id_at(scope.since) if scope.since else LOWEST
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                END_OF_WINDOW, [model.pk, low, settings.ISTORE_VERIFY_WINDOW]
            )
            (high,) = cursor.fetchone()
        if high is None:
            yield low, HIGHEST
            return
        yield low, high
        low = high + 1


def _where(model: RegisteredModel, row_id: int) -> str:
    return f"{model.full_name} row {row_id}"


# -- repairs, each under the row locks that writers and removals take too


@transaction.atomic
def _mend(model: RegisteredModel, kind: str, ids: list[int]) -> bool:
    """Repair the rows of one finding; return False if that finding has no repair."""
    held = set(
        model.inferences.filter(id__in=ids)
        .order_by("id")
        .select_for_update(of=("self",))
        .values_list("id", flat=True)
    )
    if kind.endswith("-alone"):
        return _drop_alone(model, kind, [each for each in ids if each not in held])
    mend = MENDING.get(kind)
    if mend is None:
        return False
    mend(model, sorted(held))
    return True


def _drop_alone(model: RegisteredModel, kind: str, ids: list[int]) -> bool:
    table, column = COLD, "id"
    if kind != "payload-alone":
        table, column = sides()[kind.removesuffix("-alone")]
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} WHERE model_key = %s AND {column} = ANY(%s)",
            [model.pk, ids],
        )
    return True


def _hold_key(model: RegisteredModel, ids: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {KEYS} (model_key, inference_id, row_id) "
            f"SELECT model_key, inference_id, id FROM {ROW} "
            "WHERE model_key = %s AND id = ANY(%s) "
            "ON CONFLICT (model_key, inference_id) DO UPDATE "
            "SET row_id = excluded.row_id, removed_at = NULL, reserved_at = NULL",
            [model.pk, ids],
        )


def _detect_again(model: RegisteredModel, ids: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {DETECTED} WHERE model_key = %s AND id = ANY(%s)",
            [model.pk, ids],
        )
        cursor.execute(
            f"INSERT INTO {DETECTED} (id, model_key, label_id, score) "
            f"SELECT id, model_key, each.label, each.score FROM {ROW}, "
            "unnest(labels, scores) AS each (label, score) "
            "WHERE model_key = %s AND id = ANY(%s)",
            [model.pk, ids],
        )


def _distribute_again(model: RegisteredModel, ids: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {CLASSES} WHERE model_key = %s AND id = ANY(%s)",
            [model.pk, ids],
        )
        cursor.execute(
            f"INSERT INTO {CLASSES} (id, model_key, label_id, score) "
            f"SELECT id, model_key, each.label, each.score FROM {ROW}, "
            "unnest(classes, probabilities) AS each (label, score) "
            "WHERE model_key = %s AND id = ANY(%s)",
            [model.pk, ids],
        )


def _forget_texts(model: RegisteredModel, ids: list[int]) -> None:
    InferenceText.objects.beside(model).filter(id__in=ids).delete()


def _forget_prompts(model: RegisteredModel, ids: list[int]) -> None:
    prompts = InferenceText.objects.beside(model).filter(side=TextSide.PROMPT)
    prompts.filter(id__in=ids).delete()


def _make_restorable(model: RegisteredModel, ids: list[int]) -> None:
    payloads = InferencePayload.objects.beside(model).filter(id__in=ids)
    payloads.filter(deleted_at=None, removal_at=None).update(deleted_at=Now())


def _hide(model: RegisteredModel, ids: list[int]) -> None:
    shown = model.inferences.live().filter(id__in=ids)
    removal.hide(model, list(shown.values_list("id", flat=True)))


def _show(model: RegisteredModel, ids: list[int]) -> None:
    """Make protected records that retention hid visible again."""
    payloads = InferencePayload.objects.beside(model).filter(id__in=ids)
    free = payloads.filter(removal_at=None, deleted_at__isnull=False)
    hidden = list(free.values_list("id", flat=True))
    if not hidden:
        return
    lower_bounds(model, min(hidden))
    model.inferences.filter(id__in=hidden).update(deleted=False, updated_at=Now())
    segment_touches.touch(model, hidden, keep_bounds=True)
    payloads.filter(id__in=hidden).update(deleted_at=None)
    removal.count_keys(model, hidden)


def _keep_inputs(model: RegisteredModel, ids: list[int]) -> None:
    """Cancel the intent if the input is still there; otherwise it is carried out."""
    payloads = InferencePayload.objects.beside(model).filter(id__in=ids)
    for row_id, key in payloads.values_list("id", "data_storage_key"):
        if key and blobs.current_key(key) is not None:
            payloads.filter(id=row_id).update(input_removal_at=None)


MENDING: dict[str, Callable[[RegisteredModel, list[int]], object]] = {
    "without-key": _hold_key,
    "detections-differ": _detect_again,
    "classes-differ": _distribute_again,
    "classes-as-labels": class_migration.tell_apart_rows,
    "not-the-best-class": class_migration.choose_again,
    "texts-missing": text_reindexing.index_rows,
    "texts-left": _forget_texts,
    "prompt-left": _forget_prompts,
    "hidden-for-no-reason": _make_restorable,
    "deleted-but-shown": _hide,
    "protected-but-hidden": _show,
    "protected-but-expiring": _keep_inputs,
}


# -- ids in the key table


KEYS_ALONE = f"""
WITH page AS MATERIALIZED (
    SELECT inference_id, row_id, removed_at FROM {KEYS}
    WHERE model_key = %(model)s AND inference_id > %(after)s
    ORDER BY inference_id LIMIT %(window)s
)
SELECT NULL, max(inference_id) FROM page
UNION ALL
SELECT inference_id, NULL FROM page
WHERE removed_at IS NULL AND row_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM {ROW} AS hot
    WHERE hot.model_key = %(model)s AND hot.id = page.row_id)
"""


def keys(scope: Scope) -> Iterator[Finding]:
    """Check that each key has its record; a repair turns the others into tombstones."""
    for model in models_of(scope):
        after: str | None = ""
        while after is not None:
            with connection.cursor() as cursor:
                window = settings.ISTORE_VERIFY_WINDOW
                cursor.execute(
                    KEYS_ALONE, {"model": model.pk, "after": after, "window": window}
                )
                (_, after), *found = cursor.fetchall()
            for name, _ in found:
                if scope.repair:
                    mine = InferenceKey.objects.filter(registered_model=model)
                    mine.filter(inference_id=name, removed_at=None).update(
                        removed_at=Now()
                    )
                where = f"{model.full_name} {name}"
                yield Finding("key-alone", where, SAID["key-alone"], scope.repair)


# -- counts of metadata keys

COUNTED = f"""
SELECT key, type, coalesce(there.number, 0) AS there, coalesce(told.number, 0) AS told
FROM (
    SELECT each.key, each.value ->> 0 AS type, count(*) AS number
    FROM {ROW} AS hot JOIN {COLD} AS cold USING (model_key, id),
         jsonb_each(cold.metadata) AS each
    WHERE model_key = %(model)s AND NOT hot.deleted GROUP BY 1, 2
) AS there FULL JOIN (
    SELECT key, type, sum(delta) AS number FROM {MetadataKeyCount._meta.db_table}
    WHERE model_key = %(model)s GROUP BY 1, 2
) AS told USING (key, type)
WHERE coalesce(there.number, 0) <> coalesce(told.number, 0)
"""


def counts(scope: Scope) -> Iterator[Finding]:
    """Check that the counters of metadata keys equal the observations.

    Both are read by one statement, so the difference stays right whatever is written later.
    """
    for model in models_of(scope):
        with connection.cursor() as cursor:
            cursor.execute(COUNTED, {"model": model.pk})
            found = cursor.fetchall()
        if scope.repair:
            MetadataKeyCount.objects.bulk_create(
                MetadataKeyCount(
                    registered_model=model, key=key, type=type_, delta=there - told
                )
                for key, type_, there, told in found
            )
        for key, type_, there, told in found:
            said = f"{told} counted, {there} there."
            where = f"{model.full_name} {key} ({type_})"
            yield Finding("counts-differ", where, said, scope.repair)


# -- intents


def intents(scope: Scope) -> Iterator[Finding]:
    """Check that committed removals are carried out within an hour."""
    old = scope.at - OLD_INTENT
    late = Q(removal_at__lt=old) | Q(input_removal_at__lt=old)
    for model in models_of(scope):
        payloads = InferencePayload.objects.beside(model).filter(late)
        since = Q(id__gte=first_id_at(scope.since)) if scope.since else Q()
        found = payloads.filter(since).order_by("id").values_list("id", flat=True)
        met = False
        for row_id in found.iterator(AT_ONCE):
            met, where = True, _where(model, row_id)
            yield Finding("intent-open", where, "For over an hour.", scope.repair)
        for kind in (removal.INPUTS, removal.RECORDS) if scope.repair and met else ():
            try:
                kind.finish(model)
            except blobs.BlobsLeft as error:
                for key, why in error.why.items():
                    yield Finding("blob-left", key, str(why)[:200])


# -- objects that records name


@dataclass(frozen=True, slots=True)
class Named:
    """A record, the keys of its objects, and their hash and size as stored."""

    row_id: int
    data_key: str
    answer_key: str
    data_hash: bytes
    data_size: int
    marker_erased: bool

    @property
    def own_objects(self) -> list[str]:
        """The keys of its objects; a marker that an erasure deleted is not among them."""
        found = removal.blob_keys(self.data_key, self.answer_key)
        own = [key for key in found if not packs.is_member(key)]
        ends_in_marker = self.answer_key and not packs.is_member(self.answer_key)
        return own[:-1] if self.marker_erased and ends_in_marker else own

    @property
    def members(self) -> list[str]:
        """The keys of its members of packs."""
        return [e for e in (self.data_key, self.answer_key) if packs.is_member(e)]


NAMING = f"""
SELECT hot.id, data_storage_key, answer_storage_key, data_hash, data_size,
       coalesce(notes ? 'marker_erased', false)
FROM {ROW} AS hot JOIN {COLD} AS cold USING (model_key, id)
WHERE model_key = %(model)s AND hot.id > %(after)s AND hot.id = cold.id
  AND cold.id > %(after)s AND removal_at IS NULL AND input_removal_at IS NULL
  AND (data_storage_key <> '' OR answer_storage_key <> '')
ORDER BY hot.id LIMIT {AT_ONCE}
"""


def named_objects(scope: Scope) -> Iterator[Finding]:
    """Check that every object of a record exists, has the stored size and was not released.

    With ``deep`` the hashes are checked too.
    """
    sizes = PackSizes()

    def look(named: Named, own: dict[str, int], released: set[str]) -> Wrong:
        try:
            wrong = _look(named, own, sizes, released)
            return wrong or _looked_deeply(named) if scope.deep else wrong
        except FileNotFoundError as error:  # it went since it was looked at
            return [("missing", str(error))]
        except blobs.BlobDamaged as error:
            return [("blob-damaged", str(error)[:200])]

    with ThreadPoolExecutor(THREADS, "verify") as threads:
        for model in models_of(scope):
            after = first_id_at(scope.since) - 1 if scope.since else LOWEST
            while some := _named(model, after):
                after = some[-1].row_id
                own = blobs.listed_sizes(k for named in some for k in named.own_objects)
                released = _released(some, sizes)
                looked = threads.map(look, some, repeat(own), repeat(released))
                for named, wrong in zip(some, looked, strict=True):
                    if wrong and _is_still_named(model, named):
                        where = _where(model, named.row_id)
                        for kind, detail in wrong:
                            yield Finding(kind, where, detail)


def _named(model: RegisteredModel, after: int) -> list[Named]:
    with connection.cursor() as cursor:
        cursor.execute(NAMING, {"model": model.pk, "after": after})
        return [Named(*row) for row in cursor]


Wrong = list[tuple[str, str]]


class PackSizes:
    """The sizes of packs, by listing: no request is made for a record.

    Records are read in the order of time, so the packs of the last ``HOURS`` hours are enough.
    It is safe for threads.
    """

    HOURS = 8

    def __init__(self) -> None:
        self._hours: dict[str, dict[str, int | None]] = {}
        self._lock = Lock()

    def of(self, pack: str) -> int | None:
        """Return the size of a pack in bytes; None if there is none."""
        prefix = f"{pack.rpartition('/')[0]}/"
        with self._lock:
            if prefix not in self._hours:
                while len(self._hours) >= self.HOURS:
                    del self._hours[next(iter(self._hours))]
                files = blobs.files_in(prefix)
                self._hours[prefix] = {each.key: each.size for each in files}
            sizes = self._hours[prefix]
            if pack not in sizes:  # it may have been put after the listing
                sizes[pack] = _size(pack)
            return sizes[pack]


def _released(some: list[Named], sizes: PackSizes) -> set[str]:
    """Return the members that these records name and that were released."""
    keys = {
        key
        for named in some
        for key in named.members
        if packs.end_of(key) <= (sizes.of(packs.pack_of(key)) or 0)
    }
    return keys - packs.unreleased(keys)


def _look(
    named: Named, own: dict[str, int], sizes: PackSizes, released: set[str]
) -> Wrong:
    wrong: Wrong = []
    for key in named.own_objects:
        size = own.get(key)
        if size is None:
            size = _size(key)
        if size is None:
            wrong.append(("missing", key))
        elif key == named.data_key and size != named.data_size:
            wrong.append(_size_differs(key, size, named))
    for key in named.members:
        size = blobs.size(key)
        whole = sizes.of(packs.pack_of(key))
        if whole is None or whole < packs.end_of(key):
            wrong.append(("missing", key))
        elif key in released:
            wrong.append(("released", key))
        elif key == named.data_key and size != named.data_size:
            wrong.append(_size_differs(key, size, named))
    return wrong


def _size_differs(key: str, size: int, named: Named) -> tuple[str, str]:
    return "size-differs", f"{key}: {size} bytes, not {named.data_size}."


def _looked_deeply(named: Named) -> Wrong:
    wrong: Wrong = []
    if named.data_key and _hash(named.data_key) != bytes(named.data_hash):
        wrong.append(("hash-differs", named.data_key))
    if named.answer_key and not named.marker_erased:
        marker = removal.marker_key(named.answer_key)
        stated = _stated_hash(marker) if marker else None
        if stated != _hash(named.answer_key).hex():
            wrong.append(("hash-differs", named.answer_key))
    return wrong


def _stated_hash(marker: str) -> str | None:
    """Return the hash of the answer as the marker states it, or None if it is not readable."""
    try:
        digest: str = orjson.loads(blobs.get(marker))["answer"]["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    return digest


def _size(key: str) -> int | None:
    try:
        return blobs.size(key)
    except FileNotFoundError:
        return None


def _hash(key: str) -> bytes:
    digest = hashlib.sha256()
    with blobs.open_blob(key) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.digest()


def _is_still_named(model: RegisteredModel, named: Named) -> bool:
    """Return whether the record still names its objects; a removal may have come between."""
    same = InferencePayload.objects.beside(model).filter(
        id=named.row_id,
        data_storage_key=named.data_key,
        answer_storage_key=named.answer_key,
        removal_at=None,
        input_removal_at=None,
    )
    return same.exists()
