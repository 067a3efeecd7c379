"""ZIP and TAR as we write them, read by Python's own readers."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from exports.archives import TarArchive, ZipArchive

AT = datetime(2026, 3, 4, 5, 6, 8, tzinfo=UTC)
GIB = 1024**3
names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\\0"),
    min_size=1,
    max_size=120,
).filter(lambda name: name.strip(". ") == name and name)


def written(kind, entries: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    archive = kind(sink, AT)
    for name, content in entries.items():
        archive.add(name, content)
    told = {each.path: each.sha256 for each in archive.entries()}
    assert told == {n: hashlib.sha256(c).hexdigest() for n, c in entries.items()}
    archive.finish()
    archive.close()
    assert archive.size == len(sink.getvalue())
    return sink.getvalue()


def read_zip(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def read_tar(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {each.name: archive.extractfile(each).read() for each in archive}


@given(st.dictionaries(names, st.binary(max_size=2000), max_size=6))
@settings(deadline=None)
def test_whatever_is_written_is_read(entries):
    assert read_zip(written(ZipArchive, entries)) == entries
    assert read_tar(written(TarArchive, entries)) == entries


def test_more_entries_than_16_bits_can_count_are_read():
    entries = {f"data/{number:08d}": b"" for number in range(66_000)}

    assert read_zip(written(ZipArchive, entries)).keys() == entries.keys()


def test_entries_beyond_four_gigabytes_are_read(tmp_path):
    with open(tmp_path / "large.zip", "w+b") as file:
        archive = ZipArchive(file, AT)
        archive.add("first", b"before")
        file.seek(5 * GIB)  # a hole in the file, as if that much had been written
        archive.size = 5 * GIB
        archive.add("second", b"beyond")
        archive.finish()
        archive.close()
        with zipfile.ZipFile(file) as read:
            assert read.read("first") == b"before"
            assert read.read("second") == b"beyond"
            assert read.testzip() is None


def test_the_moment_in_a_zip_archive_is_that_of_the_set():
    content = written(ZipArchive, {"a": b"1"})

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.getinfo("a").date_time == (2026, 3, 4, 5, 6, 8)


def test_the_moment_in_a_tar_archive_is_that_of_the_set():
    content = written(TarArchive, {"a": b"1"})

    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert archive.getmember("a").mtime == AT.timestamp()


def test_a_file_that_is_written_bit_by_bit_is_added_when_it_ends():
    sink = io.BytesIO()
    archive = ZipArchive(sink, AT)
    with archive.writing("late") as file:
        file.write(b"one ")
        archive.add("early", b"first")
        file.write(b"two")
    archive.finish()
    archive.close()

    assert read_zip(sink.getvalue()) == {"early": b"first", "late": b"one two"}
