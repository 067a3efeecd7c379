"""Restore into an empty home, which ends with ``verify --deep`` without findings."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command

from istore import blobs
from istore.backup import erasure_lists, layout, restoring
from istore.backup.layout import Manifest
from istore.backup.targets import open_target, read_small
from istore.backup.tests.builders import in_packs, with_objects
from istore.errors import Unprocessable
from istore.home import Home
from supervisor import embedded
from tests import s3_server

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("queue", "blob_directory"),
]
SECONDS = 120
KILLS = [
    "restore.begun",
    "restore.blobs_put",
    "restore.blobs_put_all",
    "restore.dump_read",
    "restore.database_loaded",
    "restore.migrated",
]


@pytest.fixture
def target(tmp_path):
    return str(tmp_path / "backups")


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "restored")
    yield home
    shutil.rmtree(home.run, ignore_errors=True)


def restore(home: Home, target: str, *options: str, **variables: str):
    """Run the command in a process of its own, whose home this is."""
    return subprocess.run(
        [sys.executable, "manage.py", "restore", target, *options],
        cwd=settings.BASE_DIR,
        env={**os.environ, "ISTORE_HOME": str(home.root), **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def count_rows(home: Home, table: str) -> int:
    with (
        embedded.running(home, careless=True),
        psycopg.connect(
            host=str(home.run),
            dbname="istore",
            user=embedded.ROLE,
            password=home.secret("pg_app_password"),
        ) as connection,
    ):
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def files_of(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_store_comes_back_bit_for_bit_also_after_a_kill(
    model, make_inference, target, home, tmp_path
):
    with_objects(make_inference, model, "a")
    in_packs(make_inference, model, "bcd")
    with_objects(make_inference, model, "erased")
    stored = files_of(tmp_path / "blobs")
    call_command("backup", target, "--quiet")
    wanted = tmp_path / "erasures.jsonl"
    erasure = {"project": model.project.project_id, "key": "person", "type": "string"}
    wanted.write_text(json.dumps({**erasure, "value": "erased"}) + "\n")

    for place in KILLS:
        killed = restore(home, target, ISTORE_FAILPOINTS=f"{place}=kill")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert (home.root / restoring.MARKER).exists()
    done = restore(home, target, "--erasures", str(wanted))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 findings, 0 unfinished" in done.stdout
    assert "1 records" in done.stdout
    assert not (home.root / restoring.MARKER).exists()
    found = files_of(home.root / "blobs")
    assert found == {
        k: v for k, v in stored.items() if b"erased" not in v and k in found
    }
    assert len(found) == len(stored) - 3
    secret = home.root / "secrets" / "secret_key"
    assert secret.read_text() == settings.ISTORE_HOME.secret("secret_key")
    assert secret.stat().st_mode & 0o777 == 0o600
    assert count_rows(home, "inferences_inference") == 4

    again = restore(home, target)
    assert again.returncode == 2
    assert "is not empty" in again.stderr
    assert again.stderr.count("\n") == 1


def test_a_bucket_is_restored_into_another_database_and_another_bucket(
    model, make_inference, settings, s3_prefix, s3_endpoint, home, fresh_database
):
    """As a store on several hosts has it: neither the database nor the blobs are in its home."""
    settings.ISTORE_BACKUP_S3 = s3_server.options(s3_endpoint)
    target = f"s3://{s3_server.BUCKET}/backups-{s3_prefix}"
    with_objects(make_inference, model, "a")
    in_packs(make_inference, model, "bcd")
    stored = {each.key for each in blobs.walk()}
    call_command("backup", target, "--quiet")
    place = s3_server.variables(s3_endpoint, f"restored-{s3_prefix}")
    variables = {
        **place,
        **{k.replace("_S3_", "_BACKUP_S3_"): v for k, v in place.items()},
        "ISTORE_DATABASE_URL": fresh_database,
    }

    killed = restore(
        home, target, **variables, ISTORE_FAILPOINTS="restore.blobs_put_all=kill"
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = restore(home, target, **variables)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 findings, 0 unfinished" in done.stdout
    assert not (home.root / "postgres").exists()
    with psycopg.connect(fresh_database) as connection:
        counted = connection.execute("SELECT count(*) FROM inferences_inference")
        assert counted.fetchone() == (4,)
    options = s3_server.options(s3_endpoint) | {"location": f"restored-{s3_prefix}"}
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {**settings.STORAGES["default"], "OPTIONS": options},
    }
    assert {each.key for each in blobs.walk()} == stored


def test_what_the_backup_lacks_is_told_by_name(model, make_inference, target):
    with_objects(make_inference, model, "a")
    with_objects(make_inference, model, "b")
    call_command("backup", target, "--quiet")
    storage = open_target(target)
    (manifest,) = [Manifest.read(storage, e) for e in layout.complete_backups(storage)]
    with layout.downloaded(storage, manifest, layout.INVENTORY) as file:
        first, second, *_ = layout.read_inventory(file)
    storage.delete_all([layout.object_name(first.sha256)])
    with open(Path(target, layout.object_name(second.sha256)), "r+b") as damaged:
        damaged.write(b"X")
    blobs.delete([each.key for each in blobs.walk()])

    work = restoring.Restore(storage, manifest, settings.ISTORE_HOME)
    work.put_blobs()

    assert [problem.partition(":")[0] for problem in work.problems] == [
        first.key,
        second.key,
    ]
    assert "missing in the backup" in work.problems[0]
    assert "damaged in the backup" in work.problems[1]
    assert len(list(blobs.walk())) == manifest.blobs - 2


def test_a_backup_of_a_newer_release_is_refused_in_one_line(model, target):
    call_command("backup", target, "--quiet")
    storage = open_target(target)
    (name,) = layout.complete_backups(storage)
    file = layout.file_name(name, layout.MANIFEST)
    fields = json.loads(read_small(storage, file))
    fields["migrations"]["istore"].append("9999_of_tomorrow")
    write(storage, file, fields)
    with pytest.raises(Unprocessable, match=r"newer release: migration istore\.9999"):
        restoring.check_schema(restoring.find(storage))

    write(storage, file, {**fields, "migrations": {}})
    with pytest.raises(Unprocessable, match="older schema"):
        restoring.check_schema(restoring.find(storage))

    write(storage, file, {**fields, "format": 2})
    with pytest.raises(Unprocessable, match="has format 2; this release reads 1"):
        restoring.find(storage)


def write(storage, name: str, fields: dict) -> None:
    content = json.dumps(fields).encode()
    path = Path(storage.path(name))
    path.unlink()
    with open(path, "wb") as file:
        file.write(content)


def test_proofs_tell_which_erasures_the_list_lacks(tmp_path, project):
    from datetime import timedelta

    from inferences.models.erasure import ErasureTask
    from istore.db.clock import now

    def proof_of(value: str) -> dict:
        fields = {"project": project, "key": "person", "type": "string"}
        task = ErasureTask.objects.create(**fields, value=value)
        return {
            "id": str(task.pk),
            "salt": bytes(task.salt).hex(),
            "value_digest": task.value_digest,
            "created_at": now().isoformat(),
            "dry_run": False,
        }

    path = tmp_path / "proofs.json"
    proofs = [proof_of("4711"), proof_of("4712")]
    path.write_text(json.dumps(proofs))
    listed = [{"project": "p", "key": "person", "type": "string", "value": "4711"}]

    before, after = now() - timedelta(hours=1), now() + timedelta(hours=1)
    read = erasure_lists.read_proofs(path)
    assert list(erasure_lists.not_listed(read, listed, before)) == [proofs[1]["id"]]
    assert list(erasure_lists.not_listed(read, listed, after)) == []
