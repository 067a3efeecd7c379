from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.core.management import call_command
from django.db import DataError
from django.template.loader import render_to_string

from inferences.models import (
    Embedding,
    InferenceAction,
    RecentEmbedding,
    RegisteredModel,
    TaskType,
)
from inferences.search.vectors import (
    index_panel,
    indexing,
    moving,
    nearest,
    text_embedding,
)
from inferences.store import removal
from inferences.store.recording import NewInference, record
from inferences.tests.builders import typed

FILTER = "/api/v1/models/faces/inferences/filter"
START = datetime(2025, 6, 1, tzinfo=UTC)
SIZE = 4


@pytest.fixture
def faces(project):
    return RegisteredModel.objects.create(
        model_id="faces",
        project=project,
        task_type=TaskType.IMAGE_EMBEDDING,
        embedding_size=SIZE,
    )


def store(model, vectors, **fields) -> None:
    batch = [
        NewInference(
            inference_id=name,
            inference_action=InferenceAction.EMBED,
            data_hash=b"\0" * 32,
            created_at=START + timedelta(seconds=number),
            metadata=[typed("lane", number % 5)],
            embedding=vector,
            **fields,
        )
        for number, (name, vector) in enumerate(vectors.items())
    ]
    record(model, batch)


def some_vectors(count: int, seed: int = 1) -> dict[str, list[float]]:
    chance = random.Random(seed)
    return {str(n): [chance.gauss(0, 1) for _ in range(SIZE)] for n in range(count)}


def ask(api, vector=None, filters=None, pagination=None, **more) -> dict:
    embedding = {"query_embedding": vector, **more}
    asked = {key: value for key, value in embedding.items() if value is not None}
    body = {"embedding_filters": asked, "filters": filters, "pagination": pagination}
    response = api.post(FILTER, body)
    assert response.status_code == 200, response.content
    return response.json()


def found(page) -> list[tuple[str, float | None]]:
    return [(r["inference_id"], r["embedding_distance"]) for r in page["results"]]


def distance(metric: str, a, b) -> float:
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    if metric == "l2":
        return float(np.linalg.norm(a - b))
    dot = float(a @ b)
    if metric == "negative_dot_product":
        return -dot
    return 1 - dot / float(np.linalg.norm(a) * np.linalg.norm(b))


def by_distance(vectors, metric, query) -> list[str]:
    return sorted(vectors, key=lambda name: distance(metric, vectors[name], query))


@pytest.mark.parametrize("metric", ["cosine", "l2", "negative_dot_product"])
@pytest.mark.parametrize("moved", [False, True])
def test_nearest_come_first_with_their_distance(api, faces, metric, moved):
    vectors = some_vectors(60)
    store(faces, vectors)
    if moved:
        moving.move(faces, 30)
    query = [0.3, -1.0, 0.2, 0.7]

    page = ask(api, query, distance_metric=metric, pagination={"limit": 20})

    assert page["vector_search"] == "exact"
    assert [name for name, _ in found(page)] == by_distance(vectors, metric, query)[:20]
    for name, said in found(page):
        assert said == pytest.approx(distance(metric, vectors[name], query), abs=1e-5)


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_cursors_walk_all_and_those_without_a_distance_come_last(api, faces, direction):
    nowhere = {"zero": [0.0] * SIZE, "none": None}
    vectors = some_vectors(40)
    store(faces, vectors | nowhere)
    walked, cursor = [], None
    while True:
        pagination = {"limit": 7, "direction": direction, "cursor": cursor}
        page = ask(api, [1, 2, 3, 4], pagination=pagination)
        walked += found(page)
        cursor = page["next"]
        if not cursor:
            break
    offset = ask(api, [1, 2, 3, 4], pagination={"offset": 35, "direction": direction})
    beyond = ask(api, [1, 2, 3, 4], pagination={"offset": 41, "direction": direction})

    expected = by_distance(vectors, "cosine", [1, 2, 3, 4])
    assert [n for n, _ in walked][:40] == expected[:: 1 if direction == "asc" else -1]
    assert {n for n, d in walked if d is None} == {"zero", "none"}
    assert found(offset) == walked[35:]
    assert found(beyond) == walked[41:]


