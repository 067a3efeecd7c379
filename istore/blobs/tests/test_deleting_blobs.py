"""Files that are deleted, one and many at a time."""

from __future__ import annotations

import os
import shutil

import pytest
from django.core.exceptions import SuspiciousFileOperation

from istore import blobs
from istore.blobs.local_storage import FEW

MANY = 3 * FEW


def put(directory, key: str) -> None:
    path = directory / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_of_many_the_files_go_and_the_directories_that_are_empty(blob_directory):
    keys = [f"1/1/2025/{n}/{kind}" for n in range(MANY) for kind in ("input", "answer")]
    for key in [*keys, "1/1/2025/7/note"]:
        put(blob_directory, key)

    blobs.delete([*keys, "1/1/2025/absent/input", ""])

    left = [path for path in blob_directory.rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["note"]
    assert os.listdir(blob_directory / "1/1/2025") == ["7"]


@pytest.mark.parametrize("key", ["1/../../outside/input", "/outside/input"])
def test_nothing_outside_of_the_store_goes(blob_directory, key):
    outside = blob_directory.parent / "outside"
    put(outside.parent, "outside/input")

    with pytest.raises(SuspiciousFileOperation):
        blobs.delete([key])

    assert (outside / "input").exists()


def test_what_cannot_be_deleted_is_told_and_may_be_tried_again(blob_directory):
    stuck = "1/1/2025/stuck/input"
    keys = [*(f"1/1/2025/{number}/input" for number in range(MANY)), stuck]
    for key in [*keys[:-1], f"{stuck}/is-a-directory"]:
        put(blob_directory, key)

    with pytest.raises(OSError):
        blobs.delete(keys)
    shutil.rmtree(blob_directory / stuck)
    blobs.delete(keys)

    assert os.listdir(blob_directory / "1/1/2025") == []
