"""An id that is reserved belongs to one call, whoever else wants it."""

from __future__ import annotations

import re
import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferences.ground_truth import pending_truths, upsert
from inferences.maintenance.consistency_checks import keys as keys_alone
from inferences.models import InferenceKey
from inferences.store import arrival_order, reservations
from inferences.store.reading import find_inference
from inferences.store.recording import Outcome, record
from inferences.store.removal import remove_one
from inferences.store.reservations import State, Wish, free_old, release, reserve
from inferences.tests.builders import digest, new, wish
from ingest.models import DeadLetter
from ingest.tasks import free_reservations
from istore.checks.verification import Scope
from istore.db.clock import now

pytestmark = pytest.mark.django_db


def test_a_free_id_is_reserved_once_and_shared_by_the_same_call(model):
    (first,) = reserve([wish(model)])
    (again,) = reserve([wish(model)])
    (other,) = reserve([wish(model, call="second")])

    assert (first.state, first.is_new) == (State.RESERVED, True)
    assert (again.state, again.is_new) == (State.RESERVED, False)
    assert other.state is State.TAKEN


def test_wishes_of_one_batch_are_settled_in_their_order(model):
    calls = ["first", "second", "first"]
    found = reserve([wish(model, call=each) for each in calls])

    assert [each.state for each in found] == [
        State.RESERVED,
        State.TAKEN,
        State.RESERVED,
    ]
    assert [each.is_new for each in found] == [True, False, False]


def test_the_holder_of_an_id_is_known_behind_others_that_wish_for_it(model):
    """In one batch: another call first, which finds the id taken."""
    reserve([wish(model)])
    record(model, [new("b", reservation=digest("first"))])
    record(model, [new("gone", reservation=digest("first"))])
    model.inferences.filter(inference_id="gone").update(deleted=True)

    for name, state in (
        ("a", State.RESERVED),
        ("b", State.STORED),
        ("gone", State.REMOVED),
    ):
        calls = ["second", "first", "third", "first"]
        found = reserve([wish(model, name, each) for each in calls])
        assert [each.state for each in found] == [
            State.TAKEN,
            state,
            State.TAKEN,
            state,
        ]
        assert not any(each.is_new for each in found)


def test_only_the_call_it_was_reserved_for_is_stored_under_it(model):
    reserve([wish(model)])

    assert record(model, [new("a")])["a"] is Outcome.OTHER
    assert record(model, [new("a", reservation=digest("second"))])["a"] is Outcome.OTHER
    assert record(model, [new("a", reservation=digest("first"))])["a"] is Outcome.NEW
    assert record(model, [new("a", reservation=digest("first"))])["a"] is Outcome.COPY
    assert find_inference(model, "a") is not None
    key = InferenceKey.objects.get(inference_id="a")
    assert key.reserved_at is None and key.arrival > 0


def test_a_reservation_does_not_hold_up_the_others_of_a_batch(model):
    reserve([wish(model)])

    found = record(model, [new("a"), new("b"), new("c", reservation=digest("x"))])

    assert found == {"a": Outcome.OTHER, "b": Outcome.NEW, "c": Outcome.NEW}


def test_a_stored_record_says_whether_it_is_the_same_call(model):
    record(model, [new("a", reservation=digest("first"))])
    stored = new("a").content_hash

    (same,) = reserve([wish(model)])
    (other,) = reserve([wish(model, call="second")])

    assert same.state is State.STORED
    assert (other.state, other.content_hash) == (State.TAKEN, stored)


@pytest.mark.parametrize("call", ["first", "second"])
def test_what_was_removed_for_good_is_told(model, call):
    record(model, [new("a", reservation=digest("first"))])
    assert remove_one("test", model, "a")

    assert reserve([wish(model, call=call)])[0].state is State.REMOVED


def test_what_is_soft_deleted_is_hidden(model):
    record(model, [new("a", reservation=digest("first"))])
    model.inferences.update(deleted=True)

    assert reserve([wish(model)])[0].state is State.REMOVED
    (other,) = reserve([wish(model, call="second")])
    assert other.state is State.TAKEN and other.is_hidden


def test_a_model_that_is_gone_reserves_nothing(model):
    gone = Wish(model.pk + 1000, "a", digest("first"))

    assert [each.state for each in reserve([gone, wish(model)])] == [
        State.TAKEN,
        State.RESERVED,
    ]


def test_who_shares_a_reservation_keeps_it_when_the_first_gives_it_back(model):
    (first,) = reserve([wish(model)])
    (again,) = reserve([wish(model)])

    release([first])
    assert InferenceKey.objects.get().row_id is None
    release([again])  # it did not make it
    assert InferenceKey.objects.exists()


def test_a_reservation_that_is_given_back_is_free(model):
    release(reserve([wish(model), wish(model, "b")]))

    assert not InferenceKey.objects.exists()
    assert record(model, [new("a")])["a"] is Outcome.NEW


def test_a_stored_key_is_never_given_back(model):
    (first,) = reserve([wish(model)])
    record(model, [new("a", reservation=digest("first"))])

    release([first])

    assert find_inference(model, "a") is not None


