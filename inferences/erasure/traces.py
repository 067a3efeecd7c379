"""Other places of this app that may hold an erased value: history, uploads, responses."""

from __future__ import annotations

import json
import secrets
from urllib.parse import unquote_plus

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from inferences.erasure import TraceHolder, trace_holders
from inferences.erasure.matching_records import Carried
from inferences.ground_truth.references import tokens_of
from inferences.maintenance.orphan_blobs import collect_grants
from inferences.models import (
    InferencePayload,
    MetadataChange,
    PendingTruth,
    RegisteredModel,
    SavedView,
    SourceName,
    UploadGrant,
)
from inferences.models.metadata_values import in_slot
from inferences.search.zone_maps import build
from inferences.store import metadata_slots
from inferences.store.removal import marker_key
from istore import blobs
from istore.blobs import packs
from istore.models import IdempotentCall, Project


def register() -> None:
    """Register the places of this app."""
    trace_holders.register("history", TraceHolder(of_value=former_values))
    trace_holders.register(
        "staged uploads", TraceHolder(of_value=delete_staged_metadata)
    )
    trace_holders.register(
        "kept answers",
        TraceHolder(of_records=kept_answers_of, of_value=kept_answers),
    )
    trace_holders.register("source names", TraceHolder(of_value=source_names))
    trace_holders.register("pending actuals", TraceHolder(of_value=pending_actuals))
    trace_holders.register("saved views", TraceHolder(of_value=saved_views))
    trace_holders.register("segments", TraceHolder(of_value=segments))


def former_values(project: Project, carried: Carried) -> int:
    """Delete history rows with the value, and the markers of their records; return how many.

    The record stays, because its metadata does not have the value any more. But its marker
    holds the metadata as it arrived, so the marker is deleted and the record notes it.
    """
    went = 0
    for model in project.models.order_by("pk"):
        for row in carried.changes(model):
            with transaction.atomic():
                payload = _locked(model, row.row_id)
                if payload is not None and payload.answer_storage_key:
                    # The note is committed first, so a missing marker is always explained.
                    _say_erased(model.pk, row.row_id)
            _delete_marker(model, row.row_id)
            MetadataChange.objects.filter(registered_model=model, pk=row.pk).delete()
            went += 1
    return went


def _delete_marker(model: RegisteredModel, row_id: int) -> None:
    """Delete the marker of a record, if the record is there.

    The lock keeps a record in a pack where it is, as the pack may be rewritten meanwhile. An
    object of its own is deleted without: no pack is made of it with its marker, once that is
    noted as erased, and the object store may take its time.
    """
    with transaction.atomic():
        payload = _locked(model, row_id)
        if payload is None or not payload.answer_storage_key:
            return
        marker = marker_key(payload.answer_storage_key)
        if marker and packs.is_member(marker):
            blobs.delete([marker])
            return
    blobs.delete([marker] if marker else [])


def _locked(model: RegisteredModel, row_id: int) -> InferencePayload | None:
    rows = InferencePayload.objects.beside(model).filter(id=row_id)
    return rows.select_for_update().first()


