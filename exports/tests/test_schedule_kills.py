"""``kill -9`` at every step of a scheduled export: readers meet every row once."""

from __future__ import annotations

import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet
import pytest
from django.db import connection

from exports.models import ExportedFile, ScheduledExport
from exports.schedules import lifecycle, runner
from exports.tests.schedules import DAY, STEPS
from istore.db import clock
from istore.tests.forked_programs import forked_programs

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def killed_at(tmp_path):
    """Carries a run out in a process of its own that the step kills; gives its exit status."""
    database = connection.settings_dict
    user, password = database["USER"], quote(database["PASSWORD"])
    host, name = quote(str(database["HOST"]), safe=""), database["NAME"]
    with forked_programs(
        "exports.tasks",
        ISTORE_HOME=str(tmp_path),  # its blobs are those of the test
        ISTORE_DATABASE_URL=f"postgresql://{user}:{password}@{host}/{name}",
        ISTORE_SCHEDULED_EXPORT_ROWS="4",
    ) as programs:

        def carry_out(step: str, run: ScheduledExport) -> int:
            code = "from exports.tasks import run_scheduled_export as carry_out;"
            return programs.start(
                f"{code} carry_out('{run.pk}')", f"{step}=kill"
            ).ends()

        yield carry_out


def ids(home: Path) -> Counter[str]:
    files = (home / "blobs" / "scheduled").rglob("part-*.parquet")
    tables = (pyarrow.parquet.read_table(path, partitioning=None) for path in files)
    return Counter(name for table in tables for name in table[":id.id:"].to_pylist())


def test_a_worker_killed_at_any_step_leaves_every_row_once(
    model, make_inference, tmp_path, settings, blob_directory, killed_at
):
    settings.ISTORE_SCHEDULED_EXPORT_ROWS = 4
    for n in range(6):
        make_inference(created_at=DAY + timedelta(days=n % 3))
    schedule = lifecycle.create("test", model, from_beginning=True, name="lake")
    run = lifecycle.start("test", schedule)

    for step in STEPS:
        assert killed_at(step, run) == -signal.SIGKILL, step
        ago = clock.now() - timedelta(hours=1)
        ScheduledExport.objects.update(lease_until=ago, attempts_without_progress=0)
        assert max(ids(tmp_path).values(), default=1) == 1, step
    run = ScheduledExport.objects.select_related("schedule__model__project").get()
    runner.carry_out(run)

    assert run.state == "complete", run.reason
    assert ids(tmp_path) == Counter(f"inference-{n}" for n in range(1, 7))
    assert not ExportedFile.objects.filter(committed_at=None).exists()
    schedule.refresh_from_db()
    assert schedule.row_count == 6
