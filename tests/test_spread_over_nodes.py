"""Models can be spread over nodes: each key of a data table has the model, each statement is of one.

The lists of what breaches that can only shrink: a breach that is not listed fails, and so does one
that is listed and gone.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from inferences.models import RegisteredModel, TaskType
from inferences.store import partitions
from inferences.store.distribution import (
    COLUMN,
    OF_PAGES,
    REFERENCE,
    distributed_tables,
)
from inferences.store.vacuum_settings import OF_PARTITIONS, OF_TABLES
from istore.db import vacuum_settings
from istore.db.postgresql import base as session
from tests.one_of_everything import everything_is_done
from tests.statement_plans import Scan, scans_of

pytestmark = pytest.mark.django_db
SCALE = Path(__file__).resolve().parent.parent / "docs" / "scale.md"

# Statements that are not of one model, by the function that sends them and the table.
OF_SEVERAL_MODELS = {
    "inferences.ground_truth.pending_truths.apply of inferences_pendingtruth": "Hides the model "
    "from the planner, which would else compare all that waits with each token.",
    "inferences.search.planner._ask of inferences_inferencetext": "Names the model as the index of "
    "words has it; else the planner would walk all texts of the model in the order of the page.",
    **{
        f"inferences.maintenance.disk_space._is_empty of {table.name}": "Asks whether a partition "
        "has a row of any model."
        for table in partitions.TABLES
    },
    "inferences.web.models._seen of inferences_inference": "Sorts models by their newest inference.",
    "inferences.web.found.find_inferences of inferences_inferencekey": "Looks for an id in all "
    "models that a person sees.",
    "inferences.admin.get_search_results of inferences_inferencekey": "Looks for an id in all "
    "models, for administrators.",
    "traces.found.find_traces of traces_span": "Looks for a trace in the models of a project.",
    "traces.tree.read_trace of traces_span": "Reads a trace, which goes through several models.",
    "traces.tree.read_trace of inferences_inference": "The same.",
    "istore.backup.database.still_named of inferences_inferencepayload": "Reads which blobs rows "
    "name: a backup is of everything.",
}
# Tables on one node that statements name beside data, and why.
BESIDE_DATA = {
    "istore_auditentry": "One statement stores an inference with its audit entry.",
    "datasets_dataset": "The filter on datasets.",
    "datasets_datasetentry": "The filter on datasets.",
    **dict.fromkeys(
        ("truth_staged", "truth_matched", "truth_met", "truth_waiting"),
        "A file of ground truth is joined from temporary tables.",
    ),
    "exports_exportpart": "An export whose set was fixed reads the ids from its parts.",
    "istore_membership": "The models that a person sees, sorted by their newest inference.",
}
# They tell proxies of changed settings. Citus fires no triggers of its own accord.
TRIGGERS_OF_REFERENCE = {
    ("inferences_registeredmodel", "announce_to_proxies"),
    ("istore_project", "announce_to_proxies"),
}


def rows_of(query: str, *values: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return list(cursor.fetchall())


# -- the catalogue


def test_each_table_with_the_column_is_in_one_list():
    with_column = rows_of(
        "SELECT c.relname, format_type(a.atttypid, NULL) FROM pg_attribute a "
        "JOIN pg_class c ON c.oid = a.attrelid "
        "WHERE a.attname = %s AND c.relkind IN ('r', 'p') AND NOT c.relispartition",
        COLUMN,
    )
    data = set(distributed_tables())
    assert len(data) == len(distributed_tables())
    assert not data & {*REFERENCE, *OF_PAGES} and not {*REFERENCE} & {*OF_PAGES}
    assert data <= {table for table, _ in with_column}
    assert {table for table, _ in with_column} <= {*data, *REFERENCE, *OF_PAGES}
    # Tables are put beside each other by equal types.
    assert len({kind for table, kind in with_column if table in data}) == 1


def test_each_unique_key_of_data_has_the_model():
    keys = rows_of(
        "SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text, array("
        "SELECT attname::text FROM pg_attribute WHERE attrelid = i.indrelid "
        "AND attnum = ANY(i.indkey[:i.indnkeyatts - 1])) FROM pg_index i "
        "WHERE (i.indisunique OR i.indisexclusion) AND i.indrelid = ANY(%s::regclass[])",
        list(distributed_tables()),
    )
    assert {table for table, _, _ in keys} >= {
        "inferences_inference",
        "inferences_inferencekey",
    }
    assert [key for key in keys if COLUMN not in key[2]] == []


def test_foreign_keys_of_data_lead_to_tables_that_each_node_has():
    found = rows_of(
        "SELECT o.conrelid::regclass::text, o.conname, o.confrelid::regclass::text "
        "FROM pg_constraint o WHERE contype = 'f' "
        "AND ARRAY[conrelid, confrelid] && %s::regclass[]::oid[]",
        list(distributed_tables()),
    )
    assert [key for key in found if key[2] not in REFERENCE] == []
    to_reference = rows_of(
        "SELECT conrelid::regclass::text, conname, confrelid::regclass::text "
        "FROM pg_constraint WHERE contype = 'f' AND conrelid = ANY(%s::regclass[])",
        list(REFERENCE),
    )
    assert [key for key in to_reference if key[2] not in REFERENCE] == []


def test_no_trigger_reads_data():
    triggers = rows_of(
        "SELECT tgrelid::regclass::text, tgname, tgoldtable, tgnewtable, prosrc "
        "FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal"
    )
    assert [each for each in triggers if each[2] or each[3]] == []
    on_data = [each for each in triggers if each[0] in distributed_tables()]
    assert on_data == []
    assert {each[:2] for each in triggers if each[0] in REFERENCE} == (
        TRIGGERS_OF_REFERENCE
    )
    functions = rows_of(
        "SELECT proname, prosrc FROM pg_proc p WHERE pronamespace = 'public'::regnamespace "
        "AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND deptype = 'e')"
    )
    named = re.compile("|".join(distributed_tables()))
    assert [name for name, source in functions if named.search(source)] == []


# -- the statements


@pytest.fixture
def done(project, model, make_inference, api, person, operator, queue) -> list[Scan]:
    model.embedding_size = 3
    model.save()
    chat = RegisteredModel.objects.create(
        model_id="chat", project=project, task_type=TaskType.TEXT_GENERATION
    )
    with scans_of(distributed_tables()) as scans:
        everything_is_done(model, chat, make_inference, api, person, operator)
    return [scan for scan in scans if not of_tests(scan.sender)]


def of_tests(sender: str) -> bool:
    return ".tests." in sender or sender.startswith("conftest.")


def test_each_statement_on_data_is_of_one_model(done):
    """A node that holds the model can answer it alone."""
    assert {scan.table for scan in done} == {*distributed_tables()}
    several = {
        f"{scan.sender} of {scan.table}": scan
        for scan in done
        if not scan.is_of_one(COLUMN)
    }
    unknown = {*several} - {*OF_SEVERAL_MODELS}
    assert not unknown, "\n".join(
        f"{each}: {several[each].condition or 'no condition'}\n{several[each].statement[:600]}"
        for each in unknown
    )
    assert {*OF_SEVERAL_MODELS} - {*several} == set(), "mended: take them off the list"

    beside = {name: scan.sender for scan in done for name in scan.others - {*REFERENCE}}
    assert {*beside} - {*BESIDE_DATA} == set(), beside
    assert {*BESIDE_DATA} - {*beside} == set(), "mended: take them off the list"


# -- autovacuum


def options_of(tables: list[str]) -> dict[str, dict[str, str]]:
    found = rows_of(
        "SELECT relname, reloptions FROM pg_class WHERE relname = ANY(%s) "
        "AND relnamespace = 'public'::regnamespace",
        tables,
    )
    return {
        name: dict(each.split("=", 1) for each in options or ())
        for name, options in found
    }


def settings_of_tables() -> dict[str, dict[str, str]]:
    return {
        name: settings
        for of_app in vacuum_settings.tables.values()
        for name, settings in of_app.items()
    }


def test_each_table_has_its_settings_of_autovacuum():
    wanted = settings_of_tables()
    assert {"traces_span", "datasets_datasetentry", *OF_TABLES} <= {*wanted}
    present = options_of(list(wanted))
    assert {*present} == {*wanted}
    for name, settings in wanted.items():
        assert settings.items() <= present[name].items(), name


def test_migrate_gives_settings_that_lack_and_leaves_an_operators_own():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE traces_span RESET (autovacuum_vacuum_scale_factor)")
        cursor.execute(
            "ALTER TABLE traces_span SET (autovacuum_analyze_scale_factor = 0.5)"
        )
    vacuum_settings.give(apps.get_app_config("traces"), "default")
    wanted = settings_of_tables()["traces_span"]
    own = {"autovacuum_analyze_scale_factor": "0.5"}
    assert options_of(["traces_span"])["traces_span"] == wanted | own


def test_partitions_have_settings_whenever_they_are_made():
    before = {
        name for t in partitions.TABLES for name in partitions.partitions_of(t.name)
    }
    partitions.make_ahead(datetime(2031, 1, 1, tzinfo=UTC))
    after = {
        name for t in partitions.TABLES for name in partitions.partitions_of(t.name)
    }

    assert len(after) > len(before) > 0
    assert set(map(str, options_of(list(after)).values())) == {str(OF_PARTITIONS)}


# -- the page about it


def test_the_page_calls_each_table_once():
    page = SCALE.read_text()
    called = re.findall(r"create_distributed_table\('(\w+)', '(\w+)'", page)
    assert [table for table, _ in called] == [*distributed_tables()]
    assert {column for _, column in called} == {COLUMN}
    assert re.findall(r"create_reference_table\('(\w+)'", page) == [*REFERENCE]


NEWER = "0"  # the default of a timeout that an older PostgreSQL does not have


def test_the_page_has_the_settings_that_nodes_would_not_have():
    """``SET`` of a session does not reach nodes, so those that are no default stand with the role."""
    defaults = dict(
        rows_of(
            "SELECT lower(name), boot_val FROM pg_settings WHERE lower(name) = ANY(%s)",
            [*session.FIXED],
        )
    )
    wanted = {
        name: value
        for name, value in session.FIXED.items()
        if value.lower() != defaults.get(name, NEWER).lower()
    }
    found = re.findall(
        r"^ALTER ROLE \w+ SET (\w+) = '?([^';]+)'?;$", SCALE.read_text(), re.M
    )
    assert dict(found) == wanted
