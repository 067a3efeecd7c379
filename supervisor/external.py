"""External database and broker: wait for them, and warn if their settings can lose work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import redis
from django.conf import settings
from django.db import OperationalError, connection

from istore import env
from istore.db.other_servers import DIRECT, REPLICA, through
from istore.tasks.broker import connect, reading

WAIT_SECONDS = 30
# Settings of the broker without which accepted work can be lost.
WANTED = {"appendonly": "yes", "maxmemory-policy": "noeviction"}
# Settings that a session cannot change for itself, and what breaks without them.
NEEDED_OF_DATABASE = {
    "server_encoding": ("UTF8", "texts of other encodings cannot be kept whole"),
    "session_replication_role": (
        "origin",
        "triggers and constraints are not looked at",
    ),
    "default_transaction_read_only": ("off", "nothing can be written"),
}
DURABLE_DATABASE = ("fsync", "full_page_writes")


class Unreachable(Exception):
    """The server cannot be used; the message names the setting and the reason, in one line."""


def database_is_given() -> bool:
    """Return whether the settings name an external database."""
    return bool(env.text("ISTORE_DATABASE_URL"))


def redis_is_given() -> bool:
    """Return whether the settings name an external broker."""
    return bool(env.text("ISTORE_REDIS_URL"))


def check(pause: Callable[[], None]) -> Iterator[str]:
    """Wait until the external servers answer, and yield warnings for the operator.

    Raises ``Unreachable``.
    """
    if database_is_given():
        _wait(_reach_database, "ISTORE_DATABASE_URL", pause)
        yield from _database_warnings()
    if DIRECT.is_given:
        _wait(_reach_direct, "ISTORE_DIRECT_DATABASE_URL", pause)
    if REPLICA.is_given:
        yield from _replica_warnings()
    if redis_is_given():
        _wait(_reach_redis, "ISTORE_REDIS_URL", pause)
        yield from _redis_warnings()


def _wait(reach: Callable[[], None], name: str, pause: Callable[[], None]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return reach()
        except (OperationalError, redis.RedisError) as error:
            if time.monotonic() > deadline:
                reason = " ".join(str(error).split())
                raise Unreachable(f"{name}: {reason}") from None
        pause()


def _reach_database() -> None:
    connection.ensure_connection()
    for name, (wanted, because) in NEEDED_OF_DATABASE.items():
        if (found := _database_setting(name)) != wanted:
            raise Unreachable(
                f"ISTORE_DATABASE_URL: {name} is {found} and must be {wanted}: {because}."
            )


def _reach_direct() -> None:
    with through(DIRECT.connection()):
        beyond = _identity()
    DIRECT.close()
    if beyond != _identity():
        raise Unreachable(
            "ISTORE_DIRECT_DATABASE_URL: is another database than ISTORE_DATABASE_URL."
        )


def _replica_warnings() -> Iterator[str]:
    """Yield why the replica is left out for now. Raises ``Unreachable`` if it is none."""
    own = _identity()
    try:
        with through(REPLICA.connection()):
            found, is_replica = _identity(), _ask("SELECT pg_is_in_recovery()")
    except OperationalError as error:
        yield f"ISTORE_REPLICA_URL: {' '.join(str(error).split())}; it is left out."
        return
    finally:
        REPLICA.close()
    if found != own or not is_replica:
        raise Unreachable(
            "ISTORE_REPLICA_URL: is no streaming replica of ISTORE_DATABASE_URL."
        )


def _identity() -> tuple[object, object]:
    """Return what a database and its replicas have in common, and no other."""
    cluster = _ask("SELECT system_identifier FROM pg_control_system()")
    return cluster, _ask("SELECT current_database()")


def _ask(question: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


def _database_setting(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting(%s)", [name])
        value: str = cursor.fetchone()[0]
    return value


def _database_warnings() -> Iterator[str]:
    if _database_setting("is_superuser") == "on":
        yield (
            "ISTORE_DATABASE_URL: the role is a superuser; one that owns the database "
            "and no more is enough."
        )
    for name in DURABLE_DATABASE:
        if _database_setting(name) != "on":
            yield (
                f"ISTORE_DATABASE_URL: {name} is off and must be on: what was "
                "acknowledged can be lost."
            )


def _client() -> redis.Redis:
    return connect(settings.ISTORE_REDIS_URL, decode_responses=True)


def _reach_redis() -> None:
    with _client() as client, reading("PING"):
        client.ping()


def _redis_warnings() -> Iterator[str]:
    with _client() as client:
        for name, wanted in WANTED.items():
            try:
                with reading("CONFIG"):
                    found = client.config_get(name).get(name)
            except redis.RedisError:
                yield f"ISTORE_REDIS_URL: {name} cannot be read; it must be {wanted}."
                continue
            if found != wanted:
                yield (
                    f"ISTORE_REDIS_URL: {name} is {found} and must be {wanted}: "
                    "work in the queue can be lost."
                )
