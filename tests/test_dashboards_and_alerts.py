"""What the dashboard, the alert rules and the documentation name is what the roles expose."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
from django.conf import settings
from prometheus_client.parser import text_string_to_metric_families

from istore.telemetry import metrics, startup

ROOT = Path(settings.BASE_DIR)
DASHBOARD = ROOT / "deploy/grafana/inference-store.json"
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
OPERATIONS = ROOT / "docs/operations.md"
# Names of metrics, not of labels or functions of PromQL.
NAME = re.compile(r"\b((?:istore|process|python)_[a-z0-9_]+)\b")
SUFFIXES = ("_total", "_bucket", "_count", "_sum")


def exposed() -> dict[str, tuple[str, list[str], list[str]]]:
    """Every family by name: its type, what it is, and the roles whose endpoints tell it."""
    for name in ("proxy.app", "istore.telemetry.task_runs", "istore.urls"):
        import_module(name)
    found: dict[str, tuple[str, str, list[str]]] = {}
    for role in metrics.ROLES:
        text = startup.process.render(role).decode()
        for family in text_string_to_metric_families(text):
            name = family.name
            name = f"{name}_total" if family.type == "counter" else name
            kept = found.setdefault(name, (family.type, family.documentation, []))
            kept[2].append(role)
    return found


def is_exposed(name: str, families: dict) -> bool:
    if name in families:
        return families[name][0] != "histogram"
    stem = next((name.removesuffix(s) for s in SUFFIXES if name.endswith(s)), name)
    return families.get(stem, ("",))[0] == "histogram"


@pytest.mark.django_db
def test_each_query_uses_metrics_that_exist():
    families = exposed()
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [
        target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]
    queries += re.findall(r"expr: (>\n(?: {10}.*\n)+|.*)", ALERTS.read_text())
    assert len(queries) > 80
    names = {name for query in queries for name in NAME.findall(query)}
    assert len(names) > 50
    assert sorted(name for name in names if not is_exposed(name, families)) == []


@pytest.mark.django_db
def test_the_table_of_the_documentation_is_complete():
    table = re.findall(r"^\| `(istore_\w+)` \|", OPERATIONS.read_text(), re.MULTILINE)
    assert sorted(table) == sorted(n for n in exposed() if n.startswith("istore_"))
    assert len(table) == len(set(table))


@pytest.mark.django_db
def test_names_have_base_units_and_labels_are_bounded():
    for name, (kind, about, _) in exposed().items():
        if name.startswith("istore_"):
            assert about.endswith("."), name
            assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|percent)\b", name)
            assert name.endswith("_total") == (kind == "counter"), name
            assert kind in ("counter", "gauge", "histogram"), name
    labels = {label for each in metrics.catalogue.values() for label in each.labels}
    bounded = {"method", "operation", "outcome", "reason", "route", "status"}
    assert labels <= bounded | {"kind", "task"}


def test_each_alert_has_a_runbook():
    text = ALERTS.read_text()
    alerts = re.findall(r"- alert: (\w+)", text)
    runbooks = re.findall(r"runbook: docs/operations\.md#(\w+)", text)
    assert [each.lower() for each in alerts] == runbooks
    headings = re.findall(r"^#+ (\w+)$", OPERATIONS.read_text(), re.MULTILINE)
    assert [each for each in alerts if each not in headings] == []


@pytest.mark.skipif(
    shutil.which("promtool") is None,
    reason="promtool is not installed: apt-get install prometheus.",
)
@pytest.mark.parametrize("command", [("rules", "alerts.yml"), ("cases", "")])
def test_promtool_accepts_the_rules_and_their_cases(command):
    arguments = ["check", "rules", str(ALERTS)]
    if command[0] == "cases":
        arguments = ["test", "rules", str(ALERTS.with_name("alerts_test.yml"))]
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
