"""An erasure leaves no value in the bounds and counts of segments."""

from __future__ import annotations

import pytest

from inferences.erasure.running import erase
from inferences.models.zone_maps import Segment
from inferences.search.zone_maps import build
from inferences.store import removal
from inferences.store.recording import record
from inferences.tests.erasure_builders import PERSON, open_task, tables_with
from inferences.tests.zone_maps.builders import inference


def test_texts_that_segments_count_are_erased(project, model):
    record(
        model,
        [
            inference(str(n), n, {"person": PERSON if n == 9 else "x"})
            for n in range(40)
        ],
    )
    build.seal()
    assert Segment._meta.db_table in tables_with(PERSON)

    erase(open_task(project))

    assert tables_with(PERSON) == []
    built = Segment.objects.filter(built_at=None).count()
    assert built == 1
    assert build.seal() == built


@pytest.mark.parametrize(
    ("key", "type", "value", "column"),
    [("counter", "int", "9", "integer_1"), ("level", "float", "0.9", "float_1")],
)
def test_numbers_that_bound_segments_are_erased(
    project, model, key, type, value, column
):
    metadata = [{"counter": n % 10, "level": (n % 10) / 10} for n in range(40)]
    record(model, [inference(str(n), n, metadata[n]) for n in range(40)])
    hidden = model.inferences.filter(inference_id="9")
    removal.hide_records(model, hidden)
    build.seal()

    def bounds():
        return set(Segment.objects.values_list(f"{column}_highest", flat=True))

    assert float(value) in bounds()

    task = open_task(project, key=key, type=type, value=value)
    erase(task)
    assert float(value) not in bounds()

    build.seal()
    assert float(value) not in bounds()
    assert not Segment.objects.filter(built_at=None).exists()


def test_segments_without_the_value_stay(project, model):
    record(model, [inference(str(n), n) for n in range(40)])
    build.seal()
    built = Segment.objects.count()

    erase(open_task(project, key="counter", type="int", value="4711"))

    assert Segment.objects.exclude(built_at=None).count() == built
