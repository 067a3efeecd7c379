from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models import Sum

from inferences.maintenance import compaction
from inferences.management.commands import make_partitions as command
from inferences.models import InferenceKey, MetadataKeyCount
from inferences.store.partitions import make_ahead, upper_bound
from inferences.tasks import compact_metadata_counts, free_tombstones, make_partitions
from istore.db.clock import now

pytestmark = pytest.mark.django_db


def test_deltas_are_summed_and_what_sums_to_nothing_goes(model):
    def add(key: str, type_: str, delta: int) -> None:
        MetadataKeyCount.objects.create(
            registered_model=model, key=key, type=type_, delta=delta
        )

    for delta in (5, 3, -2):
        add("camera", "string", delta)
    add("camera", "int", 1)
    for delta in (4, -4):
        add("gone", "int", delta)

    compact_metadata_counts()

    left = MetadataKeyCount.objects.order_by("type").values_list("key", "type", "delta")
    assert list(left) == [("camera", "int", 1), ("camera", "string", 6)]
    assert compaction.compact_counts() == 0


def test_compaction_keeps_the_counts_of_records(make_inference, model):
    for n in range(4):
        make_inference({"n": n, "camera": "north"})
    before = MetadataKeyCount.objects.aggregate(Sum("delta"))

    compaction.compact_counts()

    assert MetadataKeyCount.objects.aggregate(Sum("delta")) == before
    assert MetadataKeyCount.objects.count() == 2


def test_tombstones_are_freed_after_their_time_and_ids_in_use_never(
    model, make_inference, settings, monkeypatch
):
    monkeypatch.setattr(compaction, "AT_ONCE", 2)
    make_inference(inference_id="alive")
    days = settings.ISTORE_TOMBSTONE_DAYS
    for name, age in (("old", days + 1), ("older", days + 9), ("young", days - 1)):
        InferenceKey.objects.create(
            registered_model=model,
            inference_id=name,
            row_id=1,
            removed_at=now() - timedelta(days=age),
        )

    free_tombstones()

    left = InferenceKey.objects.values_list("inference_id", flat=True)
    assert sorted(left) == ["alive", "young"]


def test_partitions_are_made_once_and_the_command_tells_of_them():
    make_partitions()
    end = upper_bound()
    # As if nobody had come by for a long time.
    made = make_ahead(end + timedelta(days=10))
    assert made
    assert made[0] == end

    out = StringIO()
    call_command("make_partitions", stdout=out)

    assert out.getvalue() == f"There is room until {upper_bound():%Y-%m-%d}.\n"


def test_the_command_says_what_it_made(monkeypatch):
    later = now() + timedelta(days=100)
    monkeypatch.setattr(command, "now", lambda: later)
    out = StringIO()
    call_command("make_partitions", stdout=out)

    assert out.getvalue().startswith("Made a partition that starts on ")