def _say_erased(model_key: int, row_id: int) -> None:
    """Note in the payload that the marker was erased."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {InferencePayload._meta.db_table} "
            """SET notes = coalesce(notes, '{}') || '{"marker_erased": true}' """
            "WHERE model_key = %s AND id = %s",
            [model_key, row_id],
        )


def delete_staged_metadata(project: Project, carried: Carried) -> int:
    """Delete uploaded metadata with the value that waits for its create or was left behind."""
    grants = UploadGrant.objects.filter(
        registered_model__project=project, kind="metadata"
    )
    went = 0
    for row in grants.order_by("pk").iterator(500):
        if _holds(row.storage_key, carried):
            if row.bound_at:
                blobs.delete([row.storage_key])
            else:
                collect_grants([row])
            went += 1
    return went


def _holds(key: str, carried: Carried) -> bool:
    try:
        if blobs.size(key) > settings.ISTORE_API_MAX_BODY_BYTES:
            return False  # no create reads so much
        given = json.loads(blobs.get(key))
        metadata = given["metadata"]
        if carried.is_source:
            source = metadata["standard_metadata"]["data_source"]
            return bool(source == carried.value)
        return carried.is_among(metadata["extended_metadata"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return False


def kept_answers(project: Project, carried: Carried) -> int:
    """Delete responses kept for idempotency that contain the value; return how many.

    A repeat of such a call is carried out again.
    """
    quoted = json.dumps(carried.value, ensure_ascii=False)
    if carried.type.startswith("json."):
        quoted = quoted[1:-1]  # the value is inside a JSON text, so without its quotes
    return _delete_kept_answers(project, [quoted])


def kept_answers_of(model: RegisteredModel, row_ids: list[int]) -> int:
    """Delete responses kept for idempotency that name one of these inferences; return how many."""
    rows = model.inferences.filter(id__in=row_ids)
    names = rows.values_list("inference_id", flat=True)
    quoted = [json.dumps(name, ensure_ascii=False) for name in names]
    return _delete_kept_answers(model.project, quoted)


def _delete_kept_answers(project: Project, texts: list[str]) -> int:
    """Delete the kept responses to callers of the project that have one of the texts."""
    callers = [f"token {key}" for key in project.tokens.values_list("pk", flat=True)]
    members = project.memberships.values_list("user_id", flat=True)
    administrators = get_user_model().objects.filter(is_superuser=True)
    callers += [f"user {key}" for key in members]
    callers += [f"user {key}" for key in administrators.values_list("pk", flat=True)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {IdempotentCall._meta.db_table} WHERE status IS NOT NULL "
            "AND caller = ANY(%s) AND EXISTS (SELECT FROM unnest(%s::bytea[]) AS said "
            "WHERE position(said IN content) > 0)",
            [callers, [each.encode() for each in texts]],
        )
        count: int = cursor.rowcount
    return count


def source_names(project: Project, carried: Carried) -> int:
    """Overwrite the name of the source; return how many names there were.

    Its number stays, because processes cache it and may write it again.
    """
    if not carried.is_source:
        return 0
    words = SourceName.objects.filter(
        registered_model__project=project, name=in_slot(carried.value)
    )
    for word in words:
        metadata_slots.sources.known.pop((word.registered_model_id, word.name), None)
        SourceName.objects.filter(pk=word.pk).update(
            name=f"erased {secrets.token_hex(8)}"
        )
    return len(words)


def pending_actuals(project: Project, carried: Carried) -> int:
    """Delete pending ground truth that waits for an inference with the value."""
    if carried.is_source or carried.type.startswith("json."):
        return 0
    metadata = {carried.key: [carried.type, carried.value]}
    *_, token = tokens_of("", "", metadata)
    waiting = PendingTruth.objects.filter(tokens__contains=[token])
    models = project.models.order_by("pk")
    return sum(waiting.filter(registered_model=each).delete()[0] for each in models)


def saved_views(project: Project, carried: Carried) -> int:
    """Delete saved views whose query has the value."""
    views = SavedView.objects.filter(registered_model__project=project)
    named = "source" if carried.is_source else carried.path[0]
    asking = [
        view.pk
        for view in views.iterator(500)
        if named in (asked := unquote_plus(view.query)) and carried.value in asked
    ]
    views.filter(pk__in=asking).delete()
    return len(asking)


def segments(project: Project, carried: Carried) -> int:
    """Empty the segments of zone maps whose bounds or counts have the value."""
    if carried.is_source:
        return 0  # they count sources by number
    emptied = 0
    for model in project.models.order_by("pk"):
        place = metadata_slots.place_of(model, carried.key, carried.type)
        if place is not None and place.slot:
            value = carried.operand
            if isinstance(value, str):
                value = in_slot(value)
            emptied += build.forget_value(model.pk, place.slot, value)
    return emptied
