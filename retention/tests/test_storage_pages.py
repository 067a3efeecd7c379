"""The storage pages: the policy in words, its preview, runs and receipts."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User

from istore.models import Membership, Role
from istore.tasks.pages import ON_A_PAGE
from retention import policies
from retention.models import RetentionPolicy, RetentionTask
from retention.sweeping import sweep
from retention.tests.builders import carried_out, hours_ago, policy_of, stored

PAGE = "/projects/harbour/models/yolo-harbour/retention"
BOTH = {
    "what": "both",
    "input_age_0": "2",
    "input_age_1": "24",
    "record_age_0": "72",
    "record_age_1": "1",
    "delete_action": "hard",
    "automated_interval": "24",
}


@pytest.fixture
def person(client, project):
    """A browser whose person has this role; an editor unless told otherwise."""

    def sign_in(role: Role = Role.EDITOR):
        user, _ = User.objects.get_or_create(username="maria")
        Membership.objects.update_or_create(
            user=user, project=project, defaults={"role": role}
        )
        client.force_login(user)
        return client

    return sign_in


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).split())


def test_a_model_without_a_policy_keeps_everything(model, person):
    shown = text(person().get(PAGE))

    assert "Everything is kept." in shown
    for choice in ("Delete inputs and inferences", "and keep inferences", "Keep both"):
        assert choice in shown


def test_the_three_choices_make_change_and_take_away_a_policy(model, person):
    client = person()

    assert client.post(PAGE, BOTH).status_code == 302
    made = RetentionPolicy.objects.get()
    assert (made.maximum_record_age, made.maximum_blob_age) == (72, 48)
    assert (made.delete_action, made.automated_interval) == ("hard", 24)
    shown = text(client.get(PAGE))
    assert "Inputs are deleted after 2 days, inferences for good after 3 days." in shown
    assert "Carried out every day." in shown

    assert client.post(PAGE, BOTH | {"what": "inputs"}).status_code == 302
    made.refresh_from_db()
    assert (made.maximum_record_age, made.maximum_blob_age) == (-1, 48)
    assert "Inputs are deleted after 2 days; inferences are kept." in text(
        client.get(PAGE)
    )

    assert client.post(PAGE, {"what": "nothing"}).status_code == 302
    assert not RetentionPolicy.objects.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_age_0": "4"}, "Inputs cannot be kept longer than their records."),
        ({"input_age_0": ""}, "Say after how long."),
        ({"record_age_0": ""}, "Say after how long."),
        ({"input_age_0": "-1"}, "greater than or equal to 0"),
        ({"record_age_0": "99999999999"}, "less than or equal to"),
        ({"record_age_0": "2147483647", "record_age_1": "24"}, "That is too long."),
        ({"what": "all"}, "Select a valid choice."),
        ({"delete_action": "gone"}, "Select a valid choice."),
        ({"automated_interval": "often"}, "Select a valid choice."),
    ],
)
def test_what_contradicts_the_rules_is_told_beside_the_field(
    model, person, change, said
):
    response = person().post(PAGE, BOTH | change)

    assert response.status_code == 400
    assert said in text(response)
    assert not RetentionPolicy.objects.exists()


def test_a_viewer_sees_the_policy_and_changes_nothing(model, person):
    policy_of(model)
    client = person(Role.VIEWER)

    page = client.get(PAGE)
    assert "Inputs are deleted after 2 days" in text(page)
    assert b"Carry out now" not in page.content
    assert client.post(PAGE, BOTH).status_code == 403
    assert client.post(f"{PAGE}/tasks", {"dry_run": "true"}).status_code == 403
    assert not RetentionTask.objects.exists()


def test_nobody_from_outside_sees_a_page(model, client):
    client.force_login(User.objects.create(username="stranger"))
    task = policies.open_task("test", policy_of(model))

    for path in ("", "/preview", "/tasks", f"/tasks/{task.pk}"):
        assert client.get(PAGE + path).status_code == 404
    for act in ("stop", "resume"):
        assert client.post(f"{PAGE}/tasks/{task.pk}/{act}").status_code == 404
    client.logout()
    assert client.get(PAGE).status_code == 302


def test_the_preview_says_what_would_go_before_anything_is_saved(
    model, person, make_inference
):
    for number in range(3):
        make_inference(
            inference_id=f"old {number}",
            created_at=hours_ago(100 + 24 * number),
            data_storage_key=stored(),
            data_size=1500,
        )
    make_inference(created_at=hours_ago(100), is_protected=True)

    part = person().get(f"{PAGE}/preview", BOTH)

    shown = text(part)
    assert "What would be removed now exact" in shown
    assert "Inputs 3 4.5 KB" in shown
    assert "Protected" in shown
    assert part.content.count(b'class="records"') >= 3
    assert b"/models/yolo-harbour/inferences/old%201" in part.content
    assert not RetentionPolicy.objects.exists()


def test_the_preview_follows_the_form(model, person):
    client = person()

    assert "Nothing would be removed" in text(
        client.get(f"{PAGE}/preview", {"what": "nothing"})
    )
    wrong = client.get(f"{PAGE}/preview", BOTH | {"input_age_0": "9"})
    assert "Inputs cannot be kept longer" in text(wrong)
    assert client.get(f"{PAGE}/preview").status_code == 200


def test_without_scripts_a_button_previews(model, person, make_inference):
    make_inference(created_at=hours_ago(100))

    page = person().post(PAGE, BOTH | {"preview": "true"})

    assert page.status_code == 200
    assert "What would be removed now" in text(page)
    assert not RetentionPolicy.objects.exists()


def test_a_run_is_started_watched_stopped_and_resumed(model, person, make_inference):
    make_inference(created_at=hours_ago(100))
    policy_of(model)
    client = person()

    started = client.post(f"{PAGE}/tasks", {"dry_run": "false"})
    task = RetentionTask.objects.get()
    assert started["Location"] == f"{PAGE}/tasks/{task.pk}"
    assert task.requested_by == "user maria"
    page = client.get(started["Location"])
    assert "Waiting for a worker." in text(page)
    assert b'hx-trigger="every 1s"' in page.content
    again = client.post(f"{PAGE}/tasks", {"dry_run": "true"}, follow=True)
    assert "A task of this policy is active" in text(again)

    client.post(f"{PAGE}/tasks/{task.pk}/stop")
    assert "Stopped by request." in text(client.get(started["Location"]))
    client.post(f"{PAGE}/tasks/{task.pk}/resume")
    task.refresh_from_db()
    assert sweep(task)

    receipt = client.get(started["Location"])
    assert "Receipt" in text(receipt)
    assert "Inferences hidden 1 of 1" in text(receipt)
    assert b"hx-trigger" not in receipt.content.split(b"<main")[1]
    part = client.get(started["Location"], headers={"HX-Request": "true"})
    assert part.content.strip().startswith(b'<div class="stack" id="task"')
    row = client.get(started["Location"] + "?part=row", headers={"HX-Request": "true"})
    assert row.content.strip().startswith(b"<tr>")


def test_runs_are_listed_by_state_and_page(model, person):
    policy = policy_of(model)
    for _ in range(ON_A_PAGE + 1):
        carried_out(policy, dry_run=True)
    client = person()

    page = client.get(f"{PAGE}/tasks")
    assert page.content.count(b'<th scope="row">') == ON_A_PAGE
    following = client.get(f"{PAGE}/tasks?cursor={page.context['next']}")
    assert following.content.count(b'<th scope="row">') == 1
    assert "No run is failed." in text(client.get(f"{PAGE}/tasks?state=failed"))
    assert client.get(f"{PAGE}/tasks?state=gone").status_code == 200
    assert client.get(f"{PAGE}/tasks?cursor=gone").status_code == 404


def test_a_run_without_a_policy_is_not_started(model, person):
    response = person().post(f"{PAGE}/tasks", {"dry_run": "true"}, follow=True)

    assert "There is no policy to carry out." in text(response)


def test_the_detail_of_an_expired_input_says_when(model, person, make_inference):
    make_inference(
        inference_id="a",
        created_at=hours_ago(60),
        data_storage_key=stored(),
        data_content_type="image/png",
    )
    task = carried_out(policy_of(model))

    shown = text(person().get("/models/yolo-harbour/inferences/a"))

    assert f"Input expired on {task.created_at:%Y-%m-%d}" in shown


def test_the_model_pages_lead_to_storage(model, person):
    assert PAGE in person().get("/models/yolo-harbour/inferences").content.decode()
