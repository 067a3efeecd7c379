"""A model id is unique within its project; it was unique in the whole installation.

Every id that is there is unique in its project already, so no row changes. The new index
is built concurrently, and the old constraint is dropped under a short lock that is asked
for again while others hold the table: calls go on all the time. It may be run again. Back
it goes as long as no two projects have a model of one id.
"""

import time
from typing import Any

import django.core.validators
from django.conf import settings
from django.db import OperationalError, migrations, models, transaction

TABLE, COLUMN = "inferences_registeredmodel", "model_id"
NEW, OLD = "model_id_unique_in_project", f"{TABLE}_{COLUMN}_key"
ATTEMPTS = 60
UNFINISHED = (
    "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass(%s) AND NOT indisvalid"
)
UNIQUE_IDS = (
    "SELECT conname FROM pg_constraint WHERE conrelid = to_regclass(%s) "
    "AND contype = 'u' AND conkey = ARRAY[(SELECT attnum FROM pg_attribute "
    "WHERE attrelid = conrelid AND attname = %s)]"
)
SHARED = f"SELECT {COLUMN} FROM {TABLE} GROUP BY 1 HAVING count(*) > 1 LIMIT 1"


def make_unique_in_project(apps: Any, schema_editor: Any) -> None:
    connection = schema_editor.connection
    _build(connection, NEW, f"UNIQUE INDEX {{}} ON {TABLE} (project_key, {COLUMN})")
    with connection.cursor() as cursor:
        cursor.execute(UNIQUE_IDS, [TABLE, COLUMN])
        names = [name for (name,) in cursor.fetchall()]
    _in_a_moment(
        connection, *(f'ALTER TABLE {TABLE} DROP CONSTRAINT "{name}"' for name in names)
    )
    with connection.cursor() as cursor:
        like = _like(schema_editor)
        cursor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{like}"')


def make_unique_everywhere(apps: Any, schema_editor: Any) -> None:
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute(SHARED)
        if cursor.fetchone():
            raise RuntimeError(
                "Two projects have a model of one id: this stays as it is."
            )
    _build(connection, OLD, f"UNIQUE INDEX {{}} ON {TABLE} ({COLUMN})")
    _in_a_moment(
        connection,
        f'ALTER TABLE {TABLE} ADD CONSTRAINT "{OLD}" UNIQUE USING INDEX "{OLD}"',
    )
    operators = f"({COLUMN} varchar_pattern_ops)"
    _build(connection, _like(schema_editor), f"INDEX {{}} ON {TABLE} {operators}")
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {NEW}")


def _like(schema_editor: Any) -> str:
    """The index of prefixes that Django makes beside a unique text column."""
    return schema_editor._create_index_name(TABLE, [COLUMN], suffix="_like")


def _build(connection: Any, name: str, what: str) -> None:
    """One that an earlier attempt left half built is made anew."""
    with connection.cursor() as cursor:
        cursor.execute(UNFINISHED, [name])
        if cursor.fetchone():
            cursor.execute(f'DROP INDEX CONCURRENTLY "{name}"')
        kind, _, rest = what.partition("INDEX ")
        made = f"{kind}INDEX CONCURRENTLY IF NOT EXISTS {rest}"
        cursor.execute(f"CREATE {made}".format(f'"{name}"'))


def _in_a_moment(connection: Any, *statements: str) -> None:
    """Under a lock that nobody waits behind for longer than ``ISTORE_LOCK_SECONDS``."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic(connection.alias), connection.cursor() as cursor:
                seconds = settings.ISTORE_LOCK_SECONDS
                cursor.execute(f"SET LOCAL lock_timeout = '{seconds}s'")
                for statement in statements:
                    cursor.execute(statement)
            return
        except OperationalError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(1)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("inferences", "0017_index_reservations")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterModelOptions(
                    name="registeredmodel",
                    options={"ordering": ["model_id", "project"]},
                ),
                migrations.AlterField(
                    model_name="registeredmodel",
                    name="model_id",
                    field=models.CharField(
                        max_length=255,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^(?!\\.{1,2}\\Z)[^\\x00-\\x1f\\x7f-\\x9f]{1,255}\\Z",
                                "One to 255 characters, none a control character, and neither '.' nor '..'.",
                            )
                        ],
                    ),
                ),
                migrations.AddConstraint(
                    model_name="registeredmodel",
                    constraint=models.UniqueConstraint(
                        models.F("project"), models.F("model_id"), name=NEW
                    ),
                ),
            ],
            database_operations=[
                migrations.RunPython(make_unique_in_project, make_unique_everywhere)
            ],
        )
    ]
