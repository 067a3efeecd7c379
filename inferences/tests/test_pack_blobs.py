"""``manage.py pack_blobs``: a store of single objects gets packs, and stays what it was."""

from __future__ import annotations

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from inferences.maintenance import orphan_blobs, orphan_members, packing_stored
from inferences.maintenance.orphan_blobs import Fate
from inferences.models import InferenceKey, InferencePayload
from inferences.previews import pictures
from inferences.store import pack_making, pack_rewriting, protection, removal
from istore import blobs, failpoints
from istore.blobs import packs
from istore.checks import verification
from istore.db.clock import now
from istore.errors import Unavailable
from istore.hooks import Hook
from istore.models import MovedBlob, PackInMaking

pytestmark = pytest.mark.django_db

MOMENT = datetime(2025, 6, 1, tzinfo=UTC)
SMALL, LARGE = 500, 5000


@pytest.fixture(autouse=True)
def quick(monkeypatch, settings):
    """What the app that reads markers knows, and inputs of 1,000 bytes are large."""

    def known(model, markers, scope):
        told = {}
        for marker in markers:
            name = json.loads(blobs.get(marker))["event"]["inference_id"]
            assert InferenceKey.objects.filter(inference_id=name).exists()
            told[marker] = Fate(removed=True)
        return told

    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr(orphan_blobs, "fates", Hook(ingest=known))
    for name in ("consumers", "spool files"):
        monkeypatch.delitem(verification.checks, name)
    settings.ISTORE_PACK_MEMBER_BYTES = 1000


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


def below_of(model) -> str:
    return f"{model.project_id}/{model.pk}/"


class Store:
    def __init__(self, model, make_inference):
        self.model, self.make_inference = model, make_inference
        self.data: dict[str, bytes] = {}
        self.answers: dict[str, bytes] = {}
        self.folders: dict[str, str] = {}

    def add(self, name: str, size: int | None, hour: int = 0) -> None:
        """Put the objects of one inference, and record it; without a size it has no input."""
        number = len(self.folders)
        unique = str(UUID(int=number + (7 << 76)))
        moment = MOMENT + timedelta(hours=hour, seconds=number)
        folder = blobs.prefix_for(self.model.project_id, self.model.pk, moment, unique)
        data = None if size is None else os.urandom(size)
        answer = os.urandom(100)
        text = {
            "format": 1,
            "event": {
                "inference_id": name,
                "data_storage_key": f"{folder}/input",
                "inference_storage_key": f"{folder}/answer",
                "metadata_storage_key": f"{folder}/metadata",
            },
            "answer": {
                "sha256": hashlib.sha256(answer).hexdigest(),
                "size": len(answer),
                "text": "repeated",
            },
        }
        if data is not None:
            blobs.put(f"{folder}/input", data)
            self.data[name] = data
        blobs.put(f"{folder}/answer", answer)
        blobs.put(f"{folder}/metadata", json.dumps(text).encode())
        self.answers[name], self.folders[name] = answer, folder
        self.make_inference(
            {"frame": number},
            inference_id=name,
            created_at=moment,
            data_storage_key="" if data is None else f"{folder}/input",
            data_size=len(data or b""),
            data_hash=hashlib.sha256(data or b"").digest(),
            answer_storage_key=f"{folder}/answer",
        )

    def row_id(self, name: str) -> int:
        keys = InferenceKey.objects.filter(registered_model=self.model)
        return keys.get(inference_id=name).row_id

    def payload(self, name: str) -> InferencePayload:
        rows = InferencePayload.objects.beside(self.model)
        return rows.get(id=self.row_id(name))

    def reads_the_same(self, name: str) -> None:
        payload = self.payload(name)
        assert blobs.get(payload.answer_storage_key) == self.answers[name]
        assert bool(payload.data_storage_key) == (name in self.data)
        if name in self.data:
            assert blobs.get(payload.data_storage_key) == self.data[name]
            folder = self.folders[name]
            assert blobs.size(f"{folder}/input") == len(self.data[name])
            assert blobs.get(f"{folder}/input") == self.data[name]
        assert blobs.get(f"{self.folders[name]}/answer") == self.answers[name]

    def is_packed(self, name: str) -> bool:
        return packs.is_member(self.payload(name).answer_storage_key)

    def marker(self, name: str) -> dict:
        key = removal.marker_key(self.payload(name).answer_storage_key)
        assert key is not None
        return json.loads(blobs.get(key))


