"""A model id is unique within its project: in the database and in commands."""

from __future__ import annotations

import json
from importlib import import_module
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from inferences.models import RegisteredModel
from istore.models import Project
from retention import policies

MIGRATION = import_module(
    "inferences.migrations.0018_make_model_ids_unique_in_a_project"
)


@pytest.fixture
def twin(model):
    airport = Project.objects.create(project_id="airport")
    return RegisteredModel.objects.create(
        model_id=model.model_id,
        project=airport,
        task_type=model.task_type,
        embedding_size=3,
    )


def said(*arguments: str, **options: object) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def indexes() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes "
            "WHERE tablename = 'inferences_registeredmodel'"
        )
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.django_db
def test_an_id_is_taken_within_its_project_alone(model, twin):
    with pytest.raises(IntegrityError), transaction.atomic():
        RegisteredModel.objects.create(model_id=twin.model_id, project=twin.project)


@pytest.mark.django_db(transaction=True)
def test_the_migration_goes_back_and_forth_on_what_is_there(model, project):
    """As on the day it came: ids are unique; and again, as after an interruption."""
    RegisteredModel.objects.create(model_id="other", project=project)
    now = indexes()
    with connection.schema_editor(atomic=False) as editor:
        MIGRATION.make_unique_everywhere(apps, editor)
        before = indexes()
        airport = Project.objects.create(project_id="airport")
        with pytest.raises(IntegrityError), transaction.atomic():
            RegisteredModel.objects.create(model_id="other", project=airport)

        MIGRATION.make_unique_in_project(apps, editor)
        MIGRATION.make_unique_in_project(apps, editor)

        assert indexes() == now
        assert MIGRATION.NEW not in before
        assert len(before - now) == 2  # of the whole id, and of its beginning
        RegisteredModel.objects.create(model_id="other", project=airport)
        with pytest.raises(RuntimeError, match="Two projects"):
            MIGRATION.make_unique_everywhere(apps, editor)
    assert indexes() == now
    assert RegisteredModel.objects.filter(model_id="other").count() == 2


@pytest.mark.django_db
def test_commands_name_the_projects_when_an_id_is_not_enough(model, twin, tmp_path):
    file = tmp_path / "truth.ndjson"
    file.write_text(json.dumps({"inference_id": "a", "labels": ["ship"]}) + "\n")
    name = model.model_id
    for command in (
        ("import_ground_truth", name, str(file)),
        ("import_inferences", name, str(file)),
        ("apply_retention", name),
        ("index_vectors", "--model", name),
    ):
        with pytest.raises(CommandError, match=r"airport, harbour\. Say --project"):
            said(*command)
        with pytest.raises(CommandError, match="no project 'nowhere'"):
            said(*command, project="nowhere")


@pytest.mark.django_db
def test_commands_do_it_in_the_project_that_is_named(
    model, twin, make_inference, tmp_path
):
    make_inference(inference_id="a")
    make_inference(inference_id="a", to=twin, embedding=[1.0, 2.0, 3.0])
    file = tmp_path / "truth.ndjson"
    file.write_text(json.dumps({"inference_id": "a", "labels": ["ship"]}) + "\n")
    policies.create_policy(
        "ann",
        model,
        maximum_record_age=1,
        maximum_blob_age=1,
        delete_action="hard",
        automated_interval=0,
    )

    joined = said("import_ground_truth", model.model_id, str(file), project="harbour")
    assert "1 inferences joined" in joined
    assert said("index_vectors", model=twin.model_id, project="airport").startswith(
        f"{twin.model_id} (airport)"
    )
    assert "1 of 1 records removed" in said(
        "apply_retention", model.model_id, project="harbour"
    )
    with pytest.raises(CommandError, match="no retention policy"):
        said("apply_retention", model.model_id, project="airport")
    assert [model.inferences.count(), twin.inferences.count()] == [0, 1]


@pytest.mark.django_db
def test_verify_says_whose_record_it_is(model, twin, make_inference):
    from inferences.maintenance import consistency_checks
    from inferences.models import InferenceKey
    from istore.checks.verification import Scope
    from istore.db import clock

    for each in (model, twin):
        make_inference(inference_id="a", to=each)
    InferenceKey.objects.filter(registered_model=twin).delete()

    def places(project):
        scope = Scope(clock.now(), project, None, deep=False, repair=False)
        return [finding.where for finding in consistency_checks.rows(scope)]

    (where,) = places(None)
    assert where.startswith(f"{twin.model_id} (airport) row ")
    assert places(twin.project) == [where]
    assert places(model.project) == []


@pytest.mark.django_db
def test_storage_of_twins_is_measured_apart(model, twin, make_inference):
    from django.core.cache import cache

    from inferences.maintenance import storage_by_model

    cache.clear()
    make_inference(inference_id="a")
    for name in ("a", "b"):
        make_inference(inference_id=name, to=twin)
    storage_by_model.measure()

    bars = {
        (bar.project_id, bar.records) for bar in storage_by_model.by_model()["bars"]
    }
    assert bars == {("harbour", 1), ("airport", 2)}
    cache.clear()
