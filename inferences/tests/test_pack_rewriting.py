"""Rewriting packs in a bucket: what was released is gone, what is live is there, kills or not."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction

from inferences.maintenance import orphan_blobs
from inferences.maintenance.orphan_blobs import Fate
from inferences.maintenance.orphan_members import release_copies, unnamed_members
from inferences.models import InferenceKey, InferencePayload
from inferences.previews import pictures
from inferences.store import pack_making, pack_rewriting, removal
from inferences.store.pack_rewriting import Rewritten, rewrite, rewrite_all
from istore import blobs, failpoints
from istore.blobs import moves, packs, request_counts
from istore.checks.verification import Finding, Scope, report
from istore.db.clock import now
from istore.hooks import Hook
from istore.models import MovedBlob, PackInMaking, ReleasedMember

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("s3_prefix")]

MOMENT = datetime(2025, 6, 1, tzinfo=UTC)
NOT_OF_BLOBS = ("consumers", "spool files")
KILLS = [
    "rewriting.copied",
    "rewriting.repointed",
    "making.obsolete_deleted",
    "making.previews_forgotten",
    "rewriting.deleted",
]


@pytest.fixture(autouse=True)
def fates(monkeypatch):
    """What the app that reads markers says of one that no row names."""

    def known(model, markers, scope):
        told = {}
        for marker in markers:
            name = json.loads(blobs.get(marker))["id"]
            found = InferenceKey.objects.filter(
                registered_model=model, inference_id=name
            )
            missing = Finding("unrecorded", marker, "")
            told[marker] = Fate(removed=True) if found else Fate(finding=missing)
        return told

    monkeypatch.setattr(orphan_blobs, "fates", Hook(ingest=known))


@pytest.fixture
def armed():
    yield failpoints.arm
    failpoints.arm("")


@pytest.fixture
def hour(model):
    prefix = blobs.prefix_for(model.project_id, model.pk, MOMENT, "")
    return prefix.removesuffix("/")


class Store:
    """Inferences in one pack of inputs and one of records, and what each of them is."""

    def __init__(self, make_inference, model, hour, count, recorded):
        self.model = model
        self.texts = {
            f"i{number}": [
                f"{kind}-{number}-{os.urandom(20).hex()}".encode() for kind in "ima"
            ]
            for number in range(count)
        }
        for name, texts in self.texts.items():
            told = {"sha256": hashlib.sha256(texts[2]).hexdigest()}
            marker = {"id": name, "is": texts[1].decode(), "answer": told}
            texts[1] = json.dumps(marker).encode()
        uniques = [os.urandom(16) for _ in self.texts]
        every = list(zip(uniques, self.texts.values(), strict=True))
        self.inputs = packs.build_inputs(
            f"{hour}/a.inputs", [(u, data) for u, (data, _, _) in every]
        )
        self.records = packs.build_records(
            f"{hour}/b.records", [(u, *rest) for u, (_, *rest) in every]
        )
        for pack in (self.inputs, self.records):
            blobs.put(pack.key, pack.body)
        self.keys = {}
        for name, data, answer in zip(
            self.texts, self.inputs.members, self.records.members, strict=True
        ):
            self.keys[name] = (
                data.content_key(self.inputs.key),
                answer.marker_key(self.records.key),
                answer.content_key(self.records.key),
            )
            if name in recorded:
                make_inference(
                    inference_id=name,
                    data_storage_key=self.keys[name][0],
                    data_size=len(self.texts[name][0]),
                    answer_storage_key=self.keys[name][2],
                )

    def row(self, name) -> InferencePayload:
        row_id = self.model.inferences.get(inference_id=name).id
        return InferencePayload.objects.beside(self.model).get(id=row_id)

    def remove(self, *names) -> None:
        for name in names:
            assert removal.remove_one("someone", self.model, name)

    def is_live(self, name) -> None:
        """It reads the same by its row, and by the keys that a reader may still hold."""
        data, marker, answer = self.texts[name]
        payload = self.row(name)
        assert blobs.get(payload.data_storage_key) == data
        assert blobs.get(payload.answer_storage_key) == answer
        there = removal.marker_key(payload.answer_storage_key)
        assert there is not None
        assert blobs.get(there) == marker
        assert [blobs.get(key) for key in self.keys[name]] == [data, marker, answer]
        assert blobs.size(self.keys[name][0]) == len(data)
        with blobs.open_blob(self.keys[name][2]) as file:
            assert file.read() == answer
        assert packs.marker_key_of(self.keys[name][2]) == there

    def is_gone(self, name) -> None:
        """Nothing of it is in any object of the bucket, byte by byte."""
        for key, body in stored().items():
            for text in self.texts[name]:
                assert text not in body, (name, key)
        for key in self.keys[name]:
            with pytest.raises(FileNotFoundError):
                blobs.get(key)


@pytest.fixture
def store(make_inference, model, hour):
    def make(count: int = 6, recorded: list[str] | None = None) -> Store:
        names = [f"i{n}" for n in range(count)] if recorded is None else recorded
        return Store(make_inference, model, hour, count, names)

    return make


def stored() -> dict[str, bytes]:
    return {each.key: blobs.get(each.key) for each in blobs.walk()}


def test_verify_makes_no_request_for_each_inference_of_a_pack(store, monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(
        request_counts, "count", lambda event_name, **_: asked.append(event_name)
    )
    store(200)
    asked.clear()

    run = report(Scope(now() + timedelta(days=2)))
    run.names = [each for each in run.names if each not in NOT_OF_BLOBS]

    assert list(run.findings()) == []
    assert not run.unfinished
    assert len(asked) < 30, asked  # listings of folders, and the indexes of two packs


def collect(repair: bool = True) -> list[tuple[str, str]]:
    """As the collector does in two days, when nothing is young any more."""
    scope = Scope(now() + timedelta(days=2), repair=repair)
    return [(each.kind, each.where) for each in unnamed_members(scope)]


def in_order(store: Store, live: list[str]) -> None:
    """Rewriting, collecting and rewriting again end with what is live and nothing else."""
    rewrite_all()
    collect()
    rewrite_all()
    assert rewrite_all() == Rewritten()
    assert collect(repair=False) == []
    assert not ReleasedMember.objects.exists()
    assert not PackInMaking.objects.exists()
    for name in live:
        store.is_live(name)
    for name in store.texts.keys() - set(live):
        store.is_gone(name)
    named = {
        packs.pack_of(key)
        for name in live
        for key in (
            store.row(name).data_storage_key,
            store.row(name).answer_storage_key,
        )
    }
    assert stored().keys() == named


def test_what_was_released_is_gone_and_the_rest_reads_the_same(store):
    made = store()
    made.remove("i1", "i4")
    assert any(made.texts["i1"][0] in body for body in stored().values())
    assert packs.is_released(made.keys["i1"][0])
    assert not packs.is_released(made.keys["i0"][0])

    gone = sum(map(len, made.texts["i1"] + made.texts["i4"])) + 4 * 2 * 4
    assert rewrite_all() == Rewritten(rewritten=2, bytes=gone)

    live = ["i0", "i2", "i3", "i5"]
    for name in live:
        made.is_live(name)
    for name in ("i1", "i4"):
        made.is_gone(name)
    assert len(stored()) == 2
    in_order(made, live)


def test_an_old_key_is_followed_over_several_moves(store):
    made = store()
    for name in ("i1", "i2", "i3"):
        made.remove(name)
        assert rewrite_all().rewritten == 2
    in_order(made, ["i0", "i4", "i5"])


def test_a_move_is_forgotten_when_no_reader_can_hold_the_key(store, settings):
    made = store()
    made.remove("i1")
    rewrite_all()
    moved = MovedBlob.objects.count()

    assert moves.forget_old(now()) == 0
    links = timedelta(seconds=settings.ISTORE_PRESIGN_SECONDS)
    at = now() + moves.KEPT + timedelta(seconds=1)
    assert moves.forget_old(at) == 0  # a link may be in use still
    assert moves.forget_old(at + links) == moved == 15
    with pytest.raises(FileNotFoundError):
        blobs.get(made.keys["i0"][0])


def test_a_pack_without_live_members_is_deleted_whole(store):
    made = store(3)
    made.remove("i0", "i1", "i2")

    assert rewrite_all().deleted == 2
    assert stored() == {}
    in_order(made, [])


def test_an_input_that_expired_goes_alone(store, model):
    made = store(3)
    with transaction.atomic():
        batch = removal.INPUTS.intend(model, model.inferences.filter(inference_id="i1"))
    removal.INPUTS.delete(batch)
    removal.INPUTS.clear(model, batch)

    assert rewrite_all().rewritten == 1

    assert all(made.texts["i1"][0] not in body for body in stored().values())
    assert blobs.get(made.row("i1").answer_storage_key) == made.texts["i1"][2]
    made.is_live("i0")


def test_a_marker_that_an_erasure_took_goes_and_its_answer_stays(store):
    made = store(3)
    blobs.delete([made.keys["i1"][1]])

    assert rewrite_all().rewritten == 1

    _, marker, answer = made.texts["i1"]
    assert all(marker not in body for body in stored().values())
    answer_key = made.row("i1").answer_storage_key
    assert blobs.get(answer_key) == answer
    assert removal.marker_key(answer_key) is None
    for name in ("i0", "i2"):
        made.is_live(name)
    assert collect(repair=False) == []
    made.remove("i1")
    in_order(made, ["i0", "i2"])


def test_only_packs_of_a_prefix_and_of_before_a_moment_are_rewritten(store, hour):
    made = store(3)
    made.remove("i1")
    assert rewrite_all(below="9/9/") == Rewritten()
    assert rewrite_all(before=now() - timedelta(minutes=1)) == Rewritten()
    assert rewrite_all(hour, now() + timedelta(minutes=1)).rewritten == 2


def test_a_row_with_an_intent_makes_its_packs_wait(store, model):
    made = store(4)
    made.remove("i0")
    with transaction.atomic():
        batch = removal.RECORDS.intend(
            model, model.inferences.filter(inference_id="i1")
        )
    before = stored()

    assert rewrite_all() == Rewritten(waiting=2)
    assert stored() == before
    assert not MovedBlob.objects.exists()

    removal.RECORDS.delete(batch)
    removal.RECORDS.clear(model, batch)
    assert rewrite_all().rewritten == 2
    in_order(made, ["i2", "i3"])


def test_a_member_without_a_row_makes_its_packs_wait(store, make_inference):
    made = store(4, recorded=["i0", "i1", "i2"])
    made.remove("i0")
    before = stored()

    assert rewrite_all() == Rewritten(waiting=2)
    assert stored() == before
    assert collect() == [("unrecorded", made.keys["i3"][1])]
    assert blobs.get(made.keys["i3"][2]) == made.texts["i3"][2]

    data, _, answer = made.keys["i3"]
    make_inference(inference_id="i3", data_storage_key=data, answer_storage_key=answer)
    assert rewrite_all().rewritten == 2
    in_order(made, ["i1", "i2", "i3"])


def test_a_marker_that_is_erased_while_its_pack_is_copied_makes_it_wait(
    store, monkeypatch
):
    made = store(3)
    made.remove("i0")

    def erase(name):
        if name == "rewriting.copied":
            blobs.delete([made.keys["i1"][1]])

    monkeypatch.setattr(pack_rewriting, "failpoint", erase)
    assert rewrite(made.records.key) == Rewritten(waiting=1)
    assert rewrite(made.records.key).rewritten == 1
    assert all(made.texts["i1"][1] not in body for body in stored().values())


def test_a_removal_while_its_pack_is_copied_makes_it_wait(store, monkeypatch):
    made = store(3)
    made.remove("i0")
    removed = []

    def remove(name):
        if name == "rewriting.copied" and not removed:
            removed.append(name)
            made.remove("i1")

    monkeypatch.setattr(pack_rewriting, "failpoint", remove)
    assert rewrite(made.records.key) == Rewritten(waiting=1)
    in_order(made, ["i2"])


def test_a_pack_that_another_process_rewrites_meanwhile(store, monkeypatch):
    made = store(3)
    made.remove("i1")
    copy = pack_rewriting._copy

    def other_first(*given):
        monkeypatch.setattr(pack_rewriting, "_copy", copy)
        assert rewrite(made.records.key).rewritten == 1
        return copy(*given)

    monkeypatch.setattr(pack_rewriting, "_copy", other_first)
    assert rewrite(made.records.key) == Rewritten()
    in_order(made, ["i0", "i2"])


def test_a_damaged_pack_waits_and_the_others_go_on(store):
    made = store(3)
    made.remove("i1")
    body = blobs.get(made.inputs.key)
    blobs.put(made.inputs.key, body[:-1])

    assert rewrite_all() == Rewritten(
        rewritten=1, waiting=1, bytes=sum(map(len, made.texts["i1"][1:])) + 8
    )
    blobs.put(made.inputs.key, body)
    in_order(made, ["i0", "i2"])


def test_what_also_names_members_is_repointed(store, hour, monkeypatch):
    """A member that no row names any more, but something else does."""
    made = store(3, recorded=["i0", "i1"])
    data, marker, answer = made.keys["i2"]
    names = {"data": data, "answer": answer, "marker": marker}

    def repoint(pack, moved):
        met = {key for key in names.values() if key in moved}
        names.update({kind: moved.get(key, key) for kind, key in names.items()})
        return met

    monkeypatch.setattr(pack_rewriting, "repoints", Hook(elsewhere=repoint))
    made.remove("i0")
    assert rewrite_all().rewritten == 2
    assert [blobs.get(names[kind]) for kind in ("data", "marker", "answer")] == (
        made.texts["i2"]
    )
    assert set(stored()) == set(map(packs.pack_of, names.values()))


@pytest.mark.parametrize("place", KILLS)
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("first", ["rewriting", "collecting", "removing"])
def test_a_kill_leaves_nothing_that_another_run_does_not_mend(
    store, armed, place, nth, first
):
    made = store()
    made.remove("i1", "i4")
    armed(f"{place}:{nth}=raise")
    with pytest.raises(failpoints.Failure):
        rewrite_all()
    armed("")

    for name in ("i0", "i2", "i3", "i5"):
        made.is_live(name)
    live = ["i0", "i2", "i3", "i5"]
    if first == "collecting":
        collect()
    if first == "removing":
        made.remove("i2")
        live.remove("i2")
    in_order(made, live)


def test_a_pack_that_has_to_wait_is_not_copied(store, monkeypatch):
    made = store(4, recorded=["i0", "i1", "i2"])
    made.remove("i0")
    put = []
    monkeypatch.setattr(blobs, "put", lambda key, *_: put.append(key))
    assert rewrite_all() == Rewritten(waiting=2)
    assert put == []


def at(monkeypatch, module, place, act):
    """Do something once, at a failpoint of a module, as if another process did it."""

    def reached(name):
        if name == place:
            monkeypatch.setattr(module, "failpoint", failpoints.failpoint)
            act()

    monkeypatch.setattr(module, "failpoint", reached)


def told_by_ingest(monkeypatch, told):
    """Let every marker that no row names have this fate."""

    def fates(model, markers, scope):
        return dict.fromkeys(markers, told)

    monkeypatch.setattr(orphan_blobs, "fates", Hook(ingest=fates))


@pytest.mark.parametrize("told", [Fate(is_copy=True), Fate(removed=True)])
def test_nobody_takes_a_pack_in_the_making_for_one_that_is_left(
    store, monkeypatch, model, told
):
    """Neither the copies that an erasure releases, nor the collector."""
    made = store()
    made.remove("i1")
    told_by_ingest(monkeypatch, told)

    def others():
        assert release_copies(model, MOMENT) == 0
        assert collect(repair=False) == []

    at(monkeypatch, pack_rewriting, "rewriting.copied", others)
    assert rewrite(made.records.key).rewritten == 1
    in_order(made, ["i0", "i2", "i3", "i4", "i5"])


def test_a_copy_of_what_lives_is_not_released_by_an_erasure(store, monkeypatch, model):
    made = store(2)
    blobs.put(f"{made.records.key[:-9]}c.records", made.records.body)
    told_by_ingest(monkeypatch, Fate(is_copy=True))
    assert release_copies(model, MOMENT) == 0
    assert len(collect()) == 1
    in_order(made, ["i0", "i1"])


def test_a_pack_in_the_making_of_which_a_member_was_released_is_given_up(
    store, monkeypatch
):
    made = store()
    made.remove("i1")

    def release():
        (new,) = pack_making.in_making("")
        blobs.delete([packs.read_index(new)[0].content_key(new)])

    at(monkeypatch, pack_rewriting, "rewriting.copied", release)
    assert rewrite(made.records.key) == Rewritten(waiting=1)
    for name in ("i0", "i2"):
        made.is_live(name)
    in_order(made, ["i0", "i2", "i3", "i4", "i5"])


def test_a_pack_that_was_given_up_meanwhile_is_not_named(store, monkeypatch, model):
    """As where the connection broke, and with it the lock."""
    made = store()
    made.remove("i1")

    def give_up():
        with pack_making.making(f"{model.project_id}/{model.pk}/") as is_ours:
            assert is_ours

    at(monkeypatch, pack_rewriting, "rewriting.copied", give_up)
    assert rewrite(made.records.key) == Rewritten(waiting=1)
    in_order(made, ["i0", "i2", "i3", "i4", "i5"])


def test_a_picture_that_a_kill_left_a_preview_of(store, armed, monkeypatch):
    made = store()
    made.remove("i1")
    forgotten: list[str] = []
    monkeypatch.setattr(pictures, "forget", forgotten.extend)
    armed("rewriting.repointed=raise")
    with pytest.raises(failpoints.Failure):
        rewrite(made.inputs.key)
    armed("")
    made.remove("i2")
    assert made.keys["i2"][0] not in forgotten
    rewrite_all()
    assert made.keys["i2"][0] in forgotten
    assert not PackInMaking.objects.exists()
