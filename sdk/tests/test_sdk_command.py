"""The command: what it prints, on a terminal, in a pipe and as JSON, and how it fails."""

from __future__ import annotations

import json
import os
import stat
import sys

import httpx2
import pytest

from inference_store.cli import metadata_edits

pytest.importorskip("typer")

from inference_store import Client, Retries, cli
from inference_store.cli import account, output, selection, tail

MODEL = {
    "model_id": "m",
    "project_id": "harbour",
    "task_type": "Object Detection",
    "enable_inference_storage": True,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "embedding_size": 0,
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(account.typer, "get_app_dir", lambda name: tmp_path / name)
    monkeypatch.delenv("ISTORE_URL", raising=False)
    monkeypatch.setenv("ISTORE_TOKEN", "ist_secret")
    return tmp_path


@pytest.fixture
def istore(store, home, monkeypatch, capsys):
    """``istore("count", "m")``: exit status, output and error output."""

    def client(url, token):
        return Client(
            url,
            token,
            transport=httpx2.MockTransport(store),
            retries=Retries(attempts=1),
        )

    monkeypatch.setattr(account, "Client", client)
    monkeypatch.setattr(metadata_edits, "Client", client)

    def run(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["istore", *arguments])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            status = 1 if isinstance(end.code, str) else end.code or 0
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_models(istore, store):
    store.says({"results": [MODEL], "next": None})
    assert istore("models") == (0, "m\tharbour\tObject Detection\tyes\n", "")
    _, out, _ = istore("models", "--json")
    assert json.loads(out)["model_id"] == "m"


def test_find_asks_in_the_words_of_the_list(istore, store, row):
    said = [{"key": "camera", "type": "string", "value": "north\n"}]
    store.says({"results": [row("a", metadata=said, data_source="quay")], "next": None})
    status, out, err = istore(
        *("find", "m", "ships", "--label", "ship", "--min-score", "0.9"),
        *("--metadata", "frame:int>10", "--since", "2026-01-01"),
    )
    assert (status, err) == (0, "")
    assert out == "2026-01-31 12:00:00\ta\tdetect\tquay\tcamera=north \n"
    assert dict(store.last.url.params) == {
        "q": "ships",
        "label": "ship",
        "min_score": "0.9",
        "metadata": "frame:int>10",
        "since": "2026-01-01",
        "direction": "desc",
        "limit": "50",
    }


def test_find_goes_on_until_there_is_enough(istore, store, row):
    store.says(
        {"results": [row("a"), row("b")], "next": "c"},
        {"results": [row("c")], "next": "d"},
    )
    _, out, _ = istore("find", "m", "--limit", "3", "--json")
    assert [json.loads(line)["inference_id"] for line in out.splitlines()] == list(
        "abc"
    )
    assert store.last.url.params["cursor"] == "c"


def test_find_says_which_calls_failed(istore, store, row):
    refused = {"failure": "status", "answer": {"status": 429}}
    late = {"failure": "timeout"}
    rows = [row("a", notes=refused), row("b", notes=late), row("c")]
    store.says({"results": rows, "next": None})
    _, out, _ = istore("find", "m")
    assert [line.split("\t")[4] for line in out.splitlines()] == [
        "status:429",
        "status:timeout",
        "",
    ]


def test_find_is_a_table_on_a_terminal(istore, store, row, monkeypatch):
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    store.says({"results": [row("[red]a\x1b[0m")], "next": None})
    _, out, _ = istore("find", "m")
    assert "inference" in out and "[red]a" in out and "\x1b" not in out


def test_count_sends_a_filter(istore, store):
    store.says({"count": 7})
    assert (
        istore("count", "m", "--until", "2026-01-31", "--metadata", "a!=b")[1] == "7\n"
    )
    assert store.body["filters"] == {
        "time_window_filter": {"end": "2026-01-31T23:59:59.999999Z"},
        "metadata_filter": [
            {"key": "a", "operator": "!=", "type": "string", "value": "b"}
        ],
    }
    assert istore("count", "m", "--json")[1] == '{"count": 7}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("camera=north", ("camera", "string", "=", "north")),
        ("frame:int>10", ("frame", "int", ">", "10")),
        ("pose.a:json.float<=0.5", ("pose.a", "json.float", "<=", "0.5")),
        ("camera in [a, b]", ("camera", "string", "in", "[a, b]")),
        ("a:b=c", ("a:b", "string", "=", "c")),
    ],
)
def test_comparisons(text, said):
    found = selection.comparison(text)
    assert (found.key, found.type, found.operator, found.value) == said


def test_show_is_a_panel(istore, store, row):
    said = [{"key": "camera", "type": "string", "value": "[b]north"}]
    store.says(
        row("a", metadata=said, data='{"outputs": []}', notes={"warnings": ["w"]})
    )
    status, out, _ = istore("show", "m", "a")
    assert status == 0
    assert all(part in out for part in ("╭─ a", "[b]north", '"outputs"', "warnings"))
    assert json.loads(istore("show", "m", "a", "--json")[1])["inference_id"] == "a"


