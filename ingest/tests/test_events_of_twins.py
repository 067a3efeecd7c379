"""Events of two projects whose models and inferences have the same ids."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from inferences.models import RegisteredModel
from ingest.models import DeadLetter
from ingest.tests.builders import capture
from istore import blobs
from istore.models import Project

pytestmark = pytest.mark.django_db


@pytest.fixture
def twin(model):
    airport = Project.objects.create(project_id="airport")
    return RegisteredModel.objects.create(
        model_id=model.model_id, project=airport, task_type=model.task_type
    )


@pytest.fixture
def replay(settings, server):
    settings.ISTORE_REDIS_URL = server.url

    def replay(*arguments: str) -> str:
        out = StringIO()
        call_command("replay_events", *arguments, stdout=out)
        return out.getvalue()

    return replay


def inputs_of(model) -> list[str]:
    rows = model.inferences.all()
    hashes = rows.values_list("inference_id", "data_hash")
    return sorted(f"{name} {bytes(digest).hex()[:6]}" for name, digest in hashes)


def test_each_event_reaches_the_model_whose_blobs_it_names(model, twin, deliver):
    own = [capture(model, name, picture=b"own") for name in ("a", "b")]
    theirs = [capture(twin, name, picture=b"theirs") for name in ("b", "a")]

    deliver(own[0], theirs[0], theirs[1], own[1])

    assert {each.split()[0] for each in inputs_of(model)} == {"a", "b"}
    assert {each.split()[0] for each in inputs_of(twin)} == {"a", "b"}
    assert not set(inputs_of(model)) & set(inputs_of(twin))
    assert not DeadLetter.objects.exists()


def test_an_event_with_blobs_of_the_twin_and_the_id_of_another_model_is_refused(
    model, twin, project, deliver
):
    other = RegisteredModel.objects.create(model_id="other", project=project)

    deliver(replace(capture(twin), model_id=other.model_id))

    assert DeadLetter.objects.get().reason == "foreign-key"
    assert not twin.inferences.exists()
    assert not other.inferences.exists()


def test_events_that_were_set_aside_are_told_and_replayed_by_project(
    model, twin, deliver, listener, replay, settings
):
    for each in (model, twin):
        event = capture(each)
        blobs.delete([event.inference_storage_key])
        deliver(event)
    for _ in range(2 * settings.ISTORE_EVENT_DELIVERIES):
        listener.step(block_ms=1)
    assert DeadLetter.objects.count() == 2

    told = replay()
    with pytest.raises(CommandError, match=r"airport, harbour\. Say --project"):
        replay("--model", model.model_id)
    with pytest.raises(CommandError, match="no project 'nowhere'"):
        replay("--model", model.model_id, "--project", "nowhere")
    done = replay("--model", model.model_id, "--project", "harbour")

    assert f"{model.model_id} (harbour)" in told
    assert f"{model.model_id} (airport)" in told
    assert done.startswith("1 events published")
    left = DeadLetter.objects.get(replayed_at=None)
    assert left.metadata_storage_key.startswith(f"{twin.project_id}/{twin.pk}/")
