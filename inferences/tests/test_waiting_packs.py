"""Packs that have to wait: what is counted, what is told, what it costs, and who gets a turn."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection, transaction

from inferences.erasure import running
from inferences.maintenance import packing_stored
from inferences.models import Inference, InferencePayload
from inferences.models.row_ids import first_id_at
from inferences.store import pack_making, pack_rewriting, removal
from inferences.store.pack_rewriting import BUSY, LOCKED, Rewritten
from inferences.tests.erasure_builders import open_task
from inferences.tests.test_damaged_packs import (
    MOMENT,
    below_of,
    store_of,
    with_intents,
)
from inferences.tests.test_damaged_packs import make_model as make_model
from istore import blobs
from istore.blobs import pack_notes
from istore.db.clock import now
from istore.errors import Unavailable
from istore.models import ReleasedMember
from istore.tasks.tracking import TaskState

pytestmark = pytest.mark.django_db


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(pack_rewriting, "PATIENCE", 0.0)
    monkeypatch.setattr(pack_rewriting, "PAUSE", 0.0)


def erase(task) -> None:
    """Carry the erasure out, as a worker does who finds it free."""
    type(task).objects.filter(pk=task.pk).update(lease_until=now() - timedelta(1))
    task.refresh_from_db()
    running.erase(task)
    task.refresh_from_db()


def test_an_erasure_waits_for_what_was_removed_before_it(
    s3_prefix, make_inference, model, project
):
    made = store_of(make_inference, model)
    made.remove("i1")
    ReleasedMember.objects.update(released_at=now() - timedelta(minutes=10))

    task = open_task(project)
    erase(task)

    assert (task.state, task.reason) == (TaskState.COMPLETE, "")
    made.is_gone("i1")
    made.is_live("i2")
    assert task.report["packs"]["rewritten"] == 2


def test_an_erasure_that_has_to_wait_says_for_what_and_counts_what_is_done(
    s3_prefix, impatient, make_inference, make_model, model, project
):
    made = store_of(make_inference, model)
    other = store_of(make_inference, make_model("other"))
    for each in (made, other):
        each.remove("i1")
    with_intents(other.model, other.model.inferences.filter(inference_id="i2"))
    told = f"2 packs wait. {other.inputs.key}, {other.records.key}: {LOCKED}."
    task = open_task(project)

    erase(task)

    assert (task.state, task.reason) == (TaskState.RUNNING, told)
    assert task.report["packs"]["rewritten"] == 2
    made.is_gone("i1")

    removal.RECORDS.finish(other.model)
    erase(task)

    assert (task.state, task.reason) == (TaskState.COMPLETE, "")
    assert task.report["packs"]["rewritten"] == 4
    other.is_gone("i1")


def test_beat_tries_a_pack_that_waits_now_and_then(
    s3_prefix, local_cache, monkeypatch, make_inference, model
):
    """It costs reading the rows of an hour to find that it waits still."""
    made = store_of(make_inference, model)
    made.remove("i1")
    with_intents(model, model.inferences.filter(inference_id="i2"))
    tried: list[str] = []
    rewrite = pack_rewriting._rewrite
    monkeypatch.setattr(
        pack_rewriting, "_rewrite", lambda pack: tried.append(pack) or rewrite(pack)
    )

    for _ in range(3):
        pack_rewriting.rewrite_all(before=now())
    assert sorted(tried) == sorted([made.inputs.key, made.records.key])

    removal.RECORDS.finish(model)
    pack_rewriting.rewrite_all(before=now())
    assert len(tried) == 2
    cache.clear()
    pack_rewriting.rewrite_all(before=now())
    made.is_gone("i1")


def test_many_packs_that_wait_are_told_by_their_reasons():
    waiting = dict.fromkeys(("1/2/a", "1/2/b", "1/2/c", "1/2/d"), LOCKED)
    told = pack_rewriting._tell_waiting(waiting | {"1/2/e": "Slow down."}, ["1/3/"])
    assert told == (
        f"5 packs wait. 1/2/a, 1/2/b, 2 more: {LOCKED}. 1/2/e: Slow down. "
        "Packs below 1/3/ are being made."
    )


# -- what a look for rows costs


def clone_rows(model, count: int) -> None:
    """Copy some row of a model to a thousand hours after it, so many times."""
    columns = ", ".join(
        each.column
        for each in InferencePayload._meta.concrete_fields
        if each.column != "id"
    )
    table = InferencePayload._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (id, {columns}) SELECT %s + n, {columns} FROM "
            f"(SELECT * FROM {table} WHERE model_key = %s LIMIT 1) AS one, "
            "generate_series(1, %s) AS n",
            [first_id_at(MOMENT + timedelta(hours=1000)), model.pk, count],
        )
        cursor.execute(f"ANALYZE {table}")


def rows_read(act) -> int:
    """Return how many rows of payloads the statements of ``_run`` read at most in one scan."""
    most = [0]

    def look(node) -> None:
        if "payload" in node.get("Relation Name", ""):
            removed = node.get("Rows Removed by Filter", 0)
            rows = (node["Actual Rows"] + removed) * node["Actual Loops"]
            most.append(round(rows))
        for each in node.get("Plans", ()):
            look(each)

    def explain(execute, sql, params, many, context):
        if "unnest(%(old)s" in sql and not sql.startswith("EXPLAIN"):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
                look(cursor.fetchone()[0][0]["Plan"])
                transaction.set_rollback(True)  # it has carried it out
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        act()
    return max(most)


def test_a_pack_that_has_to_wait_reads_the_rows_of_its_hour_alone(
    s3_prefix, make_inference, model
):
    made = store_of(make_inference, model)
    made.remove("i1")
    with_intents(model, model.inferences.filter(inference_id="i2"))
    clone_rows(model, 5000)

    def wait():
        done = pack_rewriting.rewrite_all()
        assert (done.waiting, done.rewritten) == (2, 0)

    assert rows_read(wait) < 100


def test_a_row_whose_time_was_corrected_is_found_by_the_hour_of_its_key(
    s3_prefix, make_inference, model
):
    made = store_of(make_inference, model)
    clone_rows(model, 5000)
    row_id = made.row("i2").id
    far = first_id_at(MOMENT + timedelta(days=9))
    notes = {"clock_anomaly": True, "times": {"received": f"{MOMENT.isoformat()}"}}
    rows = InferencePayload.objects.filter(registered_model=model, id=row_id)
    rows.update(id=far, notes=notes)
    Inference.objects.filter(registered_model=model, id=row_id).update(id=far)
    made.remove("i1")

    def rewrite():
        assert pack_rewriting.rewrite_all().rewritten == 2

    assert rows_read(rewrite) < 100
    made.is_live("i2")
    made.is_gone("i1")


def test_releases_below_a_prefix_are_found_by_an_index():
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        rows = ReleasedMember.objects.filter(pack_key__startswith="1/2/")
        assert "released_by_pack_prefix" in rows.explain()


# -- turns


def elsewhere(act):
    """Return what a function returns in another thread, with a connection of its own."""

    def run():
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(60)


def is_free(owner: str) -> bool:
    with pack_making.making(owner) as is_ours:
        return is_ours


@pytest.mark.django_db(transaction=True)
def test_packs_of_datasets_have_a_lock_of_their_own(model):
    with pack_making.making(f"datasets/{model.pk}/") as is_ours:
        assert is_ours
        assert elsewhere(lambda: is_free(below_of(model)))
        assert not elsewhere(lambda: is_free(f"datasets/{model.pk}/"))


@pytest.mark.django_db(transaction=True)
def test_many_packs_get_their_turn_beside_one_who_makes_packs_all_the_time(
    model, monkeypatch
):
    monkeypatch.setattr(pack_rewriting, "PATIENCE", 2.0)
    monkeypatch.setattr(pack_rewriting, "PAUSE", 0.1)
    names = [f"{below_of(model)}2025/06/01/00/{n:03}.inputs" for n in range(60)]
    monkeypatch.setattr(pack_notes, "those_with_notes", lambda packs: list(packs))
    monkeypatch.setattr(pack_rewriting, "_rewrite", lambda pack: Rewritten(rewritten=1))
    end, begun = threading.Event(), threading.Event()

    def make_packs():
        try:
            while not end.is_set():
                with pack_making.making(below_of(model), 5.0):
                    begun.set()
                    time.sleep(0.25)
        finally:
            connection.close()

    done: list[Rewritten] = []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(make_packs)
        assert begun.wait(10)
        try:
            pack_rewriting.rewrite_until_done(names, below_of(model), done.append)
        finally:
            end.set()
    assert len(done) == 60


@pytest.mark.django_db(transaction=True)
def test_a_pack_that_others_make_meanwhile_is_told(model, monkeypatch, impatient):
    monkeypatch.setattr(pack_notes, "those_with_notes", lambda packs: list(packs))
    pack = f"{below_of(model)}2025/06/01/00/a.inputs"

    def wait():
        with pytest.raises(Unavailable, match=f"1 pack waits. {pack}: {BUSY}"):
            pack_rewriting.rewrite_until_done([pack], below_of(model), print)

    with pack_making.making(below_of(model)):
        elsewhere(wait)


# -- packs of what is stored already


@pytest.fixture(params=["disk", "bucket"])
def kind(request) -> str:
    name = "s3_prefix" if request.param == "bucket" else "blob_directory"
    request.getfixturevalue(name)
    return request.param


@pytest.fixture
def single(kind, model, make_inference):
    """The folder of an inference whose blobs are objects of their own."""
    folder = blobs.prefix_for(model.project_id, model.pk, MOMENT, "a")
    for name in ("input", "answer", "metadata"):
        blobs.put(f"{folder}/{name}", f"{name} of it".encode())
    make_inference(
        inference_id="single",
        created_at=MOMENT,
        data_storage_key=f"{folder}/input",
        answer_storage_key=f"{folder}/answer",
    )
    return folder


@pytest.mark.django_db(transaction=True)
def test_objects_are_read_before_the_lock_is_taken(single, model, monkeypatch):
    get, free = blobs.get, []

    def look(key):
        free.append(elsewhere(lambda: is_free(below_of(model))))
        return get(key)

    monkeypatch.setattr(blobs, "get", look)
    assert [each.packed for each in packing_stored.pack_model(model)] == [1]
    assert free == [True] * 3


def test_what_was_removed_after_it_was_read_is_not_put_again(
    single, model, monkeypatch
):
    put = []
    monkeypatch.setattr(blobs, "put", lambda key, body: put.append(key))

    def remove(name):
        if name == "packing.read":
            assert removal.remove_one("someone", model, "single")

    monkeypatch.setattr(packing_stored, "failpoint", remove)
    assert [each.packed for each in packing_stored.pack_model(model)] == [0]
    assert put == []
