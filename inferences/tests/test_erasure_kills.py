"""``kill -9`` in the middle of an erasure: the next worker brings it to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings as django_settings
from django.db import connection

from inferences.models import RegisteredModel
from inferences.models.erasure import ErasureTask
from inferences.tests.erasure_builders import (
    PERSON,
    files_with,
    open_task,
    stored,
    tables_with,
)
from istore.db.clock import now
from istore.tasks.tracking import TaskState

pytestmark = pytest.mark.django_db(transaction=True)
KILLS = [
    "erasure.intended:1",
    "removal.record_blobs_deleted:2",
    "erasure.traces_removed:1",
]


def carry_out(task, directory, failpoint=""):
    command = [sys.executable, "-m", "inferences.tests.killed_erasure"]
    given = [connection.settings_dict["NAME"], str(directory), str(task.pk)]
    environment = {
        **os.environ,
        "ISTORE_FAILPOINTS": f"{failpoint}=kill" if failpoint else "",
        "ISTORE_REMOVAL_BATCH": "2",
    }
    done = subprocess.run(
        [*command, *given],
        cwd=django_settings.BASE_DIR,
        env=environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    ErasureTask.objects.update(lease_until=now() - timedelta(seconds=1))
    return done.returncode


def test_a_worker_that_is_killed_again_and_again_leaves_nothing_behind(
    project: object,
    model: RegisteredModel,
    make_inference,
    blob_directory,
    monkeypatch,
):
    for number in range(9):
        stored(make_inference, f"{number}")
    stored(make_inference, "other", "Trillian")
    task = open_task(project)

    ends = [carry_out(task, blob_directory, place) for place in KILLS]
    assert ends == [-signal.SIGKILL] * len(KILLS)
    assert carry_out(task, blob_directory) == 0

    task.refresh_from_db()
    assert (task.state, task.erased_count) == (TaskState.COMPLETE, 9)
    assert task.erased.count() == 9
    assert task.report["erased"]["objects"] == 27
    assert task.report["proof"]["left"] == task.report["left"]["records"] == 0
    assert model.inferences.get().inference_id == "other"
    assert tables_with(PERSON) == []
    assert files_with(PERSON, blob_directory) == []
