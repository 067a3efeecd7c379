"""Entries are asked for by the text queries that find inferences."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from datasets import erasing, lifecycle
from datasets.entry_filters import entries_matching
from datasets.splitting import Splitting
from datasets.tests.conftest import names
from exports.tests.conftest import png
from inferences.erasure.matching_records import Carried
from inferences.ground_truth.writes import Given, write
from inferences.search import text
from inferences.search.filters import InDataset, matching
from istore.db.clock import now
from istore.errors import Conflict, Invalid
from istore.models import AuditEntry

SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}
DOUBT = SHIP | {"score": 0.3}
CAR = SHIP | {"label": "car", "score": 0.6}


@pytest.fixture
def filled(make_stored, model, dataset, add):
    """Three entries: a ship, a doubtful ship beside a car, and nothing with a ground truth."""
    make_stored(
        png(),
        [SHIP],
        inference_id="a",
        metadata={"camera": "north", "gain": 3},
    )
    make_stored(
        png(20, 20),
        [DOUBT, CAR],
        inference_id="b",
        metadata={"camera": "south", "gain": 2.5},
    )
    make_stored(png(30, 30), [], inference_id="c")
    row = model.inferences.get(inference_id="c")
    write(model, {row.id: Given({"labels": ["tug"]}, "test", now())})
    add()
    dataset.refresh_from_db()
    return dataset


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "abc"),
        ("label:ship", "ab"),
        ("label:ship score<0.5", "b"),
        ("label:car score<0.5", ""),
        ("score>=0.9", "a"),
        ("NOT label:ship", "c"),
        ("no:detections", "c"),
        ("truth:given", "c"),
        ("truth:missing", "ab"),
        ("truth.label:tug", "c"),
        ("meta.camera=north", "a"),
        ("NOT meta.camera=north", "bc"),
        ("meta.camera in [north, south]", "ab"),
        ("meta.camera contains out", "b"),
        ("meta.camera startswith no", "a"),
        ("meta.gain>2.7", "a"),
        ("meta.gain<=2.5 OR truth:given", "bc"),
        ("has:camera", "ab"),
        ("has:input", "abc"),
        ("since:2020-01-01", "abc"),
        ("until:2020-01-01", ""),
        ('dataset:"hard cases"', "abc"),
        ("dataset:none", ""),
        ("split:train", ""),
    ],
)
def test_a_query_finds_entries(filled, query, expected):
    found = entries_matching(filled, filled.working, text.parse(query))
    assert names(found) == list(expected)


def test_what_entries_do_not_know_is_refused(filled):
    for query in ("is:protected", "truth:agrees", "has:warnings"):
        with pytest.raises(ValidationError, match="cannot be asked for"):
            entries_matching(filled, filled.working, text.parse(query))


def split_of(dataset) -> dict[str, str]:
    rows = dataset.entries.current().with_split(dataset.splitting_of(dataset.working))
    return dict(rows.values_list("inference_id", "split"))


def halves(dataset, **more):
    wanted = Splitting("share", {"train": 0.5, "test": 0.5}, **more)
    return lifecycle.change("test", dataset, splitting=wanted)


def test_moved_entries_are_found_in_their_split_and_stay_in_published_versions(
    filled, model
):
    dataset = halves(filled)
    before = split_of(dataset)
    lifecycle.publish("test", dataset)
    entry = dataset.entries.get(inference_id="a")
    other = {"train": "test", "test": "train"}[before["a"]]
    assert lifecycle.move_entries("test", dataset, [entry.pk], other) == 1
    dataset.refresh_from_db()
    assert split_of(dataset) == before | {"a": other}
    assert AuditEntry.objects.filter(action="dataset.move").count() == 1
    asked = text.parse(f"split:{other}")
    assert "a" in names(entries_matching(dataset, dataset.working, asked))
    assert "a" not in names(entries_matching(dataset, 1, asked))
    # The list of the model knows it, too.
    found = matching(model, InDataset("hard cases", other))
    assert "a" in set(found.values_list("inference_id", flat=True))
    # Another share keeps what was moved; another seed draws anew.
    dataset = halves(dataset)
    assert split_of(dataset)["a"] == other
    assert halves(dataset, seed=5).splitting.get("moved") is None


def test_equal_inputs_move_together(make_stored, add, dataset):
    for name in "ab":
        make_stored(png(), [SHIP], inference_id=name)
    add()
    dataset = halves(dataset)
    first = split_of(dataset)["a"]
    (other,) = {"train", "test"} - {first}
    lifecycle.move_entries(
        "test", dataset, [dataset.entries.get(inference_id="a").pk], other
    )
    dataset.refresh_from_db()
    assert split_of(dataset) == {"a": other, "b": other}


def test_nothing_is_moved_without_splits_or_to_an_unknown_one(filled):
    ids = [filled.entries.first().pk]
    with pytest.raises(Conflict):
        lifecycle.move_entries("test", filled, ids, "train")
    with pytest.raises(Invalid):
        lifecycle.move_entries("test", halves(filled), ids, "none")


def test_an_erased_value_leaves_no_hash_of_its_group(filled, project):
    dataset = lifecycle.change(
        "test",
        filled,
        splitting=Splitting("group", {"train": 0.5, "test": 0.5}, key="camera"),
    )
    before = split_of(dataset)
    (other,) = {"train", "test"} - {before["a"]}
    entry = dataset.entries.get(inference_id="a")
    lifecycle.move_entries("test", dataset, [entry.pk], other)
    dataset.refresh_from_db()
    lifecycle.publish("test", dataset)
    assert dataset.splitting["moved"]
    erasing.of_value(project, Carried("camera", "string", "north"))
    dataset.refresh_from_db()
    assert "moved" not in dataset.splitting
    assert "moved" not in dataset.versions.get().splitting
    assert not dataset.entries.filter(inference_id="a").exists()