def test_stats_are_bars(istore, store):
    store.says(
        {"counts": {"camera": {"string": 5}}},
        {"count": 5, "distribution": {"a": 4, "b": 1}},
    )
    _, out, _ = istore("stats", "m", "camera")
    assert out == f"a\t4\t{'█' * 40}\nb\t1\t{'█' * 10}\n"
    assert store.body == {"filters": {}, "key": "camera", "type": "string"}


def test_tail_shows_each_once(client, store, row):
    at = "2026-01-31T12:00:0{}Z"
    store.says(
        {"results": [row("b"), row("a")], "next": None},
        {"results": [row("b"), row("c", created_at=at.format(5))], "next": None},
        {"results": [row("c"), row("d")], "next": None},
    )
    found = tail.follow(client, "m", 1, {"label": ["x"]}, 2.0, store.waits.append)
    assert [next(found).inference_id for _ in range(3)] == ["b", "c", "d"]
    assert store.waits == [2.0, 2.0]
    since = [each.url.params.get("since") for each in store.requests]
    assert since == [None, "2026-01-31T11:59:30.123456Z", "2026-01-31T11:59:35Z"]


def test_upload_stores_files_by_name(istore, store, row, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"picture")
    grant = {"data_presigned_url": "http://b/put", "data_storage_key": "k"}
    store.says(MODEL, (201, grant), (200, b""), (201, row("x-a.png")))
    status, out, err = istore(
        *("upload", "m", str(path), "--prefix", "x-"),
        *("--metadata", "frame:int=3", "--metadata", "data_source=quay"),
    )
    assert (status, out, err) == (0, "x-a.png\n", "")
    body = store.body
    assert body["inference_id"] == "x-a.png"
    standard = body["data"]["metadata"]["standard_metadata"]
    assert (standard["data_source"], standard["inference_action"]) == ("quay", "detect")
    assert body["data"]["metadata"]["extended_metadata"] == [
        {"key": "frame", "type": "int", "value": "3"}
    ]


GONE = {"deleted_inference_ids": ["a", "b"], "count": 2}


def test_delete_must_be_told_which(istore, store):
    for arguments in ((), ("a", "--all"), ("--all", "--label", "x")):
        status, _, err = istore("delete", "m", *arguments, "--yes")
        assert status == 1 and "Say which" in err
    assert not store.requests


def test_numbers_without_a_type_are_asked_by_a_query(store, istore):
    store.says({"count": 7})

    istore("count", "m", "label:x", "--metadata", "gain>=2", "--metadata", "a=b")

    assert store.body["query"] == '(label:x) meta."gain" >= 2'
    asked = store.body["filters"]["metadata_filter"]
    assert [each["key"] for each in asked] == ["a"]


@pytest.mark.parametrize("blank", ["", "  "])
@pytest.mark.parametrize(
    "option", ["--since", "--until", "--label", "--metadata", "--query"]
)
@pytest.mark.parametrize("command", ["delete", "protect", "restore", "export"])
def test_an_empty_option_never_means_everything(istore, store, command, option, blank):
    more = ["--yes"] if command == "delete" else []
    status, _, err = istore(command, "m", option, blank, *more)
    assert status == 1 and "is empty" in err
    assert not store.requests


def test_an_empty_id_deletes_nothing(istore, store, row):
    store.says(row("a"))
    status, _, err = istore("delete", "m", "", "--yes")
    assert status == 1 and "empty" in err
    assert not [each for each in store.requests if each.method == "DELETE"]


def test_delete_asks_nobody_in_a_pipe(istore, store):
    store.says({"count": 2})
    status, _, err = istore("delete", "m", "--label", "x")
    assert status == 1 and "--yes" in err
    assert len(store.requests) == 1


def test_delete_what_matches(istore, store):
    store.says(GONE)
    assert istore("delete", "m", "--all", "--yes") == (0, "a\nb\n", "")
    assert store.body == {"filters": {}, "dry_run": False}


def test_a_dry_run_says_what_would_go(istore, store, row):
    store.says({"results": [row("a")], "next": None})
    assert istore("delete", "m", "--label", "x", "--dry-run") == (
        0,
        "a\twould be deleted\n",
        "",
    )
    assert store.path.endswith("/inferences/filter")
    assert len(store.requests) == 1


def test_delete_by_id(istore, store, row):
    store.says(row("a"), {"inference_id": "a"})
    assert istore("delete", "m", "a", "--yes") == (0, "a\n", "")
    assert [each.method for each in store.requests] == ["GET", "DELETE"]


