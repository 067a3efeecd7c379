from __future__ import annotations

import pytest
from django.db.models.functions import Now

from inferences.models import UploadGrant
from istore.api.idempotency import AT_WORK, KEPT, forget_old_calls
from istore.models import IdempotentCall, Role

UPLOADS = "/api/v1/models/yolo-harbour/uploads/data"
DELETE = "/api/v1/models/yolo-harbour/inferences/delete"


def post(api, key="once", path=UPLOADS, body=None):
    return api.post(path, body or {}, headers={"Idempotency-Key": key})


def test_a_repeat_gets_the_answer_of_the_first(api, model):
    first, again, other = post(api), post(api), post(api, "another")

    assert again.json() == first.json() != other.json()
    assert (again.status_code, UploadGrant.objects.count()) == (201, 2)


def test_a_refusal_is_an_answer_too(api, make_inference):
    refused = post(api, path=DELETE)

    assert post(api, path=DELETE).json() == refused.json()
    assert refused.status_code == 400


def test_the_key_belongs_to_one_request(api, model):
    post(api)

    other = post(api, path=DELETE, body={"filters": {}})

    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


def test_each_caller_has_keys_of_their_own(api, api_as, model):
    post(api)
    post(api_as(Role.EDITOR))

    assert UploadGrant.objects.count() == 2


def test_while_the_first_is_at_work_a_repeat_waits(api, model):
    post(api)
    IdempotentCall.objects.update(status=None)

    busy = post(api)

    assert (busy.status_code, busy.json()["code"]) == (409, "idempotency-in-progress")


def test_a_call_whose_process_died_may_be_tried_again(api, model):
    post(api)
    IdempotentCall.objects.update(status=None, created_at=Now() - AT_WORK)

    assert post(api).status_code == 201
    assert UploadGrant.objects.count() == 2


def test_answers_are_forgotten_after_a_day(api, model):
    post(api)
    assert forget_old_calls() == 0
    IdempotentCall.objects.update(created_at=Now() - KEPT)

    assert forget_old_calls() == 1


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256])
def test_a_key_is_visible_ascii(api, model, key):
    refused = post(api, key)

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid-header")
