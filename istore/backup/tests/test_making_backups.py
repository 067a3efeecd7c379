"""Backups: what is copied, what is kept, what is told, and what a kill leaves."""

from __future__ import annotations

import io
import json
import os
import signal
from datetime import timedelta

import pytest
from django.conf import settings as settings_of_django
from django.core.management import CommandError, call_command
from django.db import connection

from inferences.models import InferencePayload
from inferences.store import removal
from istore import blobs
from istore.backup import figures, hooks, layout, making, secret_files, tasks
from istore.backup.layout import Manifest
from istore.backup.targets import open_target, read_small
from istore.backup.tests.builders import in_packs, with_objects
from istore.blobs import moves, packs
from istore.db import clock
from istore.models import BackupTask
from istore.tasks.tracking import TaskState
from istore.tests.forked_programs import forked_programs
from tests import s3_server

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("queue", "local_cache"),
]


@pytest.fixture
def target(tmp_path):
    return str(tmp_path / "backups of this store")


def back_up(target: str, *options: str) -> str:
    """Run the command; return its output."""
    output = io.StringIO()
    call_command("backup", target, *options, stdout=output, stderr=output)
    return output.getvalue()


def manifests(target: str) -> list[Manifest]:
    storage = open_target(target)
    names = layout.complete_backups(storage)
    return [Manifest.read(storage, name) for name in names]


def inventory(target: str, manifest: Manifest) -> dict[str, str]:
    """The hash of each blob of a backup, by key."""
    with layout.downloaded(open_target(target), manifest, layout.INVENTORY) as file:
        return {each.key: each.sha256 for each in layout.read_inventory(file)}


def objects(target: str) -> set[str]:
    return {each.key for each in open_target(target).walk(layout.OBJECTS)}


def payload_of(record) -> InferencePayload:
    return InferencePayload.objects.get(id=record.id)


def forget(record) -> None:
    """Remove a record and its blobs, rows first."""
    payload = payload_of(record)
    keys = removal.blob_keys(payload.data_storage_key, payload.answer_storage_key)
    InferencePayload.objects.filter(id=record.id).delete()
    type(record).objects.filter(id=record.id).delete()
    blobs.delete(keys)


def test_a_backup_holds_database_blobs_and_secrets(model, make_inference, target):
    with_objects(make_inference, model, "a")
    in_packs(make_inference, model, "bc")

    output = back_up(target, "--quiet")

    (manifest,) = manifests(target)
    assert manifest.blobs == manifest.copied == 5
    assert set(inventory(target, manifest)) == {each.key for each in blobs.walk()}
    assert set(manifest.files) == {
        *(layout.DATABASE, layout.INVENTORY, layout.MOVES, layout.SECRETS),
    }
    assert "0011_record_backups" in manifest.migrations["istore"]
    assert "The backup holds the secrets" in output
    chunks = layout.checked_chunks(open_target(target), manifest, layout.SECRETS)
    secrets = json.loads(b"".join(chunks))
    assert "secret_key" in secrets
    assert "pg_password" not in secrets
    folder = os.path.join(target, "backups", manifest.name)
    assert {
        os.stat(os.path.join(folder, e)).st_mode & 0o777 for e in os.listdir(folder)
    } == {0o600}
    task = BackupTask.objects.get()
    assert (task.state, task.name) == (TaskState.COMPLETE, manifest.name)
    assert (task.blob_count, task.missing_count) == (5, 0)


def test_only_what_is_new_is_copied_again(model, make_inference, target, monkeypatch):
    with_objects(make_inference, model, "a")
    back_up(target)
    with_objects(make_inference, model, "b")
    read = []
    chunks = making.Copier._copy
    monkeypatch.setattr(
        making.Copier, "_copy", lambda self, s: read.append(s.key) or chunks(self, s)
    )

    back_up(target)

    first, second = manifests(target)
    assert (first.copied, second.copied, second.blobs) == (3, 3, 6)
    assert len(read) == 3  # nor is anything else read
    assert len(objects(target)) == 6


def test_a_backup_of_an_installation_whose_secrets_are_given_says_so(
    model, target, monkeypatch
):
    monkeypatch.setattr(secret_files, "read_secrets", lambda home: {})
    assert "The backup holds no secrets" in back_up(target, "--quiet")


def test_a_home_that_has_lost_its_ledger_learns_from_the_last_backup(
    model, make_inference, target, monkeypatch
):
    with_objects(make_inference, model, "a")
    back_up(target)
    for path in settings_of_django.ISTORE_HOME.directory("backup").iterdir():
        path.unlink()
    monkeypatch.setattr(making.Copier, "_copy", None)  # it would raise

    back_up(target)

    assert manifests(target)[1].blobs == 3