@pytest.mark.parametrize(
    ("metric", "value", "without_distance"),
    [
        ("cosine", 0.0, ["a"]),  # it has no direction
        ("cosine", 3e38, ["a"]),  # its length is no float
        ("cosine", -1e-45, ["a"]),
        ("l2", 0.0, []),
        ("l2", 3e38, ["b"]),  # as is the square of the way there
        ("l2", -1e-45, []),
        ("negative_dot_product", 0.0, []),
        ("negative_dot_product", 3e38, ["a"]),
        ("negative_dot_product", -1e-45, []),
    ],
)
def test_vectors_at_the_ends_of_floats_are_no_error(
    api, faces, metric, value, without_distance
):
    store(faces, {"a": [value] * SIZE, "b": [1.0, 0, 0, 0]})
    asked = [value or 1.0] * SIZE if metric == "cosine" else [value] * SIZE

    page = ask(api, asked, distance_metric=metric)

    assert len(page["results"]) == 2
    assert [name for name, each in found(page) if each is None] == without_distance


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"query_embedding": [0.0] * SIZE}, "query_embedding"),
        ({"query_embedding": [-0.0, 0, 1e-60, 0]}, "query_embedding"),
        ({"similar_to": "zero"}, "similar_to"),
    ],
)
def test_a_vector_of_zeros_has_no_cosine_distance(api, faces, asked, pointer):
    store(faces, {"zero": [0.0] * SIZE, "b": [1.0, 0, 0, 0]})

    answer = api.post(FILTER, {"embedding_filters": asked})

    assert answer.status_code in (400,), answer.content
    (error,) = answer.json()["errors"]
    assert error["pointer"] == f"/embedding_filters/{pointer}"
    for metric in ("l2", "negative_dot_product"):
        body = {"embedding_filters": {**asked, "distance_metric": metric}}
        told = api.post(FILTER, body).json()["results"]
        assert {each["embedding_distance"] is None for each in told} == {False}


@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1.0, 1e30, 1e38])
def test_the_direction_is_all_that_counts_for_cosine(api, faces, scale):
    store(faces, {"far": [0, 1.0, 0, 0], "near": [1.0, 0, 0, 0], "zero": [0.0] * SIZE})

    page = ask(api, [scale, 0, 0, 0], distance_metric="cosine")

    assert found(page) == [("near", 0.0), ("far", 1.0), ("zero", None)]


def test_a_filter_leaves_exactly_as_many_as_match(api, faces):
    vectors = some_vectors(100)
    store(faces, vectors)
    lane = {"key": "lane", "type": "int", "operator": "=", "value": "3"}

    page = ask(api, [1, 0, 0, 0], {"metadata_filter": [lane]}, {"limit": 20})

    matching = {name: v for name, v in vectors.items() if int(name) % 5 == 3}
    assert [n for n, _ in found(page)] == by_distance(matching, "cosine", [1, 0, 0, 0])
    assert page["next"] is None


def test_another_sort_keeps_its_order_and_tells_distances(api, faces):
    store(faces, some_vectors(3) | {"none": None})

    page = ask(api, [1, 0, 0, 0], pagination={"sort": "created_at"})

    assert [name for name, _ in found(page)] == ["0", "1", "2", "none"]
    assert [said is None for _, said in found(page)] == [False, False, False, True]


def test_similar_to_an_inference(api, faces):
    vectors = some_vectors(20)
    store(faces, vectors)
    moving.move(faces, 10)

    page = ask(api, similar_to="7", distance_metric="l2")

    assert [n for n, _ in found(page)] == by_distance(vectors, "l2", vectors["7"])
    assert found(page)[0] == ("7", 0)


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"query_embedding": [1, 2]}, "/embedding_filters/query_embedding"),
        ({"query_embedding": [1, 2, 3, True]}, "/embedding_filters/query_embedding"),
        ({"query_embedding": "x"}, "/embedding_filters/query_embedding"),
        ({"similar_to": "nobody"}, "/embedding_filters/similar_to"),
        ({"similar_to": "none"}, "/embedding_filters/similar_to"),
        ({}, "/embedding_filters"),
        ({"query_embedding": [1] * 4, "similar_to": "a"}, "/embedding_filters"),
        (
            {"query_embedding": [1] * 4, "distance_metric": "hamming"},
            "/embedding_filters/distance_metric",
        ),
    ],
)
def test_bad_embedding_filters_are_a_400(api, faces, asked, pointer):
    store(faces, {"none": None})
    response = api.post(FILTER, {"embedding_filters": asked})

    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == pointer


