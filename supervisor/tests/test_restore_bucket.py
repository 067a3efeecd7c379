"""A restore whose bucket is missing."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from django.core.management import CommandError, call_command

from istore.errors import BadInput
from supervisor import bucket
from supervisor.management.commands import restore

NO_BUCKET = ClientError({"Error": {"Code": "NoSuchBucket"}}, "ListObjects")


@pytest.fixture(autouse=True)
def without_a_backup(monkeypatch):
    monkeypatch.setattr(restore.restoring, "find", lambda target, name: None)
    monkeypatch.setattr(restore, "unlisted_proofs", lambda *arguments: [])


def test_a_bucket_that_is_missing_ends_it_in_one_line(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise NO_BUCKET

    monkeypatch.setattr(restore, "restore_home", fail)
    with pytest.raises(CommandError, match="NoSuchBucket") as caught:
        call_command("restore", str(tmp_path))
    assert caught.value.returncode == 2


def test_it_makes_the_bucket_where_it_is_asked_to(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(bucket, "make_bucket", lambda: done.append("bucket"))

    def end(*arguments, **options):
        done.append("restore")
        raise BadInput("end", "The end.")

    monkeypatch.setattr(restore, "restore_home", end)
    with pytest.raises(CommandError, match="The end"):
        call_command("restore", str(tmp_path), make_bucket=True)
    assert done == ["bucket", "restore"]


def test_a_folder_is_no_bucket():
    with pytest.raises(BadInput, match="ISTORE_S3_BUCKET is missing"):
        bucket.make_bucket()
