"""Filters, trees, text queries and statistics against the reference in plain Python.

ISTORE_EXAMPLES=2000 asks more of them than the suite does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from inferences.api.metadata import StatisticsQuerySerializer
from inferences.models import RegisteredModel, TaskType
from inferences.search import text
from inferences.search.api.filter_serializers import InferenceQuerySerializer
from inferences.search.filters.tree import normal
from inferences.search.statistics import statistics
from inferences.search.url_parameters import parameters
from inferences.search.zone_maps import build
from inferences.tests import reference
from inferences.tests.builders import as_before
from inferences.tests.reference_questions import (
    contract,
    few,
    many,
    statistics_queries,
    trees,
)
from inferences.tests.reference_store import (
    DETECTING,
    EXAMPLES,
    HALFWAY,
    NUMERIC,
    STORES,
    Store,
    add_to_datasets,
    add_to_traces,
    expected,
    ids,
    one_class,
    records,
    same,
    store,
    tell_truths,
    without_blurred,
)
from istore.models import Project

LIST = "/api/v1/models/reference/inferences"

FILTER, COUNT = f"{LIST}/filter", f"{LIST}/count"


@pytest.fixture(params=STORES)
def filled(request, project: Project, monkeypatch) -> Iterator[Store]:
    made = records(request.param)
    model = RegisteredModel.objects.create(
        model_id="reference", project=project, text_search=True
    )
    if request.param != DETECTING:
        model.task_type = TaskType.TEXT_CLASSIFICATION
        model.save()
        made = [one_class(each) for each in made]
    neighbour = RegisteredModel.objects.create(
        model_id="neighbour", project=project, text_search=True
    )
    store(model, made)
    if request.param == HALFWAY:
        as_before(model, "[0-4]")
        assert model.awaits_classes
    tell_truths(model, made)
    add_to_datasets(model, made)
    add_to_traces(model, made)
    store(neighbour, records(99))  # ids and keys of another model must not matter
    tell_truths(neighbour, records(99))
    add_to_datasets(neighbour, records(99))
    add_to_traces(neighbour, records(99))
    # Segments of four rows, so that ranges of numbers have something to pass over.
    for name, rows in (("ROWS", 4), ("OPEN", 2), ("LEAST", 10)):
        monkeypatch.setattr(build, name, rows)
    assert build.seal() > 10
    assert all(
        any(each.metadata.get(key, ("",))[0] in ("int", "float") for each in made)
        for key in NUMERIC
    )
    return Store(model, made)


def test_filters_find_what_the_contract_says(filled):
    @many
    @given(contract)
    def asked(filters: dict[str, Any]) -> None:
        same(filled, {"filters": filters}, ids(filled, {"filters": filters}))

    asked()


def test_trees_find_what_the_contract_says_of_their_leaves(filled):
    @many
    @given(trees)
    def asked(tree: dict[str, Any]) -> None:
        same(filled, {"filter": tree}, ids(filled, {"filter": tree}))

    asked()


def test_every_row_is_in_a_filter_or_in_its_negation(filled):
    everything = sorted(each.inference_id for each in filled.records)

    @settings(many, max_examples=EXAMPLES // 2)
    @given(trees)
    def asked(tree: dict[str, Any]) -> None:
        within, outside = (
            ids(filled, {"filter": tree}),
            ids(filled, {"filter": {"not": tree}}),
        )
        assert sorted(within + outside) == everything

    asked()


def test_the_text_of_a_tree_finds_the_same(filled):
    @settings(many, max_examples=EXAMPLES // 2)
    @given(trees)
    def asked(tree: dict[str, Any]) -> None:
        filters = InferenceQuerySerializer.parse({"filter": tree}).filters
        query = text.write(filters)
        assert text.parse(query) == normal(filters), query
        assert ids(filled, {"query": query}) == ids(filled, {"filter": tree})

    asked()


def test_all_that_a_body_gives_must_hold(filled):
    @few
    @given(contract, trees)
    def asked(filters: dict[str, Any], tree: dict[str, Any]) -> None:
        body = {"filters": filters, "filter": tree}
        same(filled, body, ids(filled, body))

    asked()


def listed(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["inference_id"] for each in answer.json()["results"]]


def test_body_address_and_text_list_the_same_in_order(filled, api):
    @few
    @given(contract)
    def asked(filters: dict[str, Any]) -> None:
        read = InferenceQuerySerializer.parse({"filters": filters}).filters
        page = {"pagination": {"limit": 100}}
        by_body = listed(api.post(FILTER, {"filters": filters, **page}))
        by_text = listed(api.post(FILTER, {"query": text.write(read), **page}))
        by_address = listed(api.get(LIST, {**parameters(read), "limit": 100}))
        counted = api.post(COUNT, {"filters": filters}).json()["count"]

        same(filled, {"filters": filters}, by_body)
        assert by_text == by_address == by_body
        assert counted == len(by_body)

    asked()


def test_statistics_are_what_the_contract_says(filled):
    @settings(many, max_examples=EXAMPLES // 2)
    @given(statistics_queries(), contract | st.just({}))
    def asked(query: dict[str, Any], filters: dict[str, Any]) -> None:
        if set(without_blurred(filled, filters)) != {
            r.inference_id for r in filled.records
        }:
            return
        passing = set(expected(filled, {"filters": filters}))
        chosen = [each for each in filled.records if each.inference_id in passing]
        values = reference.observations(chosen, query["key"], query["type"])
        parsed = StatisticsQuerySerializer.parse({**query, "filters": filters})
        try:
            with transaction.atomic():
                answer = statistics(filled.model, parsed)
        except ValueError as error:
            assert "bins" in str(error)
            return
        content = {
            "count": answer.count,
            "min": answer.min,
            "max": answer.max,
            "distribution": answer.distribution,
        }
        reference.check_statistics(values, query, content)

    asked()
