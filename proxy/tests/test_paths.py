"""Paths of the protocol, however an id is written in them."""

from urllib.parse import quote

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from proxy.paths import is_id, read_path
from proxy.tests.conftest import request_body

pytestmark = pytest.mark.django_db

ENDINGS = ["", "/ready", "/config", "/stats", "/infer"]
IDS = [
    "org/name",
    "org/name/deeper",
    "a/infer",
    "a/ready",
    "infer",
    "versions",
    "a/versions/1",
    "versions/versions/versions",
    "a//b",
    "/a",
    "a/",
    "/",
    "a/../b",
    "a/./b",
    "100%",
    "%2F",
    "a%2Fb",
    "a+b",
    "a b",
    " ",
    "naïve/模型",
    "a?b",
    "a#b",
    "a;b",
    "…",
]


def path_of(model_id: str, version: str | None, ending: str, safe: str = "") -> str:
    path = f"/v2/models/{quote(model_id, safe=safe)}"
    return f"{path}/versions/{version}{ending}" if version else path + ending


@given(
    st.text(st.sampled_from("ab/%2F+ .é?"), min_size=1, max_size=8).filter(is_id),
    st.none() | st.text(st.sampled_from("17a/%"), min_size=1, max_size=3),
    st.sampled_from(ENDINGS),
    st.booleans(),
)
def test_every_id_is_among_the_readings_of_its_path(
    model_id, version, ending, is_escaped
):
    safe = "" if is_escaped else "/"
    version = version and quote(version, safe="")
    path = path_of(model_id, version, ending, safe)
    readings = read_path(path.encode())
    kind = ending.removeprefix("/") or "metadata"
    assert (kind, model_id) in {(call.kind, call.model_id) for call in readings}
    if is_escaped:
        assert (readings[0].kind, readings[0].model_id) == (kind, model_id)
    assert len({call.model_id for call in readings}) == len(readings)


def test_what_is_no_call_has_no_reading():
    for path in ("/v2/models/", "/v2/models", "/v2/model/a", "/v2/models/%00", "/"):
        assert read_path(path.encode()) == ()


def send(proxied, method: str, path: str, body: dict | None = None):
    """As written: the library would take steps and escapes out of it."""
    request = requests.Request(method, proxied.url, json=body).prepare()
    request.url = proxied.url + path
    request.headers["Authorization"] = f"Bearer {proxied.store.secret}"
    with requests.Session() as session:
        return session.send(request, timeout=20)


@pytest.mark.parametrize("model_id", IDS)
def test_a_model_is_reached_by_its_id_escaped_and_plain(
    proxied, store, upstream, model_id
):
    store.model(upstream.url, model_id, upstream_model="echo")
    for safe in ("", "/"):
        for version in (None, "7"):
            path = path_of(model_id, version, "/infer", safe)
            answer = send(proxied, "POST", path, request_body())
            assert answer.status_code == 200, path
            assert answer.headers["Inference-Store"] == "recorded"
            asked = upstream.seen[-1].path
            assert asked.endswith("/infer") and "echo" in asked
            for ending in ("", "/ready", "/config", "/stats"):
                path = path_of(model_id, version, ending, safe)
                before = len(upstream.seen)
                send(proxied, "GET", path)
                assert len(upstream.seen) > before, path
                asked = upstream.seen[-1].path
                assert asked.endswith(ending) and "/models/echo" in asked


def test_the_reading_of_the_protocol_comes_first_where_both_models_exist(
    proxied, store, upstream
):
    def upstream_path(path: str) -> str:
        assert send(proxied, "POST", path, request_body()).status_code == 200
        return upstream.seen[-1].path

    store.model(upstream.url, "m/versions/1", upstream_model="long")
    plain, escaped = (
        "/v2/models/m/versions/1/infer",
        "/v2/models/m%2Fversions%2F1/infer",
    )
    assert upstream_path(plain) == "/v2/models/long/infer"
    store.model(upstream.url, "m", upstream_model="knows-versions")
    assert upstream_path(plain) == "/v2/models/knows-versions/versions/1/infer"
    assert upstream_path(escaped) == "/v2/models/long/infer"


def test_what_is_read_in_no_way_is_404_and_the_wrong_method_405(
    proxied, store, upstream
):
    store.model(upstream.url, "there")
    assert send(proxied, "POST", "/v2/models/there/x/infer").status_code == 404
    assert send(proxied, "GET", "/v2/models/there/x").status_code == 404
    answer = send(proxied, "GET", "/v2/models/there/infer")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    answer = send(proxied, "DELETE", "/v2/models/there")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
