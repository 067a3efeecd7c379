"""``kill -9`` at every step of a scheduled export: readers meet every row once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet
import pytest
from django.conf import settings as django_settings
from django.db import connection

from exports.models import ExportedFile, ScheduledExport
from exports.schedules import lifecycle, runner
from exports.tests.schedules import DAY, STEPS
from istore.db import clock

pytestmark = pytest.mark.django_db(transaction=True)


def killed_at(step: str, run: ScheduledExport, home: Path) -> int:
    """Carry the run out in a process of its own that the step kills."""
    database = connection.settings_dict
    user, password = database["USER"], quote(database["PASSWORD"])
    host, name = quote(str(database["HOST"]), safe=""), database["NAME"]
    program = (
        "import django; django.setup();"
        "from exports.tasks import run_scheduled_export;"
        f"run_scheduled_export('{run.pk}')"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=django_settings.BASE_DIR,
        env={
            **os.environ,
            "ISTORE_HOME": str(home),  # its blobs are those of the test
            "ISTORE_DATABASE_URL": f"postgresql://{user}:{password}@{host}/{name}",
            "ISTORE_FAILPOINTS": f"{step}=kill",
            "ISTORE_SCHEDULED_EXPORT_ROWS": "4",
        },
        timeout=120,
        capture_output=True,
    ).returncode


def ids(home: Path) -> Counter[str]:
    files = (home / "blobs" / "scheduled").rglob("part-*.parquet")
    tables = (pyarrow.parquet.read_table(path, partitioning=None) for path in files)
    return Counter(name for table in tables for name in table[":id.id:"].to_pylist())


def test_a_worker_killed_at_any_step_leaves_every_row_once(
    model, make_inference, tmp_path, settings, blob_directory
):
    settings.ISTORE_SCHEDULED_EXPORT_ROWS = 4
    for n in range(6):
        make_inference(created_at=DAY + timedelta(days=n % 3))
    schedule = lifecycle.create("test", model, from_beginning=True, name="lake")
    run = lifecycle.start("test", schedule)

    for step in STEPS:
        assert killed_at(step, run, tmp_path) == -signal.SIGKILL, step
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
