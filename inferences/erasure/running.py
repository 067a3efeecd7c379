"""Carry out erasures: intents, derived data, blobs, rows, traces, proof.

It is about a metadata value (``Carried``), or about inferences that a person chose (``Chosen``).
An erasure is a deletion by a person, unlike retention: protected and soft-deleted records are
removed too. Batch by batch the intents are committed together with their count and the list
of the batch. A worker that claims the task after another died finishes that batch first. Then
the other places that may hold the value, or what attempts left, are searched. At last the records are counted again:
those that arrived meanwhile are removed too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Q, Sum
from django.db.models.functions import Now

from inferences.erasure import TraceHolder, trace_holders
from inferences.erasure.chosen_records import SELECTION, Chosen
from inferences.erasure.matching_records import Carried
from inferences.maintenance import orphan_members
from inferences.maintenance.consistency_checks import COLD, ROW, sides
from inferences.models import InferencePayload, RegisteredModel
from inferences.models.erasure import ErasedInference, ErasureTask, forget_values
from inferences.store import pack_rewriting, removal
from inferences.store.pack_rewriting import Rewritten
from istore import blobs
from istore.blobs import pack_notes
from istore.blobs.keys import prefixes_of_project
from istore.blobs.packs import is_member, pack_of
from istore.db import replica
from istore.db.clock import now
from istore.failpoints import failpoint
from istore.models import AuditEntry, Project
from istore.tasks.lease_keeper import LeaseKeeper
from istore.tasks.tracking import Failed

ROUNDS = 3  # for records that arrive during the erasure; if some are left, it fails
THREADS = 8  # that ask the blob store whether objects are gone


def open_erasure(
    actor: object,
    project: Project,
    meant: Carried | Chosen,
    *,
    why: str,
    dry_run: bool = False,
) -> ErasureTask:
    """Return a new task; a worker starts it when the transaction is committed."""
    with transaction.atomic():
        task = ErasureTask.objects.create(
            project=project,
            key=meant.key,
            type=meant.type,
            value=meant.value,
            requested_by=str(actor)[:300],
            why=why,
            dry_run=dry_run,
        )
        if not dry_run:
            # The value itself is not written: audit entries are kept forever.
            about = "of_model" if meant.type == SELECTION else "key"
            task.audit(actor, "request", **{about: meant.key}, why=why)
        task.notify()
    return task


def erase(task: ErasureTask) -> None:
    """Carry out an erasure, or resume it; nothing happens if another worker holds it."""
    if not task.claim():
        return
    try:
        with task.recording_outcome():
            _erase(task)
    finally:
        forget_values()


def _erase(task: ErasureTask) -> None:
    meant = _meant(task)
    if not task.report.get("found"):
        with LeaseKeeper(task).in_background():
            found = count_meant(task.project, meant)
        task.record(report={"found": found}, total_count=found["records"])
    if task.dry_run:
        return
    if "proof" not in task.report:
        task.record(report=_with(task.report, "proof", {"looked_for": 0, "left": 0}))
    if task.open_batch:
        _carry_out(task)
    for _ in range(ROUNDS):
        for model in _models(task.project):
            while _intend(task, model, meant):
                _carry_out(task)
        failpoint("erasure.records_removed")
        for name, holder in sorted(trace_holders.items()):
            for search in _searches(holder, task.project, meant):
                with LeaseKeeper(task).in_background():
                    count = search()
                task.advance(report=_with(task.report, "traces", {name: count}))
        replica.note_removal()
        failpoint("erasure.traces_removed")
        with LeaseKeeper(task).in_background():
            # Whoever was removed before had the value, too: their bytes are waited for as well.
            released = [
                pack
                for prefix in prefixes_of_project(task.project_id)
                for pack in pack_notes.packs_with_notes(prefix)
            ]
            _rewrite_packs(task, released, f"{task.project_id}/")
            left = count_meant(task.project, meant) | _left_in_traces(task, meant)
        task.advance()
        if not any(left[name] for name in ("records", *trace_holders) if name in left):
            break
    task.record(report={**task.report, "left": left})
    in_traces = any(left[name] for name in trace_holders if name in left)
    if left["records"] or in_traces or task.report.get("proof", {}).get("left"):
        raise Failed("Something of it is left; the report says what. Ask again.")
    failpoint("erasure.proved")


def _meant(task: ErasureTask) -> Carried | Chosen:
    if task.type == SELECTION:
        return Chosen.from_json(task.key, task.value)
    return Carried(task.key, task.type, task.value)


def _searches(
    holder: TraceHolder, project: Project, meant: Carried | Chosen
) -> Iterator[Callable[[], int]]:
    """Yield the searches of a place after all records are removed."""
    if holder.of_value and isinstance(meant, Carried):
        yield partial(holder.of_value, project, meant)
    if holder.of_leftovers:
        yield partial(holder.of_leftovers, project)


def _left_in_traces(task: ErasureTask, meant: Carried | Chosen) -> dict[str, int]:
    """Count what still has the value, by the name of each place that can tell."""
    if not isinstance(meant, Carried):
        return {}
    return {
        name: holder.count_left(task.project, meant)
        for name, holder in sorted(trace_holders.items())
        if holder.count_left
    }


def count_meant(project: Project, meant: Carried | Chosen) -> dict[str, int]:
    """Count what would be removed, in a read-only transaction."""
    total: Counter[str] = Counter(
        records=0, protected=0, soft_deleted=0, inputs=0, bytes=0
    )
    with transaction.atomic():
        if not connection.savepoint_ids:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION READ ONLY")
        for model in _models(project):
            rows = meant.inferences(model)
            found = rows.aggregate(
                records=Count("id"),
                protected=Count("id", filter=Q(is_protected=True)),
                soft_deleted=Count("id", filter=Q(deleted=True)),
            )
            with_input = rows.with_input().aggregate(
                inputs=Count("id"), bytes=Sum("data_size")
            )
            total.update({name: n or 0 for name, n in (found | with_input).items()})
    return dict(total)


def _models(project: Project) -> Iterable[RegisteredModel]:
    return project.models.select_related("project").order_by("pk")


@transaction.atomic
def _intend(task: ErasureTask, model: RegisteredModel, meant: Carried | Chosen) -> bool:
    """Commit the intents of one batch, which hides its records. Return False if there are none."""
    rows = meant.inferences(model).order_by("id").select_for_update(of=("self",))
    found = {
        row_id: (name, protected, deleted)
        for row_id, name, protected, deleted in rows.values_list(
            "id", "inference_id", "is_protected", "deleted"
        )[: settings.ISTORE_REMOVAL_BATCH]
    }
    if not found:
        return False
    ids = list(found)
    payloads = InferencePayload.objects.beside(model).filter(id__in=ids)
    removal.hide(model, [i for i, (_, _, deleted) in found.items() if not deleted])
    payloads.update(removal_at=Now())
    objects = [
        key
        for keys in payloads.values_list("data_storage_key", "answer_storage_key")
        for key in removal.blob_keys(*keys)
    ]
    went = {
        "records": len(ids),
        "protected": sum(protected for _, protected, _ in found.values()),
        "soft_deleted": sum(deleted for _, _, deleted in found.values()),
        "objects": len(objects),
    }
    ErasedInference.objects.bulk_create(
        (
            ErasedInference(
                task=task,
                digest=bytes.fromhex(task.digest_of(model.model_id, name)),
            )
            for name, _, _ in found.values()
        ),
        ignore_conflicts=True,
    )
    AuditEntry.write(
        task.requested_by,
        "inference.erase",
        model.model_id,
        model.project,
        count=len(ids),
        task=str(task.pk),
    )
    task.advance(
        erased_count=task.erased_count + len(ids),
        report=_with(task.report, "erased", went),
        open_batch={"model": model.pk, "ids": ids, "objects": objects},
    )
    return True


def _carry_out(task: ErasureTask) -> None:
    """Finish the open batch: derived data, blobs, rows, and the proof that they are gone."""
    failpoint("erasure.intended")
    batch: Any = task.open_batch
    model = RegisteredModel.objects.select_related("project").get(pk=batch["model"])
    ids: list[int] = batch["ids"]
    made: dict[str, int] = {}
    began, hours = _began(task), _hours_of(batch["objects"])
    with LeaseKeeper(task).in_background():
        for name, holder in sorted(trace_holders.items()):
            if holder.of_records:
                made[name] = holder.of_records(model, ids)
        failpoint("erasure.made_removed")
        removal.RECORDS.finish(model, ids)
        if copies := sum(
            orphan_members.release_copies(model, start) for start in hours
        ):
            made["copies of captures"] = copies
        touched = {pack_of(key) for key in batch["objects"] if is_member(key)}
        for start in hours:  # where copies were released
            hour = blobs.prefix_for(model.project_id, model.pk, start, "")
            touched |= set(pack_notes.packs_with_notes(hour, since=began))
        below = f"{model.project_id}/{model.pk}/"
        _rewrite_packs(task, touched, below)
        failpoint("erasure.batch_removed")
        broken_off: dict[str, int] = {}
        for start in hours:
            broken_off |= orphan_members.inputs_without_record(model, start)
        left = _rows_left(model, ids) + _objects_left(batch["objects"])
    proof = {"looked_for": len(ids) + len(batch["objects"]), "left": left}
    report = _with(_with(task.report, "traces", made), "proof", proof)
    if broken_off:
        report["broken_off"] = report.get("broken_off", {}) | broken_off
    task.advance(report=report, open_batch=None)


def _began(task: ErasureTask) -> datetime:
    """Return the moment since which this task may have released members of packs."""
    return task.created_at if task.attempt > 1 else now()


def _hours_of(keys: Iterable[str]) -> set[datetime]:
    """Return the hours of members of packs, as their keys tell them."""
    hours = {"/".join(key.split("/")[2:6]) for key in keys if is_member(key)}
    return {
        datetime.strptime(each, "%Y/%m/%d/%H").replace(tzinfo=UTC) for each in hours
    }


def _rows_left(model: RegisteredModel, ids: list[int]) -> int:
    """Return how many rows of the batch are left, in all tables."""
    left = 0
    with connection.cursor() as cursor:
        for table, column in ((ROW, "id"), (COLD, "id"), *sides().values()):
            cursor.execute(
                f"SELECT count(*) FROM {table} "
                f"WHERE model_key = %s AND {column} = ANY(%s)",
                [model.pk, ids],
            )
            left += cursor.fetchone()[0]
    return left


def _objects_left(keys: list[str]) -> int:
    with ThreadPoolExecutor(THREADS, "erasure") as threads:
        there = list(threads.map(blobs.exists, keys))
    gone = [key for key, is_there in zip(keys, there, strict=True) if not is_there]
    return sum(there) + blobs.count_old_versions(gone)


def _rewrite_packs(task: ErasureTask, touched: Iterable[str], below: str) -> None:
    """Rewrite the packs, or delete them whole, and count each of them in the report."""

    def count(done: Rewritten) -> None:
        report = _with(task.report, "packs", done.counts)
        task.advance(heed_stop=False, report=report)

    pack_rewriting.rewrite_until_done(touched, below, count)


def _with(report: dict[str, Any], part: str, counts: dict[str, int]) -> dict[str, Any]:
    """Return the report with the counts added to one part of it."""
    summed = Counter(report.get(part, {}))
    summed.update(counts)
    return {**report, part: dict(summed)}
