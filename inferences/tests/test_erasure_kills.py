"""``kill -9`` in the middle of an erasure: the next worker brings it to its end."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest
from django.db import connection

from inferences.models import RegisteredModel
from inferences.models.erasure import ErasureTask
from inferences.tests.erasure_builders import (
    PERSON,
    objects_with,
    open_task,
    stored,
    tables_with,
)
from istore.db.clock import now
from istore.tasks.tracking import TaskState
from istore.tests.forked_programs import forked_programs

pytestmark = pytest.mark.django_db(transaction=True)
KILLS = [
    "erasure.intended:1",
    "removal.record_blobs_deleted:2",
    "erasure.traces_removed:1",
]


@pytest.fixture
def carry_out(blob_directory):
    """Carries the task out in a process of its own, which a failpoint may kill."""
    modules = "inferences.tests.killed_erasure", "inferences.tasks"
    with forked_programs(*modules, ISTORE_REMOVAL_BATCH="2") as programs:

        def carry_out(task: ErasureTask, place: str = "") -> int:
            given = connection.settings_dict["NAME"], str(blob_directory), str(task.pk)
            code = "from inferences.tests.killed_erasure import carry_out;"
            failpoints = f"{place}=kill" if place else ""
            ended = programs.start(f"{code} carry_out(*{given!r})", failpoints).ends()
            ErasureTask.objects.update(lease_until=now() - timedelta(seconds=1))
            return ended

        yield carry_out


def test_a_worker_that_is_killed_again_and_again_leaves_nothing_behind(
    project: object,
    model: RegisteredModel,
    make_inference,
    blob_directory,
    carry_out,
):
    for number in range(9):
        stored(make_inference, f"{number}")
    stored(make_inference, "other", "Trillian")
    task = open_task(project)

    ends = [carry_out(task, place) for place in KILLS]
    assert ends == [-signal.SIGKILL] * len(KILLS)
    assert carry_out(task) == 0

    task.refresh_from_db()
    assert (task.state, task.erased_count) == (TaskState.COMPLETE, 9)
    assert task.erased.count() == 9
    assert task.report["erased"]["objects"] == 27
    assert task.report["proof"]["left"] == task.report["left"]["records"] == 0
    assert model.inferences.get().inference_id == "other"
    assert tables_with(PERSON) == []
    assert objects_with(PERSON) == []
