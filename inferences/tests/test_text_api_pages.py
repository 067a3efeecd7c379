"""Pages of a text model say how clients of OpenAI's API are pointed at it."""

from __future__ import annotations

import pytest

from inferences.models import RegisteredModel, TaskType

pytestmark = pytest.mark.django_db


@pytest.fixture
def talker(project):
    return RegisteredModel.objects.create(
        model_id="org/talker",
        project=project,
        task_type=TaskType.TEXT_GENERATION,
        enable_inference_storage=True,
    )


def test_the_settings_have_the_base_url_of_a_text_model(admin_client, talker, model):
    page = admin_client.get("/models/org/talker/settings").content.decode()
    assert "/models/org%2Ftalker/v1</span>" in page
    page = admin_client.get(f"/models/{model}/settings").content.decode()
    assert "/v1</span>" not in page


def test_an_empty_list_shows_the_two_settings_of_a_program(admin_client, talker):
    page = admin_client.get("/models/org/talker/inferences").content.decode()
    assert "OPENAI_BASE_URL=" in page
    assert "/models/org%2Ftalker/v1" in page
    assert "/v2/models/" not in page


def test_the_settings_switch_failed_calls_on(admin_client, talker):
    fields = {"keep_failures": "on", "box_format": "yxyx", "first_class_number": "0"}
    answer = admin_client.post("/models/org/talker/settings", fields)
    assert answer.status_code == 302
    talker.refresh_from_db()
    assert talker.keep_failures