@pytest.fixture
def store(model, make_inference):
    made = Store(model, make_inference)
    for number in range(3):
        made.add(f"small-{number}", SMALL)
    made.add("large", LARGE)
    made.add("empty", 0)
    made.add("none", None)
    made.add("later", SMALL, hour=3)
    return made


def verify(**scope) -> list[tuple[str, str]]:
    """As it will be found in two days, when nothing here is young any more."""
    report = verification.report(
        verification.Scope(now() + timedelta(days=2), deep=True, **scope)
    )
    found = [(each.kind, each.where) for each in report.findings()]
    assert not report.unfinished
    return found


def pack(**options) -> str:
    out = StringIO()
    call_command("pack_blobs", stdout=out, **options)
    return out.getvalue()


def keys() -> list[str]:
    return sorted(each.key for each in blobs.walk())


def test_a_store_of_single_objects_is_packed(store, model):
    assert verify() == []
    before = InferencePayload.objects.beside(model).order_by("id").values()
    before = [dict(row) for row in before]

    assert pack() == f"{model.project}/{model}: 7 packed.\n7 records were packed.\n"

    for name in store.folders:
        store.reads_the_same(name)
        assert store.is_packed(name)
        marker = store.marker(name)
        assert marker["format"] == 2
        event = marker["event"]
        assert event["inference_id"] == name
        assert "inference_storage_key" not in event
        if name in store.data:
            assert event["data_storage_key"] == store.payload(name).data_storage_key
        assert "text" not in marker["answer"]
    large = store.payload("large").data_storage_key
    assert large == f"{store.folders['large']}/input"
    assert [key for key in keys() if not packs.is_pack(key)] == [large]
    assert len(keys()) == 5  # of each hour one pack of inputs and one of records
    members = [m for key in keys() if packs.is_pack(key) for m in packs.read_index(key)]
    uniques = {UUID(store.folders[name][-36:]).bytes for name in store.folders}
    assert {each.unique for each in members} == uniques
    after = InferencePayload.objects.beside(model).order_by("id").values()
    for old, new in zip(before, after, strict=True):
        for name in ("data_storage_key", "answer_storage_key"):
            old.pop(name), new.pop(name)
        assert old == new
    assert verify() == []

    assert pack() == "0 records were packed.\n"


def test_what_is_packed_is_removed_byte_by_byte(store, model, blob_directory):
    pack()
    for name in ("small-1", "large", "empty"):
        assert removal.remove_one("someone", model, name)

    bodies = [path.read_bytes() for path in blob_directory.rglob("*") if path.is_file()]
    for name in ("small-1", "large"):
        for content in (store.data.pop(name), store.answers[name]):
            assert all(content not in body for body in bodies)
    for name in ("small-0", "small-2", "none", "later"):
        store.reads_the_same(name)
    assert verify() == []


def test_records_of_each_state(store, model, project):
    """Protected ones and hidden ones are packed; one with an intent is left alone."""
    protection.protect_one("someone", model, "small-0", protection.Protection())
    with transaction.atomic():
        removal.hide_records(model, model.inferences.filter(inference_id="small-1"))
    with transaction.atomic():
        batch = removal.RECORDS.intend(
            model, model.inferences.filter(inference_id="small-2")
        )
    with transaction.atomic():
        inputs = removal.INPUTS.intend(
            model, model.inferences.filter(inference_id="later")
        )

    assert pack().endswith("5 records were packed.\n")

    for name in store.folders:
        store.reads_the_same(name)
        assert store.is_packed(name) == (name not in ("small-2", "later"))
    removal.RECORDS.delete(batch)
    removal.RECORDS.clear(model, batch)
    removal.INPUTS.delete(inputs)
    removal.INPUTS.clear(model, inputs)
    del store.data["later"]
    assert pack().endswith("1 records were packed.\n")
    assert (
        blobs.get(store.payload("later").answer_storage_key) == store.answers["later"]
    )
    assert store.payload("later").data_storage_key == ""
    assert verify() == []


