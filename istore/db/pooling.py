"""Session settings behind a pooler, which are those of the role.

A connection to the server sets its own session settings (``postgresql/base.py``). Behind a pooler
that gives a connection for one transaction only, they would hold on whichever of the server's
connections carried the statement. So they are made the defaults of this role in this database,
which every connection of the pooler begins with.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import connection, transaction

from istore.db.other_servers import DIRECT
from istore.db.postgresql.base import configure, names_for

KEPT = """
SELECT coalesce((
    SELECT setconfig FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND setrole = (SELECT oid FROM pg_roles WHERE rolname = current_user)
), '{}'), current_database(), ARRAY(
    SELECT name || '=' || current_setting(name) FROM unnest(%s::text[]) AS name
)
"""


def keep_settings(**_: Any) -> None:
    """Make the session settings those of the role, if a pooler is used; after each ``migrate``."""
    if not DIRECT.is_given:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        version = connection.connection.info.server_version
        cursor.execute(configure(version), [settings.ISTORE_DATABASE_SEARCH_PATH])
        names = ["search_path", "synchronous_commit", *names_for(version)]
        cursor.execute(KEPT, [names])
        kept, database, wanted = cursor.fetchone()
        name = connection.ops.quote_name(database)
        for each in wanted:
            if each not in kept:
                setting = each.partition("=")[0]
                cursor.execute(
                    f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET {setting} FROM CURRENT"
                )
