from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from inferences.models import (
    SLOTS,
    Detection,
    InferenceKey,
    InferencePayload,
    MetadataType,
    OverflowNumber,
    RecentEmbedding,
    RegisteredModel,
)
from inferences.models.metadata_values import MetadataValue
from inferences.models.row_ids import LOW_BITS, ROOM, first_id_at, moment_of
from inferences.store.recording import Outcome, record
from inferences.tests.builders import MOMENT, new


def test_the_id_holds_the_moment(model):
    record(model, [new()])

    assert model.inferences.get().created_at == MOMENT


@pytest.mark.parametrize("year", [1949, 1970, 2019, 2020, 2026])
def test_a_backfill_lands_at_its_own_time(model, year):
    moment = datetime(year, 3, 4, 5, 6, 7, 8, tzinfo=UTC)

    record(model, [new(created_at=moment)])

    assert model.inferences.get().created_at == moment


def test_everything_given_is_stored(model, make_inference):
    stored = make_inference(
        {"camera": "north", "frame": 3, "gain": 0.5, "pose": {"angle": 10.5}},
        detections=[("ship", 0.9), ("boat", 0.25), ("ship", None)],
        embedding=[1.0, 2.0],
        latitude=51.95,
        longitude=4.14,
        data_source="quay",
        data='{"answer": 1}',
        data_storage_key="1/1/x/input",
    )

    payload = InferencePayload.objects.beside(model).get()
    assert payload.metadata["pose"] == ["json", '{"angle": 10.5}']
    assert payload.data == '{"answer": 1}'
    assert stored.source.name == "quay"
    assert stored.top_score == pytest.approx(0.9)
    assert stored.low_score == 0.25
    assert Detection.objects.beside(model).count() == 3
    assert RecentEmbedding.objects.beside(model).get().vector == [1, 2]
    kinds = dict(model.metadata_keys.values_list("key", "kind"))
    assert kinds == {
        "camera": "string",
        "frame": "int",
        "gain": "float",
        "pose.angle": "json.number",
    }


def test_rows_of_a_batch_may_have_different_columns(model):
    slots = len(SLOTS["integer"])
    numbers = {f"key-{n}": ("int", str(n)) for n in range(slots + 1)}
    given = [MetadataValue(key, *value) for key, value in numbers.items()]
    zero = [MetadataValue("zero", MetadataType.FLOAT, "0")]

    record(
        model,
        [
            new(inference_id="bare"),
            new(inference_id="zero", metadata=zero),
            new(inference_id="many", metadata=given, embedding=[1.0, 2.0]),
        ],
    )

    assert model.inferences.get(inference_id="zero").float_1 == 0
    assert model.inferences.get(inference_id="bare").float_1 is None
    assert model.inferences.get(inference_id="many").integer_8 is not None
    assert OverflowNumber.objects.beside(model).count() == 1
    assert RecentEmbedding.objects.beside(model).count() == 1


def test_a_copy_changes_nothing(model):
    assert record(model, [new()]) == {"a": Outcome.NEW}
    assert record(model, [new()]) == {"a": Outcome.COPY}
    assert model.inferences.count() == 1


def test_other_content_under_a_taken_id_is_told_apart(model):
    record(model, [new()])

    assert record(model, [new(data_size=7)]) == {"a": Outcome.OTHER}


def test_what_was_removed_stays_removed(model):
    record(model, [new()])
    InferenceKey.objects.update(removed_at=MOMENT)
    model.inferences.all().delete()

    assert record(model, [new()]) == {"a": Outcome.REMOVED}
    assert not model.inferences.exists()


def test_a_crowded_microsecond_is_filled_and_then_the_next(model):
    wanted = ROOM + 10
    for start in range(0, wanted, 1500):
        record(model, [new(f"{n}") for n in range(start, min(start + 1500, wanted))])

    lower = first_id_at(MOMENT)
    here = model.inferences.filter(id__range=(lower, lower | ROOM - 1)).count()
    last = model.inferences.newest_first().first()
    assert model.inferences.count() == wanted
    assert here == ROOM
    assert moment_of(last.id) == MOMENT + timedelta(microseconds=1)


def test_keys_beyond_the_slots_go_to_side_rows(model, make_inference):
    make_inference({f"key_{slot}": 0 for slot in SLOTS["integer"]})
    make_inference({"one_more": 7})

    assert OverflowNumber.objects.beside(model).get().value == 7


def test_a_late_inference_lowers_the_bounds_of_its_model(model):
    RegisteredModel.objects.update(first_id=first_id_at(MOMENT) + (5 << LOW_BITS))

    record(model, [new()])

    model.refresh_from_db()
    assert model.first_id == first_id_at(MOMENT)


def test_scores_that_four_bytes_cannot_hold_are_no_scores(model):
    record(model, [new(detections=[("a", 3.4e38), ("b", 1e-300), ("c", 1e-45)])])
    assert model.inferences.get().top_score > 3e38
    for score in (1e39, float("nan"), float("-inf")):
        with pytest.raises(ValueError, match="four bytes"):
            record(model, [new(inference_id="other", detections=[("a", score)])])


def test_ids_are_compared_byte_for_byte(model):
    ids = ["Ä", "ä", "A\u0308", "a ", "a", "a/b", "🚢" * 255]

    found = record(model, [new(each) for each in ids])

    assert set(found.values()) == {Outcome.NEW}