def test_a_model_without_embeddings_has_no_distances(api, model):
    body = {"embedding_filters": {"query_embedding": []}}
    response = api.post("/api/v1/models/yolo-harbour/inferences/filter", body)

    assert response.status_code == 400
    pointer = response.json()["errors"][0]["pointer"]
    assert pointer == "/embedding_filters/query_embedding"


@pytest.mark.parametrize("size", [4096, 16_000])
def test_long_vectors_are_stored_whole(api, project, size):
    long = RegisteredModel.objects.create(
        model_id="faces",
        project=project,
        task_type=TaskType.IMAGE_EMBEDDING,
        embedding_size=size,
    )
    vector = np.linspace(-1, 1, size).tolist()
    store(long, {"a": vector})

    assert found(ask(api, vector))[0][1] == pytest.approx(0, abs=1e-6)


def test_a_removal_that_has_begun_keeps_its_vectors(faces):
    store(faces, some_vectors(5))
    faces.inferences.filter(inference_id="2").update(deleted=True)

    assert moving.move(faces, 100) == 4
    assert RecentEmbedding.objects.count() == 1
    assert Embedding.objects.count() == 4


def test_a_removal_takes_the_vector_wherever_it_is(faces):
    store(faces, some_vectors(4))
    moving.move(faces, 100)
    store(faces, {"new": [1.0] * SIZE})
    for name in ("1", "new"):
        removal.remove_one("somebody", faces, name)

    assert Embedding.objects.count() == 3
    assert RecentEmbedding.objects.count() == 0


@pytest.fixture
def many(faces, monkeypatch):
    """A model whose vectors are many, by the measure of this test."""
    monkeypatch.setattr(moving, "RECENT_MOST", 50)
    monkeypatch.setattr(indexing, "INDEX_FROM", 100)
    monkeypatch.setattr(nearest, "SCAN_COST", 1)
    monkeypatch.setattr(nearest, "COST", 0.1)  # so that 150 matches are many
    vectors = some_vectors(1500)
    store(faces, vectors)
    return vectors


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_an_index_finds_the_nearest_under_a_filter_too(api, faces, many, metric):
    call_command("index_vectors", model="faces")
    store(faces, {"recent": [1.0, 0.1, 0, 0]})
    query, lane = [1.0, 0.1, 0, 0], {"key": "lane", "type": "int", "operator": "="}
    asked = {"distance_metric": metric, "pagination": {"limit": 20}}

    plain = ask(api, query, **asked)
    some = {"metadata_filter": [lane | {"value": "1"}]}
    filtered = ask(api, query, some, **asked)
    many_candidates = ask(api, query, distance_metric="negative_dot_product")
    deep = ask(api, query, distance_metric=metric, pagination={"offset": 700})

    assert indexing.is_indexed(faces)
    assert Embedding.objects.count() == 1500
    assert plain["vector_search"] == filtered["vector_search"] == "index"
    assert deep["vector_search"] == "exact"
    # 1,000 candidates of 1,500 vectors would still be cheaper than a scan, by the costs of this test.
    assert many_candidates["vector_search"] == "index"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nearest, "SCAN_COST", 16)
        assert ask(api, query, **asked)["vector_search"] == "exact"
    wanted = by_distance(many | {"recent": query}, metric, query)[:20]
    assert [name for name, _ in found(plain)] == wanted
    ones = {name: vector for name, vector in many.items() if int(name) % 5 == 1}
    assert [n for n, _ in found(filtered)] == by_distance(ones, metric, query)[:20]
    assert len(deep["results"]) == 50


@pytest.mark.django_db(transaction=True)
def test_what_a_failed_build_left_is_built_anew(faces, many, settings):
    from django.db import connection

    moving.tend(faces)
    name = indexing.index_name(faces)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX {name}")
        with pytest.raises(
            DataError
        ):  # a build that breaks off leaves its index behind
            cursor.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON {Embedding._meta.db_table} "
                "((1 / (id - id)))"
            )
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        assert cursor.fetchone() == (True,)
    assert not indexing.is_indexed(faces)

    assert indexing.index(faces)
    assert indexing.is_indexed(faces)


