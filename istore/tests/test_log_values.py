"""That no log line holds what a caller sent: neither of a process nor of a library."""

from __future__ import annotations

import http.client
import json
import logging
import sys
import warnings
from urllib.parse import quote

import psycopg
import pytest
from botocore.exceptions import ClientError
from django.db import DataError, IntegrityError, OperationalError, connection
from django.test import Client

from istore.log_values import describe
from istore.logs import Formatter, configuration
from istore.models import Project
from istore.tests.running_store import RunningStore, wait_until

MARK = "s3cr3t-m4rk"
REQUEST = "joined-6"  # a plain id of a request is in each of its lines, by its purpose


def formatted(name, message, *args, exc_info=None):
    formatters = configuration("INFO", json=False)["formatters"]
    keywords = {key: value for key, value in formatters["line"].items() if key != "()"}
    record = logging.LogRecord(name, 40, "f.py", 1, message, args, exc_info)
    return Formatter(**keywords).format(record)


def raised(act):
    try:
        act()
    except Exception as error:
        return error, (type(error), error, error.__traceback__)
    raise AssertionError("nothing was raised")


def test_a_traceback_says_where_and_what_kind_without_the_message():
    def act():
        try:
            int(MARK)
        except ValueError as error:
            raise KeyError(MARK) from error

    _, exc_info = raised(act)
    line = formatted("ours", "It broke off.", exc_info=exc_info)

    assert MARK not in line
    assert "ValueError" in line and "KeyError" in line and "test_log_values.py" in line


def test_an_error_of_an_object_store_says_its_code_once():
    answer = {"Error": {"Code": "NoSuchBucket", "Message": MARK}}
    named = type("NoSuchBucket", (ClientError,), {})

    assert describe(named(answer, "PutObject")) == "NoSuchBucket of PutObject"
    other = describe(ClientError(answer, "PutObject"))
    assert other == "ClientError: NoSuchBucket of PutObject"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("sql", "state"),
    [
        (f"SELECT '{MARK}'::int", "22P02"),
        (f"INSERT INTO istore_project (project_id) VALUES ('{MARK}')", "23502"),
    ],
)
def test_errors_of_the_database_are_told_by_their_state(sql, state):
    def act():
        with connection.cursor() as cursor:
            cursor.execute(sql)

    error, exc_info = raised(act)
    assert isinstance(error, DataError | IntegrityError)
    line = formatted("ours", "why: %s", error, exc_info=exc_info)

    assert MARK in str(error)
    assert MARK not in line and state in line


def test_that_a_server_cannot_be_reached_is_told_in_its_words():
    refused = OperationalError("connection refused")
    refused.__cause__ = psycopg.OperationalError("connection refused")

    assert "connection refused" in formatted("ours", "why: %s", refused)
    assert "No space left" in formatted("ours", "%s", OSError(28, "No space left"))


def test_libraries_that_quote_are_cut_short():
    error, exc_info = raised(lambda: int(MARK))
    context = {"name": "a.task", "id": 7, "exc": repr(error), "traceback": MARK}
    context |= {"args": MARK, "kwargs": MARK, "description": "raised unexpected"}
    lines = [
        formatted("django.security.DisallowedHost", f"Invalid Host: {MARK}"),
        formatted("django.security.csrf", "Forbidden (%s): %s", MARK, "/login"),
        formatted("asyncio", f"Task exception was never retrieved\nfuture: {MARK}"),
        formatted(
            "py.warnings", "%s", f"/a/b.py:12: UserWarning: {MARK}\n  warn({MARK})"
        ),
        formatted(
            "celery.app.trace",
            "Task %(name)s[%(id)s] %(description)s: %(exc)s %(args)s",
            context,
            exc_info=exc_info,
        ),
    ]

    assert not any(MARK in line for line in lines)
    assert "a.task[7] raised unexpected: ValueError" in lines[-1]
    assert "/a/b.py:12: UserWarning" in lines[-2]


def test_requests_are_logged_by_their_path(caplog, db):
    caplog.set_level(logging.DEBUG)
    headers = {"user-agent": MARK, "x-request-id": REQUEST, "x-correlation-id": MARK}
    headers |= {"authorization": f"Bearer {MARK}", "referer": f"http://x/{MARK}"}
    client = Client(headers=headers)
    client.cookies["sessionid"] = client.cookies["any"] = MARK
    for path in ("/login", "/blobs", "/api/v1/models", "/nowhere"):
        client.get(path, {"signature": MARK, "metadata.name": MARK})
        client.post(path, {"username": MARK, "password": MARK})

    assert "GET /login" in caplog.text
    assert MARK not in caplog.text


def test_a_trusted_proxy_names_the_request(caplog, settings, db):
    caplog.set_level(logging.INFO)
    settings.ISTORE_TRUSTED_PROXIES = ["127.0.0.1"]
    Client(headers={"x-request-id": "joined-7"}).get("/login")

    assert "joined-7" in caplog.text


