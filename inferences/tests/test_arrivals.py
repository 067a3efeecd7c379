"""Following arrivals: nothing is missed, nothing met twice, however late its event is."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction

from inferences.models import InferenceAction
from inferences.store import arrival_order, removal
from inferences.store.recording import NewInference, record

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 1, 2, tzinfo=UTC)


def new(name: str, hours_ago: float = 0) -> NewInference:
    return NewInference(
        inference_id=name,
        inference_action=InferenceAction.DETECT,
        data_hash=bytes(32),
        created_at=NOW - timedelta(hours=hours_ago),
    )


def names(model, after: int, through: int) -> list[str]:
    ids = arrival_order.row_ids(model, after, through)
    return list(
        model.inferences.filter(id__in=ids)
        .order_by("id")
        .values_list("inference_id", flat=True)
    )


def test_a_late_event_is_met_by_who_has_passed_its_time(model):
    record(model, [new("first")])
    passed = arrival_order.committed_watermark(model)
    record(model, [new("late", hours_ago=24)])

    assert names(model, arrival_order.EARLIEST, passed) == ["first"]
    assert names(model, passed, arrival_order.committed_watermark(model)) == ["late"]


def test_a_copy_does_not_arrive_again(model):
    record(model, [new("a")])
    passed = arrival_order.committed_watermark(model)
    record(model, [new("a")])

    assert (
        arrival_order.row_ids(model, passed, arrival_order.committed_watermark(model))
        == []
    )


def test_a_horizon_waits_for_the_batch_that_is_being_written(model):
    """Its numbers are drawn and not committed: without waiting they would be passed."""
    drawn, may_commit = threading.Event(), threading.Event()

    def write() -> None:
        def also(_: set[str]) -> None:
            drawn.set()
            may_commit.wait(10)

        try:
            record(model, [new("slow")], also)
        finally:
            connection.close()

    def let_go() -> None:
        may_commit.wait(0.3)
        may_commit.set()

    writer, helper = threading.Thread(target=write), threading.Thread(target=let_go)
    writer.start()
    assert drawn.wait(10)
    helper.start()
    passed = arrival_order.committed_watermark(model)
    met = names(model, arrival_order.EARLIEST, passed)
    writer.join()
    helper.join()

    assert met == ["slow"]


def test_what_is_written_and_taken_back_does_not_arrive(model):
    with pytest.raises(RuntimeError):
        record(model, [new("never")], _refuse)
    record(model, [new("after")])

    assert names(
        model, arrival_order.EARLIEST, arrival_order.committed_watermark(model)
    ) == ["after"]


def _refuse(_: set[str]) -> None:
    raise RuntimeError


def test_chunks_hold_everything_once(model):
    record(model, [new(f"{n:03}", hours_ago=n % 7) for n in range(25)])
    through, after, met = (
        arrival_order.committed_watermark(model),
        arrival_order.EARLIEST,
        [],
    )
    while (end := arrival_order.end_of_chunk(model, after, through, 10)) is not None:
        chunk = arrival_order.row_ids(model, after, end)
        assert len(chunk) <= 10
        met += chunk
        after = end

    assert sorted(met) == sorted(model.inferences.values_list("id", flat=True))


def test_removed_rows_are_counted_as_passed_and_not_given(model):
    record(model, [new("a"), new("b")])
    removal.remove_one("test", model, "a")
    through = arrival_order.committed_watermark(model)

    assert names(model, arrival_order.EARLIEST, through) == ["b"]
    assert arrival_order.count(model, arrival_order.EARLIEST, through, 10) == 2


def test_arrivals_are_read_from_their_index(model):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT row_id FROM inferences_inferencekey "
            "WHERE model_key = %s AND arrival > 5 AND arrival <= 9",
            [model.pk],
        )
        plan = "\n".join(line for (line,) in cursor)

    assert "key_by_arrival" in plan
