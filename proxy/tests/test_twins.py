"""Two projects with a model of one id: the token says which is called."""

from __future__ import annotations

import pytest

from inferences.models import RegisteredModel, TaskType
from proxy.tests.conftest import request_body, wait_until
from services.models import Runner

pytestmark = pytest.mark.django_db


@pytest.fixture
def twins(store, upstream, proxied):
    """The model of each project; the second is another name for the same server."""
    own = store.model(upstream.url, "twin")
    theirs = store.do(
        RegisteredModel.objects.create,
        model_id="twin",
        project=store.projects[1],
        task_type=TaskType.OBJECT_DETECTION,
        upstream_url=upstream.url,
        upstream_model="theirs",
        enable_inference_storage=True,
    )
    yield own, theirs
    store.do(theirs.delete)
    store.do(own.delete)


def places(proxied, inference_id: str) -> set[str]:
    """The numbers of project and model below which copies of this id lie."""
    events = [marker["event"] for marker in proxied.markers()]
    named = [each for each in events if each["inference_id"] == inference_id]
    return {"/".join(each["data_storage_key"].split("/")[:2]) for each in named}


def test_a_token_calls_the_model_of_its_project(proxied, store, twins, upstream):
    own, theirs = twins
    foreign = {"Authorization": f"Bearer {store.foreign}"}
    seen = len(upstream.seen)
    for headers in ({}, foreign, {}, foreign):
        answer = proxied.infer("twin", request_body(id="same"), headers=headers)
        assert answer.headers["Inference-Store"] == "recorded"
        assert answer.headers["Inference-Id"] == "same"

    paths = [each.path for each in upstream.seen[seen:]]
    expected = {f"{each.project_id}/{each.pk}" for each in (own, theirs)}
    wait_until(lambda: places(proxied, "same") == expected, 20)
    assert [path.split("/")[3] for path in paths] == ["twin", "theirs"] * 2
    assert places(proxied, "same") == expected


def test_a_switch_of_one_project_leaves_the_other(proxied, store, twins):
    own, _ = twins
    foreign = {"Authorization": f"Bearer {store.foreign}"}
    for headers in ({}, foreign):
        proxied.infer("twin", request_body(), headers=headers)
    own.enable_inference_storage = False
    store.do(own.save)

    assert proxied.infer("twin", request_body()).headers["Inference-Store"] == "off"
    answer = proxied.infer("twin", request_body(), headers=foreign)
    assert answer.headers["Inference-Store"] == "recorded"


def test_a_session_is_stored_as_the_model_of_its_project(proxied, store, twins):
    own, _ = twins
    session, secret = store.session(
        Runner.MOCK, {"mock": "text-completion"}, model_id="twin"
    )

    answer = proxied.call(session, secret, {"text": "A ship"})

    assert answer.headers["Inference-Store"] == "recorded"
    inference_id = answer.headers["Inference-Id"]
    expected = {f"{own.project_id}/{own.pk}"}
    wait_until(lambda: places(proxied, inference_id) == expected, 20)
    assert places(proxied, inference_id) == expected
