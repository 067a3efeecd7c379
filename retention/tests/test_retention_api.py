"""Policies, previews and tasks through the API, as the contract says."""

from __future__ import annotations

from datetime import timedelta

import pytest

from inferences.models import RegisteredModel
from istore.db import clock
from istore.models import AuditEntry, Project, Role
from istore.tasks import control
from retention import policies
from retention.models import RetentionPolicy, RetentionTask
from retention.sweeping import sweep
from retention.tests.builders import carried_out, hours_ago, policy_of, stored

MODEL = "/api/v1/models/yolo-harbour"
POLICY = {
    "maximum_record_age": 72,
    "maximum_blob_age": 48,
    "delete_action": "soft",
    "automated_interval": 0,
}


@pytest.fixture
def policy(model) -> RetentionPolicy:
    return policy_of(model)


def filtered(api, **body) -> list[str]:
    answer = api.post(f"{MODEL}/retention-tasks/filter", body)
    assert answer.status_code == 200, answer.content
    return [each["id"] for each in answer.json()["results"]]


def test_a_model_is_given_its_policy_once(api, model):
    made = api.post(f"{MODEL}/retention-policy", POLICY)
    again = api.post(f"{MODEL}/retention-policy", POLICY)

    assert (made.status_code, again.status_code) == (201, 409)
    assert again.json()["code"] == "policy-exists"
    given = made.json()
    assert given.items() >= POLICY.items()
    assert given["model_id"] == "yolo-harbour"
    assert given["last_scheduled_at"] is None
    assert api.get(f"{MODEL}/retention-policy").json() == given


def test_soft_is_the_default(api, model):
    body = {name: POLICY[name] for name in POLICY if name != "delete_action"}

    made = api.post(f"{MODEL}/retention-policy", body)

    assert made.json()["delete_action"] == "soft"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"maximum_record_age": -2}, "/maximum_record_age"),
        ({"maximum_record_age": 47}, "/maximum_blob_age"),
        ({"maximum_blob_age": -1}, "/maximum_blob_age"),
        ({"maximum_blob_age": 73}, "/maximum_blob_age"),
        ({"maximum_blob_age": 2**40}, "/maximum_blob_age"),
        ({"maximum_blob_age": 1.5}, "/maximum_blob_age"),
        ({"maximum_blob_age": True}, "/maximum_blob_age"),
        ({"maximum_blob_age": "48"}, "/maximum_blob_age"),
        ({"maximum_blob_age": None}, "/maximum_blob_age"),
        ({"automated_interval": -1}, "/automated_interval"),
        ({"delete_action": "gone"}, "/delete_action"),
        ({"delete_action": ["soft"]}, "/delete_action"),
        ({"maximum_age": 3}, "/maximum_age"),
    ],
)
def test_what_contradicts_the_rules_is_named_and_changes_nothing(
    api, policy, change, named
):
    RetentionPolicy.objects.all().delete()
    created = api.post(f"{MODEL}/retention-policy", POLICY | change)
    assert created.status_code == 400
    assert created.json()["errors"][0]["pointer"] == named
    assert not RetentionPolicy.objects.exists()

    policy.save(force_insert=True)
    changed = api.put(f"{MODEL}/retention-policy/{policy.pk}", POLICY | change)
    assert changed.status_code == 400
    assert changed.json()["errors"][0]["pointer"] == named
    policy.refresh_from_db()
    assert policy.maximum_blob_age == 48


@pytest.mark.parametrize(
    "change",
    [
        {"maximum_record_age": -1, "maximum_blob_age": 10_000},
        {"maximum_record_age": 48},
        {"maximum_record_age": 0, "maximum_blob_age": 0},
        {"maximum_record_age": 2**31 - 1, "automated_interval": 2**31 - 1},
    ],
)
def test_the_edges_of_the_rules_are_allowed_and_can_be_run(api, model, change):
    made = api.post(f"{MODEL}/retention-policy", POLICY | change)
    assert made.status_code == 201

    body = {"dry_run": False, "retention_policy_id": made.json()["id"]}
    task = api.post(f"{MODEL}/retention-tasks", body)

    assert task.status_code == 201
    assert sweep(RetentionTask.objects.get())
    assert policies.start_due(clock.now()) == []


