from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, transaction

from istore.db.advisory_lock import AdvisoryLock

pytestmark = pytest.mark.django_db(transaction=True)


def disconnect() -> None:
    connection.close()  # of the calling thread


@pytest.fixture
def elsewhere():
    """Call a function with another connection to the database."""
    with ThreadPoolExecutor(1) as other:
        yield lambda call: other.submit(call).result(10)
        other.submit(disconnect).result()
    disconnect()  # releases what the test has taken


LOCKS = [AdvisoryLock("a"), AdvisoryLock("a", 7), AdvisoryLock(2**40)]


@pytest.mark.parametrize("lock", LOCKS, ids=str)
def test_a_held_lock_is_free_after_the_block(lock, elsewhere):
    with lock.try_hold() as is_ours:
        assert is_ours
        assert not elsewhere(lock.try_take)
    assert elsewhere(lock.try_take)
    with lock.try_hold() as is_ours:
        assert not is_ours


def test_locks_of_other_names_and_numbers_are_others(elsewhere):
    AdvisoryLock("a", 7).wait()
    assert elsewhere(AdvisoryLock("a", 8).try_take)
    assert elsewhere(AdvisoryLock("b", 7).try_take)


@pytest.mark.parametrize("take", ["wait_until_commit", "try_until_commit"])
def test_a_lock_until_commit_ends_with_the_transaction(take, elsewhere):
    lock = AdvisoryLock("a", 7)
    with transaction.atomic():
        assert getattr(lock, take)() in (None, True)
        assert not elsewhere(lock.try_take)
    assert elsewhere(lock.try_take)


def test_a_lock_ends_with_its_connection(elsewhere):
    lock = AdvisoryLock("a")
    elsewhere(lock.wait)
    assert not lock.try_take()
    elsewhere(disconnect)
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '10s'")
    lock.wait()  # the server needs a moment to notice the end


def test_a_lock_is_waited_for_some_time(elsewhere):
    lock = AdvisoryLock("a", 7)
    assert elsewhere(lock.try_take)
    with lock.try_hold(seconds=0.05) as is_ours:
        assert not is_ours
    with AdvisoryLock("a", 8).try_hold(seconds=0.05) as is_ours:
        assert is_ours
        assert not elsewhere(AdvisoryLock("a", 8).try_take)
    assert elsewhere(AdvisoryLock("a", 8).try_take)