def test_login_keeps_the_token_for_its_owner(istore, store, home, monkeypatch):
    monkeypatch.delenv("ISTORE_TOKEN")
    store.says({"results": [MODEL], "next": None})
    status, out, _ = istore("login", "http://store/", "--token", "ist_kept")
    assert status == 0 and "http://store (1 models)" in out
    path = home / "istore" / "account.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    istore("models")
    assert store.last.headers["authorization"] == "Bearer ist_kept"
    assert store.last.url.host == "store"


def test_a_kept_token_is_for_its_store_alone(istore, store, home, monkeypatch):
    monkeypatch.delenv("ISTORE_TOKEN")
    account.write_account("http://store", "ist_kept")
    monkeypatch.setenv("ISTORE_URL", "http://other")
    status, _, err = istore("models")
    assert (status, err.count("\n")) == (1, 1)
    assert "istore login http://other" in err
    assert not store.requests


def test_failures_are_one_line(istore, store, not_found):
    store.says((400, {"code": "validation-error", "detail": "since: no\nday."}))
    assert istore("find", "m") == (
        1,
        "",
        "istore: since: no day. (400 validation-error)\n",
    )
    store.says(not_found)
    assert istore("show", "m", "a")[2] == "istore: There is no inference a of m.\n"
    store.says(httpx2.ConnectError)
    status, _, err = istore("count", "m")
    assert (status, err.count("\n")) == (1, 1)
    status, _, err = istore("count", "m", "--metadata", "nonsense")
    assert (status, err.count("\n")) == (1, 1)
    status, _, err = istore("count", "m", "--min-score", "nan")
    assert (status, err.count("\n")) == (1, 1)


PROXIED = MODEL | {"proxy_url": "http://proxy:8001"}
KEPT = {"Inference-Id": "x%2C1", "Inference-Store": "recorded"}
ANSWER = {"outputs": [{"name": "boxes", "shape": [1], "data": ['[{"label": "ship"}]']}]}


def test_detect_sends_files_and_text(istore, store, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"picture")
    store.says(PROXIED, (200, ANSWER, KEPT))
    status, out, err = istore(
        *("detect", "m", str(path), "--metadata", "frame:int=3", "--id", "x,1")
    )
    assert (status, err) == (0, "")
    assert out == 'x,1\trecorded\t{"boxes": ["[{\\"label\\": \\"ship\\"}]"]}\n'
    assert str(store.last.url) == "http://proxy:8001/v2/models/m/infer"
    parameters = store.body["inputs"][0]["parameters"]
    assert store.body["id"] == "x,1" and parameters["action"] == "detect"
    assert json.loads(parameters["metadata"]) == [
        {"key": "frame", "type": "int", "value": "3"}
    ]
    store.says(PROXIED, (200, ANSWER, {"Inference-Store": "off"}))
    told = json.loads(istore("predict", "m", "--text", "hello", "--json")[1])
    assert told == {"inference_ids": [], "record_status": "off", "answer": ANSWER}


def test_a_call_waits_for_its_record(istore, store, row):
    absent = (404, {"code": "not-found", "detail": "no"})
    store.says(PROXIED, (200, ANSWER, KEPT), absent, row("x,1"))
    assert istore("embed", "m", "--text", "hello", "--wait")[0] == 0
    assert [each.method for each in store.requests] == ["GET", "POST", "GET", "GET"]


def test_a_call_needs_one_kind_of_input(istore, store, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a")
    for given in ((), (str(path), "--text", "b"), (str(path), str(path), "--id", "i")):
        status, _, err = istore("predict-proba", "m", *given)
        assert (status, err.count("\n")) == (1, 1)
    assert not store.requests


def test_a_closed_pipe_is_the_end(home):
    import subprocess

    script = (
        "import sys; from inference_store import cli; from inference_store.cli import app\n"
        "@app.app.command()\n"
        "def much():\n"
        "    for n in range(100000): print(n)\n"
        "sys.argv = ['istore', 'much']; cli.main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ,
    ) as running:
        running.stdout.readline()
        running.stdout.close()
        said = running.stderr.read()
    assert said == b""


def test_find_shows_the_fields_that_are_asked_for(istore, store, row):
    found = row("a") | {"detections": [{"label": "ship", "score": 0.5}], "prompt": None}
    store.says({"results": [found], "next": None})

    _, out, _ = istore("find", "m", "--fields", "detections, prompt")

    assert store.last.url.params.get_list("fields") == ["detections", "prompt"]
    assert '\t[{"label": "ship", "score": 0.5}]\t\n' in out


def test_json_has_no_field_that_was_not_asked_for(istore, store, row):
    store.says({"results": [row("a")], "next": None})

    _, out, _ = istore("find", "m", "--json")

    assert "detections" not in out


def test_show_says_what_was_understood(istore, store, row):
    store.says(row("a") | {"detections": [{"label": "ship", "score": 0.5}]})

    _, out, _ = istore("show", "m", "a")

    assert "ship 0.5" in out