def test_a_policy_is_replaced_by_its_id(api, policy):
    body = POLICY | {"maximum_record_age": -1, "automated_interval": 24}

    changed = api.put(f"{MODEL}/retention-policy/{policy.pk}", body)

    assert changed.status_code == 200
    assert changed.json().items() >= body.items()
    for other in ("a", "7b6ce2c4-4a62-4f9e-9c43-7b6a4f1f3b7e"):
        gone = api.put(f"{MODEL}/retention-policy/{other}", body)
        assert gone.status_code == 404


def test_a_policy_is_deleted_by_its_id(api, policy):
    path = f"{MODEL}/retention-policy/{policy.pk}"

    first, second = api.delete(path), api.delete(path)

    assert (first.status_code, second.status_code) == (200, 404)
    assert first.json() == {"id": str(policy.pk)}
    assert api.get(f"{MODEL}/retention-policy").status_code == 404


def test_each_act_on_a_policy_is_in_the_audit_log(api, model):
    made = api.post(f"{MODEL}/retention-policy", POLICY).json()["id"]
    api.put(f"{MODEL}/retention-policy/{made}", POLICY)
    body = {"dry_run": True, "retention_policy_id": made}
    task = api.post(f"{MODEL}/retention-tasks", body).json()["id"]
    api.post(f"{MODEL}/retention-tasks/{task}/stop")
    api.post(f"{MODEL}/retention-tasks/{task}/resume")
    api.delete(f"{MODEL}/retention-policy/{made}")

    of_retention = AuditEntry.objects.filter(action__startswith="retention")
    acts = of_retention.order_by("id").values_list("action", flat=True)
    assert list(acts) == [
        "retention_policy.create",
        "retention_policy.change",
        "retention_task.create",
        "retention_task.stop",
        "retention_task.resume",
        "retention_policy.delete",
    ]


def test_a_task_fixes_its_limits_and_moves_the_schedule(api, policy):
    before = clock.now()
    body = {"dry_run": False, "retention_policy_id": str(policy.pk)}

    task = api.post(f"{MODEL}/retention-tasks", body).json()

    fixed = RetentionTask.objects.get()
    at = fixed.maximum_record_age_limit + timedelta(hours=72)
    assert before <= at <= clock.now()
    assert fixed.maximum_blob_age_limit == at - timedelta(hours=48)
    assert task["state"] == "pending"
    policy.refresh_from_db()
    assert policy.last_scheduled_at == at


def test_one_task_of_a_policy_is_active(api, policy):
    body = {"dry_run": False, "retention_policy_id": str(policy.pk)}
    first = api.post(f"{MODEL}/retention-tasks", body)

    second = api.post(f"{MODEL}/retention-tasks", body | {"dry_run": True})

    assert (first.status_code, second.status_code) == (201, 409)
    assert second.json()["code"] == "task-already-active"
    assert sweep(RetentionTask.objects.get())
    assert api.post(f"{MODEL}/retention-tasks", body).status_code == 201


@pytest.mark.parametrize("policy_id", ["a", "7b6ce2c4-4a62-4f9e-9c43-7b6a4f1f3b7e"])
def test_a_task_of_no_policy_is_not_found(api, policy, policy_id):
    body = {"dry_run": False, "retention_policy_id": policy_id}

    assert api.post(f"{MODEL}/retention-tasks", body).status_code == 404


def test_a_task_of_another_models_policy_is_not_found(api, policy, project):
    other = RegisteredModel.objects.create(model_id="other", project=project)
    theirs = policy_of(other)
    body = {"dry_run": False, "retention_policy_id": str(theirs.pk)}

    assert api.post(f"{MODEL}/retention-tasks", body).status_code == 404
    task = policies.open_task("test", theirs)
    assert api.get(f"{MODEL}/retention-tasks/{task.pk}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"dry_run": False},
        {"retention_policy_id": "a"},
        {"dry_run": "no", "retention_policy_id": "a"},
        {"dry_run": 0, "retention_policy_id": "a"},
        {"dry_run": False, "retention_policy_id": 3},
        {"dry_run": False, "retention_policy_id": "a", "force": True},
    ],
)
def test_a_task_says_what_it_is(api, policy, body):
    assert api.post(f"{MODEL}/retention-tasks", body).status_code == 400
    assert not RetentionTask.objects.exists()


