"""The store works behind PgBouncer in transaction mode, with more clients than connections.

Whatever needs a session goes past it, by ``ISTORE_DIRECT_DATABASE_URL``.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection, transaction
from rest_framework.test import APIClient

from inferences.ground_truth.joining import Actual, join
from inferences.ground_truth.references import Reference
from inferences.models import Inference, RegisteredModel, TaskType
from inferences.models.ground_truth import GroundTruth
from inferences.search.vectors import indexing
from inferences.store.reservations import Wish
from inferences.tests.builders import body
from istore.accounts.tokens import create_token
from istore.backup import database
from istore.db.advisory_lock import AdvisoryLock
from istore.db.other_servers import DIRECT
from istore.db.pooling import keep_settings
from istore.db.statement_timeout import each_statement_limited
from istore.models import Role
from proxy.lease import CHANNEL, _connect
from proxy.reservations import Reservations
from tests import pgbouncer

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(pgbouncer.program() is None, reason="there is no pgbouncer"),
]


@pytest.fixture
def direct(settings):
    """Everything goes through the pooler; yields the settings of the way past it."""
    given = dict(connection.settings_dict)
    connection.close()
    with pgbouncer.running() as pooled:
        connection.settings_dict.update(HOST=pooled["HOST"], PORT=pooled["PORT"])
        settings.ISTORE_DIRECT_DATABASE = {**given, "ENGINE": "istore.db.postgresql"}
        try:
            yield given
        finally:
            DIRECT.close()
            connection.close()
            connection.settings_dict.update(HOST=given["HOST"], PORT=given["PORT"])


def ask(sql: str, *values: object) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


@contextmanager
def busy(clients: int = 2 * pgbouncer.POOL):
    """Other threads ask all the time, so that no statement follows the last on its connection."""
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            with transaction.atomic():
                ask("SELECT count(*) FROM pg_class")
        connection.close()

    with ThreadPoolExecutor(clients) as threads:
        asking = [threads.submit(keep_asking) for _ in range(clients)]
        try:
            yield
        finally:
            done.set()
    for each in asking:
        each.result()


def on_each_connection(sql: str) -> set[object]:
    """What a question gets from all of the pool's connections to the server."""
    found: set[object] = set()
    inside = threading.Barrier(pgbouncer.POOL, timeout=10)

    def ask_in_transaction() -> None:
        with transaction.atomic():
            inside.wait()  # so each holds one of its own
            found.add(ask(sql))
        connection.close()

    connection.close()
    with ThreadPoolExecutor(pgbouncer.POOL) as threads:
        for each in [threads.submit(ask_in_transaction) for _ in range(pgbouncer.POOL)]:
            each.result()
    return found


def test_a_lock_is_held_through_many_transactions(direct):
    lock = AdvisoryLock("pooled")

    def take_elsewhere(seconds: float) -> bool:
        try:
            with lock.try_hold(seconds) as is_ours:
                return is_ours
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as other, busy():
        with lock.try_hold() as is_ours:
            assert is_ours
            for seconds in (0.0, 0.1, 0.0):
                assert not other.submit(take_elsewhere, seconds).result(20)
                ask("SELECT 1")
        assert other.submit(take_elsewhere, 0.0).result(20)
    # It went past the pooler, and no connection is left there.
    assert DIRECT.connection().connection is None


def test_ground_truth_is_joined_by_temporary_tables(direct, model, make_inference):
    made = [make_inference().inference_id for _ in range(5)]
    actuals = [
        Actual(Reference("inference_id", name), {"labels": ["ship"]}) for name in made
    ]
    with busy():
        joined = join("test", model, actuals)

    assert (joined.joined, joined.refused) == (5, 0)
    assert GroundTruth.objects.count() == 5


def test_rows_are_iterated_outside_of_a_transaction_and_within(direct, make_inference):
    for _ in range(5):
        make_inference()
    rows = Inference.objects.order_by("id").values_list("id", flat=True)
    with busy():
        outside = list(rows.iterator(chunk_size=2))
        with transaction.atomic():
            within = list(rows.iterator(chunk_size=2))

    assert outside == within == sorted(outside)
    assert len(outside) == 5


def test_limits_and_settings_stay_with_their_statements(direct, model, make_inference):
    with each_statement_limited(7.0, lock_seconds=3.0):
        assert ask("SHOW statement_timeout") == "7s"
        assert ask("SHOW lock_timeout") == "3s"
    wish = Wish(model.pk, "reserved", b"digest")
    (found,) = Reservations()._settle([wish], [])
    assert found.is_new
    faces = RegisteredModel.objects.create(
        model_id="faces",
        project=model.project,
        task_type=TaskType.IMAGE_EMBEDDING,
        embedding_size=4,
    )
    indexing._build(faces, 1, workers=0)
    assert indexing.is_indexed(faces)
    indexing.drop(faces)

    assert on_each_connection("SHOW statement_timeout") == {"0"}
    assert on_each_connection("SHOW lock_timeout") == {"0"}
    memory = on_each_connection("SHOW maintenance_work_mem")
    workers = on_each_connection("SHOW max_parallel_maintenance_workers")
    assert (len(memory), len(workers)) == (1, 1)
    assert "0" not in workers


def test_session_settings_are_those_of_the_role(direct):
    names = ("host", "port", "user", "password")
    where = {name: direct[name.upper()] for name in names if direct[name.upper()]}
    name = connection.ops.quote_name(direct["NAME"])

    def shown(setting: str) -> str:
        with psycopg.connect(**where, dbname=direct["NAME"]) as fresh:
            return fresh.execute(f"SHOW {setting}").fetchone()[0]

    try:
        with connection.cursor() as cursor:
            cursor.execute(
                f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET datestyle = 'German'"
            )
        assert shown("datestyle").startswith("German")
        keep_settings()
        keep_settings()
        assert shown("datestyle") == "ISO, YMD"
        assert shown("plan_cache_mode") == "force_custom_plan"
        assert shown("search_path") == '"$user", public'
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} RESET ALL")


def test_a_proxy_hears_what_changes(direct):
    async def hear() -> list[str]:
        listening = await _connect()
        await listening.execute(CHANNEL)
        await asyncio.to_thread(notify)
        heard = [
            each.payload async for each in listening.notifies(timeout=10, stop_after=1)
        ]
        await listening.close()
        return heard

    def notify() -> None:
        ask("SELECT pg_notify('istore_settings', 'changed')::text")
        connection.close()

    assert asyncio.run(hear()) == ["changed"]


def test_a_backup_has_its_snapshot_past_the_pooler(direct, make_inference):
    make_inference()
    with busy(), database.snapshot() as snapshot:
        make_inference()
        dump = b"".join(snapshot.dump())
    assert dump.startswith(b"PGDMP")


def test_many_callers_share_few_connections(direct, model, project):
    _, secret = create_token("many", project, Role.EDITOR)
    url = f"/api/v1/models/{model.model_id}/inferences"

    def call(caller: int) -> set[int]:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        try:
            return {
                client.post(url, body(f"{caller}-{number}"), "json").status_code
                for number in range(5)
            } | {client.get(url).status_code}
        finally:
            connection.close()

    with ThreadPoolExecutor(4 * pgbouncer.POOL) as threads:
        statuses = set().union(*threads.map(call, range(8)))
    assert statuses == {200, 201}
    assert model.inferences.count() == 40
