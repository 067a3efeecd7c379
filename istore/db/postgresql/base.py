"""Session settings that the meaning of a statement depends on, set at each connection.

A role or a database may have other defaults (``ALTER ROLE … SET``). A foreign ``datestyle``
stopped the whole store; ``extra_float_digits`` rounds; ``gin_fuzzy_search_limit`` leaves rows
out; a ``search_path`` shows another store. One statement sets them on each physical
connection; with a pool that is not once a request. Startup options would need no statement,
but poolers such as PgBouncer refuse those they do not know. In session mode they let ``SET``
pass and reset it between clients; for transaction mode there is ``istore.db.pooling``.

``default_transaction_read_only`` is left as it is: whoever sets it wants no writes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base

from istore.db.other_servers import DIRECT

ON, OFF = "on", "off"
MEANING = {
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "standard_conforming_strings": ON,
    "backslash_quote": "safe_encoding",
    "array_nulls": ON,
    "transform_null_equals": OFF,
    "quote_all_identifiers": OFF,
    "gin_fuzzy_search_limit": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": OFF,
    # Row-level security on a table would leave rows out silently; with "off" it raises.
    "row_security": OFF,
}
# 0: no limit. Where one is wanted, ``istore.db.statement_timeout`` sets it for a transaction.
LIMITS = (
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
)
PLANNING = {
    # The generic plan of a page over half the table took 91 ms instead of 0.17.
    "plan_cache_mode": "force_custom_plan",
    "jit": OFF,
    "random_page_cost": "1.1",
    "constraint_exclusion": "partition",
    **{
        f"enable_{way}": ON
        for way in (
            "bitmapscan",
            "gathermerge",
            "hashagg",
            "hashjoin",
            "incremental_sort",
            "indexonlyscan",
            "indexscan",
            "material",
            "memoize",
            "mergejoin",
            "nestloop",
            "parallel_append",
            "parallel_hash",
            "partition_pruning",
            "seqscan",
            "sort",
            "tidscan",
        )
    },
}
# Settings that came after the oldest version that the store runs on, and with which.
NEWER = {"transaction_timeout": 170_000}
FIXED = {**MEANING, **dict.fromkeys(LIMITS, "0"), **PLANNING}
# An acknowledged write must be on disk. Values stronger than "on" are left as they are.
DURABLE = (
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
    "WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)"
)


def names_for(server_version: int) -> list[str]:
    """Return the fixed settings that a server of this version, such as 180001, knows."""
    return [name for name in FIXED if server_version >= NEWER.get(name, 0)]


@cache
def configure(server_version: int) -> str:
    """Return the statement that sets a session of a server of this version."""
    settings = [
        f"set_config('{name}', '{FIXED[name]}', false)"
        for name in names_for(server_version)
    ]
    return ", ".join(
        ["SELECT set_config('search_path', %s, false)", DURABLE, *settings]
    )


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's PostgreSQL connection with fixed session settings."""

    def _configure_connection(self, connection: Any) -> bool:
        """Set the session settings. Called for each new connection, by the pool too."""
        # Private, so it is not in the stubs.
        super()._configure_connection(connection)  # type: ignore[misc]
        with connection.cursor() as cursor:
            statement = configure(connection.info.server_version)
            cursor.execute(statement, [settings.ISTORE_DATABASE_SEARCH_PATH])
        return True

    def chunked_cursor(self) -> Any:
        """Return a cursor on the server, for ``iterator()``.

        Outside of a transaction it needs a session, which a pooler does not give.
        """
        if self.get_autocommit() and DIRECT.is_given:
            session = DIRECT.connection()
            if session is not self:
                return session.chunked_cursor()
        return super().chunked_cursor()