def say_erased(store, name):
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {InferencePayload._meta.db_table} "
            """SET notes = '{"marker_erased": true}' WHERE id = %s""",
            [store.row_id(name)],
        )


def test_a_record_whose_marker_was_erased_is_packed_without_it(store):
    say_erased(store, "small-1")
    blobs.delete([f"{store.folders['small-1']}/metadata"])

    pack()

    for name in store.folders:
        store.reads_the_same(name)
        assert store.is_packed(name)
    assert removal.marker_key(store.payload("small-1").answer_storage_key) is None
    assert store.marker("small-2")
    assert verify() == []


def test_a_record_whose_marker_is_being_erased_waits(store):
    say_erased(store, "small-1")  # and then its marker goes

    assert pack().endswith("6 records were packed.\n")
    assert not store.is_packed("small-1")
    blobs.delete([f"{store.folders['small-1']}/metadata"])
    assert pack().endswith("1 records were packed.\n")
    assert verify() == []


def test_what_is_lost_is_told_and_the_rest_is_packed(store):
    blobs.delete(
        [f"{store.folders['small-1']}/input", f"{store.folders['later']}/answer"]
    )

    assert pack().endswith("5 records were packed.\n")

    assert {kind for kind, _ in verify()} == {"missing"}
    assert len(verify()) == 2
    store.reads_the_same("small-0")


