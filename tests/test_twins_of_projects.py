"""Two projects with the same model ids and inference ids: neither meets the other.

The twin of the harbour's model has its id, its inferences have the same ids, and each kind
of thing that belongs to a model or a project is there a second time. Every route is called
with a token of the harbour, first without the twin and then with it: the answers are equal,
and nothing of the twin has changed. Whatever else is called by an id of the twin's own is
answered as if there were no such thing.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datasets import lifecycle as dataset_lifecycle
from exports.models import ExportTask
from exports.schedules import lifecycle as schedule_lifecycle
from inferences.ground_truth.upsert import put_truth
from inferences.models import RegisteredModel, TaskType
from inferences.models.erasure import ErasureTask
from inferences.store.registration import register_model
from inferences.store.uploads import grant
from istore.models import AuditEntry, Membership, Project, Role
from retention import policies
from services import sessions
from services.models import Runner
from tests.routes_and_roles import METHODS, OWN

pytestmark = pytest.mark.django_db

SECRET = "seen-by-the-airport-alone"
# What is sent so that a call does what it is for.
EVERYTHING = {"filters": {}}
BODIES = {
    "models/{}/inferences/delete": EVERYTHING,
    "models/{}/inferences/protection": EVERYTHING | {"is_protected": True},
    "models/{}/inferences/a/protection": {"is_protected": True},
    "models/{}/metadata/bulk": EVERYTHING
    | {"metadata": [{"key": "n", "type": "int", "value": "1"}]},
    "models/{}/metadata/statistics": {"key": "k", "type": "string"},
    "models/{}/inferences/a/metadata": {"key": "n", "type": "int", "value": "1"},
    "models/{}/inferences/a/metadata/k": {"type": "string", "value": "w"},
    "models/{}/inferences/a/ground-truth": {"labels": ["crane"]},
    "models/{}/ground-truth": [{"inference_id": "a", "labels": ["crane"]}],
    "models/{}/inference-server-settings": {"enable_inference_storage": False},
    "models/{}/retention-policy": {
        "maximum_record_age": 1,
        "maximum_blob_age": 1,
        "delete_action": "hard",
        "automated_interval": 0,
    },
    "models/{}/deleted/restore": EVERYTHING,
    "models/{}/deleted/remove": EVERYTHING,
    "models": {"model_id": "new", "project_id": "harbour", "task_type": "Ranking"},
    "projects/harbour/erasures": {
        "key": "k",
        "type": "string",
        "value": "v",
        "reason": "asked for",
    },
    "projects/harbour/datasets": {"name": "mine"},
}
VOLATILE = re.compile(
    r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|\+00:00)|(?<=signature=)[^\"&]+"
    r"|(?<=X-Amz-Date=)\w+"
    r"|(?<=\d/)\d+(?=/)|\b\d{1,9}/\d{1,9}/",
)


@pytest.fixture
def harbour(make_inference, project, model):
    make_inference({"k": "v"}, inference_id="a", detections=[("ship", 0.9)])
    make_inference({"k": "v"}, inference_id="b", detections=[("ship", 0.2)])
    return project


def build_twin(make_inference) -> RegisteredModel:
    """Everything that a model and a project may have, under ids that the harbour has."""
    airport = Project.objects.create(project_id="airport")
    twin, _ = register_model(
        "ann", airport, OWN, task_type=TaskType.OBJECT_DETECTION, embedding_size=0
    )
    for name in ("a", "b", "only-there"):
        make_inference(
            {"k": "v", "own": SECRET},
            inference_id=name,
            to=twin,
            data_source=SECRET,
            detections=[(SECRET, 0.99)],
        )
    put_truth("ann", twin, "a", {"labels": [SECRET, "ship"]})
    policy = policies.create_policy(
        "ann",
        twin,
        maximum_record_age=-1,
        maximum_blob_age=0,
        delete_action="soft",
        automated_interval=0,
    )
    twin.made = {
        "policy": policy.pk,
        "retention task": policies.open_task("ann", policy, dry_run=True).pk,
        "export task": ExportTask.objects.create(
            model=twin, format="coco", created_by="ann", selection={}
        ).pk,
        "schedule": schedule_lifecycle.create(
            "ann", twin, from_beginning=True, name=SECRET, interval_hours=1
        ).pk,
        "dataset": dataset_lifecycle.create(
            "ann", airport, "a", description=SECRET
        ).name,
        "erasure": ErasureTask.objects.create(
            project=airport, key="k", type="string", value="v", requested_by="ann"
        ).pk,
        "grant": grant("ann", twin, "input").storage_key,
    }
    service = sessions.create_service(
        "ann",
        airport,
        account=SECRET,
        name=SECRET,
        model_id=OWN,
        runner=Runner.MOCK,
        configuration={"mock": "TextCompletion"},
        endpoint="generate",
    )
    twin.made["service"] = service.pk
    twin.saved_views.create(name=SECRET, query="?label=x", created_by="ann")
    return twin


def everything_of(twin: RegisteredModel) -> dict[str, list[str]]:
    """All rows that hang on the model or its project, by a key or by a key of a key."""
    roots = {RegisteredModel: twin.pk, Project: twin.project_id}
    found = {}
    for kind in apps.get_models():
        for field in kind._meta.fields:
            target = field.related_model
            if target in roots:
                paths = [(field.name, roots[target])]
            elif target is not None:
                paths = [
                    (f"{field.name}__{inner.name}", roots[inner.related_model])
                    for inner in target._meta.fields
                    if inner.related_model in roots
                ]
            else:
                continue
            for path, key in paths:
                rows = kind._base_manager.filter(**{path: key}).values_list()
                found[f"{kind.__name__}.{path}"] = sorted(map(repr, rows))
    return found


def answer(api, path: str, method: str) -> tuple[int, str]:
    """The status and the body, without what differs from one call to the next."""
    address = f"/api/v1/{path.format(OWN)}"
    if path.endswith("/batch") and method == "post":
        body = b'{"inference_id": "a"}\n'
        response = api.post(address, body, content_type="application/x-ndjson")
    elif method == "get":
        response = api.get(address)
    else:
        body = BODIES.get(path, {})
        response = getattr(api, method)(address, body, format="json")
    content = (
        b"".join(response.streaming_content) if response.streaming else response.content
    )
    return response.status_code, VOLATILE.sub("·", content.decode())


def undone(act):
    """What the act returns; nothing of what it did stays."""
    block = transaction.atomic()
    block._from_testcase = True  # as the block around each test: commits end in it
    with block:
        result = act()
        transaction.set_rollback(True)
    return result


@pytest.mark.parametrize(("path", "method"), METHODS)
def test_a_twin_changes_no_answer_and_is_not_changed(
    api_as, harbour, make_inference, path, method
):
    api = api_as(Role.ADMINISTRATOR)
    alone = undone(lambda: answer(api, path, method))
    twin = build_twin(make_inference)
    before = everything_of(twin)
    assert sum(map(len, before.values())) > 20

    beside = answer(api, path, method)

    assert beside == alone
    assert SECRET not in beside[1]
    assert everything_of(twin) == before


NAMED = (
    ("get", "models/{model}/inferences/only-there", None),
    ("delete", "models/{model}/inferences/only-there", None),
    ("get", "models/{model}/inferences/only-there/metadata", None),
    ("get", "models/{model}/inferences/only-there/ground-truth", None),
    ("get", "models/{model}/retention-tasks/{retention task}", None),
    ("post", "models/{model}/retention-tasks/{retention task}/stop", None),
    ("put", "models/{model}/retention-policy/{policy}", None),
    ("delete", "models/{model}/retention-policy/{policy}", None),
    ("get", "models/{model}/export-tasks/{export task}", None),
    ("get", "models/{model}/export-tasks/{export task}/archive", None),
    ("post", "models/{model}/export-tasks/{export task}/stop", None),
    ("get", "models/{model}/export-schedules/{schedule}", None),
    ("delete", "models/{model}/export-schedules/{schedule}", None),
    ("post", "models/{model}/export-schedules/{schedule}/run", None),
    ("get", "models/{model}/export-schedules/{schedule}/files", None),
    ("get", "projects/harbour/datasets/{dataset}", None),
    ("get", "projects/airport/datasets/{dataset}", None),
    ("get", "projects/harbour/erasures/{erasure}", None),
    ("get", "projects/airport/erasures/{erasure}", None),
    ("post", "projects/airport/inferences/filter", {}),
    ("get", "inferenceservices/{service}", None),
    ("delete", "inferenceservices/{service}", None),
    ("get", "projects/airport/models/{model}", None),
    ("get", "projects/airport/models/{model}/inferences", None),
    ("post", "projects/airport/models/{model}/inferences/filter", {}),
    ("post", "projects/airport/models/{model}/inferences/delete", EVERYTHING),
    ("get", "projects/airport/models/{model}/inferences/a/input", None),
)


@pytest.mark.parametrize(("method", "path", "body"), NAMED)
def test_what_is_the_twins_is_answered_as_what_is_not_there(
    api_as, harbour, make_inference, method, path, body
):
    api = api_as(Role.ADMINISTRATOR)

    def told(names):
        address = "/api/v1/" + path.format(model=OWN, **names)
        response = getattr(api, method)(address, body, format="json")
        return response.status_code, VOLATILE.sub("·", response.content.decode())

    twin = build_twin(make_inference)
    before = everything_of(twin)
    absent = dict.fromkeys(twin.made, UUID(int=0)) | {"dataset": "none"}

    beside = told(twin.made)

    assert beside[0] == 404
    assert beside == told(absent)
    assert json.loads(beside[1])["detail"] == "There is nothing here."
    assert everything_of(twin) == before
    twin.project.__class__.objects.filter(pk=twin.project_id).update(project_id="x")
    assert beside == told(twin.made)  # as a project that is not there


def test_an_upload_of_the_twin_cannot_be_used(api_as, harbour, make_inference):
    twin = build_twin(make_inference)
    standard = {
        "task_type": "Object Detection",
        "inference_action": "detect",
        "data_hash": "0" * 64,
        "data_size": 1,
    }

    def created(key):
        data = {"metadata": {"standard_metadata": standard}, "object_detection": []}
        body = {"inference_id": "new", "data": data, "data_storage_key": key}
        response = api_as().post(f"/api/v1/models/{OWN}/inferences", body)
        return response.status_code, VOLATILE.sub("·", response.content.decode())

    assert created(twin.made["grant"])[0] == 400
    assert created(twin.made["grant"]) == created("uploads/1/2/none/input")


def test_an_id_of_another_project_is_registered_as_a_free_one_is(
    api_as, harbour, make_inference
):
    body = {"model_id": "new", "project_id": "harbour", "task_type": "Ranking"}
    free = undone(lambda: api_as().post("/api/v1/models", body))
    twin = build_twin(make_inference)
    RegisteredModel.objects.create(
        model_id="new", project=twin.project, task_type=TaskType.OBJECT_DETECTION
    )

    taken_elsewhere = api_as().post("/api/v1/models", body)

    assert taken_elsewhere.status_code == free.status_code == 201
    as_text = [
        VOLATILE.sub("·", each.content.decode()) for each in (free, taken_elsewhere)
    ]
    assert as_text[0] == as_text[1]


def test_a_taken_id_is_told_in_one_sentence_with_a_hint(api_as, harbour):
    body = {"model_id": OWN, "project_id": "harbour", "task_type": "Ranking"}

    answer = api_as().post("/api/v1/models", body)

    assert answer.status_code == 409
    assert answer.json()["code"] == "model-exists"
    assert answer.json()["detail"].startswith("This id is taken.")
    assert "another id" in answer.json()["detail"]


def test_a_foreign_project_is_registered_in_as_an_absent_one(api_as, harbour):
    Project.objects.create(project_id="airport")
    answers = []
    for project_id in ("airport", "nowhere"):
        body = {"model_id": OWN, "project_id": project_id, "task_type": "Ranking"}
        response = api_as().post("/api/v1/models", body)
        answers.append(
            (response.status_code, VOLATILE.sub("·", response.content.decode()))
        )

    assert answers[0] == answers[1]
    assert answers[0][0] == 400


IDS = st.sampled_from([OWN, "new", "a/b", "x/models/y"])
TASKS = st.sampled_from([each.value for each in TaskType])


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(IDS, TASKS), max_size=4), IDS)
def test_whatever_one_project_registers_changes_no_answer_to_another(
    api_as, harbour, registered, asked
):
    api = api_as(Role.ADMINISTRATOR)

    def answers():
        body = {"model_id": asked, "project_id": "harbour", "task_type": "Ranking"}
        responses = [
            api.get("/api/v1/models"),
            api.get(f"/api/v1/models/{asked}"),
            api.get(f"/api/v1/projects/harbour/models/{asked}"),
            api.get(f"/api/v1/projects/airport/models/{asked}"),
            api.post("/api/v1/models", body),
            api.get("/api/v1/models"),
        ]
        return [
            (each.status_code, VOLATILE.sub("·", each.content.decode()))
            for each in responses
        ]

    alone = undone(answers)

    def beside():
        airport = Project.objects.create(project_id="airport")
        for model_id, task_type in dict(registered).items():
            register_model("ann", airport, model_id, task_type=task_type)
        return answers()

    assert undone(beside) == alone


@pytest.fixture
def person(client, harbour):
    user = User.objects.create_user("maria")
    Membership.objects.create(user=user, project=harbour, role=Role.ADMINISTRATOR)
    client.force_login(user)
    client.user = user
    return client


def in_both(person, twin) -> None:
    Membership.objects.create(
        user=person.user, project=twin.project, role=Role.ADMINISTRATOR
    )


PAGES = (
    "inferences",
    "inferences/a",
    "statistics",
    "quality",
    "settings",
    "deleted",
    "retention",
    "retention/tasks",
    "exports",
    "exports/schedules",
    "facets",
    "activity",
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_of_the_one_model_that_a_person_may_see(person, make_inference, page):
    build_twin(make_inference)

    short = person.get(f"/models/{OWN}/{page}")
    long = person.get(f"/projects/harbour/models/{OWN}/{page}")

    assert short.status_code == long.status_code == 200
    assert SECRET not in short.content.decode() + long.content.decode()
    assert person.get(f"/projects/airport/models/{OWN}/{page}").status_code == 404
    assert f'"/models/{OWN}' not in long.content.decode()


@pytest.mark.parametrize("page", PAGES)
def test_who_sees_both_chooses_or_names_the_project(person, make_inference, page):
    in_both(person, build_twin(make_inference))

    which = person.get(f"/models/{OWN}/{page}?label=x")

    content = which.content.decode()
    assert which.status_code == 409
    for project in ("harbour", "airport"):
        address = f"/projects/{project}/models/{OWN}/{page}"
        assert f'href="{address}?label=x"' in content
        assert person.get(address).status_code == 200
        assert f'"/models/{OWN}' not in person.get(address).content.decode()


def test_the_choices_are_the_persons_own_projects(person, make_inference):
    in_both(person, build_twin(make_inference))
    third = Project.objects.create(project_id="quarry")
    RegisteredModel.objects.create(model_id=OWN, project=third)

    page = person.get(f"/models/{OWN}/inferences")
    problem = person.get(f"/api/v1/models/{OWN}")

    assert "quarry" not in page.content.decode()
    assert problem.status_code == 409
    assert problem.json()["code"] == "ambiguous-model"
    assert problem.json()["projects"] == ["airport", "harbour"]


def test_nothing_is_done_to_a_model_that_is_not_told_from_another(
    person, model, make_inference
):
    twin = build_twin(make_inference)
    in_both(person, twin)
    address = f"models/{OWN}/settings"
    form = {"box_format": "xyxy"}

    assert person.post(f"/{address}", form).status_code == 409
    assert person.post(
        f"/api/v1/models/{OWN}/inferences/delete", EVERYTHING
    ).status_code in (
        403,
        409,
    )
    assert model.inferences.count() == 2
    assert twin.inferences.count() == 3

    there = person.post(f"/projects/airport/{address}", form)
    assert there["Location"] == f"/projects/airport/{address}"
    model.refresh_from_db()
    twin.refresh_from_db()
    assert (model.box_format, twin.box_format) == ("yxyx", "xyxy")


def test_a_person_of_both_projects_reads_each_by_the_api(person, make_inference):
    in_both(person, build_twin(make_inference))

    for project, count in (("harbour", 2), ("airport", 3)):
        address = f"/api/v1/projects/{project}/models/{OWN}"
        assert person.get(address).json()["project_id"] == project
        found = person.get(f"{address}/inferences").json()["results"]
        assert len(found) == count


@pytest.mark.parametrize("project_id", ["team/x", "a b", "50%", "a/models/b"])
@pytest.mark.parametrize("model_id", ["org/name", "x/datasets", "m/models/n"])
def test_ids_of_any_kind_have_an_address(client, project_id, model_id):
    project = Project.objects.create(project_id=project_id)
    RegisteredModel.objects.create(model_id=model_id, project=project)
    user = User.objects.create_user("maria")
    Membership.objects.create(user=user, project=project, role=Role.EDITOR)
    client.force_login(user)

    (address,) = set(
        re.findall(r'href="([^"]*/inferences)"', client.get("/").content.decode())
    )

    assert client.get(address).status_code == 200


def test_an_inference_may_be_called_like_a_page_of_a_project(person, make_inference):
    for name in ("x/datasets", "x/tokens", "x/erasures", "x/datasets/y"):
        make_inference(inference_id=name)
        page = person.get(f"/projects/harbour/models/{OWN}/inferences/{name}")
        assert page.status_code == 200
        assert name in page.content.decode()


def test_entries_of_a_dataset_know_their_own_sources(person, model, make_inference):
    from datasets.models import DatasetEntry
    from datasets.web.entries import find_source_model

    twin = build_twin(make_inference)
    make_inference(inference_id="gone")
    entry = DatasetEntry(model_id=OWN, inference_id="only-there")

    assert find_source_model(model.project, entry) is None
    assert find_source_model(twin.project, entry) == twin


def test_schedules_of_twins_write_into_folders_of_their_own(
    harbour, model, make_inference
):
    from exports.schedules.files import folder_of

    twin = build_twin(make_inference)
    own = schedule_lifecycle.create(
        "ann", model, from_beginning=True, name="n", interval_hours=1
    )
    theirs = twin.export_schedules.get()

    assert folder_of(own) == f"scheduled/project=harbour/model={OWN}"
    assert folder_of(theirs) == f"scheduled/project=airport/model={OWN}"
    own.names_project = False  # as one that is older than that
    assert folder_of(own) == f"scheduled/model={OWN}"


def test_the_audit_of_a_project_has_nothing_of_the_twin(
    api_as, harbour, make_inference
):
    twin = build_twin(make_inference)
    api_as().delete(f"/api/v1/models/{OWN}/inferences/a")

    removed = AuditEntry.objects.filter(action="inference.delete")
    assert [each.project_id for each in removed] == [harbour.pk]
    assert twin.inferences.count() == 3


def test_a_retention_run_of_one_leaves_the_other(
    api_as, harbour, model, make_inference
):
    from retention.sweeping import sweep

    old = datetime.now(UTC) - timedelta(days=9)
    make_inference(inference_id="old", created_at=old)
    twin = build_twin(make_inference)
    before = everything_of(twin)
    policy = policies.create_policy(
        "ann",
        model,
        maximum_record_age=24,
        maximum_blob_age=24,
        delete_action="hard",
        automated_interval=0,
    )

    sweep(policies.open_task("ann", policy))

    assert model.inferences.count() == 0
    assert everything_of(twin) == before