def test_a_finished_task_is_a_receipt_that_outlives_its_policy(
    api, policy, make_inference
):
    make_inference(created_at=hours_ago(100), data_storage_key=stored(), data_size=7)
    task = carried_out(policy)
    policies.delete_policy("test", policy)

    told = api.get(f"{MODEL}/retention-tasks/{task.pk}").json()

    assert (
        told.items()
        >= {
            "id": str(task.pk),
            "retention_policy_id": str(policy.pk),
            "state": "complete",
            "dry_run": False,
            "requested_by": "test",
            "total_record_count": 1,
            "total_blob_count": 1,
            "total_bytes": 7,
            "deleted_record_count": 1,
            "deleted_blob_count": 1,
            "deleted_bytes": 7,
            "maximum_record_age": 72,
            "maximum_blob_age": 48,
            "delete_action": "soft",
            "seconds_left": None,
        }.items()
    )
    assert told["created_at"] <= told["started_at"] <= told["finished_at"]


def test_tasks_are_found_by_policy_state_and_time(api, policy):
    done = str(carried_out(policy).pk)
    waiting = str(policies.open_task("test", policy).pk)
    RetentionTask.objects.filter(pk=done).update(created_at=hours_ago(5))

    assert filtered(api) == [done, waiting]
    assert filtered(api, state_filter="complete") == [done]
    assert filtered(api, state_filter="pending") == [waiting]
    assert filtered(api, state_filter="failed") == []
    assert filtered(api, retention_policy_id=str(policy.pk)) == [done, waiting]
    assert filtered(api, retention_policy_id="no id of ours") == []
    since = {"start": hours_ago(1).isoformat()}
    assert filtered(api, time_window_filter=since) == [waiting]
    until = {"end": hours_ago(1).isoformat()}
    assert filtered(api, time_window_filter=until) == [done]
    assert filtered(api, pagination={"direction": "desc"}) == [waiting, done]
    assert filtered(api, pagination={"offset": 1}) == [waiting]


