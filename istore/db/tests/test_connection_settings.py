"""What a role or a database has set otherwise does not reach the store."""

from __future__ import annotations

import json

import pytest
from django.core.management import call_command
from django.db import connection
from rest_framework.test import APIClient

from istore.accounts.tokens import create_token
from istore.db.postgresql.base import FIXED, NEWER
from istore.models import Project, Role
from supervisor import external

OTHERWISE = {
    "datestyle": "SQL, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "quote_all_identifiers": "on",
    "gin_fuzzy_search_limit": "1",
    "search_path": "pg_catalog",
    "client_encoding": "LATIN1",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "off",
    "statement_timeout": "2000",
    "lock_timeout": "2000",
    "transaction_timeout": "2000",
    "idle_in_transaction_session_timeout": "2000",
    "idle_session_timeout": "2000",
    "plan_cache_mode": "force_generic_plan",
    "jit": "on",
    "random_page_cost": "400",
    "constraint_exclusion": "on",
    "synchronous_commit": "off",
    **{name: "off" for name in FIXED if name.startswith("enable_")},
}


def alter(sql):
    # For this test's own database: other tests use the same role.
    user, database = connection.settings_dict["USER"], connection.settings_dict["NAME"]
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        where = f"ALTER ROLE {quote(user)} IN DATABASE {quote(database)}"
        cursor.execute(f"{where} {sql}")
    connection.close()


@pytest.fixture
def role_with(transactional_db):
    """``role_with(datestyle="SQL")``: as new connections of the role begin."""

    def made(**values):
        connection.ensure_connection()
        version = connection.connection.info.server_version
        for name, value in values.items():
            if version >= NEWER.get(name, 0):
                alter(f"SET {name} = {value}")

    yield made
    alter("RESET ALL")


def use_the_store():
    """Registers, stores, finds, exports a number and a time, and verifies all of it."""
    project = Project.objects.create(project_id="harbour")
    _, secret = create_token("t", project, Role.ADMINISTRATOR)
    api = APIClient()
    api.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
    model = {"model_id": "m", "project_id": "harbour", "task_type": "Object Detection"}
    assert api.post("/api/v1/models", model).status_code == 201
    metadata = {
        "standard_metadata": {
            "inference_action": "detect",
            "task_type": "Object Detection",
            "data_hash": 64 * "a",
            "data_size": 3,
            "latitude": 51.123456789012345,
            "longitude": 4.1,
        },
        "extended_metadata": [
            {"key": "gain", "type": "float", "value": "0.1234567890123456"},
            {"key": "path", "type": "string", "value": "a\\b'c é"},
        ],
    }
    found = {"label": "ship", "score": 0.9, "xmin": 1, "ymin": 1, "xmax": 2, "ymax": 2}
    new = {"inference_id": "a", "created_at": "2026-02-03T04:05:06.123456Z"}
    new |= {"data": {"metadata": metadata, "object_detection": [found]}}
    answer = api.post("/api/v1/models/m/inferences", new)
    assert answer.status_code == 201, answer.content
    rows = api.get("/api/v1/models/m/inferences", {"q": "label:ship meta.gain<0.2"})
    assert rows.status_code == 200, rows.content
    (row,) = rows.json()["results"]
    summary = json.dumps(row)
    assert "2026-02-03T04:05:06.123456" in summary
    one = api.get("/api/v1/models/m/inferences/a/metadata").json()
    assert "0.1234567890123456" in json.dumps(one)
    assert "a\\\\b'c" in json.dumps(one)
    assert api.delete("/api/v1/models/m/inferences/a").status_code == 200
    call_command("verify", "--deep", verbosity=0)  # ends with SystemExit on findings


def settings_by(column):
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT lower(name), {column} FROM pg_settings WHERE lower(name) = ANY(%s)",
            [list(OTHERWISE)],
        )
        return dict(cursor.fetchall())


def test_a_role_that_sets_them_otherwise_changes_no_setting(role_with):
    before = settings_by("setting")
    role_with(**{name: f"'{value}'" for name, value in OTHERWISE.items()})
    own, after = settings_by("reset_val"), settings_by("setting")

    assert after == before
    del own["client_encoding"]  # which is a part of the connection's start
    assert own == {name: OTHERWISE[name] for name in own}


def test_the_store_works_for_a_role_that_sets_everything_otherwise(role_with):
    role_with(**{name: f"'{value}'" for name, value in OTHERWISE.items()})

    use_the_store()


def test_every_setting_that_is_fixed_is_tried():
    assert set(FIXED) <= set(OTHERWISE)


@pytest.mark.parametrize("value", ["remote_apply", "local"])
def test_a_stronger_promise_of_a_role_is_left(role_with, value):
    role_with(synchronous_commit=value)
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")

        assert cursor.fetchone()[0] == value


@pytest.mark.parametrize(("name", "value"), [("default_transaction_read_only", "on")])
def test_what_cannot_be_set_stops_the_start_with_one_line(role_with, name, value):
    role_with(**{name: value})
    try:
        with pytest.raises(external.Unreachable, match=f"{name} is {value}") as refused:
            external._reach_database()
        assert "\n" not in str(refused.value)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"SET {name} = off")
