"""Calls that change act on what was sent alone: a part that says nothing is a 400.

ISTORE_EXAMPLES=2000 asks more than the suite does.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from datasets.models import AddingTask, Dataset
from exports.models import ExportSchedule, ExportTask
from inferences.models import InferencePayload, MetadataChange, RegisteredModel
from inferences.store import removal
from inferences.tests.reference_questions import contract, many, trees
from inferences.tests.reference_store import (
    EXAMPLES,
    Store,
    add_to_datasets,
    add_to_traces,
    records,
    same,
    store,
    tell_truths,
)
from istore.models import AuditEntry, Role

MODEL = "/api/v1/models/reference"
NOTHINGS = st.sampled_from([None, "", {}, []])
some_of_many = settings(many, max_examples=max(40, EXAMPLES // 4))


@pytest.fixture
def filled(project) -> Store:
    made = records(1)
    model = RegisteredModel.objects.create(
        model_id="reference", project=project, text_search=True
    )
    store(model, made)
    tell_truths(model, made)
    add_to_datasets(model, made)
    add_to_traces(model, made)
    return Store(model, made)


def places(body: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a body that holds something: a container and the step into it."""
    steps = body if isinstance(body, dict) else range(len(body))
    for step in list(steps):
        yield body, step
        if isinstance(body[step], dict | list):
            yield from places(body[step])


@st.composite
def bodies(draw: Any) -> dict[str, Any]:
    """A body with a filter, and often something in it that says nothing."""
    name, filters = draw(
        st.tuples(st.just("filters"), contract) | st.tuples(st.just("filter"), trees)
    )
    body = {name: copy.deepcopy(filters)}
    for _ in range(draw(st.integers(0, 2))):
        container, step = draw(st.sampled_from(list(places(body))))
        container[step] = draw(NOTHINGS)
    return body


def says_nothing_somewhere(body: dict[str, Any]) -> bool:
    empty = [
        container[step]
        for container, step in places(body)
        if not (container is body and step == "filters" and body[step] == {})
    ]
    return any(each in (None, "", {}, []) for each in empty)


def deleted(filled: Store, client: Any, body: dict[str, Any]) -> Any:
    answer = client.post(f"{MODEL}/inferences/delete", body)
    return answer, lambda: answer.json()["deleted_inference_ids"]


def protected(filled: Store, client: Any, body: dict[str, Any]) -> Any:
    filled.model.inferences.update(is_protected=False)
    answer = client.post(f"{MODEL}/inferences/protection", body)
    rows = filled.model.inferences.filter(is_protected=True)
    return answer, lambda: rows.values_list("inference_id", flat=True)


def labelled(filled: Store, client: Any, body: dict[str, Any]) -> Any:
    item = {"key": "tagged", "type": "string", "value": ""}
    answer = client.post(f"{MODEL}/metadata/bulk", {**body, "metadata": [item]})
    changed = MetadataChange.objects.filter(key="tagged").values("row_id")
    rows = filled.model.inferences.filter(id__in=changed)
    return answer, lambda: rows.values_list("inference_id", flat=True)


def removed(filled: Store, client: Any, body: dict[str, Any]) -> Any:
    removal.hide_records(filled.model, filled.model.inferences.all())
    answer = client.post(f"{MODEL}/deleted/remove", body)
    payloads = InferencePayload.objects.beside(filled.model)
    rows = payloads.filter(removal_at__isnull=False).values("id")
    found = filled.model.inferences.filter(id__in=rows)
    return answer, lambda: found.values_list("inference_id", flat=True)


@pytest.mark.parametrize("act", [deleted, protected, labelled, removed])
def test_a_change_takes_exactly_what_was_sent_or_nothing(filled, api_as, act):
    client = api_as(Role.ADMINISTRATOR)
    made = sorted(filled.records, key=lambda each: each.created_at)
    order = [each.inference_id for each in made]

    @some_of_many
    @given(bodies())
    def asked(body: dict[str, Any]) -> None:
        point = transaction.savepoint()
        before = AuditEntry.objects.count()
        try:
            answer, found = act(filled, client, body)
            if says_nothing_somewhere(body):
                assert answer.status_code == 400, (body, answer.content)
            if answer.status_code == 400:
                assert AuditEntry.objects.count() == before
                assert act is deleted or not list(found()), body
                assert filled.model.inferences.live().count() == (
                    0 if act is removed else len(order)
                )
                return
            assert answer.status_code == 200, (body, answer.content)
            if act is not protected or "is_protected" not in str(body):
                same(filled, body, sorted(found(), key=order.index))
        finally:
            transaction.savepoint_rollback(point)

    asked()


def tree(part: Any) -> dict[str, Any]:
    return {"filter": {"or": [{"data_source_filter": "absent"}, {"not": part}]}}


