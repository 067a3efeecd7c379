"""The retention program of the contract, against a running server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from inference_store import (
    Client,
    connection,
    errors,
    inference,
    models,
    retention_policy,
    retention_task,
)

from istore.accounts.tokens import create_token
from istore.models import Role
from retention.tasks import run_retention_task
from retention.tests.builders import hours_ago, stored


@pytest.fixture
def client(live_server, project):
    connection.current = Client(
        live_server.url, create_token("sdk", project, Role.EDITOR)[1]
    )
    yield connection.current
    connection.current.close()
    connection.current = None


POLICY = models.NewRetentionPolicyRequest(
    maximum_record_age=72,
    maximum_blob_age=48,
    delete_action=models.DeleteAction.SOFT,
    automated_interval=0,
)


def test_the_program_of_the_contract(client, model, make_inference):
    for hours in (10, 50, 100):
        make_inference(
            inference_id=f"{hours}",
            created_at=hours_ago(hours),
            data_storage_key=stored(),
            data_size=7,
        )
    preview = retention_policy.preview_retention_policy("yolo-harbour", POLICY)
    assert (preview.records.count, preview.inputs.bytes) == (1, 14)
    policy = retention_policy.create_retention_policy("yolo-harbour", POLICY)
    task = retention_task.create_retention_task(
        "yolo-harbour",
        models.NewRetentionTaskRequest(dry_run=False, retention_policy_id=policy.id),
    )
    run_retention_task(task.id)  # as the worker does
    task = retention_task.get_retention_task(
        model_id="yolo-harbour", retention_task_id=task.id
    )
    assert task.state == models.RetentionTaskState.COMPLETE
    assert (task.deleted_record_count, task.deleted_blob_count) == (1, 2)
    assert task.deleted_bytes == 14
    today = datetime.now(UTC)
    found = retention_task.filter_retention_tasks(
        "yolo-harbour",
        models.NewGetRetentionTasksRequest(
            state_filter=models.RetentionTaskState.COMPLETE,
            time_window_filter=models.TimeWindowFilter(
                start=today - timedelta(days=1), end=today + timedelta(days=1)
            ),
            pagination=models.Pagination(limit=5),
        ),
    )
    assert [each.id for each in found] == [task.id]
    left = inference.filter_inferences(
        "yolo-harbour", models.NewGetInferencesRequest(presign=True)
    )
    assert {each.inference_id: bool(each.presigned_url) for each in left} == {
        "10": True,
        "50": False,
    }
    assert retention_policy.get_retention_policy("yolo-harbour").last_scheduled_at


def test_policies_and_tasks_are_changed_stopped_and_resumed(client, model):
    assert retention_policy.get_retention_policy("yolo-harbour") is None
    policy = retention_policy.create_retention_policy("yolo-harbour", POLICY)
    with pytest.raises(errors.Conflict) as raised:
        retention_policy.create_retention_policy("yolo-harbour", POLICY)
    assert raised.value.code == "policy-exists"
    wrong = POLICY.model_copy(update={"maximum_blob_age": 80})
    with pytest.raises(errors.ValidationError):
        retention_policy.replace_retention_policy("yolo-harbour", policy.id, wrong)
    forever = POLICY.model_copy(update={"maximum_record_age": -1})
    changed = retention_policy.replace_retention_policy(
        "yolo-harbour", policy.id, forever
    )
    assert changed.maximum_record_age == -1

    new = models.NewRetentionTaskRequest(dry_run=True, retention_policy_id=policy.id)
    task = retention_task.create_retention_task("yolo-harbour", new)
    with pytest.raises(errors.Conflict) as raised:
        retention_task.create_retention_task("yolo-harbour", new)
    assert raised.value.code == "task-already-active"
    stopped = retention_task.stop_retention_task("yolo-harbour", task.id)
    assert stopped.state == models.RetentionTaskState.STOPPED
    resumed = retention_task.resume_retention_task("yolo-harbour", task.id)
    assert resumed.state in ("pending", "scheduled")

    delete = retention_policy.delete_retention_policy
    assert delete("yolo-harbour", policy.id) == policy.id
    assert delete("yolo-harbour", policy.id) is None
    run_retention_task(task.id)
    ended = retention_task.get_retention_task("yolo-harbour", task.id)
    assert ended.state == "complete"  # a dry run only counts
    assert ended.retention_policy_id == policy.id
    assert retention_task.get_retention_task("yolo-harbour", "none") is None
