from __future__ import annotations

from celery import shared_task

from inferences import housekeeping
from inferences.partitions import make_ahead
from istore.clock import now


@shared_task
def make_partitions() -> None:
    make_ahead(now())


@shared_task
def compact_metadata_counts() -> None:
    housekeeping.compact_counts()


@shared_task
def free_tombstones() -> None:
    housekeeping.free_tombstones(now())