@pytest.mark.parametrize("place", ["packing.put", "packing.repointed"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("collects_first", [False, True])
def test_a_kill_leaves_what_another_run_and_the_collector_mend(
    store, armed, place, nth, collects_first
):
    armed(f"{place}:{nth}=raise")
    with pytest.raises(failpoints.Failure):
        pack()
    armed("")
    for name in store.folders:
        store.reads_the_same(name)

    if collects_first:
        verify(repair=True)
    pack()
    verify(repair=True)

    for name in store.folders:
        store.reads_the_same(name)
        assert store.is_packed(name)
    assert verify() == []
    assert len(keys()) == 5


def test_what_is_removed_while_it_is_copied_leaves_no_copy(
    store, model, monkeypatch, blob_directory
):
    def remove(name):
        if name == "packing.put" and model.inferences.filter(inference_id="small-1"):
            removal.remove_one("someone", model, "small-1")

    monkeypatch.setattr(packing_stored, "failpoint", remove)
    pack()

    bodies = [path.read_bytes() for path in blob_directory.rglob("*") if path.is_file()]
    for content in (store.data["small-1"], store.answers["small-1"]):
        assert all(content not in body for body in bodies)
    assert verify() == []


def test_packs_are_of_a_bounded_size(store, settings):
    settings.ISTORE_PACK_BYTES = 1200
    pack()
    assert len(list(filter(packs.has_records, keys()))) == 3
    for name in store.folders:
        store.reads_the_same(name)
    assert verify() == []


def test_batches_go_on_where_the_last_one_ended(store, model, monkeypatch):
    monkeypatch.setattr(packs, "MEMBERS_MAX", 2)
    progress = list(packing_stored.pack_model(model))
    assert [each.packed for each in progress] == [2, 2, 2, 1]
    assert verify() == []


def test_one_model_alone(store):
    with pytest.raises(CommandError, match="no model 'other'"):
        pack(model="other")
    assert pack(model=store.model.model_id).endswith("7 records were packed.\n")


def test_a_soft_deleted_record_is_in_a_pack_as_well(store, model):
    with transaction.atomic():
        removal.hide_records(model, model.inferences.filter(inference_id="small-1"))
    pack()
    assert model.inferences.filter(inference_id="small-1", deleted=True)
    store.reads_the_same("small-1")


def test_whoever_holds_an_old_key_of_a_marker_finds_it(store):
    pack()
    there = json.loads(blobs.get(f"{store.folders['small-0']}/metadata"))
    assert there == store.marker("small-0")
    assert MovedBlob.objects.exists()


def at(monkeypatch, place, act):
    """Do something once, at a failpoint, as if another process did it."""

    def reached(name):
        if name == place:
            monkeypatch.setattr(packing_stored, "failpoint", failpoints.failpoint)
            act()

    monkeypatch.setattr(packing_stored, "failpoint", reached)


@pytest.mark.parametrize("told", [Fate(is_copy=True), Fate(removed=True)])
def test_nobody_takes_a_pack_in_the_making_for_one_that_is_left(
    store, model, monkeypatch, told
):
    def fates(model, markers, scope):
        return dict.fromkeys(markers, told)

    def others():
        monkeypatch.setattr(orphan_blobs, "fates", Hook(ingest=fates))
        assert orphan_members.release_copies(model, MOMENT) == 0
        assert verify() == []

    at(monkeypatch, "packing.put", others)
    pack()
    for name in store.folders:
        store.reads_the_same(name)
        assert store.is_packed(name)
    assert verify() == []


def test_a_pack_of_which_a_member_was_released_is_given_up(store, monkeypatch):
    def release():
        for key in pack_making.in_making(""):
            blobs.delete([packs.read_index(key)[0].content_key(key)])

    at(monkeypatch, "packing.put", release)
    assert pack().endswith("1 records were packed.\n")
    pack()
    for name in store.folders:
        store.reads_the_same(name)
    assert verify() == []


@pytest.mark.parametrize("place", ["packing.put", "packing.repointed"])
def test_a_removal_is_complete_without_what_a_killed_run_left(
    store, model, armed, place, monkeypatch
):
    """Neither a copy is left, nor what was copied, nor a preview of it."""
    forgotten: list[str] = []
    monkeypatch.setattr(pictures, "forget", forgotten.extend)
    monkeypatch.setattr(pack_rewriting, "PATIENCE", 0.0)
    armed(f"{place}=raise")
    with pytest.raises(failpoints.Failure):
        pack()
    armed("")

    assert removal.remove_one("someone", model, "small-1")
    pack_rewriting.rewrite_until_done((), below_of(model), print)
    pack_rewriting.rewrite_all()  # beat does: in a bucket the new pack holds it until then

    for content in (store.data["small-1"], store.answers["small-1"]):
        for key in keys():
            assert content not in blobs.get(key)
    assert f"{store.folders['small-1']}/input" in forgotten
    assert not PackInMaking.objects.exists()
    assert verify() == []


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_locked_waits_for_the_next_run(store, monkeypatch):
    """No run waits for a row, so that none is part of a deadlock."""
    row_id = store.row_id("small-1")

    def pack_elsewhere() -> str:
        try:
            return pack()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            rows = InferencePayload.objects.filter(id=row_id)
            assert list(rows.select_for_update())
            assert (
                pool.submit(pack_elsewhere)
                .result(60)
                .endswith("6 records were packed.\n")
            )
        assert not store.is_packed("small-1")
        assert (
            pool.submit(pack_elsewhere).result(60).endswith("1 records were packed.\n")
        )
    assert verify() == []


@pytest.mark.django_db(transaction=True)
def test_removals_and_other_runs_wait_for_packs_in_the_making(
    store, model, monkeypatch
):
    monkeypatch.setattr(pack_rewriting, "PATIENCE", 0.0)
    monkeypatch.setattr(pack_rewriting, "PAUSE", 0.1)
    below = below_of(model)

    def others():
        try:
            with pack_making.making(below) as is_ours:
                assert not is_ours
            with pytest.raises(Unavailable, match=f"Packs below {below}"):
                pack_rewriting.rewrite_until_done((), below, print)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        at(monkeypatch, "packing.put", lambda: pool.submit(others).result(60))
        assert pack().endswith("7 records were packed.\n")
    pack_rewriting.rewrite_until_done((), below, print)
    assert verify() == []
