"""Fuzzing of all routes, by all roles: no 5xx, problems with a code, little work, no change.

A short round is part of the suite. ``FUZZ_EXAMPLES=20000 ./scripts/test -n0
tests/fuzzing`` is a long one (about an hour); ``--hypothesis-seed=N`` repeats a round.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.signals import request_started
from django.db import close_old_connections, connection, transaction
from django.test import Client
from django.urls import Resolver404, resolve
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from datasets import lifecycle
from inferences.search.filters.all_kinds import PARAMETERS
from istore.accounts.tokens import create_token
from istore.models import Membership, Role
from istore.wsgi import application
from tests.fuzzing.routes import KNOWN, body_of, names, paths, routes, text

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
SECONDS = 3.0  # of processor time of one request, with room for the first of its kind
OF_MODEL = "/models/{model_id}/"
METHODS = ["get", "post", "put", "patch", "delete", "head", "options"]
CALLERS = ["viewer", "editor", "administrator", "person", "watcher", "nobody"]
# What says 503 truly: the proxy does not run in these tests.
ASKS_OTHERS = ("/infer/", "/try", "/health/ready", "/operations")
# What a refused call may leave: who tried, and how often.
NOT_COUNTED = {"auditentry", "idempotentcall", "session", "token", "logentry"}
KINDS = [
    "application/json",
    "application/x-ndjson",
    "text/csv",
    "application/vnd.apache.parquet",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/json; charset=zlib",
    "text/plain; charset=utf-16",
    "",
    "é",
    "application/json; a*=x''%FF",
]
HEADERS = [
    ("HTTP_IDEMPOTENCY_KEY", "once"),
    ("HTTP_IDEMPOTENCY_KEY", "é\x7f"),
    ("HTTP_ACCEPT", "text/html, */*;q=x"),
    ("HTTP_RANGE", "bytes=9-1,-"),
    ("HTTP_IF_NONE_MATCH", '"' * 99),
    ("HTTP_IF_MODIFIED_SINCE", "Thu, 99 Foo 9999 99:99:99 GMT"),
    ("HTTP_HX_REQUEST", "true"),
    ("HTTP_HX_CURRENT_URL", "http://[::1"),
    ("HTTP_REFERER", "http://[::1/%00"),
    ("HTTP_ORIGIN", "null"),
    ("HTTP_HOST", "localhost:99999"),
    ("HTTP_COOKIE", 'sessionid="abcdefgh\\000i"; theme=\\377; a=' + "b" * 4000),
    ("HTTP_X_REQUEST_ID", "\x7f" * 300),
    ("HTTP_AUTHORIZATION", "Bearer \xff\x00"),
    ("HTTP_X_FORWARDED_FOR", "not an address"),
]


@pytest.fixture
def callers(project, model, make_inference):
    """Who may call, by role: the headers that say so."""
    make_inference({"frame": 3, "camera": "north"}, inference_id="a")
    make_inference({"frame": 4}, inference_id="b", detections=[("ship", 0.9)])
    lifecycle.create("test", project, "set")
    found: dict[str, dict[str, str]] = {"nobody": {}}
    for name, role in zip(CALLERS, Role, strict=False):
        secret = create_token(name, project, role)[1]
        found[name] = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    for name, role in (("person", Role.ADMINISTRATOR), ("watcher", Role.VIEWER)):
        user = User.objects.create_user(
            name, password="anchor-42", is_staff=name == "person"
        )
        user.is_superuser = name == "person"
        user.save()
        Membership.objects.create(user=user, project=project, role=role)
        client = Client()
        client.force_login(user)
        found[name] = {"HTTP_COOKIE": f"sessionid={client.cookies['sessionid'].value}"}
    return found


@st.composite
def requests(draw: Any) -> dict[str, Any]:
    route, path = draw(paths())
    method = draw(st.sampled_from(METHODS))
    known = st.sampled_from(
        [*names(), "q", "since", "metadata", "near", "cursor", "sort"]
    )
    query = draw(st.lists(st.tuples(known | text, text), max_size=3))
    body, kind = b"", ""
    if method in ("post", "put", "patch", "delete"):
        kind = draw(st.sampled_from(["application/json"] * 12 + KINDS))
        if kind.startswith("application/x-www"):
            fields = draw(st.lists(st.tuples(known | text, text), max_size=5))
            body = urlencode(fields).encode()
        elif draw(st.integers(0, 9)):
            body = json.dumps(draw(body_of(route, method))).encode()
        else:
            body = draw(st.binary(max_size=60))
    return {
        "route": route,
        "method": method,
        "path": path,
        "query": urlencode(query, errors="surrogatepass"),
        "body": body,
        "kind": kind,
        "caller": draw(st.sampled_from(CALLERS)),
        "headers": dict(draw(st.lists(st.sampled_from(HEADERS), max_size=2))),
    }


def send(request: dict[str, Any], headers: dict[str, str]) -> tuple[int, dict, bytes]:
    """As the server hands a request to Django."""
    body = request["body"]
    environ = {
        "REQUEST_METHOD": request["method"].upper(),
        "PATH_INFO": request["path"].encode().decode("latin-1"),
        "QUERY_STRING": request["query"],
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": request["kind"],
        "istore.body_is_whole": True,
        **headers,
        **request["headers"],
    }
    said: list[Any] = []
    # As Django's own client does: what closes connections would end the test's.
    request_started.disconnect(close_old_connections)
    try:
        answer = application(environ, lambda *given: said.append(given))
        content = b"".join(answer)
    finally:
        request_started.connect(close_old_connections)
    return int(said[0][0][:3]), dict(said[0][1]), content


def rows() -> dict[str, int]:
    counted = [
        each
        for each in apps.get_models()
        if each._meta.managed
        and not each._meta.proxy
        and each._meta.model_name not in NOT_COUNTED
    ]
    sql = " UNION ALL ".join(
        f"SELECT '{each._meta.db_table}', count(*) FROM \"{each._meta.db_table}\""
        for each in counted
    )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return dict(cursor.fetchall())


@contextmanager
def taken_back() -> Iterator[None]:
    """Whatever the block does to the database is undone."""
    with transaction.atomic():
        sid = transaction.savepoint()
        try:
            yield
        finally:
            connection.needs_rollback = False
            transaction.savepoint_rollback(sid)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(request=requests())
def test_no_request_does_harm(callers, rows_before, request):
    cache.clear()
    with taken_back():
        began = time.thread_time()
        status, headers, content = send(request, callers[request["caller"]])
        seconds = time.thread_time() - began
        event(f"{status // 100}xx")
        told = f"{request['method']} {request['path']!r} of {request['route']}"
        asks_others = any(each in request["path"] for each in ASKS_OTHERS)
        assert status < 500 or (status == 503 and asks_others), (told, content[:300])
        assert seconds < SECONDS, told
        if status >= 400 and request["path"].startswith("/api/") and content:
            assert headers["Content-Type"] == "application/problem+json", told
            assert content.startswith(b"{"), (told, content[:300])
            problem = json.loads(content)
            assert problem["code"] and problem["status"] == status, told
        if 400 <= status < 500:
            assert rows() == rows_before, told


def test_no_page_fails_on_a_filter_that_cannot_be_read(callers):
    """Each page of a model with each parameter of a list in turn: drawn ones rarely meet both.

    The model has no texts, so a word of a text cannot be looked for either.
    """
    pages = [each for each in routes() if each.startswith(OF_MODEL)]
    assert len(pages) > 20
    parameters = [*PARAMETERS, "q", "since", "until", "sort", "view", "cursor", "group"]
    failed = []
    for route in pages:
        path = fill_in(route)
        for name, value in [*product(parameters, "("), ("text", "word")]:
            query = urlencode({name: value})
            asked = {
                "method": "get",
                "path": path,
                "query": query,
                "body": b"",
                "kind": "",
            }
            status, _, _ = send(asked | {"headers": {}}, callers["person"])
            if status >= 500:
                failed.append((path, query))
    assert not failed


@pytest.fixture
def rows_before(callers) -> dict[str, int]:
    return rows()


def fill_in(route: str) -> str:
    """The route with ids that are there; tasks have one that is not."""
    for name in KNOWN:
        route = route.replace(f"{{{name}}}", KNOWN[name][0])
    for name in ("task_id", "schedule_id", "erasure_id"):
        route = route.replace(f"{{{name}}}", "00000000-0000-0000-0000-000000000000")
    return route


def test_every_route_is_reached(callers):
    """That the paths made of routes are those routes: few may match nothing."""
    lost = []
    for route in routes():
        path = fill_in(route)
        if "{" not in path:
            try:
                resolve(path)
            except Resolver404:
                lost.append(route)
    assert len(lost) < 0.1 * len(routes()), lost