def test_lost_reservations_are_freed_after_their_time(model, settings):
    settings.ISTORE_RESERVATION_HOURS = 2
    reserve([wish(model), wish(model, "aside")])
    record(model, [new("stored", reservation=digest("x"))])
    DeadLetter.objects.create(
        stream_id="1-1",
        reason="missing-blob",
        payload=b"{}",
        inference_id="aside",
        metadata_storage_key=f"{model.project_id}/{model.pk}/2026/01/01/01/x/metadata",
    )

    free_reservations()
    assert InferenceKey.objects.count() == 3
    InferenceKey.objects.filter(row_id=None).update(
        reserved_at=now() - timedelta(hours=3)
    )
    free_reservations()

    left = InferenceKey.objects.values_list("inference_id", flat=True)
    assert set(left) == {"aside", "stored"}
    assert free_old(now()) == 1  # nothing is set aside any more


def test_a_reservation_is_no_record_to_anyone_else(model):
    reserve([wish(model)])

    assert find_inference(model, "a") is None
    assert not remove_one("test", model, "a")
    assert list(keys_alone(Scope(at=now(), repair=True))) == []
    through = arrival_order.committed_watermark(model)
    assert arrival_order.row_ids(model, arrival_order.EARLIEST, through) == []
    assert arrival_order.count(model, arrival_order.EARLIEST, through) == 0
    assert InferenceKey.objects.get().row_id is None


def test_ground_truth_of_a_reserved_id_waits_for_its_record(model):
    reserve([wish(model)])

    assert upsert.put_truth("test", model, "a", {"labels": ["ship"]}) is None
    record(model, [new("a", reservation=digest("first"))])

    assert upsert.find_truth(model, "a") is not None
    assert not pending_truths.PendingTruth.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_a_create_and_a_reservation_at_once_one_has_the_id(model):
    """The create holds the key until it commits: the reservation waits, and sees it."""
    found = []

    def other_process() -> None:
        found.extend(reserve([wish(model)]))
        connection.close()

    thread = threading.Thread(target=other_process)
    written, may_commit = threading.Event(), threading.Event()

    def hold(_: set[str]) -> None:
        written.set()
        assert may_commit.wait(10)

    def create() -> None:
        found.append(record(model, [new("a")], hold)["a"])
        connection.close()

    creating = threading.Thread(target=create)
    creating.start()
    assert written.wait(10)
    thread.start()
    thread.join(0.2)
    may_commit.set()
    creating.join(10)
    thread.join(10)
    assert Outcome.NEW in found
    (reservation,) = [each for each in found if each is not Outcome.NEW]
    assert reservation.state is State.TAKEN
    assert reservation.content_hash == new("a").content_hash


@pytest.mark.django_db(transaction=True)
def test_an_id_that_is_given_back_while_it_is_stored_is_stored_all_the_same(model):
    """The batch met a reservation that is gone when it looks again."""
    (held,) = reserve([wish(model, call="lost")])
    looked = []

    def met(model, batch):
        if not looked:  # as before the reservation came
            looked.append(True)
            return {}
        release([held])
        return real(model, batch)

    from inferences.store import recording

    real = recording.met_before
    recording.met_before = met
    try:
        assert record(model, [new("a")])["a"] is Outcome.NEW
    finally:
        recording.met_before = real


def test_reserving_reads_keys_by_their_index_whatever_is_known_of_the_tables(model):
    InferenceKey.objects.bulk_create(
        InferenceKey(registered_model=model, inference_id=f"{n}", row_id=n)
        for n in range(5_000)
    )
    given = [{"name": f"{n}", "digest": "00"} for n in range(200)]
    values = {"model": model.pk, "given": reservations.write_json(given)}
    plan = explained(reservations.RESERVE, values)

    assert "Seq Scan on inferences_inferencekey" not in plan
    # A partition of one page is read as cheaply whole, if its statistics say that.
    whole = re.findall(
        r"Seq Scan on inferences_inferencepayload\S* .*\.\.([0-9.]+) ", plan
    )
    assert all(float(cost) < 5 for cost in whole)


def explained(statement: str, values: dict) -> str:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {statement}", values)
        return "\n".join(line for (line,) in cursor.fetchall())


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "store", "create", "release", "remove"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["first", "second"]),
    ),
    max_size=14,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(CALLS)
def test_who_was_told_an_id_has_it(model, calls):
    """Whatever comes in between: a promise is kept, or the id was removed since."""
    with transaction.atomic():
        promised: dict[str, str] = {}  # id → the call it was promised to
        held = {}
        removed: set[str] = set()
        for act, name, call in calls:
            if act == "reserve":
                (found,) = reserve([wish(model, name, call)])
                if found.state is State.RESERVED:
                    assert promised.setdefault(name, call) == call
                    held.setdefault((name, call), found)
                elif found.state is State.REMOVED:
                    assert name in removed
            elif act == "store" and promised.get(name) == call:
                content = {"content": call, "reservation": digest(call)}
                outcome = record(model, [new(name, **content)])[name]
                gone = Outcome.REMOVED if name in removed else None
                assert outcome in (gone or Outcome.NEW, gone or Outcome.COPY)
            elif act == "create":
                outcome = record(model, [new(name, content="api")])[name]
                if name in promised and name not in removed:
                    assert outcome is Outcome.OTHER
                elif name not in removed:
                    assert outcome in (Outcome.NEW, Outcome.COPY)
            elif act == "release" and promised.get(name) == call:
                there = InferenceKey.objects.filter(inference_id=name, row_id=None)
                reservation = held.pop((name, call), None)
                if reservation is not None:
                    release([reservation])
                    if not there.exists() and find_inference(model, name) is None:
                        promised.pop(name)
            elif act == "remove" and remove_one("test", model, name):
                removed.add(name)
                promised.pop(name, None)
        transaction.set_rollback(True)
