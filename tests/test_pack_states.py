"""Packs, whatever is done to them in whatever order: what lives is whole, what went is nowhere.

A plain Python model says of each inference whether it waits (in the spool, or its event in the
stream), is live, hidden, doomed (an intent is committed) or gone, and whether its input is
there. Rules capture, record, protect, remove, erase, export, collect and rewrite, and crash at
any step of it. After each rule every live byte is read. In the end everything is carried out,
``verify`` finds nothing, and the store is searched for the bytes of what was removed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from uuid import uuid4

import boto3
import hypothesis.strategies as st
import orjson
import pytest
import redis
from django.core.cache import cache
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from moto import mock_aws

from exports.archive_writer import carry_out
from exports.cleanup import collect as collect_archives
from exports.cleanup import remove_archive
from exports.models import ExportTask
from exports.selections import Selection
from exports.task_lifecycle import Wanted
from exports.task_lifecycle import open_task as open_export
from inferences.erasure.matching_records import Carried
from inferences.erasure.running import erase, open_erasure
from inferences.maintenance import packing_stored
from inferences.models import InferenceKey, InferencePayload, RegisteredModel, TaskType
from inferences.models.erasure import ErasureTask
from inferences.store import pack_rewriting, removal
from inferences.store.protection import Protection, protect_one
from ingest.dead_letters import set_aside
from ingest.errors import Reason, Rejected
from ingest.events import InferenceEvent
from ingest.listener import Listener
from ingest.models import DeadLetter
from ingest.reconciling import reconcile
from ingest.replaying import replay
from ingest.stream import Entry, EventStream, Lag
from istore import blobs, failpoints
from istore.checks.verification import Scope, report
from istore.db import clock
from istore.errors import Conflict
from istore.models import PackInMaking, Project
from istore.tasks.tracking import TaskState
from protocols.open_inference import Part
from proxy.capture.artifacts import Answer, Captured
from proxy.capture.packing import pack
from retention import policies
from retention.sweeping import sweep
from tests.redis_databases import database_url

WAITING, LIVE, HIDDEN, DOOMED, GONE = "waiting", "live", "hidden", "doomed", "gone"
AGES = [200, 75, 50, 30, 0.5]  # hours, none of them at an edge of a policy
SPLITS = ["train", "test"]
SIZES = [0, 40, 700, 3000]  # bytes of an input; the last is an object of its own
LARGE = 2000
LATER = timedelta(days=3)  # when nothing is young any more

CAPTURE_STEPS = ["capture.inputs_put", "capture.records_put", "capture.published"]
LISTENER_STEPS = [
    "listener.read",
    "listener.parsed",
    "listener.fetched",
    "listener.recorded",
    "listener.set_aside",
    "listener.acknowledged",
    "packs.released",
]
REMOVAL_STEPS = [
    "removal.records_intended",
    "removal.record_blobs_deleted",
    "removal.records_removed",
    "removal.inputs_deleted",
    "removal.inputs_cleared",
    "retention.intended",
    "retention.removed",
    "packs.released",
]
MAKING_STEPS = ["making.obsolete_deleted", "making.previews_forgotten"]
REWRITING_STEPS = [
    "rewriting.copied",
    "rewriting.repointed",
    *MAKING_STEPS,
    "rewriting.deleted",
]
PACKING_STEPS = ["packing.put", "packing.repointed", *MAKING_STEPS]
ERASURE_STEPS = [
    "erasure.intended",
    "erasure.batch_removed",
    "erasure.traces_removed",
    *REMOVAL_STEPS[1:3],
    "packs.released",
    *REWRITING_STEPS,
]
EXPORT_STEPS = ["archiving.batch_written", "archiving.closing", "archiving.stored"]
COLLECTING_STEPS = ["collecting.removed", "packs.released"]

numbers = count(1)


@dataclass
class Made:
    """One inference as its call left it, and what the store should have of it."""

    captured: Captured
    split: str
    secret: str  # a metadata value, so it is in the marker
    state: str = WAITING
    has_input: bool = True
    is_protected: bool = False

    @property
    def name(self) -> str:
        return self.captured.event.inference_id

    @property
    def data(self) -> bytes:
        return self.captured.part.data

    @property
    def answer(self) -> bytes:
        return self.captured.answer.body

    @property
    def created_at(self) -> datetime:
        return self.captured.event.request_received_at


class Packs(RuleBasedStateMachine):
    stored: type[Stored]
    stream_url: str
    is_on_disk: bool

    @initialize(
        record_age=st.sampled_from([48, 72, 25, -1]),
        blob_age=st.sampled_from([24, 48]),
        action=st.sampled_from(["soft", "hard"]),
    )
    def begin(self, record_age, blob_age, action) -> None:
        failpoints.arm("")
        number = next(numbers)
        self.project = Project.objects.create(project_id=f"p{number}")
        self.model = RegisteredModel.objects.create(
            model_id=f"m{number}",
            project=self.project,
            task_type=TaskType.OBJECT_DETECTION,
        )
        with redis.Redis.from_url(self.stream_url) as client:
            client.flushdb()
        cache.clear()
        self.stream = EventStream(self.stream_url, consumer="one")
        self.listener = Listener(self.stream, threading.Event())
        self.stream.ensure_group()
        self.spool: list[Captured] = []
        self.made: dict[str, Made] = {}  # by secret
        # Inputs of captures that broke off before their records: the collector's business.
        self.torn: set[bytes] = set()
        # Calls whose event was set aside once; and those of which an erasure took it, perhaps.
        self.aside: set[str] = set()
        self.let_go: set[str] = set()
        self.export: ExportTask | None = None
        self.policy = policies.create_policy(
            "test",
            self.model,
            maximum_record_age=record_age,
            maximum_blob_age=min(blob_age, record_age) if record_age > 0 else blob_age,
            delete_action=action,
            automated_interval=0,
        )

    # -- the store as it is

    def rows(self) -> dict[str, tuple[InferencePayload, bool, bool]]:
        """The payloads by their secret, whether they are hidden, and protected."""
        rows = self.model.inferences.in_bulk()
        return {
            each.metadata["secret"][1]: (
                each,
                rows[each.id].deleted,
                rows[each.id].is_protected,
            )
            for each in InferencePayload.objects.beside(self.model)
        }

    def after(self, allowed: dict[str, set[tuple[str, bool]]] | None = None) -> None:
        """Take what changed into the model; it must have been allowed to."""
        rows = self.rows()
        for secret, made in self.made.items():
            state, has_input = self._seen(made, rows.get(secret))
            if (state, has_input) != (made.state, made.has_input):
                ways = (allowed or {}).get(secret, set())
                assert (state, has_input) in ways, (made, state, has_input)
            made.state, made.has_input = state, has_input
            if secret in rows and state != DOOMED:
                assert rows[secret][2] == made.is_protected

    def _seen(self, made: Made, row) -> tuple[str, bool]:
        if row is None:
            return (WAITING, True) if made.state == WAITING else (GONE, False)
        payload, is_hidden, _ = row
        if payload.removal_at:
            assert is_hidden
            return DOOMED, False
        has_input = bool(payload.data_storage_key) and not payload.input_removal_at
        return (HIDDEN if is_hidden else LIVE), has_input

    def among(self, *states: str, split: str | None = None) -> set[str]:
        return {
            secret
            for secret, made in self.made.items()
            if made.state in states and split in (None, made.split)
        }

    def arrivals(self) -> dict[str, set[tuple[str, bool]]]:
        return {key: {(LIVE, True)} for key in self.among(WAITING)}

    # -- calls, capture, the listener

    @rule(
        hours=st.sampled_from(AGES),
        sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=4),
        split=st.sampled_from(SPLITS),
        data=st.data(),
    )
    def call(self, hours, sizes, split, data) -> None:
        """Calls are answered and spooled; some have the id of another call."""
        for size in sizes:
            name = f"i{len(self.made)}"
            if self.made and data.draw(st.integers(0, 4)) == 0:
                twin = data.draw(st.sampled_from(sorted(self.made)))
                name = self.made[twin].name
            self.spool_one(name, hours, size, split)

    def spool_one(self, name, hours, size, split) -> None:
        secret = os.urandom(16).hex()
        at = clock.now() - timedelta(hours=hours)
        prefix = blobs.prefix_for(self.project.pk, self.model.pk, at, str(uuid4()))
        body = orjson.dumps({"said": os.urandom(40).hex()})
        data = os.urandom(size)
        event = InferenceEvent(
            self.model.model_id, name, at, at, at, at - timedelta(hours=1), "", "", ""
        )
        marker = {
            "format": 2,
            "inference_action": "detect",
            "input": {**_facts(data), "datatype": "BYTES", "shape": [1]},
            "answer": {**_facts(body), "status": 200, "header_length": None},
            "metadata": [
                {"key": key, "type": "string", "value": value}
                for key, value in (("secret", secret), ("split", split))
            ],
            "request_part": [0, 1],
            "warnings": [],
        }
        captured = Captured(
            prefix,
            Part(0, 1, None, data, "application/octet-stream"),
            Answer(body, "application/json", None),
            event,
            marker,
        )
        self.spool.append(captured)
        self.made[secret] = Made(captured, split, secret)

    @precondition(lambda self: self.made)
    @rule(data=st.data(), is_same_call=st.booleans())
    def repeat(self, data, is_same_call) -> None:
        """A call that is repeated, or one that is in the spool of two hosts."""
        made = self.made[data.draw(st.sampled_from(sorted(self.made)))]
        captured = made.captured
        if not is_same_call:
            prefix = captured.prefix.rpartition("/")[0]
            captured = replace(captured, prefix=f"{prefix}/{uuid4()}")
        if made.state == GONE and made.secret in self.let_go:
            # An erasure let its event go before there was a record, so no tombstone keeps a
            # call away that comes afterwards.
            made.state = WAITING
            self.let_go.discard(made.secret)
        self.spool.append(captured)

    @precondition(lambda self: self.spool)
    @rule(step=st.none() | st.sampled_from(CAPTURE_STEPS))
    def capture(self, step) -> None:
        """A window; after a crash its entries are still in the spool."""
        failpoints.arm(f"{step}=raise" if step else "")
        with suppress(failpoints.Failure):
            events = []
            for packed in pack(list(self.spool)):
                packed.put()
                events += packed.events
            self.stream.publish(
                replace(each, event_published_at=clock.now()) for each in events
            )
            failpoints.failpoint("capture.published")
            self.spool.clear()
        failpoints.arm("")
        if step == "capture.inputs_put":
            self.torn |= {each.part.data for each in self.spool}

    @precondition(lambda self: self.spool)
    @rule()
    def capture_singly(self) -> None:
        """As an earlier release did, and as a create by upload does: objects of their own."""
        for each in self.spool:
            folder = f"{each.prefix.rpartition('/')[0]}/{uuid4()}"
            event = replace(
                each.event,
                data_storage_key=f"{folder}/{blobs.INPUT}",
                inference_storage_key=f"{folder}/{blobs.ANSWER}",
                metadata_storage_key=f"{folder}/{blobs.METADATA}",
            )
            marker = {**each.marker, "format": 1, "event": event.as_dict()}
            blobs.put(event.data_storage_key, each.part.data)
            blobs.put(event.inference_storage_key, each.answer.body)
            blobs.put(event.metadata_storage_key, orjson.dumps(marker))
            self.stream.publish([replace(event, event_published_at=clock.now())])
        self.spool.clear()

    @precondition(lambda self: self.spool)
    @rule()
    def capture_aside(self) -> None:
        """A window whose events are refused, for a cause that can be repaired."""
        refused = []
        for packed in pack(list(self.spool)):
            packed.put()
            for event in packed.events:
                at = clock.now()
                payload = replace(event, event_published_at=at).to_json()
                milliseconds = int(at.timestamp() * 1000)
                entry = Entry(f"{milliseconds}-{next(numbers)}", payload, 1)
                refused.append((entry, Rejected(Reason.REFUSED, "for now")))
        set_aside(refused)
        self.aside |= {each.marker["metadata"][0]["value"] for each in self.spool}
        self.spool.clear()

    @rule(crashes=st.booleans())
    def replay(self, crashes) -> None:
        failpoints.arm("replay.published=raise" if crashes else "")
        with suppress(failpoints.Failure):
            replay(DeadLetter.objects.of_project(self.project), self.stream)
        failpoints.arm("")

    @rule(step=st.none() | st.none() | st.sampled_from(LISTENER_STEPS))
    def listen(self, step) -> None:
        failpoints.arm(f"{step}=raise" if step else "")
        with suppress(failpoints.Failure):
            self.listener.step(block_ms=1)
        failpoints.arm("")
        self.after(self.arrivals())

    @rule()
    def lose_the_stream(self) -> None:
        with redis.Redis.from_url(self.stream_url) as client:
            client.flushdb()
        cache.clear()
        self.stream.ensure_group()

    @rule(crashes=st.booleans())
    def reconcile(self, crashes) -> None:
        failpoints.arm("reconcile.published=raise" if crashes else "")
        with suppress(failpoints.Failure):
            reconcile(self.stream)
        failpoints.arm("")

    # -- what people do

    @precondition(lambda self: self.among(LIVE, HIDDEN, DOOMED, GONE))
    @rule(data=st.data(), is_protected=st.booleans())
    def protect(self, data, is_protected) -> None:
        rows = self.rows()
        known = sorted(self.among(LIVE))
        if not known:
            return
        made = self.made[data.draw(st.sampled_from(known))]
        name = self.model.inferences.get(id=rows[made.secret][0].id).inference_id
        try:
            done = protect_one("test", self.model, name, Protection(is_protected))
        except Conflict:
            assert is_protected  # its input is on its way out: told, not promised
            return
        assert done is not None
        made.is_protected = is_protected

    @rule(data=st.data(), step=st.none() | st.sampled_from(REMOVAL_STEPS))
    def delete_one(self, data, step) -> None:
        known = sorted(self.among(LIVE))
        if not known:
            return
        secret = data.draw(st.sampled_from(known))
        row_id = self.rows()[secret][0].id
        name = self.model.inferences.get(id=row_id).inference_id
        failpoints.arm(f"{step}=raise" if step else "")
        with suppress(failpoints.Failure):
            assert removal.remove_one("test", self.model, name)
        failpoints.arm("")
        self.after({secret: {(DOOMED, False), (GONE, False)}})
        assert self.made[secret].state in (DOOMED, GONE)

    @rule(
        split=st.sampled_from(SPLITS), step=st.none() | st.sampled_from(REMOVAL_STEPS)
    )
    def bulk_delete(self, split, step) -> None:
        chosen = self.among(LIVE, split=split)
        row_ids = [self.rows()[secret][0].id for secret in chosen]
        ends = {(DOOMED, False), (GONE, False)}
        failpoints.arm(f"{step}=raise" if step else "")
        with suppress(failpoints.Failure):
            live = self.model.inferences.live
            for _ in removal.intend_all(
                "test", self.model, lambda: live().filter(id__in=row_ids)
            ):
                pass
            removal.RECORDS.finish(self.model)
        failpoints.arm("")
        self.after(dict.fromkeys(chosen | self.among(DOOMED), ends))

    @rule(step=st.none() | st.sampled_from(REMOVAL_STEPS), passage=st.integers(1, 2))
    def sweep(self, step, passage) -> None:
        """Retention by both ages; one that crashes is taken up by the next worker."""
        limits = self.policy.limits(clock.now())
        is_hard = self.policy.delete_action == "hard"
        allowed: dict[str, set[tuple[str, bool]]] = {}
        for secret, made in self.made.items():
            states = {made.state}
            if made.state == DOOMED:
                states.add(GONE)
            keeps = {made.has_input}
            if made.state in (LIVE, HIDDEN) and not made.is_protected:
                if made.state == LIVE and made.created_at < limits.records:
                    states |= {DOOMED, GONE} if is_hard else {HIDDEN}
                if made.created_at < limits.inputs:
                    keeps.add(False)
            allowed[secret] = {
                (state, keep and state not in (DOOMED, GONE))
                for state in states
                for keep in keeps
            }
        task = self.policy.tasks.active().first()
        task = task or policies.open_task("test", self.policy)
        failpoints.arm(f"{step}:{passage}=raise" if step else "")
        with suppress(failpoints.Failure):
            sweep(task)
        failpoints.arm("")
        self.policy.tasks.active().update(
            lease_until=clock.now() - timedelta(seconds=1)
        )
        self.after(allowed)

    @rule(
        split=st.sampled_from(SPLITS),
        step=st.sampled_from(ERASURE_STEPS),
        passage=st.integers(1, 3),
    )
    def erase(self, split, step, passage) -> None:
        chosen = self.among(LIVE, HIDDEN, DOOMED, split=split)
        self.let_go |= self.aside & self.among(WAITING, split=split)
        task = open_erasure(
            "test",
            self.project,
            Carried("split", "string", split),
            why="",
            dry_run=False,
        )
        failpoints.arm(f"{step}:{passage}=raise")
        erase(task)
        failpoints.arm("")
        self.after({key: {(DOOMED, False), (GONE, False)} for key in chosen})
        # On an object store an erasure waits for the events of its packs' members.
        self.drain()
        task.refresh_from_db()
        if task.state != TaskState.COMPLETE:
            chosen |= self.among(LIVE, split=split)
        ErasureTask.objects.filter(pk=task.pk).update(
            lease_until=clock.now() - timedelta(seconds=1)
        )
        erase(ErasureTask.objects.get(pk=task.pk))
        task.refresh_from_db()
        assert (task.state, task.reason) == (TaskState.COMPLETE, "")
        self.after({key: {(GONE, False)} for key in chosen})
        assert all(self.made[secret].state == GONE for secret in chosen)
        self.search(chosen)

    # -- what beat and operators do

    @rule(step=st.none() | st.sampled_from(REMOVAL_STEPS))
    def finish(self, step) -> None:
        failpoints.arm(f"{step}=raise" if step else "")
        with suppress(failpoints.Failure):
            removal.RECORDS.finish(self.model)
            removal.INPUTS.finish(self.model)
        failpoints.arm("")
        self.after({key: {(GONE, False)} for key in self.among(DOOMED)})

    @precondition(lambda self: not self.is_on_disk)
    @rule(step=st.none() | st.sampled_from(REWRITING_STEPS))
    def rewrite(self, step) -> None:
        failpoints.arm(f"{step}=raise" if step else "")
        with suppress(failpoints.Failure):
            pack_rewriting.rewrite_all()
        failpoints.arm("")
        self.after()

    @rule(step=st.none() | st.sampled_from(PACKING_STEPS))
    def pack_singles(self, step) -> None:
        failpoints.arm(f"{step}=raise" if step else "")
        with suppress(failpoints.Failure):
            for _ in packing_stored.pack_model(self.model):
                pass
        failpoints.arm("")
        self.after()

    @rule(step=st.none() | st.sampled_from(COLLECTING_STEPS))
    def collect(self, step) -> None:
        """The collector, when nothing is young any more."""
        failpoints.arm(f"{step}=raise" if step else "")
        scope = Scope(clock.now() + LATER, self.project, repair=True)
        run = report(scope, collecting=True)
        for _ in run.findings():
            pass
        failpoints.arm("")
        if not run.unfinished:
            self.torn.clear()
        self.after()

    @rule(step=st.none() | st.sampled_from(EXPORT_STEPS))
    def read(self, step) -> None:
        """An export, or the next attempt at one; without a step it comes to its end."""
        if self.export is None:
            wanted = Wanted(Selection(), {}, "ndjson")
            self.export = open_export("test", self.model, wanted)
        failpoints.arm(f"{step}=raise" if step else "")
        with suppress(failpoints.Failure):
            carry_out(self.export)
        failpoints.arm("")
        self.after()
        self.export.refresh_from_db()
        if self.export.state == TaskState.COMPLETE:
            self.check_archive(self.export.archive_key)
            self.export = None
            return
        assert step
        ExportTask.objects.filter(pk=self.export.pk).update(
            lease_until=clock.now() - timedelta(seconds=1)
        )

    def check_archive(self, key: str) -> None:
        with zipfile.ZipFile(io.BytesIO(blobs.get(key))) as archive:
            for line in map(json.loads, archive.read("inferences.ndjson").splitlines()):
                found = [m for m in self.made.values() if m.secret in json.dumps(line)]
                (made,) = found
                assert made.state == LIVE
                if line["input"]:
                    assert archive.read(line["input"]["path"]) == made.data
                else:
                    assert not made.has_input

    # -- always, and in the end

    @invariant()
    def what_lives_is_whole(self) -> None:
        if not hasattr(self, "made"):
            return
        rows = self.rows()
        for secret in self.among(LIVE, HIDDEN):
            made, (payload, _, _) = self.made[secret], rows[secret]
            assert blobs.get(payload.answer_storage_key) == made.answer
            marker = removal.marker_key(payload.answer_storage_key)
            assert marker and secret.encode() in blobs.get(marker)
            if made.has_input:
                assert blobs.get(payload.data_storage_key) == made.data

    def drain(self) -> None:
        """Capture what is spooled, and record what was published and what was lost."""
        if self.spool:
            self.capture(None)
        self.replay(False)
        for _ in range(3):
            while self.listener.step(block_ms=1):
                pass
            cache.clear()
            if not reconcile(self.stream):
                break
        assert self.stream.lag() == Lag(0, 0)
        self.after(self.arrivals())
        # Other content of an id whose tombstone stands is dropped, as its copies are.
        keys = InferenceKey.objects.filter(registered_model=self.model)
        removed = set(
            keys.exclude(removed_at=None).values_list("inference_id", flat=True)
        )
        for secret in self.among(WAITING):
            made = self.made[secret]
            assert made.name in removed or secret in self.let_go, made
            made.state, made.has_input = GONE, False

    def search(self, secrets: set[str]) -> None:
        """No byte of these inferences is anywhere in the store."""
        everything = dict(self.stored.objects())
        for secret in secrets:
            made = self.made[secret]
            for sought in {made.data, made.answer, secret.encode()} - self.torn - {b""}:
                where = [k for k, body in everything.items() if sought in body]
                assert not where, (made, where)

    def teardown(self) -> None:
        failpoints.arm("")
        if not hasattr(self, "made"):
            return
        try:
            self.settle()
        finally:
            self.stream.close()
            for key in dict(self.stored.objects()):
                blobs.delete([key])

    def settle(self) -> None:
        self.drain()
        while self.export:
            self.read(None)
        while self.policy.tasks.active().exists():
            self.sweep(None, 1)
        self.finish(None)
        for task in ExportTask.objects.filter(model=self.model).exclude(archive_key=""):
            remove_archive(task, "test")
        collect_archives(clock.now())
        self.collect(None)
        self.rewrite(None)
        self.collect(None)
        looked = report(Scope(clock.now() + LATER, self.project, deep=True))
        assert [str(each) for each in looked.findings()] == []
        assert not looked.unfinished
        assert not PackInMaking.objects.exists()
        self.what_lives_is_whole()
        self.search(self.among(GONE))
        everything = dict(self.stored.objects())
        for made in self.made.values():
            if made.state in (LIVE, HIDDEN) and not made.has_input and made.data:
                assert not any(made.data in body for body in everything.values()), made


def _facts(body: bytes) -> dict[str, object]:
    return {
        "sha256": hashlib.sha256(body).hexdigest(),
        "size": len(body),
        "content_type": "application/octet-stream",
    }


class Stored:
    """Everything below the home of the store."""

    def __init__(self, directory) -> None:
        self.directory = directory

    def objects(self) -> Iterator[tuple[str, bytes]]:
        for path in self.directory.rglob("*"):
            if path.is_file():
                yield str(path.relative_to(self.directory)), path.read_bytes()


class StoredInBucket:
    """Everything in the bucket."""

    def objects(self) -> Iterator[tuple[str, bytes]]:
        for each in blobs.walk():
            yield each.key, blobs.get(each.key)


@pytest.fixture(autouse=True)
def quick(settings, monkeypatch, worker_id):
    """Small batches and no waiting; nothing here is about syncs."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr(pack_rewriting, "PATIENCE", 0.0)
    settings.ISTORE_REMOVAL_BATCH = 2
    settings.ISTORE_TASK_ATTEMPTS = 1000
    settings.ISTORE_EVENT_IDLE_SECONDS = 0
    settings.ISTORE_EVENT_DELIVERIES = 1000
    settings.ISTORE_RECONCILE_HOURS = 24 * 14
    settings.ISTORE_PACK_MEMBER_BYTES = LARGE
    url = database_url(3, worker_id)
    Packs.stream_url = settings.ISTORE_REDIS_URL = url


