"""The pages of exports, as people use them: with and without JavaScript."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.html import escape

from exports.formats import FORMATS
from exports.models import ExportTask
from exports.tasks import run_export_task
from exports.tests.conftest import png
from istore.models import Membership, Role

EXPORTS = "/projects/harbour/models/yolo-harbour/exports"
SHIP = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40}


@pytest.fixture
def person_as(project):
    def person(role: Role = Role.EDITOR) -> Client:
        user = User.objects.create_user(f"{role}")
        Membership.objects.create(user=user, project=project, role=role)
        client = Client()
        client.force_login(user)
        return client

    return person


@pytest.fixture
def person(person_as):
    return person_as()


@pytest.fixture
def three(make_stored):
    make_stored(png(), [SHIP], inference_id="a/1", data_source="quay-3")
    make_stored(png(), [SHIP], inference_id='he said "b"', data_source="quay-3")
    make_stored(png(), [], inference_id="c", data_source="quay-4")


def begun(response) -> ExportTask:
    """The task whose page the answer leads to, once it is carried out."""
    task = ExportTask.objects.latest("created_at")
    assert response.status_code == 302
    assert response["Location"] == f"{EXPORTS}/{task.pk}"
    run_export_task(str(task.pk))
    task.refresh_from_db()
    return task


def names_in(task: ExportTask, person) -> list[str]:
    """The ids in the archive, as the page lets it be downloaded."""
    response = person.get(f"{EXPORTS}/{task.pk}/archive")
    content = b"".join(response.streaming_content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        lines = archive.read("inferences.ndjson").splitlines()
    return [json.loads(line)["inference_id"] for line in lines]


def test_the_filter_of_a_list_becomes_an_export(person, three):
    form = person.get(f"{EXPORTS}/new?source=quay-3&view=table&sort=score")
    page = form.content.decode()
    assert "2 inferences" in page
    assert "source:quay-3" in page
    for name, each in FORMATS.items():
        assert f'name="format" value="{name}"' in page
        assert escape(each.description) in page

    response = person.post(
        f"{EXPORTS}/new",
        {"query": "source=quay-3", "everything": "true"}
        | {"format": "ndjson", "container": "zip"},
    )

    task = begun(response)
    assert names_in(task, person) == ["a/1", 'he said "b"']
    assert "quay-3" in person.get(f"{EXPORTS}/{task.pk}").content.decode()


@pytest.mark.parametrize(
    "chosen",
    [
        {"everything": "true", "query": "?label="},
        {"everything": "true", "query": "?sorce=quay-3"},
        {"everything": "", "query": "?source=quay-3"},
    ],
)
def test_what_says_nothing_exports_nothing(person, three, chosen):
    sent = chosen | {"format": "ndjson", "container": "zip"}

    response = person.post(f"{EXPORTS}/new", sent)

    assert response.status_code == 400
    assert not ExportTask.objects.exists()


def test_ids_that_were_chosen_become_an_export(person, three):
    chosen = {"inference_id": ["c", 'he said "b"'], "query": "?source=quay-3"}
    page = person.post(f"{EXPORTS}/new", chosen).content.decode()
    assert "2 inferences" in page
    assert "he said &quot;b&quot;" in page
    assert not ExportTask.objects.exists()

    response = person.post(
        f"{EXPORTS}/new", chosen | {"format": "ndjson", "container": "zip"}
    )

    assert names_in(begun(response), person) == ['he said "b"', "c"]


def test_all_matching_but_some_become_an_export(person, three):
    chosen = {
        "everything": "true",
        "query": "?source=quay-3",
        "exclude_inference_id": ["a/1"],
    }

    response = person.post(
        f"{EXPORTS}/new", chosen | {"format": "ndjson", "container": "zip"}
    )

    assert names_in(begun(response), person) == ['he said "b"']


def test_a_filter_that_cannot_be_read_is_told_and_starts_nothing(person, three):
    broken = {"everything": "true", "query": "metadata=nonsense"}

    response = person.post(
        f"{EXPORTS}/new", broken | {"format": "coco", "container": "zip"}
    )

    assert response.status_code == 400
    assert "nonsense" in response.content.decode()
    assert not ExportTask.objects.exists()


@pytest.mark.parametrize(
    "wrong", [{"format": "none"}, {"container": "rar"}, {"format": ""}]
)
def test_a_form_that_is_not_valid_starts_nothing(person, three, wrong):
    given = {"everything": "true", "format": "coco", "container": "zip"} | wrong

    assert person.post(f"{EXPORTS}/new", given).status_code == 400
    assert not ExportTask.objects.exists()


def test_too_many_are_told_with_the_number_that_may_be(person, three, settings):
    settings.ISTORE_EXPORT_MAX = 2

    response = person.get(f"{EXPORTS}/new")

    assert response.status_code == 422
    assert "More than 2 inferences" in response.content.decode()


def test_a_page_that_moves_asks_again_until_the_task_has_ended(person, three):
    given = {"everything": "true", "format": "coco", "container": "zip"}
    person.post(f"{EXPORTS}/new", given)
    task = ExportTask.objects.get()
    here = f"{EXPORTS}/{task.pk}"

    waiting = person.get(here, headers={"HX-Request": "true"}).content.decode()
    run_export_task(str(task.pk))
    done = person.get(here, headers={"HX-Request": "true"}).content.decode()
    row = person.get(f"{here}?part=row", headers={"HX-Request": "true"})

    assert "every 1s" in waiting and "Waiting for a worker" in waiting
    assert "every" not in done and "Download" in done
    assert row.content.decode().strip().startswith("<tr>")


def test_the_manifest_is_shown_from_within_the_archive(person, three):
    for container in ("zip", "tar"):
        given = {"everything": "true", "format": "coco", "container": container}
        task = begun(person.post(f"{EXPORTS}/new", given))

        response = person.get(f"{EXPORTS}/{task.pk}/manifest")
        manifest = json.loads(b"".join(response.streaming_content))

        assert manifest["written_count"] == 3
        assert manifest["export_task_id"] == str(task.pk)


def test_a_task_is_stopped_and_tried_again(person, three):
    given = {"everything": "true", "format": "coco", "container": "zip"}
    person.post(f"{EXPORTS}/new", given)
    task = ExportTask.objects.get()
    here = f"{EXPORTS}/{task.pk}"

    person.post(f"{here}/stop")
    stopped = person.get(here).content.decode()
    person.post(f"{here}/retry")
    task.refresh_from_db()

    assert "Try again" in stopped
    assert task.is_active


def test_a_viewer_looks_and_downloads_and_starts_nothing(person_as, three):
    given = {"everything": "true", "format": "ndjson", "container": "zip"}
    task = begun(person_as().post(f"{EXPORTS}/new", given))
    viewer = person_as(Role.VIEWER)

    listed = viewer.get(EXPORTS).content.decode()

    assert "Download" in listed and "New export" not in listed
    assert len(names_in(task, viewer)) == 3
    assert viewer.get(f"{EXPORTS}/new").status_code == 403
    assert viewer.post(f"{EXPORTS}/new", given).status_code == 403
    assert viewer.post(f"{EXPORTS}/{task.pk}/stop").status_code == 403
    assert ExportTask.objects.count() == 1


def test_strangers_see_nothing(client, three, exported):
    task = exported("ndjson")
    stranger = Client()
    stranger.force_login(User.objects.create_user("stranger"))

    for path in ("", "/new", f"/{task.pk}", f"/{task.pk}/archive"):
        assert stranger.get(f"{EXPORTS}{path}").status_code == 404
        assert client.get(f"{EXPORTS}{path}").status_code == 302


def test_a_list_with_no_exports_says_what_one_is(person, model):
    assert "No exports yet" in person.get(EXPORTS).content.decode()
    assert person.get(f"{EXPORTS}?cursor=nonsense").status_code == 404
