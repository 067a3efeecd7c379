"""Pages look side rows up by key, and the panel counts them by their index."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from inferences.models.ground_truth import GroundTruth
from inferences.models.side_rows import BY_KEY, JOINABLE, InferencePayload
from inferences.search import bounded_reading, text
from inferences.search.filters import matching
from inferences.search.filters.all_kinds import PARAMETERS
from inferences.search.pagination import Pagination
from inferences.search.query import InferenceQuery
from inferences.store.recording import record
from inferences.tests.zone_maps.builders import inference
from inferences.web.view_models import sampling
from istore.db.clock import now

SIDE_FILTERS = [
    "no:warnings",
    "no:input",
    "is:not-understood",
    "truth:missing",
    "truth:differs",
    "truth.label:car",
    "status:ok",
    "status:2xx",
    "no:dataset",
    "has:warnings OR label:car",
    "no:warnings truth:given",
]
NOTES = [
    {},
    {"warnings": ["cut"]},
    {"warnings": ["odd"], "not_understood": "x"},
    {"failure": "timeout"},
    {"failure": "status", "answer": {"status": 503}},
    {"answer": {"status": 200}},
]


@pytest.fixture
def rows(model):
    record(model, [inference(str(n), n) for n in range(40)])
    for number, row_id in enumerate(model.inferences.values_list("id", flat=True)):
        payload = InferencePayload.objects.beside(model).filter(id=row_id)
        payload.update(notes=NOTES[number % len(NOTES)])
        if number % 3 == 0:
            GroundTruth.objects.create(
                id=row_id,
                registered_model=model,
                truth={"labels": ["car"]},
                agrees=(None, True, False)[number // 3 % 3],
                actor="test",
                set_at=now(),
            )
    return model


@pytest.mark.parametrize("query", SIDE_FILTERS)
def test_no_page_joins_side_rows_before_it_reads_everything(rows, query):
    filters = text.parse(query)
    with CaptureQueriesContext(connection) as captured:
        page = InferenceQuery(filters, Pagination("desc", 3)).page(rows)
    expected = (
        matching(rows, filters).order_by("-id").values_list("inference_id", flat=True)
    )
    assert [each.inference_id for each in page.inferences] == list(expected[:3])
    walked = [each["sql"] for each in captured if " EXISTS(" in each["sql"]]
    if len(expected) >= 3:
        assert not any(JOINABLE in sql for sql in walked)
        assert all(BY_KEY in sql for sql in walked)


def test_a_page_of_side_rows_that_are_far_ends_early(rows, monkeypatch):
    monkeypatch.setattr(bounded_reading, "SECONDS", 0)
    monkeypatch.setattr(bounded_reading, "WINDOW", 10)
    monkeypatch.setattr(bounded_reading, "in_time", lambda read: None)
    filters, found, after, pages = text.parse("has:input"), [], None, 0
    InferencePayload.objects.beside(rows).filter(
        id__in=rows.inferences.filter(inference_id__in=["3", "30"]).values("id")
    ).update(data_storage_key="x")
    while True:
        asked = InferenceQuery(
            filters, Pagination("desc", 3, cursor=after), may_stop=True
        )
        page = asked.page(rows)
        found += [each.inference_id for each in page.inferences]
        pages, after = pages + 1, page.next
        if not after:
            break
        assert page.searched_until
    assert found == ["30", "3"]
    assert pages > 1


def test_choices_of_the_panel_are_counted_by_paths_as_by_rows(
    rows, django_assert_max_num_queries
):
    drawn = sampling.sample(rows, text.parse("meta.counter>=5"))
    counted = 0
    for parameter in PARAMETERS.values():
        choices = [parameter.choices[name] for name in parameter.titles]
        by_row = [sampling.count_among(rows, each, drawn) for each in choices]
        with django_assert_max_num_queries(3):
            found = sampling.count_by_paths(rows, choices, drawn)
        for number, expected in zip(found, by_row, strict=True):
            assert number in (None, expected)
            counted += number is not None
    assert counted > 10


def test_a_path_with_more_entries_than_the_sample_is_left(rows):
    drawn = sampling.sample(rows, text.parse("meta.counter in [0, 39]"))
    assert len(drawn) == 2
    (given,) = sampling.count_by_paths(rows, [text.parse("truth:given")], drawn)
    assert given is None
