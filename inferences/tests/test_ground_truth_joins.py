"""Joins and history against a model of them in plain Python, whatever the order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferences.ground_truth import joining
from inferences.ground_truth.joining import Actual, join
from inferences.ground_truth.references import Reference
from inferences.ground_truth.upsert import history, put_truth, remove_truth
from inferences.models import InferenceAction, RegisteredModel, TaskType
from inferences.models.ground_truth import GroundTruth, PendingTruth
from inferences.store import removal
from inferences.store.recording import NewInference, record
from inferences.tests.builders import typed
from istore import failpoints
from istore.db import clock
from istore.errors import Conflict

IDS, FRAMES, LABELS = "abc", (1, 2), ("ship", "tug", "ferry")
HASHES = {name: name.encode() * 32 for name in "xy"}

ids = st.sampled_from(IDS)
labels = st.sampled_from(LABELS)
references = (
    ids.map(lambda name: Reference("inference_id", name))
    | st.sampled_from("xy").map(lambda n: Reference("data_hash", HASHES[n].hex()))
    | st.sampled_from(FRAMES).map(lambda n: Reference("metadata", str(n), "frame"))
)
arrivals = st.tuples(ids, st.sampled_from("xy"), st.sampled_from(FRAMES))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.lists(arrivals, min_size=1, max_size=2)),
        st.tuples(st.just("put"), st.tuples(ids, labels)),
        st.tuples(
            st.just("join"),
            st.lists(st.tuples(references, labels), min_size=1, max_size=4),
        ),
        st.tuples(st.just("take"), ids),
        st.tuples(st.just("remove"), ids),
    ),
    max_size=12,
)


@dataclass
class Expected:
    """What is there, by inference id; pending actuals by what they wait for."""

    here: dict[str, tuple[str, int]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    truth: dict[str, str] = field(default_factory=dict)
    former: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    pending: dict[str, tuple[Reference, str, int]] = field(default_factory=dict)
    turn: int = 0

    def meant(self, reference: Reference) -> list[str]:
        return [name for name, _ in self.here.items() if self.is_meant(reference, name)]

    def is_meant(self, reference: Reference, name: str) -> bool:
        digest, frame = self.here[name]
        return {
            "inference_id": reference.value == name,
            "data_hash": reference.value == HASHES[digest].hex(),
            "metadata": reference.value == str(frame),
        }[reference.by]

    def set(self, name: str, label: str) -> None:
        if self.truth.get(name, label) != label:
            self.former.setdefault(name, []).append((self.truth[name], False))
        self.truth[name] = label

    def record(self, batch: list[tuple[str, str, int]]) -> None:
        came = []
        for name, digest, frame in batch:
            if name not in self.here and name not in self.gone:
                self.here[name] = digest, frame
                came.append(name)
        met = [
            (turn, awaited)
            for awaited, (reference, _, turn) in self.pending.items()
            if any(self.is_meant(reference, name) for name in came)
        ]
        for _, awaited in sorted(met, key=lambda pair: pair[0]):
            reference, label, _ = self.pending.pop(awaited)
            for name in came:
                if self.is_meant(reference, name):
                    self.truth[name] = label

    def join(self, actuals: list[tuple[Reference, str]]) -> None:
        last: dict[str, str] = {}
        for reference, label in actuals:
            for name in self.meant(reference):
                last[name] = label
        for name, label in last.items():
            self.set(name, label)
        for reference, label in actuals:
            names_gone = reference.by == "inference_id" and reference.value in self.gone
            if not self.meant(reference) and not names_gone:
                self.pending[str(reference)] = reference, label, self.turn

    def put(self, asked: tuple[str, str]) -> None:
        self.join([(Reference("inference_id", asked[0]), asked[1])])

    def take(self, name: str) -> None:
        self.pending.pop(str(Reference("inference_id", name)), None)
        if name in self.truth:
            self.former.setdefault(name, []).append((self.truth.pop(name), True))

    def remove(self, name: str) -> None:
        if name in self.here:
            del self.here[name]
            self.gone.add(name)
            self.truth.pop(name, None)
            self.former.pop(name, None)


def carry_out(model: RegisteredModel, what: str, asked: Any) -> None:
    if what == "record":
        moment = datetime(2025, 6, 1, tzinfo=UTC)
        batch = [
            NewInference(
                inference_id=name,
                inference_action=InferenceAction.PREDICT,
                data_hash=HASHES[digest],
                created_at=moment,
                metadata=[typed("frame", frame)],
            )
            for name, digest, frame in asked
        ]
        record(model, batch)
    elif what == "put":
        with suppress(Conflict):
            put_truth("test", model, asked[0], {"labels": [asked[1]]})
    elif what == "join":
        join("test", model, [Actual(r, {"labels": [label]}) for r, label in asked])
    elif what == "take":
        remove_truth("test", model, asked)
    else:
        removal.remove_one("test", model, asked)


def label_of(truth: dict[str, Any]) -> str:
    return truth["labels"][0]


@pytest.fixture
def ticking(monkeypatch):
    """A clock that goes on within the transaction of a test."""
    ticks = count()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    now = lambda: start + timedelta(seconds=next(ticks))  # noqa: E731
    monkeypatch.setattr(clock, "now", now)


def test_whatever_comes_in_whatever_order(project, ticking):
    numbers = count()

    @settings(
        max_examples=80,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps)
    def holds(asked: list[tuple[str, Any]]) -> None:
        model = RegisteredModel.objects.create(
            model_id=f"m{next(numbers)}",
            project=project,
            task_type=TaskType.IMAGE_CLASSIFICATION,
        )
        expected = Expected()
        for what, how in asked:
            expected.turn += 1
            getattr(expected, what)(how)
            carry_out(model, what, how)

        rows = dict(model.inferences.live().values_list("inference_id", "id"))
        assert rows.keys() == expected.here.keys()
        found = {row.id: row for row in GroundTruth.objects.beside(model)}
        assert len(found) == len(expected.truth)
        for name, row_id in rows.items():
            told = found.get(row_id)
            assert (told and label_of(told.truth)) == expected.truth.get(name)
            former = [v for v in history(model, row_id) if v.until]
            said = [(label_of(v.truth), v.is_removal) for v in former]
            assert said == expected.former.get(name, [])
        waiting = PendingTruth.objects.filter(registered_model=model)
        assert {w.awaited: label_of(w.truth) for w in waiting} == {
            awaited: label for awaited, (_, label, _) in expected.pending.items()
        }

    holds()


@pytest.mark.django_db(transaction=True)
def test_an_actual_and_its_inference_that_come_at_once_meet(project):
    model = RegisteredModel.objects.create(
        model_id="m", project=project, task_type=TaskType.IMAGE_CLASSIFICATION
    )

    def at_once(*acts: Any) -> None:
        barrier = threading.Barrier(len(acts))

        def run(act: Any) -> None:
            try:
                barrier.wait()
                act()
            finally:
                connection.close()

        with ThreadPoolExecutor(len(acts)) as pool:
            list(pool.map(run, acts))

    for turn in range(15):
        name, reference = f"i{turn}", Reference("inference_id", f"j{turn}")
        at_once(
            partial(put_truth, "test", fresh(model), name, {"labels": ["ship"]}),
            partial(record, fresh(model), [arrival(name)]),
            partial(join, "test", fresh(model), [Actual(reference, {"labels": ["a"]})]),
            partial(record, fresh(model), [arrival(f"j{turn}")]),
        )

    assert GroundTruth.objects.beside(model).count() == 30
    assert not PendingTruth.objects.exists()


def fresh(model: RegisteredModel) -> RegisteredModel:
    return RegisteredModel.objects.get(pk=model.pk)


def arrival(name: str) -> NewInference:
    return NewInference(
        inference_id=name,
        inference_action=InferenceAction.PREDICT,
        data_hash=b"\0" * 32,
        created_at=datetime(2025, 6, 1, tzinfo=UTC),
    )


@pytest.mark.django_db(transaction=True)
def test_actuals_wait_a_batch_at_a_time_and_meet_what_arrives_in_between(
    project, monkeypatch
):
    monkeypatch.setattr(joining, "WAIT_AT_ONCE", 2)
    model = RegisteredModel.objects.create(
        model_id="m", project=project, task_type=TaskType.IMAGE_CLASSIFICATION
    )
    actuals = [
        Actual(Reference("inference_id", name), {"labels": ["ship"]})
        for name in "abcdef"
    ]
    failpoints.arm("ground_truth.waiting:2=raise")
    try:
        with pytest.raises(failpoints.Failure):
            join("test", model, actuals)
    finally:
        failpoints.arm("")
    assert PendingTruth.objects.count() == 4

    def arrive(name: str) -> None:
        if name == "ground_truth.waiting" and not GroundTruth.objects.exists():
            record(model, [arrival("a"), arrival("f")])

    monkeypatch.setattr(joining, "failpoint", arrive)
    told = join("test", model, actuals)
    assert (told.changed, told.waiting) == (1, 5)  # "f"; "a" took what waited for it
    waiting = PendingTruth.objects.order_by("awaited")
    assert [each.awaited[-1] for each in waiting] == ["b", "c", "d", "e"]
    truths = GroundTruth.objects.all()
    assert [each.truth for each in truths] == [{"labels": ["ship"]}] * 2


@pytest.mark.django_db(transaction=True)
def test_the_same_again_waits_on_and_a_day_later_longer(project):
    model = RegisteredModel.objects.create(
        model_id="m", project=project, task_type=TaskType.IMAGE_CLASSIFICATION
    )
    actuals = [Actual(Reference("inference_id", "a"), {"labels": ["ship"]})]
    join("test", model, actuals)
    first = PendingTruth.objects.get().set_at
    join("test", model, actuals)
    assert PendingTruth.objects.get().set_at == first
    PendingTruth.objects.update(set_at=first - timedelta(days=2))
    join("test", model, actuals)
    assert PendingTruth.objects.get().set_at > first
    join("test", model, [Actual(Reference("inference_id", "a"), {"labels": ["tug"]})])
    assert PendingTruth.objects.get().truth == {"labels": ["tug"]}


@pytest.mark.django_db(transaction=True)
def test_a_join_that_is_broken_off_is_finished_by_doing_it_again(project):
    model = RegisteredModel.objects.create(
        model_id="m", project=project, task_type=TaskType.IMAGE_CLASSIFICATION
    )
    record(model, [arrival("a")])
    actuals = [
        Actual(Reference("inference_id", name), {"labels": ["ship"]}) for name in "ab"
    ]

    failpoints.arm("ground_truth.joined=raise")
    try:
        with pytest.raises(failpoints.Failure):
            join("test", model, actuals)
    finally:
        failpoints.arm("")
    assert GroundTruth.objects.count() == 1
    assert not PendingTruth.objects.exists()

    told = join("test", model, actuals)
    assert (told.changed, told.waiting) == (0, 1)
    assert PendingTruth.objects.get().awaited == "inference_id=b"
