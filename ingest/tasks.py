from __future__ import annotations

from contextlib import closing

from celery import shared_task

from inferences.store import reservations
from ingest import reconciling
from ingest.models import DeadLetter
from ingest.stream import EventStream
from istore.db.clock import now


@shared_task
def reconcile() -> None:
    with closing(EventStream()) as stream:
        reconciling.reconcile(stream)


@shared_task
def free_reservations() -> None:
    """Free ids whose calls were lost; not those of events that may yet be replayed."""
    aside = DeadLetter.objects.filter(replayed_at=None).exclude(inference_id="")
    keep = set()
    for key, inference_id in aside.values_list("metadata_storage_key", "inference_id"):
        model_key = key.split("/")[1:2]
        if model_key and model_key[0].isdecimal():
            keep.add((int(model_key[0]), inference_id))
    reservations.free_old(now(), keep)
