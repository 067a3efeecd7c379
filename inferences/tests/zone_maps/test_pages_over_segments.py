"""Pages that pass over segments are the pages of the plain query, whatever was written."""

from __future__ import annotations

from contextlib import contextmanager
from random import Random

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferences.models import (
    InferenceKey,
    InferencePayload,
    RegisteredModel,
)
from inferences.models.metadata_values import MetadataValue
from inferences.models.zone_maps import Segment
from inferences.search import planner
from inferences.search.filters import And, MetadataFilter, Not, Or, TimeWindow
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.search.zone_maps import build
from inferences.store import metadata_edits, segment_touches
from inferences.store.recording import record
from inferences.tests.zone_maps.builders import (
    EXAMPLES,
    SECONDS,
    at,
    counter,
    findings,
    inference,
    plain,
)


class Life:
    """Random writes to a model, and sealing between them."""

    def __init__(self, model: RegisteredModel, chance: Random) -> None:
        self.model, self.chance, self.stored = model, chance, 0

    def begin(self) -> None:
        for _ in range(3):
            self.add(rows=30)
        self.seal()

    def add(self, rows: int = 0) -> None:
        """New rows at the end, or late ones anywhere; most count with the time."""
        late, new = self.chance.random() < 0.5, []
        for _ in range(rows or self.chance.choice([1, 5, 40])):
            self.stored += 1
            second = self.chance.uniform(0, SECONDS) if late else SECONDS + self.stored
            new.append(inference(f"{self.stored}", second, self.metadata(second)))
        record(self.model, new)

    def metadata(self, second: float) -> dict[str, object]:
        wild = self.chance.random() < 0.05
        counted = self.chance.randrange(2 * SECONDS) if wild else int(second)
        found = {"counter": counted, "level": second / 10, "lane": counted % 3}
        for key in self.chance.sample(sorted(found), self.chance.choice([0, 0, 1, 3])):
            del found[key]
        return found

    def some(self) -> list[int]:
        ids = list(self.model.inferences.order_by("id").values_list("id", flat=True))
        first = self.chance.randrange(len(ids) or 1)
        return ids[first : first + self.chance.choice([1, 10, 30])]

    def change(self) -> None:
        ids, number = self.some(), self.chance.randrange(2 * SECONDS)
        value = self.chance.choice(
            [
                MetadataValue("counter", "int", str(number)),
                MetadataValue("level", "float", str(number / 7)),
                MetadataValue("lane", "int", str(number)),
            ]
        )
        metadata_edits.put_values(
            "test",
            self.model,
            lambda: self.model.inferences.live().filter(id__in=ids),
            [value],
            replace=True,
        )

    def forget(self) -> None:
        for row in self.model.inferences.filter(id__in=self.some()[:3]):
            metadata_edits.remove_value("test", self.model, row.inference_id, "counter")

    def hide(self) -> None:
        self._show(deleted=True)

    def restore(self) -> None:
        self._show(deleted=False)

    def _show(self, *, deleted: bool) -> None:
        ids = self.some()
        self.model.inferences.filter(id__in=ids).update(deleted=deleted)
        segment_touches.touch(self.model, ids, keep_bounds=True)

    def remove(self) -> None:
        """For good; at times all that is old."""
        ids = self.some()
        if self.chance.random() < 0.3:
            old = self.model.inferences.filter(id__lte=max(ids, default=0))
            ids = list(old.values_list("id", flat=True))
        InferenceKey.objects.filter(
            registered_model=self.model, row_id__in=ids
        ).delete()
        InferencePayload.objects.beside(self.model).filter(id__in=ids).delete()
        self.model.inferences.filter(id__in=ids).delete()
        segment_touches.touch(self.model, ids, keep_bounds=True)

    def seal(self) -> None:
        build.seal()

    def announce(self) -> None:
        build.announce_all()

    def build_one(self) -> None:
        last = Segment.objects.order_by("highest_id").last()
        if last:
            build._build_next(self.model.pk, last.highest_id)

    def range(self) -> object:
        """A range of one number or of several, alone or with what has no bounds."""
        low = self.chance.randrange(-10, 2 * SECONDS)
        high = low + self.chance.choice([0, 5, 50, 2 * SECONDS])
        ranges = [
            And((counter(">=", low), counter("<", high))),
            counter("<=", low),
            And(
                (
                    counter(">", low),
                    MetadataFilter("level", "float", "<", str(high / 9)),
                )
            ),
            Or((counter("<", low), counter(">", high))),
            counter("!=", low),
            counter("in", f"[{low}, {low + 3}, {high}]"),
            And((MetadataFilter("lane", "int", "=", "1"), counter("<", low))),
            And((Not(counter("=", low)), counter("<", high))),
            Not(counter("<", low)),
            And((Or((counter("<", low), MetadataFilter("lane", "int", "=", "2"))),)),
        ]
        found = self.chance.choice(ranges)
        if self.chance.random() < 0.3:
            begin = self.chance.uniform(0, SECONDS)
            window = TimeWindow(at(begin), at(begin + self.chance.uniform(0, 200)))
            found = And((found, window))
        return found


STEPS = [
    *["add", "add", "change", "forget", "hide", "restore", "remove"],
    *["seal", "seal", "announce", "build_one"],
]


@pytest.fixture
def ready(project):
    """A model whose keys have their slots: examples run within transactions."""
    model = RegisteredModel.objects.create(
        model_id="segments", project=project, task_type="Object Detection"
    )
    record(model, [inference("first", 0, {"counter": 0, "level": 0.0, "lane": 0})])
    return model


@contextmanager
def undone():
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=12),
    seed=st.integers(0, 2**32),
    walk=st.sampled_from([60, 300, 20_000]),
)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_pages_are_those_of_the_plain_query(ready, steps, seed, walk):
    with undone(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "SKIPPING_WALK", walk)
        patch.setattr(planner, "VERY_FEW", 0)
        patch.setattr(planner, "FEW", 0)
        patch.setattr(planner, "LONG_WALK", 10 * walk)
        life = Life(ready, Random(seed))
        life.begin()
        for step in steps:
            getattr(life, step)()
        assert not findings()
        ready.refresh_from_db()
        for _ in range(4):
            filters, direction = life.range(), life.chance.choice(["asc", "desc"])
            expected, cursor = plain(ready, filters, direction), None
            limit, found = life.chance.choice([1, 7, 50]), []
            for _ in range(5):
                request = Pagination(direction, limit, cursor=cursor)
                page = InferenceQuery(filters, request).page(ready)
                found += [each.inference_id for each in page.inferences]
                cursor = page.next
                assert found == expected[: len(found)], filters
                if cursor is None:
                    assert found == expected, filters
                    break
            offset = life.chance.choice([1, 9])
            request = Pagination(direction, limit, offset)
            page = InferenceQuery(filters, request).page(ready)
            here = [each.inference_id for each in page.inferences]
            assert here == expected[offset : offset + limit], filters
