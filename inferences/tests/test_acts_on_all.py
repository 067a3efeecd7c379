"""An act on all that match refuses a question that it cannot read to the last part."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.urls import reverse

from inferences.models import InferencePayload
from istore.models import Membership, Role

pytestmark = pytest.mark.django_db

UNREADABLE = [
    {"label": "\0"},
    {"label": "car\0"},
    {"q": "\0"},
    {"q": "label:\0"},
    {"source": "\0"},
    {"hash": "\0"},
    {"action": "\0"},
    {"metadata": "a=\0"},
    {"label": "zzz\0", "min_score": "0.5"},
    {"pick": "a:string=\0"},
    {"pick": "zzz"},
    {"pick": "a:int=1"},
    {"from:gain:number\0": "1"},
    {"from:gain": "1"},
    {"to:gain:much": "1"},
    {"key": "a", "type": "string", "operator": "~", "value": "b"},
    {"key": "a", "type": "text", "operator": "=", "value": "b"},
    {"key": "a", "value": "b"},
    {"label": ""},
    {"labels": "car"},
]


@pytest.fixture
def editor(client, admin_user, project):
    Membership.objects.create(user=admin_user, project=project, role=Role.ADMINISTRATOR)
    client.force_login(admin_user)
    return client


@pytest.mark.parametrize("query", UNREADABLE, ids=repr)
@pytest.mark.parametrize("act", ["protect", "remove", "tag"])
def test_a_question_that_cannot_be_read_changes_nothing(
    editor, model, make_inference, query, act
):
    make_inference({"a": "b"}, inference_id="a", detections=[("car", 0.9)])
    address = reverse("inferences:browse", args=[model.model_id])
    form = {"everything": "true", "sure": "true", "number": "1", "reason": "x"}
    form |= {"key": "seen", "type": "string", "value": "yes"}

    answer = editor.post(
        f"{address.removesuffix('/inferences')}/selection/{act}",
        {**form, "query": f"?{urlencode(query)}"},
    )

    assert answer.status_code < 500
    row = model.inferences.live().get()
    assert not row.is_protected
    payload = InferencePayload.objects.beside(model).get(id=row.id)
    assert "seen" not in payload.metadata


def test_a_question_that_can_be_read_is_carried_out(editor, model, make_inference):
    make_inference(inference_id="a", detections=[("car", 0.9)])
    make_inference(inference_id="b", detections=[("ship", 0.9)])
    address = reverse("inferences:browse", args=[model.model_id])

    editor.post(
        f"{address.removesuffix('/inferences')}/selection/protect",
        {"everything": "true", "sure": "true", "reason": "x", "query": "?label=car"},
    )

    protected = model.inferences.filter(is_protected=True)
    assert [row.inference_id for row in protected] == ["a"]
