"""Errors of the store: what each face makes of them."""

from __future__ import annotations

import json
import pickle

import pytest
from django.core.management import CommandError, call_command
from django.test import RequestFactory
from rest_framework import serializers

from inferences.models.ground_truth import TruthFile
from inferences.web.errors import sentence
from istore.api.exception_handler import answer
from istore.api.serializers import StrictSerializer, invalid
from istore.errors import (
    Conflict,
    Invalid,
    NotFound,
    RateLimited,
    StoreError,
    Unavailable,
)
from istore.management.store_command import StoreCommand
from istore.tasks.tracking import TaskState
from istore.web.request_checks import RequestChecks


class BoxSerializer(StrictSerializer):
    label = serializers.CharField(max_length=3)

    def validate_label(self, label: str) -> str:
        if label == "bad":
            raise invalid("Not this.", "a/b", 0)
        return label


class BoxesSerializer(StrictSerializer):
    boxes = BoxSerializer(many=True)


def rendered(error: Exception) -> dict[str, object]:
    response = answer(error, {})
    assert response is not None
    return {k: v for k, v in response.data.items() if v is not None}


def test_an_error_of_fields_names_each_of_them_by_a_pointer():
    error = Invalid("Not a number.", "boxes", 2, "x/min")
    assert str(error) == "boxes.2.x~1min: Not a number."
    assert sentence(error) == "boxes 2 x/min: Not a number."
    assert rendered(error.beneath("data")) == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "code": "validation-error",
        "detail": "data.boxes.2.x~1min: Not a number.",
        "errors": [
            {
                "pointer": "/data/boxes/2/x~1min",
                "message": "Not a number.",
                "code": "invalid",
            }
        ],
    }


def test_a_code_of_our_own_is_that_of_the_whole_error():
    assert Invalid("No.", "name", code="unknown-field").code == "unknown-field"
    assert str(Invalid("An object is expected.")) == "The body: An object is expected."
    assert sentence(Invalid("An object is expected.")) == "An object is expected."


def test_what_serializers_collect_is_an_error_of_the_store():
    wrong = {"boxes": [{"label": "ok"}, {"label": "long"}, {"label": "bad"}], "x": 1}
    with pytest.raises(Invalid) as raised:
        BoxesSerializer.parse(wrong)
    assert raised.value.code == "unknown-field"
    del wrong["x"]
    with pytest.raises(Invalid) as raised:
        BoxesSerializer.parse(wrong)
    pointers = [each.pointer for each in raised.value.errors]
    assert pointers == ["/boxes/1/label", "/boxes/2/label/a~1b/0"]
    with pytest.raises(serializers.ValidationError) as collected:
        BoxesSerializer.parse_member(wrong)
    assert rendered(collected.value) == rendered(raised.value)


def test_an_absent_object_has_a_sentence_on_each_face():
    error = NotFound("not-found")
    assert rendered(error)["detail"] == "There is nothing here."
    assert sentence(error) == "It is not there any more."
    assert rendered(NotFound("not-found", "Copied and lost."))["detail"] == (
        "Copied and lost."
    )


def test_the_time_to_wait_is_a_header():
    error = RateLimited("rate-limited", "Too many.", retry_after=60)
    response = answer(error, {})
    assert response is not None
    assert (response.status_code, response["Retry-After"]) == (429, "60")


def test_what_a_page_does_not_catch_is_an_error_page_with_its_status(
    rf: RequestFactory,
):
    checks = RequestChecks(lambda request: None)
    error = Conflict("dataset-deleted", "The dataset was deleted at this moment.")
    page = checks.process_exception(rf.get("/projects/a"), error)
    assert page is not None
    assert page.status_code == 409
    assert b"The dataset was deleted at this moment." in page.content
    document = checks.process_exception(rf.get("/api/v1/models"), error)
    assert document is not None
    assert json.loads(document.content)["code"] == "dataset-deleted"


def test_a_command_ends_with_the_sentence():
    class Refusing(StoreCommand):
        def handle(self, **options: object) -> None:
            raise Invalid("One of a, b.", "delimiter")

    with pytest.raises(CommandError, match=r"^delimiter: One of a, b\.$"):
        call_command(Refusing(), skip_checks=True)


def test_an_error_survives_its_way_between_processes():
    error = pickle.loads(pickle.dumps(StoreError("a-code", "Why.")))
    assert (error.code, str(error)) == ("a-code", "Why.")


@pytest.mark.django_db
def test_a_task_waits_for_what_is_unavailable_and_fails_by_any_other_error(model):
    def outcome(error: StoreError) -> tuple[str, str]:
        task = TruthFile.objects.create(registered_model=model, form="csv", size=1)
        task.notify()
        assert task.claim()
        with task.recording_outcome():
            raise error
        return task.state, task.reason

    away = Unavailable("dependency-unavailable", "The proxy does not answer.")
    assert outcome(away) == (TaskState.RUNNING, "The proxy does not answer.")
    assert outcome(Invalid("No.", "x")) == (TaskState.FAILED, "x: No.")