def test_tasks_are_listed_page_by_page(api, policy):
    made = [str(carried_out(policy, dry_run=True).pk) for _ in range(5)]
    for number, task in enumerate(made):
        # Two of one moment are told apart by their ids.
        at = hours_ago(10 - number // 2)
        RetentionTask.objects.filter(pk=task).update(created_at=at.replace(minute=0))
    for direction in ("asc", "desc"):
        found, cursor = [], None
        while True:
            page = {"limit": 2, "direction": direction, "cursor": cursor}
            answer = api.post(
                f"{MODEL}/retention-tasks/filter", {"pagination": page}
            ).json()
            found += [each["id"] for each in answer["results"]]
            if (cursor := answer["next"]) is None:
                break
        assert sorted(found) == sorted(made)
        assert len(found) == 5
    newest = api.get(f"{MODEL}/retention-tasks?limit=1").json()
    assert newest["results"][0]["id"] == found[0]


@pytest.mark.parametrize(
    "body",
    [
        {"state_filter": "gone"},
        {"time_window_filter": {"start": "2026-01-02", "end": "2026-01-01"}},
        {"pagination": {"limit": 0}},
        {"pagination": {"sort": "score"}},
        {"pagination": {"cursor": "a"}},
        {"pagination": {"cursor": "MjAyNi0wMS0wMVQwMDowMCBh"}},
        {"states": []},
    ],
)
def test_a_filter_that_is_wrong_is_told(api, policy, body):
    answer = api.post(f"{MODEL}/retention-tasks/filter", body)

    assert answer.status_code == 400


def test_a_task_is_stopped_and_resumed(api, policy):
    task = policies.open_task("test", policy)
    path = f"{MODEL}/retention-tasks/{task.pk}"

    assert api.post(f"{path}/resume").json()["code"] == "task-not-ended"
    assert api.post(f"{path}/stop").json()["state"] == "stopped"
    assert api.post(f"{path}/stop").json()["code"] == "task-not-active"
    assert api.post(f"{path}/resume").json()["state"] == "pending"
    sweep(task)
    assert api.get(path).json()["state"] == "complete"


def test_a_stopped_task_does_not_go_on_beside_another(api, policy):
    stopped = policies.open_task("test", policy)
    control.stop("test", stopped)
    policies.open_task("test", policy)

    answer = api.post(f"{MODEL}/retention-tasks/{stopped.pk}/resume")

    assert (answer.status_code, answer.json()["code"]) == (409, "task-already-active")


def test_a_preview_says_what_would_go(api, model, make_inference):
    for hours, fields in ((100, {}), (60, {}), (60, {"is_protected": True}), (1, {})):
        make_inference(
            created_at=hours_ago(hours),
            data_storage_key=stored(),
            data_size=5,
            **fields,
        )
    ages = {"maximum_record_age": 72, "maximum_blob_age": 48}

    told = api.post(f"{MODEL}/retention-preview", ages).json()

    assert told["is_exact"]
    assert told["records"]["count"] == 1
    assert (told["inputs"]["count"], told["inputs"]["bytes"]) == (2, 10)
    assert told["inputs"]["oldest"] == told["records"]["oldest"]
    assert told["inputs"]["newest"] > told["inputs"]["oldest"]
    assert told["protected_records"]["count"] == 0
    assert told["protected_inputs"]["count"] == 1
    assert sum(day["inputs"] for day in told["days"]) == 2
    assert not RetentionTask.objects.exists()
    wrong = api.post(f"{MODEL}/retention-preview", ages | {"maximum_blob_age": 80})
    assert wrong.status_code == 400


def test_a_preview_that_takes_too_long_says_at_least(
    api, model, make_inference, monkeypatch
):
    from retention import surveying

    make_inference(created_at=hours_ago(100))
    make_inference(created_at=hours_ago(99))
    monkeypatch.setattr(surveying, "EVERYTHING", "SELECT pg_sleep(5)")
    monkeypatch.setattr(surveying.settings, "ISTORE_QUERY_SECONDS", 0.5)
    monkeypatch.setattr(surveying, "COUNTED_AT_LEAST", 1)
    ages = {"maximum_record_age": 72, "maximum_blob_age": 48}

    told = api.post(f"{MODEL}/retention-preview", ages).json()

    assert not told["is_exact"]
    assert told["records"]["count"] == 1


def test_a_viewer_looks_and_changes_nothing(api_as, policy):
    viewer = api_as(Role.VIEWER)
    ages = {"maximum_record_age": 72, "maximum_blob_age": 48}

    assert viewer.get(f"{MODEL}/retention-policy").status_code == 200
    assert viewer.post(f"{MODEL}/retention-preview", ages).status_code == 200
    assert viewer.post(f"{MODEL}/retention-policy", POLICY).status_code == 403
    path = f"{MODEL}/retention-policy/{policy.pk}"
    assert viewer.put(path, POLICY).status_code == 403
    assert viewer.delete(path).status_code == 403


def test_another_projects_policy_is_not_there(api_as, policy):
    stranger = api_as(Role.ADMINISTRATOR, Project.objects.create(project_id="other"))

    assert stranger.get(f"{MODEL}/retention-policy").status_code == 404
    path = f"{MODEL}/retention-policy/{policy.pk}"
    assert stranger.delete(path).status_code == 404


def test_the_record_of_an_expired_input_says_when(api, policy, make_inference):
    make_inference(
        inference_id="a", created_at=hours_ago(60), data_storage_key=stored()
    )
    before = api.get(f"{MODEL}/inferences/a").json()
    assert before["input_expired_at"] is None

    task = carried_out(policy)

    told = api.get(f"{MODEL}/inferences/a?presign=true").json()
    assert told["data_storage_key"] is None
    assert told["presigned_url"] is None
    assert task.created_at.isoformat() < told["input_expired_at"].replace("Z", "+00:00")
    page = api.post(f"{MODEL}/inferences/filter", {"presign": True}).json()
    # One inference alone tells what was understood of its answer, too.
    assert page["results"][0].items() <= told.items()
    assert api.get(f"{MODEL}/inferences/a/input").status_code == 404
