"""``manage.py verify``: what it prints, its exit status, and the run that is kept."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.core.management import call_command

from istore.checks import verification
from istore.checks.verification import Check, Finding, Scope
from istore.models import VerifyRun

pytestmark = pytest.mark.django_db
WHERE = "yolo-harbour (harbour) key_1 (int)"


@pytest.fixture
def counts(monkeypatch):
    """A single check: the scopes it was given; it finds one wrong count until a repair."""
    scopes: list[Scope] = []

    def look(scope: Scope):
        if not any(earlier.repair for earlier in scopes):
            yield Finding("counts-differ", WHERE, repaired=scope.repair)
        scopes.append(scope)

    monkeypatch.setattr(verification, "checks", {"counts": Check(look)})
    return scopes


def command(*arguments):
    out = StringIO()
    code = 0
    try:
        call_command("verify", *arguments, stdout=out, stderr=out)
    except SystemExit as end:
        code = end.code
    return code, out.getvalue()


def test_the_exit_status_of_a_clean_store_is_0(monkeypatch):
    clean = {name: Check(lambda _: ()) for name in ("rows", "keys")}
    monkeypatch.setattr(verification, "checks", clean)

    assert command() == (0, "2 checks, 0 findings.\n")


def test_the_exit_status_of_findings_is_1_and_of_the_run_after_a_repair_0(counts):
    code, output = command()
    assert code == 1
    assert f"counts-differ: {WHERE}" in output

    code, output = command("--repair")
    assert code == 1
    assert "1 finding, 1 repaired." in output
    assert command()[0] == 0


def test_the_exit_status_of_a_check_that_breaks_off_is_2(monkeypatch, caplog):
    def broken(scope):
        raise OSError("The object store is away.")
        yield

    monkeypatch.setattr(verification, "checks", {"rows": Check(broken)})
    code, output = command()

    assert code == 2
    assert "rows is unfinished: OSError" in output
    assert "1 checks, 1 unfinished, 0 findings." in output
    assert not any(record.exc_info for record in caplog.records)


def test_json_is_a_line_for_each_finding_and_one_for_the_end(counts, project):
    code, output = command("--json", "--project", "harbour", "--since", "2020-01-01")

    finding, end = map(json.loads, output.splitlines())
    assert code == 1
    assert (finding["kind"], finding["repaired"]) == ("counts-differ", False)
    assert end["found"] == {"counts-differ": 1}
    assert end["unfinished"] == {}
    (scope,) = counts
    assert (scope.project, scope.since.year) == (project, 2020)


def test_a_run_is_kept_for_the_page(counts):
    run = verification.run(verification.VERIFY, by="user anna")

    assert VerifyRun.objects.get() == run
    assert (run.finding_count, run.is_clean, run.by) == (1, False, "user anna")
    assert run.sample[0]["kind"] == "counts-differ"
    assert run.finished_at
