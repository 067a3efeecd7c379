"""The first hour with the command alone, against the real API."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

import pytest
from inference_store import Client, cli, connection, models

from inferences.models import RegisteredModel
from istore.accounts.tokens import create_token
from istore.db import clock
from istore.models import Role


@pytest.fixture
def istore(live_server, project, monkeypatch, capsys):
    """``istore("models")``: exit status, output, error output."""
    secret = create_token("sdk", project, Role.ADMINISTRATOR)[1]
    monkeypatch.setenv("ISTORE_URL", live_server.url)
    monkeypatch.setenv("ISTORE_TOKEN", secret)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["istore", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        code = end.value.code
        if isinstance(code, str):
            print(code, file=sys.stderr)
        said = capsys.readouterr()
        return 1 if isinstance(code, str) else code or 0, said.out, said.err

    return run


def test_registers_and_switches_storing(istore, project, settings):
    settings.ISTORE_UPSTREAM_ALLOW = ["127.0.0.1:9000"]
    given = ("register", "m", "--project", project.project_id)
    task = ("--task", "object-detection", "--upstream", "http://127.0.0.1:9000")
    status, out, err = istore(*given, *task)
    assert (status, err) == (0, "")
    assert "task\tObject Detection\nstores\tno\n" in out
    assert istore(*given, *task)[0] == 0  # with the same values

    status, out, _ = istore("settings", "m", "--store", "--json")
    assert status == 0 and json.loads(out)["enable_inference_storage"] is True
    model = RegisteredModel.objects.get(model_id="m")
    assert model.enable_inference_storage

    assert "stores\tno\n" in istore("settings", "m", "--no-store")[1]
    assert "stores\tno\n" in istore("settings", "m")[1]
    model.refresh_from_db()
    assert not model.enable_inference_storage
    assert model.upstream_url == "http://127.0.0.1:9000"


def test_says_which_tasks_there_are(istore, project):
    status, _, err = istore("register", "m", "--task", "seeing")
    assert status == 1 and "Object Detection" in err and err.count("\n") == 1
    assert istore("register", "m")[0] == 2
    assert istore("settings", "absent", "--store")[0] == 1


def test_writes_single_values(istore, model, make_inference):
    make_inference(inference_id="a")
    here = (model.model_id, "a")
    status, out, err = istore("metadata", "set", *here, "camera=north", "frame:int=3")
    assert (status, err) == (0, "")
    assert out == "camera\tstring\tnorth\nframe\tint\t3\n"
    status, _, err = istore("metadata", "set", *here, "camera=south")
    assert status == 1 and "metadata-exists" in err
    istore("metadata", "set", *here, "camera=south", 'pose:json={"a": 1}', "--replace")
    assert sorted(istore("metadata", "show", *here)[1].splitlines()) == [
        "camera\tstring\tsouth",
        "frame\tint\t3",
        'pose\tjson\t{"a": 1}',
    ]
    assert istore("metadata", "remove", *here, "camera")[1] == "camera\n"
    assert istore("metadata", "remove", *here, "camera")[0] == 1
    status, _, err = istore("metadata", "set", *here, "frame:int=x", "--replace")
    assert status == 1 and "is no int" in err
    assert istore("metadata", "set", model.model_id, "absent", "a=b")[0] == 1


def test_sets_retention_and_runs_it(istore, model, make_inference, eager):
    old = clock.now() - timedelta(days=40)
    make_inference(inference_id="old", created_at=old)
    make_inference(inference_id="new", created_at=clock.now())
    m = model.model_id
    status, _, err = istore("retention", "show", m)
    assert status == 1 and "no retention policy" in err

    given = ("retention", "set", m, "--records", "30d", "--inputs", "1w")
    out = istore(*given, "--dry-run")[1]
    assert "records to be removed\t1\n" in out
    assert istore("retention", "show", m)[0] == 1

    assert istore(*given, "--every", "24h")[1] == (
        "records\t30d\ninputs\t7d\naction\tsoft\nevery\t1d\n"
    )
    assert "action\thard" in istore(*given, "--hard")[1]
    assert "records to be removed\t1\n" in istore("retention", "run", m, "--dry-run")[1]
    assert model.inferences.live().count() == 2
    status, out, _ = istore("retention", "run", m)
    assert status == 0 and "state\tcomplete\nrecords removed\t1\n" in out
    assert [each.inference_id for each in model.inferences.live()] == ["new"]
    istore("retention", "set", m, "--every", "24h", "--hard")
    changed = istore("retention", "set", m, "--inputs", "2d")[1]
    assert "records\t30d\ninputs\t2d\naction\thard\nevery\t1d\n" in changed
    assert "every\tmanually" in istore("retention", "set", m, "--every", "never")[1]

    assert istore("retention", "remove", m)[0] == 0
    assert istore("retention", "set", m)[0] == 1
    assert "30 days" in istore("retention", "set", m, "--records", "30 days")[2]


@pytest.fixture
def eager(queue):
    """A worker that begins at once."""
    queue.is_eager = True


@pytest.fixture
def keyed(model, make_inference, live_server, project):
    """Inferences of one to five hours ago, with keys of several types."""
    now = clock.now()
    for n in range(1, 6):
        make_inference(inference_id=f"{n}h", created_at=now - timedelta(hours=n))
    secret = create_token("keys", project, Role.EDITOR)[1]
    values = [
        ("1h", "frame", "int", "1"),
        ("2h", "frame", "int", "2"),
        ("1h", "gain", "int", "1"),
        ("2h", "gain", "float", "0.5"),
        ("1h", "mixed", "int", "7"),
        ("2h", "mixed", "string", "seven"),
        ("1h", "pose", "json", "{}"),
    ]
    with Client(live_server.url, secret) as client:
        for inference_id, key, kind, value in values:
            body = models.NewExtendedMetadataRequest(key=key, type=kind, value=value)
            client.metadata.create_metadata(model.model_id, inference_id, body)
    connection.current = None
    return model.model_id


def test_statistics_find_the_type(istore, keyed):
    status, out, err = istore("stats", keyed, "frame", "--json")
    told = json.loads(out)
    assert (status, err, told["type"], told["count"]) == (0, "", "int", 2)
    told = json.loads(istore("stats", keyed, "gain", "--json")[1])
    assert (told["type"], told["count"], told["min"], told["max"]) == (
        *("number", 2),
        *(0.5, 1.0),
    )
    _, out, err = istore("stats", keyed, "mixed", "--json")
    assert [json.loads(line)["type"] for line in out.splitlines()] == ["string", "int"]
    assert err == "mixed has string values and int values.\n"
    assert istore("stats", keyed, "mixed", "--type", "string")[1].startswith("seven\t1")
    status, _, err = istore("stats", keyed, "fram")
    assert status == 1 and "frame" in err
    status, _, err = istore("stats", keyed, "pose")
    assert status == 1 and "JSON" in err
    assert istore("stats", "absent", "frame")[0] == 1


def test_statistics_pass_filters_of_numbers_on(istore, keyed):
    given = ("stats", keyed, "frame", "--metadata", "gain>=1", "--json")
    assert json.loads(istore(*given)[1])["count"] == 1


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--since", "150m"), 2),
        (("--since", "210m", "--until", "90m"), 2),
        (("--until", "1d"), 0),
        (("--since", "1w", "--until", "2026-01-01"), 0),
        (("--since", "2h", "--metadata", "gain>=1"), 1),
    ],
)
def test_times_before_now(istore, keyed, options, count):
    assert istore("count", keyed, *options)[1] == f"{count}\n"
    found = istore("find", keyed, *options)[1]
    assert len(found.splitlines()) == count


@pytest.mark.parametrize("time", ["24x", "24H", "90s", "1.5h", "yesterday"])
def test_a_time_that_is_none_is_told_with_those_that_are(istore, keyed, time):
    status, _, err = istore("count", keyed, "--since", time)

    assert status == 1
    assert err.startswith(f"istore: --since: '{time}' is not a day") and "24h" in err


def test_a_misspelt_model_is_not_one_without_a_policy(istore, project):
    for name in ("show", "run", "remove"):
        _, _, err = istore("retention", name, "misspelt")
        assert "There is no model misspelt, or" in err


def test_a_dry_run_says_so(istore, keyed):
    _, out, _ = istore("delete", keyed, "--since", "150m", "--dry-run")
    assert sorted(out.splitlines()) == ["1h\twould be deleted", "2h\twould be deleted"]
    _, out, _ = istore("delete", keyed, "3h", "--dry-run")
    assert out == "3h\twould be deleted\n"
    assert istore("count", keyed)[1] == "5\n"
    _, out, _ = istore("delete", keyed, "--since", "150m", "--yes")
    assert sorted(out.splitlines()) == ["1h", "2h"]


def test_an_archive_that_cannot_be_put_is_not_made(istore, keyed, tmp_path, model):
    for place in (tmp_path / "absent" / "x.zip", "/proc/1/x.zip"):
        status, out, err = istore("export", keyed, "-o", str(place))
        assert (status, out, err.count("\n")) == (1, "", 1)
    assert not model.export_tasks.exists()


def test_an_export_takes_numbers_and_times(istore, keyed, model):
    options = ("--since", "24h", "--metadata", "gain>=1", "--no-download")
    assert istore("export", keyed, *options)[0] == 0
    task = model.export_tasks.get()
    assert "24h" not in json.dumps(task.selection)
    assert task.expected_count in (None, 1)