SENT = [
    ({"filters": {"metadata_filter": [None]}}, "/filters/metadata_filter/0"),
    ({"filters": {"metadata_filter": []}}, "/filters/metadata_filter"),
    ({"filters": {"metadata_filter": None}}, "/filters/metadata_filter"),
    ({"filters": {"time_window_filter": {}}}, "/filters/time_window_filter"),
    (
        {"filters": {"time_window_filter": {"end": ""}}},
        "/filters/time_window_filter/end",
    ),
    (
        {"filters": {"time_window_filter": {"start": None}}},
        "/filters/time_window_filter/start",
    ),
    ({"filters": {"location_filter": {}}}, "/filters/location_filter"),
    (
        {"filters": {"location_filter": {"gps_coordinates_circle": None}}},
        "/filters/location_filter/gps_coordinates_circle",
    ),
    ({"filters": {"data_source_filter": ""}}, "/filters/data_source_filter"),
    ({"filters": {"data_hash_filter": ""}}, "/filters/data_hash_filter"),
    (
        {"filters": {"deconstructed_inference_filter": {}}},
        "/filters/deconstructed_inference_filter",
    ),
    (
        {"filters": {"deconstructed_inference_filter": {"labels": [""]}}},
        "/filters/deconstructed_inference_filter/labels/0",
    ),
    ({"filters": None}, "/filters"),
    ({"filters": {}, "filter": None}, "/filter"),
    ({"filters": {}, "query": None}, "/query"),
    ({"filters": {}, "query": " "}, "/query"),
    ({"filter": {}}, "/filter"),
    (tree({}), "/filter/or/1/not"),
    (tree({"location_filter": {}}), "/filter/or/1/not/location_filter"),
    (tree({"has_key": None}), "/filter/or/1/not/has_key"),
    (tree({"is_protected": None}), "/filter/or/1/not/is_protected"),
]


@pytest.mark.parametrize(("body", "pointer"), SENT)
def test_every_call_that_changes_names_the_part_that_says_nothing(
    api_as, model, make_inference, body, pointer
):
    make_inference(inference_id="a")
    Dataset.objects.create(project=model.project, name="cases")
    client = api_as(Role.ADMINISTRATOR)
    here = f"/api/v1/models/{model.model_id}"
    item = {"key": "a", "type": "int", "value": "1"}
    schedule = {"name": "nightly", "interval_hours": 24, "selection": body}
    addition = {"model_id": model.model_id, "selection": body}
    of_project = f"/api/v1/projects/{model.project.project_id}"
    for address, sent, prefix in [
        (f"{here}/inferences/delete", body, ""),
        (f"{here}/inferences/delete", {**body, "dry_run": True}, ""),
        (f"{here}/inferences/protection", body, ""),
        (f"{here}/metadata/bulk", {**body, "metadata": [item]}, ""),
        (f"{here}/deleted/remove", body, ""),
        (f"{here}/deleted/restore", body, ""),
        (f"{here}/export-tasks", body, ""),
        (f"{here}/export-schedules", schedule, "/selection"),
        (f"{of_project}/datasets/cases/additions", addition, "/selection"),
    ]:
        answer = client.post(address, sent)

        assert answer.status_code == 400, (address, answer.content)
        assert answer.json()["errors"][0]["pointer"] == prefix + pointer, address
    assert model.inferences.live().filter(is_protected=False).count() == 1
    kinds = (ExportTask, ExportSchedule, AddingTask)
    assert not any(kind.objects.exists() for kind in kinds)


@pytest.mark.parametrize(
    "body",
    [
        {"filters": {"location_filter": {}}},
        {"filters": {"metadata_filter": []}},
        {"filters": {"time_window_filter": {}}},
        {"filters": {"time_window_filter": None}},
        {"filter": {}},
        {"filter": {"and": [{}]}},
        {"filter": {"not": {"not": {"metadata_filter": []}}}},
        {"filters": None},
        {"query": ""},
    ],
)
def test_a_part_that_says_nothing_matches_everything_in_calls_that_read(
    api, model, make_inference, body
):
    make_inference(inference_id="a")

    answer = api.post(f"/api/v1/models/{model.model_id}/inferences/count", body)

    assert answer.json() == {"count": 1}


@pytest.mark.parametrize(
    "name", ["since", "until", "hash", "source", "label", "near", "metadata", "truth"]
)
def test_a_parameter_of_a_list_has_a_value(api, model, name):
    answer = api.get(f"/api/v1/models/{model.model_id}/inferences", {name: ""})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == f"/{name}"


def test_what_no_part_narrows_is_everything_in_a_change(api, model, make_inference):
    make_inference(inference_id="a")
    address = f"/api/v1/models/{model.model_id}/inferences/delete"

    answer = api.post(address, {"filters": {}})

    assert answer.json()["deleted_inference_ids"] == ["a"]
