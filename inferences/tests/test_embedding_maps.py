"""Maps of embeddings: places are near where vectors are alike, areas are filters, points go."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime, timedelta
from threading import Thread

import numpy as np
import pytest
from django.db import connection
from django.urls import reverse

from inferences.embedding_maps import neighbours, principal_components
from inferences.models import (
    InferenceAction,
    MapPoint,
    MapTask,
    MetadataKey,
    RegisteredModel,
    TaskType,
)
from inferences.search import text
from inferences.search.filters import MapArea, matching
from inferences.search.filters.map_area import current_layout
from inferences.search.filters.scanning import TextQueryError
from inferences.store import removal
from inferences.store.recording import NewInference, record
from inferences.tasks import lay_out_embeddings
from inferences.tests.builders import typed
from inferences.web.view_models.embedding_map import near_duplicates, outliers, points
from istore import failpoints
from istore.celery import app
from istore.errors import Conflict
from istore.models import Role
from istore.tasks import lease_keeper
from istore.tasks.tracking import TaskState

pytestmark = pytest.mark.django_db
START = datetime(2025, 6, 1, tzinfo=UTC)
SIZE = 8
EVERYWHERE = ((-1e5, -1e5), (1e5, -1e5), (1e5, 1e5), (-1e5, 1e5))


@pytest.fixture(autouse=True)
def no_renewal(monkeypatch):
    """The thread that renews a lease does not see what the transaction of a test wrote."""
    monkeypatch.setattr(lease_keeper, "RENEW_SECONDS", 600.0)


@pytest.fixture
def faces(project):
    return RegisteredModel.objects.create(
        model_id="faces",
        project=project,
        task_type=TaskType.IMAGE_EMBEDDING,
        embedding_size=SIZE,
    )


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


def store(model, count: int, seed: int = 1, prefix: str = "") -> None:
    """Three heaps of vectors, which the metadata key ``heap`` names."""
    chance = random.Random(seed)
    middles = [[4.0 * (n % 3 == heap) for n in range(SIZE)] for heap in range(3)]
    record(
        model,
        [
            NewInference(
                inference_id=f"{prefix}{n}",
                inference_action=InferenceAction.EMBED,
                data_hash=b"\0" * 32,
                created_at=START + timedelta(seconds=n),
                metadata=[typed("heap", f"h{n % 3}")],
                embedding=[m + chance.gauss(0, 0.3) for m in middles[n % 3]],
            )
            for n in range(count)
        ],
    )


def lay_out(model) -> MapTask:
    task = neighbours.start("maria", model)
    lay_out_embeddings(str(task.pk))
    task.refresh_from_db()
    return task


def heaps_of(found) -> dict[str, np.ndarray]:
    names = [found.categories[each].name for each in found.category]
    places = np.column_stack([found.x, found.y])
    return {n: places[[each == n for each in names]] for n in set(names)}


def assert_heaps_lie_apart(found) -> None:
    heaps = heaps_of(found)
    assert sorted(heaps) == ["h0", "h1", "h2"]
    middles = {name: places.mean(axis=0) for name, places in heaps.items()}
    for name, places in heaps.items():
        for place in places:
            nearest = min(middles, key=lambda n: np.linalg.norm(place - middles[n]))
            assert nearest == name


def around(places: np.ndarray) -> tuple[tuple[float, float], ...]:
    (left, bottom), (right, top) = places.min(axis=0), places.max(axis=0)
    left, bottom, right, top = left - 0.01, bottom - 0.01, right + 0.01, top + 0.01
    return ((left, bottom), (right, bottom), (right, top), (left, top))


def everything():
    return text.parse("*")


def test_principal_components_are_there_at_once_and_tell_heaps_apart(faces):
    store(faces, 60)
    basis = principal_components.basis_of(faces)
    found = points(faces, everything(), basis, "heap:string")
    assert len(found.x) == 60 and found.is_whole
    assert_heaps_lie_apart(found)
    assert 0.8 < basis.share <= 1


def test_a_value_called_none_has_a_colour_of_its_own(faces):
    record(
        faces,
        [
            NewInference(
                inference_id=f"{n}",
                inference_action=InferenceAction.EMBED,
                data_hash=b"\0" * 32,
                created_at=START,
                metadata=[typed("fog", "none")] if n else [],
                embedding=[float(n == place) for place in range(SIZE)],
            )
            for n in range(4)
        ],
    )
    basis = principal_components.basis_of(faces)
    found = points(faces, everything(), basis, "fog:string")
    assert [(e.name, e.hue, e.count) for e in found.categories] == [
        ("none", 0, 3),
        ("none", None, 1),
    ]
    assert sorted(found.category) == [0, 0, 0, 1]


def test_a_basis_stays_and_new_vectors_have_their_place(faces):
    store(faces, 60)
    basis = principal_components.basis_of(faces)
    store(faces, 30, seed=2, prefix="new-")
    assert principal_components.basis_of(faces) == basis
    assert_heaps_lie_apart(points(faces, everything(), basis, "heap:string"))


def test_a_model_without_embeddings_has_no_basis(model, make_inference):
    make_inference()
    assert principal_components.basis_of(model) is None


@pytest.mark.parametrize("layout", ["pca", "tsne"])
def test_an_area_finds_exactly_what_is_drawn_in_it(faces, layout):
    store(faces, 60)
    basis, number = principal_components.basis_of(faces), 1
    if layout == "tsne":
        basis, number = None, lay_out(faces).number
    found = points(faces, everything(), basis, "heap:string")
    for name, places in heaps_of(found).items():
        area = MapArea(layout, number, around(places))
        said = text.parse(text.write(area))
        ids = matching(faces, said).values_list("inference_id", flat=True)
        assert {int(each) % 3 for each in ids} == {int(name[1])}
        assert len(ids) == 20


def test_a_map_that_is_not_this_one_has_nothing_in_it(faces):
    store(faces, 12)
    principal_components.basis_of(faces)
    for layout, number in (("pca", 2), ("tsne", 1)):
        assert not matching(faces, MapArea(layout, number, EVERYWHERE)).exists()
    assert matching(faces, MapArea("pca", 1, EVERYWHERE)).count() == 12


@pytest.mark.parametrize(
    "wrong",
    [
        "map:",
        "map:()",
        "map:(pca.1)",
        "map:(pca.1, 0 0, 1 1)",
        "map:(pca.1, 0 0, 1 0, 1)",
        "map:(pca.1, 0 0, 1 0, a b)",
        "map:(pca.1, 0 0, 1 0, nan 1)",
        "map:(pca.1, 0 0, 1 0, 1e30 1)",
        "map:(umap.1, 0 0, 1 0, 1 1)",
        "map:(pca.x, 0 0, 1 0, 1 1)",
        "map:(pca.1, " + ", ".join(["0 0"] * 201) + ")",
    ],
)
def test_an_area_that_is_none_is_told(wrong):
    with pytest.raises(TextQueryError):
        text.parse(wrong)


def test_neighbours_are_laid_out_by_a_worker_and_lie_together(faces):
    store(faces, 90)
    task = lay_out(faces)
    assert task.state == TaskState.COMPLETE
    assert (task.vectors, task.share_done) == (90, 1.0)
    assert_heaps_lie_apart(points(faces, everything(), None, "heap:string"))


def test_new_vectors_are_placed_among_their_neighbours(faces):
    store(faces, 60)
    lay_out(faces)
    store(faces, 30, seed=2, prefix="new-")
    assert len(points(faces, everything(), None, "heap:string").x) == 60
    neighbours.extend_all()
    found = points(faces, everything(), None, "heap:string")
    assert len(found.x) == 90
    assert_heaps_lie_apart(found)
    assert neighbours.extend(faces) == 0


def test_a_map_is_laid_out_once_at_a_time_and_anew_afterwards(faces):
    store(faces, 30)
    first = neighbours.start("maria", faces)
    with pytest.raises(Conflict):
        neighbours.start("maria", faces)
    lay_out_embeddings(str(first.pk))
    assert lay_out(faces).number == 2
    assert MapPoint.objects.beside(faces).count() == 30


@pytest.mark.django_db(transaction=True)
def test_a_map_that_is_extended_is_not_mixed_with_one_laid_out_meanwhile(
    faces, settings, monkeypatch
):
    settings.ISTORE_MAP_POINTS = 30
    store(faces, 30)
    lay_out(faces)
    store(faces, 30, seed=2, prefix="new-")
    settings.ISTORE_MAP_POINTS = 15
    read, threads = neighbours.vectors_of, []

    def lay_out_and_close() -> None:
        lay_out(faces)
        connection.close()

    def lay_out_before_reading(model, ids):
        monkeypatch.setattr(neighbours, "vectors_of", read)
        threads.append(Thread(target=lay_out_and_close))
        threads[0].start()
        while threads[0].is_alive() and not waits_for_an_advisory_lock():
            time.sleep(0.05)
        return read(model, ids)

    monkeypatch.setattr(neighbours, "vectors_of", lay_out_before_reading)
    neighbours.extend(faces)
    threads[0].join()
    assert MapPoint.objects.beside(faces).count() == 15


def waits_for_an_advisory_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT 1 FROM pg_locks "
            "WHERE locktype = 'advisory' AND NOT granted)"
        )
        (waits,) = cursor.fetchone()
    return bool(waits)


def test_a_layout_keeps_no_removal_waiting():
    route = app.amqp.router.route({}, lay_out_embeddings.name)
    assert route["queue"].name == "exports"


def test_too_few_vectors_fail_with_a_sentence(faces):
    store(faces, 5)
    task = lay_out(faces)
    assert (task.state, task.reason) == (
        TaskState.FAILED,
        "There are fewer than 10 vectors.",
    )


def test_a_stopped_layout_leaves_the_map_that_was(faces):
    store(faces, 30)
    lay_out(faces)
    kept = set(MapPoint.objects.beside(faces).values_list("id", "x"))
    task = neighbours.start("maria", faces)
    task.stop()
    lay_out_embeddings(str(task.pk))
    task.refresh_from_db()
    assert task.state == TaskState.STOPPED
    assert set(MapPoint.objects.beside(faces).values_list("id", "x")) == kept


def test_a_worker_that_ends_before_the_points_are_written_leaves_the_map_that_was(
    faces, armed
):
    store(faces, 30)
    lay_out(faces)
    kept = set(MapPoint.objects.beside(faces).values_list("id", "x"))
    task = neighbours.start("maria", faces)
    armed("embedding_maps.laid_out=raise")
    lay_out_embeddings(str(task.pk))
    assert set(MapPoint.objects.beside(faces).values_list("id", "x")) == kept
    armed("")
    lay_out_embeddings(str(task.pk))
    task.refresh_from_db()
    assert task.state == TaskState.COMPLETE


def test_what_is_removed_leaves_the_map(faces):
    store(faces, 30)
    lay_out(faces)
    gone = faces.inferences.get(inference_id="7")
    removal.remove_one("maria", faces, "7")
    assert not MapPoint.objects.beside(faces).filter(id=gone.pk).exists()
    assert MapPoint.objects.beside(faces).count() == 29


def test_what_is_deleted_softly_is_not_shown_nor_laid_out(faces):
    store(faces, 30)
    faces.inferences.filter(inference_id="7").update(deleted=True)
    task = lay_out(faces)
    assert task.vectors == 29
    assert "7" not in points(faces, everything(), None, "heap:string").inference_ids


def test_near_duplicates_and_outliers_are_listed(faces):
    store(faces, 30)
    record(
        faces,
        [
            NewInference(
                inference_id=name,
                inference_action=InferenceAction.EMBED,
                data_hash=b"\0" * 32,
                created_at=START,
                embedding=vector,
            )
            for name, vector in {
                "twin-a": [0, 0, 0, 1, 2, 3, 4, 5.0],
                "twin-b": [0, 0, 0, 1, 2, 3, 4, 5.001],
                "alone": [-9, 0, 9, -9, 0, 0, 0, 0.0],
            }.items()
        ],
    )
    lay_out(faces)
    (pair,) = [e for e in near_duplicates(faces) if "twin" in e.inference_id]
    assert {pair.inference_id, pair.other_id} == {"twin-a", "twin-b"}
    assert outliers(faces)[0].inference_id == "alone"


def test_a_near_duplicate_of_one_that_has_a_nearer_one_is_listed(faces):
    store(faces, 30)
    ids = list(faces.inferences.order_by("id").values_list("id", flat=True)[:3])
    lay_out(faces)
    for row_id, nearest, distance in zip(
        ids, (ids[1], ids[2], ids[1]), (0.002, 0.001, 0.001), strict=True
    ):
        MapPoint.objects.beside(faces).filter(id=row_id).update(
            nearest=nearest, distance=distance
        )
    MapPoint.objects.beside(faces).exclude(id__in=ids).update(distance=1)
    found = [(e.inference_id, e.other_id) for e in near_duplicates(faces)]
    assert found == [("2", "1"), ("0", "1")]


def test_the_page_is_for_who_may_see_the_model_and_a_layout_for_editors(
    faces, person, client
):
    store(faces, 30)
    page = reverse("inferences:map", args=[faces.project, faces.model_id])
    start = reverse("inferences:start-map", args=[faces.project, faces.model_id])
    viewer, editor = person(Role.VIEWER), person(Role.EDITOR)
    assert client.get(page).status_code == 302
    assert "Principal components" in viewer.get(page).content.decode()
    assert viewer.post(start).status_code == 403
    assert not MapTask.objects.exists()
    assert editor.post(start, follow=True).status_code == 200
    shown = viewer.get(page, {"layout": "tsne", "part": "task"}).content.decode()
    assert "Step 0 of" in shown and "every 2s" in shown


class Killed(BaseException):
    """The end of a worker at some moment."""


def test_points_are_never_those_of_another_map_than_the_newest(faces, monkeypatch):
    def points_of_map():
        return set(MapPoint.objects.beside(faces).values_list("id", "x", "y"))

    def die(*_):
        raise Killed

    store(faces, 30)
    lay_out(faces)
    before = points_of_map()
    store(faces, 30, seed=2, prefix="later ")
    task = neighbours.start("maria", faces)
    monkeypatch.setattr(MapTask, "_end", die)  # after the points were written
    with pytest.raises(Killed):
        neighbours.carry_out(task)
    assert current_layout(faces) == 2
    assert points_of_map() != before


def test_the_points_are_columns_of_equal_length(faces, person):
    store(faces, 30)
    page = reverse("inferences:map", args=[faces.project, faces.model_id])
    asked = {"part": "points", "colour": "heap:string", "text": "meta.heap=h1"}
    found = json.loads(person(Role.VIEWER).get(page, asked).content)
    assert found["map"] == "pca.1"
    columns = ("x", "y", "category", "inference_ids")
    assert {len(found[name]) for name in columns} == {10}
    assert [each["name"] for each in found["categories"]] == ["h1", "none"]
    wrong = json.loads(
        person(Role.VIEWER).get(page, {**asked, "text": "color:1"}).content
    )
    assert "There is no color" in wrong["problem"]


@pytest.mark.parametrize("colour", ["heap:number", "heap:json", "heap", ":"])
def test_a_colour_that_is_no_key_leaves_all_points_alike(faces, person, colour):
    store(faces, 30)
    page = reverse("inferences:map", args=[faces.project, faces.model_id])
    asked = {"part": "points", "colour": colour}
    found = json.loads(person(Role.VIEWER).get(page, asked).content)
    assert [each["name"] for each in found["categories"]] == ["none"]


def test_without_labels_a_key_colours_the_map(person, faces):
    page = reverse("inferences:map", args=[faces.project, faces.model_id])
    assert person().get(page).context["colours"] == [("truth", "ground truth")]
    MetadataKey.objects.create(registered_model=faces, key="frame", kind="int")
    MetadataKey.objects.create(registered_model=faces, key="camera", kind="string")
    told = person().get(page).context
    assert told["colour"] == "camera:string"
    assert [value for value, _ in told["colours"]] == [
        "camera:string",
        "frame:int",
        "truth",
    ]