def test_so_many_backups_are_kept_and_what_only_others_needed_goes(
    model, make_inference, target
):
    old = with_objects(make_inference, model, "old")
    back_up(target)
    forget(old)
    with_objects(make_inference, model, "new")
    back_up(target)
    assert len(objects(target)) == 6

    back_up(target, "--keep", "2")
    back_up(target, "--keep", "2")

    assert len(manifests(target)) == 2
    assert len(objects(target)) == 3
    assert len(layout.folders(open_target(target))) == 2


def test_what_nothing_names_is_left_out_unless_its_row_may_be_on_the_way(
    model, make_inference, target, blob_directory
):
    with_objects(make_inference, model, "a")
    prefix = f"{model.project_id}/{model.pk}/2025/06/01/00"
    blobs.put(f"{prefix}/0190-a/answer", b"captured, not recorded yet")
    blobs.put(f"{prefix}/0190-b/answer", b"of a capture that broke off")
    long_ago = (clock.now() - timedelta(days=30)).timestamp()
    os.utime(blob_directory / prefix / "0190-b/answer", (long_ago, long_ago))

    back_up(target)

    found = inventory(target, *manifests(target))
    assert f"{prefix}/0190-a/answer" in found
    assert f"{prefix}/0190-b/answer" not in found


def test_a_missing_object_is_told_by_name(model, make_inference, target, capsys):
    record = with_objects(make_inference, model, "a")
    key = payload_of(record).data_storage_key
    blobs.delete([key])

    with pytest.raises(SystemExit) as ended:
        back_up(target)

    assert ended.value.code == 1
    (manifest,) = manifests(target)
    assert manifest.missing == [key]
    assert BackupTask.objects.get().missing_count == 1


def test_rows_are_asked_once_for_many_missing_objects(model, target, monkeypatch):
    """Each asking reads every row, so it must not go batch by batch."""
    query = (
        "SELECT '1/1/2025/absent-' || number FROM generate_series(1, 1200) AS number"
    )
    monkeypatch.setitem(hooks.named_keys, "absent", hooks.NamedKeys(query))
    asked = []
    ask = making.database.still_named
    monkeypatch.setattr(
        making.database,
        "still_named",
        lambda query, keys: asked.append((query, len(keys))) or ask(query, keys),
    )

    outcome = making.make_backup(target, keep=1)

    assert len(outcome.missing) == 1200
    assert asked.count((query, 1200)) == 1
    required = [each for each in hooks.named_keys.values() if each.required]
    assert len(asked) == len(required)


def test_what_is_removed_meanwhile_is_gone_and_not_missing(
    model, make_inference, target, monkeypatch
):
    record = with_objects(make_inference, model, "a")
    with_objects(make_inference, model, "b")

    def removed_meanwhile(name):
        if name == "backup.dumped":
            forget(record)

    monkeypatch.setattr(making, "failpoint", removed_meanwhile)
    back_up(target)

    (manifest,) = manifests(target)
    assert (manifest.gone, manifest.missing, manifest.blobs) == (3, [], 3)


def test_what_is_moved_into_another_pack_meanwhile_is_followed(
    model, make_inference, target, monkeypatch
):
    inputs, records = in_packs(make_inference, model, "ab")
    members = [each.content_key(inputs) for each in packs.read_index(inputs)]
    contents = [blobs.get(key) for key in members]
    hour = inputs.rpartition("/")[0]
    new = packs.build_inputs(
        packs.new_key(hour, packs.INPUTS), [(b"0" * 16, each) for each in contents]
    )

    def moved_meanwhile(name):
        if name == "backup.blobs_copied" and blobs.exists(inputs):
            blobs.put(new.key, new.body)
            made = [each.content_key(new.key) for each in new.members]
            moves.note(dict(zip(members, made, strict=True)))
            hooks.repoints["inferences"](dict(zip(members, made, strict=True)))
            blobs.delete([inputs])

    def first_of_all(name):
        if name == "backup.dumped":
            moved_meanwhile("backup.blobs_copied")

    monkeypatch.setattr(making, "failpoint", first_of_all)
    back_up(target)

    (manifest,) = manifests(target)
    assert set(inventory(target, manifest)) == {new.key, records}
    assert manifest.missing == []
    with layout.downloaded(open_target(target), manifest, layout.MOVES) as file:
        found = dict(layout.read_lines(file))
    assert [found[key] for key in members] == [
        e.content_key(new.key) for e in new.members
    ]


def test_notes_of_moves_are_kept_while_a_backup_is_made():
    old = clock.now() - timedelta(days=2)
    moves.note({"1/1/a": "1/1/b"})
    moves._rows().update(moved_at=old)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(hashtext('istore.backup'))")
            assert moves.forget_old(clock.now()) == 0
            cursor.execute("SELECT pg_advisory_unlock(hashtext('istore.backup'))")
    finally:
        other.close()
    assert moves.forget_old(clock.now()) == 1