@pytest.mark.django_db(transaction=True)
def test_matches_of_a_rare_filter_are_measured_beside_an_index(api, faces, many):
    call_command("index_vectors", model="faces")
    end = START + timedelta(seconds=60)
    window = {"start": START.isoformat(), "end": end.isoformat()}

    page = ask(api, [1, 0, 0, 0], {"time_window_filter": window}, {"limit": 20})

    within = {name: vector for name, vector in many.items() if int(name) < 60}
    assert page["vector_search"] == "exact"
    assert [n for n, _ in found(page)] == by_distance(within, "cosine", [1, 0, 0, 0])[
        :20
    ]


@pytest.mark.django_db(transaction=True)
def test_soft_deleted_inferences_do_not_end_a_search_by_the_index(api, faces, many):
    call_command("index_vectors", model="faces")
    query = [1.0, 0.1, 0, 0]
    nearest_first = by_distance(many, "cosine", query)
    faces.inferences.filter(inference_id__in=nearest_first[:400]).update(deleted=True)

    page = ask(api, query, pagination={"limit": 20})

    assert page["vector_search"] == "index"
    assert [name for name, _ in found(page)] == nearest_first[400:420]


@pytest.mark.django_db(transaction=True)
def test_a_build_is_told_in_the_log_and_on_the_operator_page(faces, many, caplog):
    said = []
    build = indexing._build

    def looked_at(model, vectors):
        said.append(indexing.list_builds())
        build(model, vectors)

    with pytest.MonkeyPatch.context() as patched, caplog.at_level("INFO"):
        patched.setattr(indexing, "_build", looked_at)
        moving.tend(faces)

    assert said == [[]]
    assert "building over 1500 vectors" in caplog.text
    assert "vector index: built for" in caplog.text
    (row,) = index_panel.panel()["rows"]
    assert (row.model, row.vectors, row.build) == (faces, 1500, None)
    going_on = index_panel.Row(faces, 0, indexing.Build(faces.pk, "loading", 41.7))
    page = render_to_string("operations/_vectors.html", {"panel": {"rows": [going_on]}})
    assert "loading, 42 %" in page


def test_a_build_takes_no_more_memory_than_the_setting(faces, settings, caplog):
    faces.embedding_size = 384
    assert indexing.memory_for(faces, 1_000_000) == 1_461_600_000
    assert not caplog.text

    settings.ISTORE_VECTOR_INDEX_BYTES = 512 * 1024**2
    assert indexing.memory_for(faces, 1_000_000) == 512 * 1024**2
    assert "ISTORE_VECTOR_INDEX_BYTES" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_many_new_vectors_are_worth_a_new_index(faces, many):
    moving.tend(faces)
    store(faces, {f"b{name}": v for name, v in some_vectors(1000, 2).items()})

    assert moving.tend(faces) == 1000
    assert indexing.is_indexed(faces)


@pytest.mark.django_db(transaction=True)
def test_a_few_new_vectors_wait(faces, many):
    moving.tend(faces)
    store(faces, {f"b{name}": v for name, v in some_vectors(40, 2).items()})

    assert moving.tend(faces) == 0
    assert RecentEmbedding.objects.count() == 40


def test_a_text_is_searched_by_the_vector_that_the_service_of_the_model_makes(
    api, faces, monkeypatch
):
    store(faces, {"a": [1, 0, 0, 0], "b": [0, 1, 0, 0]})
    asked = []

    def embedder(model, text):
        asked.append((model.text_embedding_service, text))
        return [0, 1, 0, 0] if text == "a wet quay" else [0, 1]

    monkeypatch.setitem(text_embedding.embedders, "services", embedder)
    body = {"embedding_filters": {"text": "a wet quay"}}
    unset = api.post(FILTER, body, format="json")
    assert unset.status_code == 400
    assert "/embedding_filters/text" in unset.content.decode()
    settings = "/api/v1/models/faces/inference-server-settings"
    changed = api.patch(settings, {"text_embedding_service": "texts"}, format="json")
    assert changed.status_code == 200
    found = api.post(FILTER, body, format="json").json()["results"]
    assert [each["inference_id"] for each in found] == ["b", "a"]
    assert api.post(FILTER, body, format="json").json()["results"] == found
    assert asked == [("texts", "a wet quay")]  # once for all pages of it
    short = {"embedding_filters": {"text": "two numbers"}}
    assert api.post(FILTER, short, format="json").status_code == 400
    both = {"embedding_filters": {"text": "a", "similar_to": "a"}}
    assert api.post(FILTER, both, format="json").status_code == 400
