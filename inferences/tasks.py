"""The Celery tasks of the store. Beat starts most of them; each may run twice."""

from __future__ import annotations

import logging
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db.models import Q
from kombu.exceptions import OperationalError

from inferences.embedding_maps import neighbours
from inferences.erasure import running
from inferences.ground_truth import file_tasks, pending_truths
from inferences.maintenance import (
    compaction,
    disk_space,
    orphan_blobs,
    storage_by_model,
)
from inferences.models import (
    InferencePayload,
    MapTask,
    RegisteredModel,
    TextIndexTask,
)
from inferences.models.erasure import ErasureTask
from inferences.models.ground_truth import TruthFile
from inferences.search.vectors import moving
from inferences.search.zone_maps import build
from inferences.store import (
    class_migration,
    pack_rewriting,
    removal,
    soft_deletion,
    text_reindexing,
)
from inferences.store.partitions import make_ahead
from istore.blobs import moves
from istore.blobs.storage_failures import logging_failures
from istore.db.clock import now
from istore.tasks.tracking import LEASE

logger = logging.getLogger(__name__)


@shared_task
def make_partitions() -> None:
    make_ahead(now())


@shared_task
def give_back_disk_space() -> None:
    disk_space.give_back(now())


@shared_task
def compact_metadata_counts() -> None:
    compaction.compact_counts()


@shared_task
def free_tombstones() -> None:
    compaction.free_tombstones(now())


@shared_task
def remove_soft_deleted() -> None:
    soft_deletion.remove_old(now())


@shared_task
def give_up_pending_truths() -> None:
    pending_truths.give_up(now())


@shared_task
def rewrite_packs() -> None:
    """Rewrite packs of an object store of which a member was released long enough ago.

    All is to be done within ``ISTORE_PACK_COMPACT_MINUTES`` of a release. One half of them is for
    other releases to come together in one rewrite, the other for the work itself.
    """
    patience = timedelta(minutes=settings.ISTORE_PACK_COMPACT_MINUTES) / 2
    pack_rewriting.rewrite_all(before=now() - patience)
    moves.forget_old(now())


@shared_task
def collect_uploads() -> None:
    orphan_blobs.collect_uploads(now())


@shared_task
def run_erasure(task_id: str) -> None:
    task = ErasureTask.objects.select_related("project").filter(pk=task_id).first()
    if task is not None:
        running.erase(task)


@shared_task
def join_truth_file(task_id: str) -> None:
    files = TruthFile.objects.select_related("registered_model__project")
    if task := files.filter(pk=task_id).first():  # else its model is gone
        file_tasks.carry_out(task)


@shared_task
def lay_out_embeddings(task_id: str) -> None:
    tasks = MapTask.objects.select_related("registered_model__project")
    if task := tasks.filter(pk=task_id).first():  # else its model is gone
        neighbours.carry_out(task)


@shared_task
def extend_embedding_maps() -> None:
    neighbours.extend_all()


@shared_task
def index_texts(task_id: str) -> None:
    tasks = TextIndexTask.objects.select_related("registered_model__project")
    if task := tasks.filter(pk=task_id).first():  # else its model is gone
        text_reindexing.carry_out(task)


@shared_task
def start_text_indexes() -> None:
    text_reindexing.start_waiting()


@shared_task
def tell_classes_apart() -> None:
    class_migration.tell_all_apart()


@shared_task
def seal_segments() -> None:
    build.seal()


@shared_task
def measure_storage() -> None:
    storage_by_model.measure()


@shared_task
def finish_removals(model_key: int | None = None) -> None:
    """Carry out the intents of one model, or without one the old intents of every model.

    Intents younger than one lease are left to whoever committed them. What cannot be removed in
    one model stops no other: its intents stay, ``verify`` tells of them, and the next run of beat
    tries again.
    """
    models, latest = RegisteredModel.objects.all(), now() - LEASE
    if model_key is not None:
        models, latest = models.filter(pk=model_key), now()
    for model in models:
        payloads = InferencePayload.objects.beside(model)
        for kind, intended in (
            (removal.RECORDS, Q(removal_at__lte=latest)),
            (removal.INPUTS, Q(input_removal_at__lte=latest)),
        ):
            if payloads.filter(intended).exists():
                with logging_failures(f"Removals of {kind.name} of {model}"):
                    kind.finish(model)


@shared_task
def tend_vectors(model_key: int | None = None) -> None:
    """Move recent vectors and build the vector indexes that pay off, of one model or of all."""
    models = RegisteredModel.objects.filter(embedding_size__gt=0)
    if model_key is not None:
        models = models.filter(pk=model_key)
    for model in models:
        moving.tend(model)


def notify_removals(model_key: int) -> None:
    """Send the queue message of a model's removals.

    Without a broker, beat's next round carries them out.
    """
    try:
        finish_removals.delay(model_key)
    except OperationalError:
        logger.warning("The broker does not answer; removals wait for the next round.")