def test_a_pack_that_lost_a_member_is_another_object(
    model, make_inference, target, blob_directory
):
    inputs, _ = in_packs(make_inference, model, "ab")
    back_up(target)
    first = blobs.get(inputs)
    forget(model.inferences.get(inference_id="a"))

    back_up(target)

    before, after = (inventory(target, each)[inputs] for each in manifests(target))
    assert before != after
    kept = read_small(open_target(target), layout.object_name(before))
    assert kept == first  # the earlier backup is whole still


KILLS = [
    "backup.dumped",
    "backup.blobs_copied",
    "backup.copied",
    "backup.inventory_written",
    "backup.manifest_written",
    "backup.old_manifests_removed",
]


def test_a_kill_at_any_step_leaves_no_half_backup_and_the_next_run_completes(
    model, make_inference, target, blob_directory
):
    for name in "abc":
        with_objects(make_inference, model, name)
    back_up(target)
    with_objects(make_inference, model, "d")
    given = connection.settings_dict["NAME"], str(blob_directory), target
    code = f"from istore.backup.tests.killed_backup import back_up; back_up(*{given!r})"
    modules = "istore.backup.tests.killed_backup", "istore.tasks.periodic"
    with forked_programs(*modules) as programs:
        for place in KILLS:
            before = [each.name for each in manifests(target)]
            assert programs.start(code, f"{place}=kill").ends() == -signal.SIGKILL
            complete = [each.name for each in manifests(target)]
            if place == "backup.old_manifests_removed":
                assert len(complete) == 1  # the new one: the old one is none any more
            elif place == "backup.manifest_written":
                assert complete[:-1] == before  # it is whole
            else:
                assert complete == before
            BackupTask.objects.update(lease_until=clock.now() - timedelta(seconds=1))
        assert programs.start(code).ends() == 0

    (last,) = manifests(target)
    assert last.blobs == 12
    assert last.copied == 0  # killed runs had copied it
    assert layout.folders(open_target(target)) == [last.name]
    assert objects(target) == set(
        map(layout.object_name, inventory(target, last).values())
    )


def test_a_bucket_holds_backups(model, make_inference, settings, s3_endpoint):
    settings.ISTORE_BACKUP_S3 = s3_server.options(s3_endpoint)
    target = f"s3://{s3_server.BUCKET}/backups-{model.pk}-{os.getpid()}"
    with_objects(make_inference, model, "a")
    back_up(target)
    with_objects(make_inference, model, "b")

    back_up(target, "--keep", "1")

    (manifest,) = manifests(target)
    assert (manifest.blobs, manifest.copied) == (6, 3)
    assert len(objects(target)) == 6
    dump = layout.checked_chunks(open_target(target), manifest, layout.DATABASE)
    assert b"".join(dump).startswith(b"PGDMP")


def test_a_target_that_cannot_be_used_is_refused_in_one_line(tmp_path):
    for target in ("relative/path", str(settings_of_django.ISTORE_HOME.root / "x")):
        with pytest.raises(CommandError) as refused:
            back_up(target)
        assert refused.value.returncode == 2
        assert "\n" not in str(refused.value)


def test_a_second_backup_at_the_same_time_is_refused(target):
    task = tasks.open_backup(target, keep=1)
    assert task.claim()
    with pytest.raises(CommandError, match="being made already"):
        back_up(target)


def test_beat_makes_a_backup_when_it_is_due(target, settings, queue, model):
    settings.ISTORE_BACKUP_TARGET, settings.ISTORE_BACKUP_EVERY_HOURS = target, 6
    at = clock.now()
    task = tasks.open_due(at)
    assert queue == [("istore.tasks.run_backup", [str(task.pk)])]
    assert tasks.open_due(at) is None
    assert tasks.carry_out(task).is_whole

    assert tasks.open_due(at + timedelta(hours=5)) is None
    assert tasks.open_due(at + timedelta(hours=7)) is not None
    figures.remember_figures()
    found = figures.recall_figures()
    assert found["completed"] > 0
    assert found["failed"] == 0
    names = [metric.name for metric in figures.metrics(found)]
    assert "istore_backup_completed_timestamp_seconds" in names


def test_a_failed_backup_is_told_to_operators(target, settings, operator, monkeypatch):
    settings.ISTORE_BACKUP_TARGET = target
    monkeypatch.setattr(
        making.database, "program", lambda name: "/bin/false", raising=True
    )
    task = tasks.open_due(clock.now())
    tasks.carry_out(task)
    task.refresh_from_db()
    assert task.state == TaskState.FAILED
    assert "pg_dump failed" in task.reason

    assert "pg_dump failed" in figures.lateness()
    assert "pg_dump failed" in operator.get("/operations").content.decode()
