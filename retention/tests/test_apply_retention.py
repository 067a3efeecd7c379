"""``manage.py apply_retention``: what it says of a task that a worker took first."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command

from retention import policies, sweeping
from retention.management.commands import apply_retention
from retention.models import RetentionTask
from retention.tests.builders import policy_of


@pytest.mark.django_db
def test_the_command_waits_for_a_worker_that_took_its_task(model, monkeypatch):
    policy_of(model)
    open_task = policies.open_task

    def open_and_claim(*given, **how):
        task = open_task(*given, **how)
        assert RetentionTask.objects.get(pk=task.pk).claim()
        return task

    def let_the_worker_end(_):
        task = RetentionTask.objects.get()
        with task.recording_outcome():
            sweeping._count_totals(task)

    monkeypatch.setattr(policies, "open_task", open_and_claim)
    monkeypatch.setattr(apply_retention.time, "sleep", let_the_worker_end)
    out = StringIO()
    call_command("apply_retention", model.model_id, dry_run=True, stdout=out)

    assert "0 records would be removed." in out.getvalue()
