"""Statements are limited one by one, each with its limit in one message and no transaction."""

from __future__ import annotations

import time

import pytest
from django.db import OperationalError, connection, transaction

from istore.db.statement_timeout import each_statement_limited, is_timeout

pytestmark = pytest.mark.django_db(transaction=True)


def ask(sql: str, *values: object) -> tuple[object, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: tuple[object, ...] = cursor.fetchone()
    return found


def test_a_statement_has_the_limit_and_the_next_one_outside_has_none(settings):
    settings.ISTORE_QUERY_SECONDS = 0.2
    with each_statement_limited():
        shown = ask("SELECT current_setting('statement_timeout'), %s", 7)
        began = time.monotonic()
        with pytest.raises(OperationalError) as raised:
            ask("SELECT pg_sleep(20)")
        assert ask("SELECT 1") == (1,)  # the connection goes on

    assert shown == ("200ms", 7)
    assert is_timeout(raised.value)
    assert time.monotonic() - began < 10
    assert ask("SHOW statement_timeout") == ("0",)


def test_a_transaction_around_it_goes_on_without_a_limit(settings):
    settings.ISTORE_QUERY_SECONDS = 0.2
    with transaction.atomic():
        with each_statement_limited():
            assert ask("SHOW statement_timeout") == ("200ms",)
        assert ask("SHOW statement_timeout") == ("0",)
