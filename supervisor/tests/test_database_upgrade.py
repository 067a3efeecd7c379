"""The embedded database moves from PostgreSQL 16 to 18, also when it is killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
from django.conf import settings

from istore.home import Home
from istore.service_user import ServiceUser
from istore.tests.running_store import RunningStore
from supervisor import embedded

KILLS = ["upgrade.filled", "upgrade.moved"]
FILL = """
from inferences.models import *
from inferences.store.creation import *
from istore.models import Project
from inferences.store.recording import NewInference, record
from inferences.tests.builders import typed
from datetime import datetime, UTC
model = RegisteredModel.objects.create(
    model_id="yolo", project=Project.objects.create(project_id="quay"),
    task_type=TaskType.OBJECT_DETECTION, enable_inference_storage=True)
record(model, [NewInference(
    inference_id=f"frame/{n}", inference_action=InferenceAction.DETECT,
    data_hash=bytes([n] * 32), created_at=datetime(2025, 6, 1, n, tzinfo=UTC),
    metadata=[typed("camera", "Ünter")], detections=[("ship", 0.9)], embedding=[1.0, n])
    for n in range(20)])
"""
COUNT = """
from inferences.models import *
found = RegisteredModel.objects.get(model_id="yolo").inferences
print("found", found.count(), sorted(found.values_list("inference_id", flat=True))[1])
"""


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    yield home
    shutil.rmtree(home.run, ignore_errors=True)


def manage(home: Home, *arguments: str, **variables: str):
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env={**os.environ, "ISTORE_HOME": str(home.root), **variables},
        capture_output=True,
        text=True,
        timeout=180,
    )


def test_a_home_of_an_older_postgresql_is_upgraded_whole_also_after_kills(home):
    with embedded.running(home, careless=True, major="16"):
        assert manage(home, "migrate").returncode == 0
        filled = manage(home, "shell", "-c", FILL)
        assert filled.returncode == 0, filled.stderr
    database = embedded.Postgres(home, ServiceUser.for_home(home.root), careless=True)
    with pytest.raises(embedded.Unusable, match="upgrade_database"):
        database.prepare()

    for place in KILLS:
        killed = manage(home, "upgrade_database", ISTORE_FAILPOINTS=f"{place}=kill")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        # It is whole at every moment: either of the old version, or one rename from the new.
        with pytest.raises(embedded.Unusable, match="upgrade_database"):
            database.prepare()
    done = manage(home, "upgrade_database")
    assert done.returncode == 0, done.stderr
    assert "an interrupted upgrade is finished" in done.stdout
    assert str(home.root / "postgres.16") in done.stdout
    again = manage(home, "upgrade_database")
    assert "has the version of this release" in again.stdout

    store = RunningStore(home.root)
    with store.up():
        counted = store.command("shell", "-c", COUNT)
        assert "found 20 frame/1\n" in counted.stdout
        verified = store.command("verify", "--deep")
        assert verified.returncode == 0, verified.stdout
    left = {path.name for path in home.root.glob("postgres*")}
    assert left == {"postgres", "postgres.16"}


def test_a_directory_of_a_newer_postgresql_is_left_alone(home):
    (home.root / "postgres").mkdir(parents=True)
    (home.root / "postgres" / "PG_VERSION").write_text("19\n")
    refused = manage(home, "upgrade_database")
    assert refused.returncode == 1
    assert "was made by PostgreSQL 19" in refused.stderr
    assert not (home.root / "postgres.upgrading").exists()


def test_an_external_database_is_upgraded_where_it_runs(home):
    refused = manage(
        home, "upgrade_database", ISTORE_DATABASE_URL="postgresql://u@127.0.0.1/x"
    )
    assert refused.returncode == 1
    assert "ISTORE_DATABASE_URL" in refused.stderr
