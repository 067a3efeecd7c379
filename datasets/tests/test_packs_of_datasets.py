"""Copies of small inputs lie in packs, on disk and in a bucket, and go as single objects do."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta

import pytest

from datasets import lifecycle, shared_blobs
from datasets.models import Dataset, DatasetArchive, DatasetBlob
from datasets.tests.conftest import names
from datasets.verifying import check_inputs, leftovers
from exports import archive_writer
from exports.tests.conftest import opened
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import erase, open_erasure
from inferences.store import pack_making, pack_rewriting
from istore import blobs, failpoints
from istore.blobs import packs, request_counts
from istore.blobs.keys import DATASETS
from istore.checks.verification import Scope
from istore.db.clock import now
from istore.models import ReleasedMember

pytestmark = pytest.mark.django_db
TEXTS = {name: f"input {name} {os.urandom(20).hex()}".encode() for name in "abcde"}


@pytest.fixture(params=["disk", "bucket"], autouse=True)
def kind(request, settings) -> str:
    """The kind of storage; on disk by a location, in a bucket by a prefix, of each test."""
    if request.param == "bucket":
        request.getfixturevalue("s3_prefix")
    else:
        request.getfixturevalue("blob_directory")
    return request.param


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture
def filled(dataset, add, make_stored) -> Dataset:
    for name, content in TEXTS.items():
        make_stored(content, [], inference_id=name, metadata={"person": name})
    add()
    return Dataset.objects.get(pk=dataset.pk)


def key_of(name: str) -> str:
    (key,) = DatasetBlob.objects.filter(
        pk__in=Dataset.objects.get().entries.filter(inference_id=name).values("blob")
    ).values_list("storage_key", flat=True)
    return key


def take_out(dataset: Dataset, *wanted: str) -> None:
    rows = dataset.entries.current().filter(inference_id__in=wanted)
    lifecycle.remove_entries("test", dataset, list(rows.values_list("pk", flat=True)))


def bodies() -> dict[str, bytes]:
    return {each.key: blobs.get(each.key) for each in blobs.walk(DATASETS)}


def is_live(*wanted: str) -> None:
    for name in wanted:
        key = key_of(name)
        assert blobs.get(key) == TEXTS[name]
        with blobs.open_blob(key) as file:
            assert file.read() == TEXTS[name]


def is_gone(*gone: str) -> None:
    for key, body in bodies().items():
        for name in gone:
            assert TEXTS[name] not in body, (name, key)


def findings(*, deep: bool = True, repair: bool = False, old: bool = False):
    scope = Scope(now(), deep=deep, repair=repair)
    if old:
        scope = replace(scope, at=scope.at + timedelta(days=3))
    return [*check_inputs(scope), *leftovers(scope)]


def test_the_inputs_of_a_batch_are_one_pack(filled):
    (pack,) = bodies()
    assert pack.startswith(f"{DATASETS}{filled.project_id}/")
    keys = [key_of(name) for name in TEXTS]
    assert {packs.pack_of(key) for key in keys} == {pack}
    is_live(*TEXTS)
    assert findings(old=True) == []


def test_a_batch_costs_one_put_and_its_verification_one_read(
    dataset, add, make_stored, kind, monkeypatch
):
    if kind == "disk":
        pytest.skip("Requests are counted in a bucket.")
    asked: list[str] = []
    monkeypatch.setattr(
        request_counts, "count", lambda event_name, **_: asked.append(event_name)
    )
    for number in range(40):
        make_stored(f"input {number}".encode(), [], inference_id=f"i{number}")
    asked.clear()
    add()
    assert sum(each.endswith("PutObject") for each in asked) == 1
    asked.clear()
    assert findings(deep=False) == []
    assert 0 < len(asked) <= 6


def test_large_inputs_stay_objects_of_their_own(dataset, add, make_stored, settings):
    settings.ISTORE_PACK_MEMBER_BYTES = 100
    make_stored(b"large" * 50, [], inference_id="large")
    make_stored(b"small", [], inference_id="small")
    add()
    assert not packs.is_member(key_of("large"))
    assert packs.is_member(key_of("small"))
    assert blobs.get(key_of("large")) == b"large" * 50
    assert findings() == []


def test_a_pack_has_no_more_than_its_bytes(dataset, add, make_stored, settings):
    settings.ISTORE_PACK_BYTES = 100
    for number in range(6):
        make_stored(bytes([number]) * 60, [], inference_id=f"i{number}")
    add()
    assert len(bodies()) == 3


def test_single_objects_of_before_are_read_and_go(filled):
    blob = DatasetBlob.objects.get(storage_key=key_of("a"))
    old = f"{DATASETS}{filled.project_id}/01890000-0000-7000-8000-000000000000"
    blobs.put(old, TEXTS["a"])
    blobs.delete([blob.storage_key])
    DatasetBlob.objects.filter(pk=blob.pk).update(storage_key=old)
    is_live(*TEXTS)
    assert findings(old=True) == []

    take_out(filled, "a")
    shared_blobs.collect()
    pack_rewriting.rewrite_all()
    is_gone("a")
    assert old not in bodies()


def test_what_is_taken_out_leaves_no_byte(filled):
    before = key_of("c")
    take_out(filled, "b", "d")
    assert shared_blobs.collect() == 2
    pack_rewriting.rewrite_all()

    is_gone("b", "d")
    is_live("a", "c", "e")
    assert blobs.get(before) == TEXTS["c"]  # a reader may hold the key
    assert findings(old=True) == []
    assert not ReleasedMember.objects.exists()


def test_the_pack_goes_with_its_last_input(filled):
    lifecycle.delete("test", filled)
    lifecycle.finish_deletions()
    shared_blobs.collect()
    pack_rewriting.rewrite_all()
    assert bodies() == {}
    assert not ReleasedMember.objects.exists()


def test_an_erasure_waits_until_the_copies_are_gone(filled, project):
    carried = Carried("person", "string", "b")
    task = open_erasure("test", project, carried, why="asked", dry_run=False)
    erase(task)

    task.refresh_from_db()
    assert task.state == "complete", task.reason
    is_gone("b")
    is_live("a", "c", "d", "e")
    assert names(filled.entries) == ["a", "c", "d", "e"]
    if packs_are_rewritten():
        assert task.report["packs"]["rewritten"] >= 1
    assert findings(old=True) == []


def packs_are_rewritten() -> bool:
    return packs.storage.can_release is False


def test_archives_are_written_from_packs(filled):
    version = lifecycle.publish("test", filled)
    take_out(Dataset.objects.get(), "a")
    shared_blobs.collect()  # the version needs it still
    pack_rewriting.rewrite_all()
    task = lifecycle.archive(
        "test", filled, version.number, format="chariot", container="zip"
    )
    archive_writer.carry_out(task)
    archive = opened(DatasetArchive.objects.get())
    found = {archive.read(name) for name in archive.namelist()}
    assert set(TEXTS.values()) <= found


@pytest.mark.parametrize("step", ["datasets.inputs_marked", "datasets.inputs_removed"])
def test_a_removal_that_breaks_off_goes_on_whatever_is_rewritten(filled, armed, step):
    take_out(filled, "b")
    armed(f"{step}=raise")
    with pytest.raises(failpoints.Failure):
        shared_blobs.collect()
    armed("")
    pack_rewriting.rewrite_all()
    shared_blobs.collect()
    pack_rewriting.rewrite_all()
    is_gone("b")
    is_live("a", "c", "d", "e")
    assert findings(old=True) == []


@pytest.mark.parametrize(
    "step", ["rewriting.copied", "rewriting.repointed", "rewriting.deleted"]
)
def test_a_rewrite_that_breaks_off_is_mended(filled, armed, step, kind):
    if kind == "disk":
        pytest.skip("On disk nothing is rewritten.")
    take_out(filled, "b")
    shared_blobs.collect()
    armed(f"{step}=raise")
    with pytest.raises(failpoints.Failure):
        pack_rewriting.rewrite_all()
    armed("")
    is_live("a", "c", "d", "e")
    findings(old=True, repair=True)
    is_live("a", "c", "d", "e")
    pack_rewriting.rewrite_all()
    findings(old=True, repair=True)
    is_live("a", "c", "d", "e")
    is_gone("b")
    assert len(bodies()) == 1
    assert findings(old=True) == []


def test_a_pack_without_rows_is_collected_when_it_is_old(filled):
    key = packs.new_key(f"{DATASETS}{filled.project_id}", packs.INPUTS)
    blobs.put(key, packs.build_inputs(key, [(b"u" * 16, b"alone")]).body)
    assert findings(repair=True) == []  # it is young
    (found,) = findings(repair=True, old=True)
    assert (found.kind, found.where, found.repaired) == ("orphan", key, True)
    assert key not in bodies()
    is_live(*TEXTS)


def test_a_pack_in_the_making_is_not_taken_for_left(filled):
    key = packs.new_key(f"{DATASETS}{filled.project_id}", packs.INPUTS)
    pack_making.put([packs.build_inputs(key, [(b"u" * 16, b"alone")])])
    assert findings(repair=True, old=True) == []
    assert key in bodies()


def test_a_member_without_a_row_is_released_when_it_is_old(filled):
    key = key_of("c")
    take_out(filled, "c")
    DatasetBlob.objects.filter(storage_key=key).delete()
    (found,) = findings(repair=True, old=True)
    assert (found.kind, found.where) == ("orphan", key)
    pack_rewriting.rewrite_all()
    is_gone("c")
    is_live("a", "b", "d", "e")
    assert findings(old=True) == []


def test_verify_tells_of_lost_and_damaged_packs(filled):
    (pack,) = bodies()
    body = blobs.get(pack)
    blobs.put(pack, body.replace(TEXTS["b"], b"x" * len(TEXTS["b"])))
    assert [each.where for each in findings()] == [key_of("b")]
    assert findings(deep=False) == []
    blobs.put(pack, body[:-1])
    kinds = [each.kind for each in findings(old=True)]
    assert kinds == ["dataset-input"] * 5 + ["pack-damaged"]
    blobs.delete([pack])
    assert [each.kind for each in findings(old=True)] == ["dataset-input"] * 5


def test_a_released_input_is_missing(filled):
    blobs.delete([key_of("b")])
    (found,) = findings(deep=False)
    assert (found.kind, found.where) == ("dataset-input", key_of("b"))


def test_an_input_that_others_saved_first_is_released(filled, project, kind):
    """Two tasks upload the same input; the second one finds the row of the first."""
    blob = DatasetBlob.objects.get(storage_key=key_of("a"))
    twin = DatasetBlob(project=project, sha256=blob.sha256, size=blob.size)
    fresh = DatasetBlob(project=project, sha256="f" * 64, size=5)
    key = packs.new_key(f"{DATASETS}{project.pk}", packs.INPUTS)
    pack = packs.build_inputs(key, [(b"u" * 16, TEXTS["a"]), (b"v" * 16, b"fresh")])
    blobs.put(key, pack.body)
    twin.storage_key, fresh.storage_key = [e.content_key(key) for e in pack.members]
    found = {twin.sha256: twin, fresh.sha256: fresh}

    needless = shared_blobs.save(project, found)
    blobs.delete(needless)

    assert needless == [twin.storage_key]
    assert found[blob.sha256].storage_key == blob.storage_key
    pack_rewriting.rewrite_all()
    moved = DatasetBlob.objects.get(sha256=fresh.sha256)
    assert blobs.get(moved.storage_key) == b"fresh"
    assert sum(TEXTS["a"] in body for body in bodies().values()) == 1