@pytest.mark.django_db(transaction=True)
def test_on_disk_what_lives_is_whole_and_what_went_is_nowhere(blob_directory):
    Packs.stored, Packs.is_on_disk = Stored(blob_directory), True
    run_state_machine_as_test(Packs, settings=profile)


@pytest.mark.django_db(transaction=True)
def test_in_a_bucket_what_lives_is_whole_and_what_went_is_nowhere(settings):
    options = {
        "bucket_name": "inferences",
        "access_key": "test",
        "secret_key": "test",
        "region_name": "us-east-1",
        "file_overwrite": True,
        "default_acl": None,
        "signature_version": "s3v4",
    }
    storage = {"BACKEND": "istore.blobs.s3_storage.S3Storage", "OPTIONS": options}
    with mock_aws():
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        client = boto3.client("s3", region_name="us-east-1", **keys)
        client.create_bucket(Bucket="inferences")
        settings.STORAGES = {**settings.STORAGES, "default": storage}
        Packs.stored, Packs.is_on_disk = StoredInBucket(), False
        run_state_machine_as_test(Packs, settings=profile)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("size", [700, 3000])
def test_an_erasure_takes_what_a_capture_left_that_was_repeated(blob_directory, size):
    Packs.stored, Packs.is_on_disk = Stored(blob_directory), True
    state = Packs()
    state.begin(-1, 48, "soft")
    state.spool_one("a", 1, size, "train")
    state.spool_one("b", 1, size, "test")
    state.capture("capture.records_put")
    state.capture(None)
    state.listen(None)
    state.erase("train", "erasure.proved", 1)
    assert len(state.among(LIVE)) == len(state.among(GONE)) == 1
    state.teardown()


profile = settings(
    max_examples=int(os.environ.get("PACK_EXAMPLES", 15)),
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    **({"phases": [Phase.generate]} if os.environ.get("PACK_FAST") else {}),
)
