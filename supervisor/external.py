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
SERVER_FLOOR, EXTENSION_FLOOR = 16, (0, 8)
# By code point, as the store compares texts itself: an index or a cursor that sorts otherwise skips rows.
WORDS = [
    "",
    "A",
    "Z",
    "_",
    "a",
    "a b",
    "a-c",
    "ab",
    "z",
    "\u00e4",
    "\u4e2d",
    "\uffee",
    "\U0001f6a2",
]
# What a C library may not know of letters: a query, its answer elsewhere, and what to expect.
LETTERS = (
    (
        "SELECT lower('\u00c4')",
        "\u00e4",
        "the database does not know the case of letters beside a to z (LC_CTYPE C): a search "
        "without regard to case misses some.",
    ),
    (
        "SELECT length(to_tsvector('simple', '\U0001f6a2 \u00b9'))",
        2,
        "the C library does not take emoji and raised digits for words: the search of texts does "
        "not find them. PostgreSQL 17 and newer do with LOCALE_PROVIDER builtin.",
    ),
)
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
    for reason in (_old_server(), _old_extension(), _other_order()):
        if reason:
            raise Unreachable(f"ISTORE_DATABASE_URL: {reason}")


def _old_server() -> str | None:
    found = int(_database_setting("server_version_num")) // 10_000
    if found >= SERVER_FLOOR:
        return None
    return f"the server is PostgreSQL {found} and must be {SERVER_FLOOR} or newer."


def _old_extension() -> str | None:
    """Return what is wrong with pgvector: of the database, or else of the server."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT installed_version, default_version FROM pg_available_extensions "
            "WHERE name = 'vector'"
        )
        installed, available = cursor.fetchone() or (None, None)
    found = installed or available
    if found is None:
        return "the server has no extension vector (pgvector): install 0.8 or newer."
    if tuple(int(part) for part in found.split(".")[:2]) >= EXTENSION_FLOOR:
        return None
    way = "ALTER EXTENSION vector UPDATE" if installed else "install a newer one"
    return f"pgvector is {found} and must be 0.8 or newer: {way}."


def _other_order() -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT array_agg(word ORDER BY word) FROM unnest(%s::text[]) AS given (word)",
            [WORDS],
        )
        if cursor.fetchone() == (WORDS,):
            return None
        cursor.execute(
            "SELECT datcollate FROM pg_database WHERE datname = current_database()"
        )
        (collation,) = cursor.fetchone()
    return (
        f"the collation {collation} of the database sorts text by a language and must sort by "
        "code point: create it with TEMPLATE template0 LC_COLLATE 'C'."
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
    for query, wanted, because in LETTERS:
        with connection.cursor() as cursor:
            cursor.execute(query)
            if cursor.fetchone() != (wanted,):
                yield f"ISTORE_DATABASE_URL: {because}"
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
