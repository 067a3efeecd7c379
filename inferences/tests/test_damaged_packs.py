"""Packs that are damaged, or hold what was released: removals go on, and ``verify`` tells."""

from __future__ import annotations

import hashlib
import os
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError
from django.core.files.storage import default_storage
from django.db import connection

from inferences.maintenance import orphan_blobs
from inferences.maintenance.orphan_blobs import Fate
from inferences.models import Inference, InferencePayload
from inferences.store import pack_making, pack_rewriting, removal
from inferences.store.pack_rewriting import LOCKED, Rewritten
from inferences.tasks import finish_removals
from inferences.tests.test_pack_rewriting import Store
from istore import blobs
from istore.blobs import packs, request_counts
from istore.blobs.keys import MemberKey
from istore.checks.verification import Scope, checks, report
from istore.db.clock import now
from istore.errors import Unavailable
from istore.hooks import Hook
from istore.models import ReleasedMember
from istore.uuids import uuid7
from tests.s3_server import storage_at

pytestmark = pytest.mark.django_db

MOMENT = datetime(2025, 6, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Nothing of a stream: what the ingest app asks there is tested there."""

    def known(model, markers, scope):
        return {each: Fate() for each in markers}

    monkeypatch.setattr(orphan_blobs, "fates", Hook(ingest=known))
    for name in ("consumers", "spool files"):
        monkeypatch.delitem(checks, name)


@pytest.fixture(params=["disk", "bucket"])
def storage(request):
    """Each test runs on both storages."""
    on_disk = request.param == "disk"
    request.getfixturevalue("blob_directory" if on_disk else "s3_prefix")
    return request.param


@pytest.fixture
def on_disk(blob_directory):
    return blob_directory


@pytest.fixture
def made(request, make_inference, model):
    return store_of(make_inference, model)


def store_of(make_inference, model, count: int = 6, name: str = "i") -> Store:
    hour = blobs.prefix_for(model.project_id, model.pk, MOMENT, "").rstrip("/")

    def make(**fields):
        make_inference(to=model, **fields)

    made = Store(make, model, hour, count, [f"i{n}" for n in range(count)])
    for each, (data, _, _) in made.texts.items():
        row = made.row(each)
        Inference.objects.filter(registered_model=model, id=row.id).update(
            data_hash=hashlib.sha256(data).digest()
        )
    return made


def spoil(key: str, change) -> None:
    """Put the object of this key anew, changed."""
    body = bytearray(blobs.get(key))
    body = change(body) or body
    default_storage.delete(key)
    blobs.put(key, bytes(body))


def flip(at: int):
    def change(body):
        body[at] ^= 0xFF

    return change


def cut(body):
    return body[:-40]


def found(*, days: int = 2, **scope) -> set[tuple[str, str]]:
    run = report(Scope(now() + timedelta(days=days), **scope))
    kinds = {(each.kind, each.where) for each in run.findings()}
    assert not run.unfinished
    return kinds


# -- removals


@pytest.mark.parametrize("change", [cut, flip(-1), flip(-40)])
def test_a_damaged_index_stops_no_removal(on_disk, made, model, change):
    spoil(made.records.key, change)
    spoil(made.inputs.key, change)

    made.remove("i1", "i4")
    made.is_gone("i1")
    made.is_gone("i4")
    made.is_live("i2")
    assert removal.RECORDS.finish(model) == 0
    assert not InferencePayload.objects.filter(removal_at__isnull=False).exists()


def test_what_is_left_of_one_row_stops_no_other_row_and_no_other_model(
    on_disk, made, model, make_inference, make_model
):
    other = store_of(make_inference, make_model("other"))
    spoil(made.records.key, cut)
    place = MemberKey.parse(made.keys["i1"][2])
    spoil(made.records.key, flip(place.offset - 4))
    for each in (made, other):
        names = each.model.inferences.filter(inference_id__in=["i0", "i1", "i2"])
        with_intents(each.model, names)

    finish_removals()

    left = InferencePayload.objects.filter(removal_at__isnull=False)
    assert [each.data_storage_key for each in left] == [made.keys["i1"][0]]
    for name in ("i0", "i2"):
        made.is_gone(name)
        other.is_gone(name)
    later = Scope(now() + timedelta(hours=2), repair=True)
    kinds = {each.kind: each.where for each in checks["intents"].look(later)}
    assert kinds["blob-left"] == made.keys["i1"][2]
    spoil(made.records.key, flip(place.offset - 4))
    finish_removals()
    assert not left.all()
    made.is_gone("i1")


def with_intents(model, chosen) -> None:
    ids = list(chosen.values_list("id", flat=True))
    removal.hide(model, ids)
    InferencePayload.objects.beside(model).filter(id__in=ids).update(
        removal_at=now() - timedelta(hours=1)
    )


@pytest.fixture
def make_model(model):
    def make(name):
        return type(model).objects.create(
            model_id=name,
            project=model.project,
            task_type=model.task_type,
            enable_inference_storage=True,
        )

    return make


def below_of(model) -> str:
    return f"{model.project_id}/{model.pk}/"


def test_a_removal_waits_for_the_packs_that_it_touched_alone(
    s3_prefix, made, make_inference, make_model, monkeypatch
):
    monkeypatch.setattr(pack_rewriting, "PATIENCE", 0.0)
    monkeypatch.setattr(pack_rewriting, "PAUSE", 0.0)
    other = store_of(make_inference, make_model("other"))
    other.remove("i1")
    with_intents(other.model, other.model.inferences.filter(inference_id="i2"))
    made.remove("i1")

    rewrite_until_done(made, made.records.key, made.inputs.key)
    with pytest.raises(Unavailable) as told:
        rewrite_until_done(other, other.inputs.key)
    assert str(told.value) == f"1 pack waits. {other.inputs.key}: {LOCKED}."


def rewrite_until_done(store, *touched) -> Rewritten:
    """Rewrite the packs, and return what was counted."""
    done: list[Rewritten] = []
    pack_rewriting.rewrite_until_done(touched, below_of(store.model), done.append)
    total = sum(done, start=Rewritten())
    assert (total.rewritten, total.waiting) == (len(touched), 0)
    return total


@pytest.mark.django_db(transaction=True)
def test_a_removal_gets_its_turn_beside_one_who_makes_packs_all_the_time(
    s3_prefix, made, monkeypatch
):
    monkeypatch.setattr(pack_rewriting, "PATIENCE", 3.0)
    done, begun = threading.Event(), threading.Event()

    def make_packs():
        try:
            while not done.is_set():
                with pack_making.making(below_of(made.model), 5.0):
                    begun.set()
                    time.sleep(0.1)
        finally:
            connection.close()

    made.remove("i1")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(make_packs)
        assert begun.wait(10)
        try:
            rewrite_until_done(made, made.records.key, made.inputs.key)
        finally:
            done.set()


def test_a_pack_that_the_object_store_refuses_stops_no_other(
    s3_prefix, made, monkeypatch
):
    made.remove("i1")
    put = blobs.put

    def refuse(key, body):
        if key.endswith(".inputs"):
            answer = {"Error": {"Code": "SlowDown"}}
            raise ClientError(answer, "PutObject")
        put(key, body)

    monkeypatch.setattr(blobs, "put", refuse)
    done = pack_rewriting.rewrite_all()
    assert (done.rewritten, done.waiting) == (1, 1)
    monkeypatch.undo()
    assert pack_rewriting.rewrite_all().rewritten == 1


# -- what verify finds


def test_a_healthy_store_of_packs_is_clean(storage, made):
    assert found() == found(deep=True) == set()
    made.remove("i1")
    assert found() == found(deep=True) == set()


def footer_of(pack) -> int:
    return len(pack.body) - packs.FOOTER_BYTES


def resealed(change):
    """A change of the index whose checksum is right again."""

    def seal(body):
        body = bytearray(change(body) or body)
        offset, _, _ = packs.FIELDS.unpack_from(body, len(body) - packs.FOOTER_BYTES)
        crc = zlib.crc32(body[offset : -packs.SEAL.size])
        body[-packs.SEAL.size :] = packs.SEAL.pack(crc, packs.MAGIC)
        return body

    return seal


def entry(number: int, field: int, value: int):
    """Another number in an entry of the index, beside a right checksum."""

    def change(body):
        offset, _, _ = packs.FIELDS.unpack_from(body, len(body) - packs.FOOTER_BYTES)
        at = offset + number * packs.ENTRY.size
        fields = list(packs.ENTRY.unpack_from(body, at))
        fields[field] = value
        packs.ENTRY.pack_into(body, at, *fields)

    return resealed(change)


@pytest.mark.parametrize("kind", ["records", "inputs"])
@pytest.mark.parametrize(
    "change",
    [cut, flip(-1), flip(-40), entry(1, 1, 0), entry(2, 1, 10**6), entry(5, 3, 10**9)],
    ids=["cut", "footer", "index", "overlap", "outside", "too long"],
)
def test_a_damaged_index_is_a_finding(storage, made, kind, change):
    pack = getattr(made, kind)
    spoil(pack.key, change)
    assert found() == {("pack-damaged", pack.key)}
    assert {kind for kind, _ in found(deep=True)} == {"pack-damaged"}


def test_a_pack_that_is_cut_in_its_members_is_found(storage, made, model):
    spoil(made.inputs.key, lambda body: body[:100])
    kinds = found(deep=True)
    assert ("pack-damaged", made.inputs.key) in kinds
    row = made.row("i5")
    assert ("missing", f"{model.full_name} row {row.id}") in kinds


def test_a_pack_that_is_missing_is_found(storage, made):
    default_storage.delete(made.inputs.key)
    for deep in (False, True):
        assert sorted(kind for kind, _ in found(deep=deep)) == ["missing"] * 6


@pytest.mark.parametrize("place", [0, 2])
def test_a_flipped_byte_of_a_member_is_found_by_a_deep_look(storage, made, place):
    key = MemberKey.parse(made.keys["i3"][place])
    spoil(key.pack, flip(key.offset + 3))
    assert found() == set()
    kinds = found(deep=True)
    assert ("hash-differs", f"{made.model.full_name} row {made.row('i3').id}") in kinds


def test_a_row_that_names_a_released_member_is_found(storage, made, model):
    blobs.delete([made.keys["i2"][0]])
    blobs.delete([made.keys["i4"][2]])
    rows = {f"{model.full_name} row {made.row(name).id}" for name in ("i2", "i4")}
    for deep in (False, True):
        assert {e for e in found(deep=deep) if e[0] == "released"} == {
            ("released", row) for row in rows
        }


def test_an_intent_is_kept_where_the_input_was_released(storage, made, model):
    """Cancelled only where the input is there: not where its release is noted."""
    for name in ("i1", "i2"):
        rows = model.inferences.filter(inference_id=name)
        rows.update(is_protected=True)
        InferencePayload.objects.filter(id=made.row(name).id).update(
            input_removal_at=now()
        )
    blobs.delete([made.keys["i1"][0]])
    scope = Scope(now(), repair=True)
    assert {e.kind for e in checks["rows"].look(scope)} == {"protected-but-expiring"}
    assert made.row("i1").input_removal_at is not None
    assert made.row("i2").input_removal_at is None


def test_dead_ranges_that_are_not_zero_are_found_and_mended(on_disk, made):
    made.remove("i1")
    key = MemberKey.parse(made.keys["i1"][0])
    spoil(key.pack, flip(key.offset + 3))
    assert found(deep=True) == {("half-released", made.inputs.key)}
    found(deep=True, repair=True)
    assert found(deep=True) == set()


def test_what_goes_during_a_deep_look_breaks_nothing_off(storage, made, monkeypatch):
    gone = []
    open_blob = blobs.open_blob

    def lose(key):
        if not gone:
            gone.append(key)
            default_storage.delete(packs.pack_of(key))
        return open_blob(key)

    monkeypatch.setattr(blobs, "open_blob", lose)
    assert "missing" in {kind for kind, _ in found(deep=True)}


def test_packs_of_no_model_are_found(storage, made, model):
    hour = f"{model.project_id}/999999/2025/06/01/00"
    lone = packs.build_inputs(f"{hour}/a.inputs", [(os.urandom(16), b"x")])
    blobs.put(lone.key, lone.body)
    assert found() == {("of-no-model", lone.key)}
    assert found(repair=True) == {("of-no-model", lone.key)}
    assert found() == set()
    made.is_live("i0")


# -- what it costs


@pytest.fixture
def asked(s3_endpoint, monkeypatch, s3_prefix, settings):
    """The requests to the object store."""
    names: list[str] = []
    monkeypatch.setattr(
        request_counts, "count", lambda event_name, **_: names.append(event_name)
    )
    storage = storage_at(s3_endpoint, location=s3_prefix)
    settings.STORAGES = {**settings.STORAGES, "default": storage}
    return names


def test_a_nightly_run_lists_and_reads_no_index_twice(asked, make_inference, model):
    """Packs of a busy hour: 40 windows of 25, and each window two objects."""
    hour = blobs.prefix_for(model.project_id, model.pk, MOMENT, "").rstrip("/")
    for window in range(40):
        windows(make_inference, model, f"{hour}/{window}", 25)
    asked.clear()
    assert found(days=2) == set()
    first = len(asked)
    asked.clear()
    assert found(days=5) == set()
    assert first <= 80 + 20  # each index once, while the packs are new
    assert len(asked) <= 20, asked  # listings of the folders of one hour alone
    asked.clear()
    found(days=5, deep=True)
    assert len(asked) > 80


def test_objects_of_their_own_are_listed(asked, make_inference, model):
    hour = blobs.prefix_for(model.project_id, model.pk, MOMENT, "")
    keys = [f"{hour}{uuid7()}/input" for _ in range(40)]
    for number, key in enumerate(keys):
        blobs.put(key, b"x" * number)
        make_inference(data_storage_key=key, data_size=number)
    default_storage.delete(keys[7])
    default_storage.delete(keys[8])
    blobs.put(keys[8], b"longer")
    asked.clear()
    kinds = [each.kind for each in checks["named objects"].look(Scope(now()))]
    assert kinds == ["missing", "size-differs"]
    assert len(asked) < 6, asked


def windows(make_inference, model, start: str, count: int) -> None:
    every = [
        (os.urandom(16), os.urandom(30), b'{"m":1}', os.urandom(9))
        for _ in range(count)
    ]
    inputs = packs.build_inputs(f"{start}.inputs", [(u, d) for u, d, _, _ in every])
    records = packs.build_records(
        f"{start}.records", [(u, m, a) for u, _, m, a in every]
    )
    for pack in (inputs, records):
        blobs.put(pack.key, pack.body)
    for data, answer in zip(inputs.members, records.members, strict=True):
        make_inference(
            data_storage_key=data.content_key(inputs.key),
            data_size=30,
            answer_storage_key=answer.content_key(records.key),
        )


def test_released_members_are_not_looked_up_one_by_one(
    on_disk, make_inference, model, monkeypatch
):
    made = store_of(make_inference, model, 30)
    made.remove(*(f"i{n}" for n in range(1, 30)))
    searched = []
    named_among = orphan_blobs.named_among

    def search(model, keys, start=None):
        searched.append(keys)
        return named_among(model, keys, start)

    monkeypatch.setattr("inferences.maintenance.orphan_members.named_among", search)
    monkeypatch.setattr(
        packs, "is_released", lambda key: pytest.fail("One by one: " + key)
    )
    assert found() == set()
    assert searched == []


def test_a_note_without_a_row_is_not_live_for_verify(s3_prefix, made):
    made.remove("i1", "i2")
    assert ReleasedMember.objects.count() == 4
    assert found() == found(deep=True) == set()