def test_warnings_of_python_are_held_back(monkeypatch, capfd):
    from istore import logs

    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(logs.threading, "excepthook", logs.threading.excepthook)
    handler = logging.StreamHandler()
    kept = configuration("INFO", json=False)["formatters"]["line"]
    handler.setFormatter(Formatter(**{k: v for k, v in kept.items() if k != "()"}))
    logging.getLogger("py.warnings").addHandler(handler)
    try:
        logs.hold_values_back()
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = logging._showwarning
            warnings.warn(MARK, UserWarning, stacklevel=1)
    finally:
        logging.captureWarnings(False)
        logging.getLogger("py.warnings").removeHandler(handler)

    said = capfd.readouterr().err
    assert "UserWarning" in said and MARK not in said


# -- all processes of a store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = RunningStore(tmp_path_factory.mktemp("logged") / "home")
    store.env["ISTORE_LOG_LEVEL"] = "DEBUG"
    yield store
    store.command("up", "--stop")


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.skipif(sys.platform != "linux", reason="starts a whole store")
def test_no_line_of_any_process_holds_what_was_sent(store):
    with store.up() as running:
        running.wait_for("Shown this once:")
        running.wait_for("password of admin: ")
        token = running.wait_for("token for project default: ").split()[-1]
        marked = {
            "User-Agent": MARK,
            "X-Request-Id": REQUEST,
            "Cookie": f"sessionid={MARK}",
        }
        marked |= {"Referer": f"http://x/{MARK}", "X-Forwarded-For": MARK}
        allowed = {**marked, "Authorization": f"Bearer {token}"}
        as_json = {"Content-Type": "application/json"}

        def api(method, path, value=None):
            body = None if value is None else json.dumps(value)
            path = f"/api/v1/{path}"
            return ask(store.port, method, path, body, **allowed, **as_json)

        model = {
            "model_id": "m",
            "project_id": "default",
            "task_type": "Text Generation",
        }
        model |= {
            "enable_inference_storage": True,
            "upstream_url": "http://127.0.0.1:9",
        }
        assert api("POST", "models", model)[0] == 201
        item = {"key": "name", "type": "string", "value": MARK}
        wanted = {"metadata_filter": [{**item, "operator": "="}]}
        assert api("POST", "models/m/inferences/count", {"filters": wanted})[0] == 200
        for value in (
            MARK,
            {"filters": {MARK: 1}},
            {"filters": {"query": MARK}},
            [MARK],
        ):
            api("POST", "models/m/inferences/filter", value)
        line = json.dumps({"inference_id": "a", "text_generation": {"text": MARK}})
        for body in (line, MARK, f"{line}\n{line[:-9]}", '{"data_hash": ""}'):
            kind = {"Content-Type": "application/x-ndjson"}
            path = "/api/v1/models/m/inferences/batch"
            ask(store.port, "POST", path, body, **allowed, **kind)
        ask(store.port, "POST", "/api/v1/models/m/ground-truth", MARK, **allowed)
        for query in (
            MARK,
            f"metadata.name={MARK}",
            f"q=meta.name%3D{MARK}&after={MARK}",
        ):
            api("GET", f"models/m/inferences?{query}")
            ask(store.port, "GET", f"/blobs?signature={MARK}&{query}", **marked)
            ask(store.port, "PUT", f"/uploads?signature={MARK}", MARK, **marked)
            ask(store.port, "GET", f"/login?next=/{MARK}&{query}", **marked)
        ask(store.port, "GET", "/", **{**marked, "Host": f"{MARK}.example"})
        ask(store.port, "GET", "/", **{**marked, "Authorization": f"Bearer {MARK}"})
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        said = f"username={MARK}&password={MARK}&csrfmiddlewaretoken={MARK}"
        for path in ("/login", "/admin/login/", f"/theme?next={MARK}"):
            ask(store.port, "POST", path, said, **marked, **form)
            ask(
                store.port,
                "POST",
                path,
                said,
                **marked,
                **form,
                Origin=f"http://{MARK}",
            )

        path = f"/v2/models/m/infer?{quote(MARK)}"
        tensor = {"name": MARK, "shape": [1], "datatype": "BYTES", "data": [MARK]}
        bodies = [
            json.dumps({"id": MARK, "inputs": [tensor]}),
            MARK,
            f'{{"id": "{MARK}"',
        ]
        for body in bodies:
            ask(store.proxy_port, "POST", path, body, **allowed)
            ask(
                store.proxy_port,
                "POST",
                path,
                body,
                **{**allowed, "Content-Encoding": MARK},
            )
            ask(store.proxy_port, "POST", path, body, **marked, Authorization=MARK)
        # An error of a statement, in the words of the server and of the process.
        code = (
            "from django.db import connection as c; "
            f"c.cursor().execute('SELECT %s::int', ['{MARK}'])"
        )
        broken = store.command("shell", "-c", code)
        assert broken.returncode != 0
        wait_until(lambda: "/v2" in store.log() or "request_finished" in store.log())
        running.interrupt()

    assert "POST /api/v1/models/m/inferences/filter" in store.log()
    assert [line for line in store.log().splitlines() if MARK in line] == []
    assert [line for line in running.lines if MARK in line] == []
    assert MARK not in broken.stderr + broken.stdout


def test_a_project_is_named_in_no_line_of_a_failed_insert(db):
    with pytest.raises(IntegrityError) as caught:
        Project.objects.create(project_id=MARK)
        Project.objects.create(project_id=MARK)
    line = formatted("ours", "%s", caught.value)

    assert MARK not in line and "istore_project" in line
