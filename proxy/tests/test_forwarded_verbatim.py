"""Whether a copy is kept changes nothing for the caller: not the bytes, not the status."""

import gzip
import io
import zlib

import orjson
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from proxy.tests.conftest import request_body, wait_until

pytestmark = pytest.mark.django_db


def packed(**members) -> bytes:
    return orjson.dumps(request_body(**members))


LENGTH = "Inference-Header-Content-Length"
NESTED = b'{"inputs": ' + b"[" * 70 + b"]" * 70 + b"}"
ZIP = gzip.compress(packed(id="zipped"))
ODD = {
    "nothing": (b"", {}),
    "no JSON": (b"{refused", {}),
    "no object": (b'["refused"]', {}),
    "half a text": (b'{"id": "refused', {}),
    "bad UTF-8": (b'{"id": "refused\xff"}', {}),
    "too deep": (b"[" * 100_000, {}),
    "a deep object": (NESTED, {}),
    "a NUL": (b'{"inputs": [], "id": "\0"}', {}),
    "a lone surrogate": (b'{"inputs": [], "id": "\\ud800"}', {}),
    "twice the id": (b'{"id": "a", "id": "b", "inputs": []}', {}),
    "no inputs": (b"{}", {}),
    "inputs that are none": (b'{"inputs": {"a": 1}}', {}),
    "inputs of nothing": (b'{"inputs": [null, 7]}', {}),
    "NaN": (b'{"inputs": [{"name": "x", "data": [NaN, Infinity]}]}', {}),
    "a long id": (packed(id="x" * 256), {}),
    "an id with a line end": (packed(id="a\nb"), {}),
    "an id with a NUL": (packed(id="a\0b"), {}),
    "a dot": (packed(id="."), {}),
    "a control": (packed(id="\x85"), {}),
    "a number for an id": (packed(id=7), {}),
    "a list for an id": (packed(id=["x"]), {}),
    "false for an id": (packed(id=False), {}),
    "a negative length": (packed(), {LENGTH: "-1"}),
    "a word for a length": (packed(), {LENGTH: "x"}),
    "a length beyond the body": (packed(), {LENGTH: "1000000"}),
    "a length within the JSON": (packed(), {LENGTH: "5"}),
    "a length beyond all": (packed(), {LENGTH: "9" * 30}),
    "an Arabic length": (packed(), {LENGTH: "٣".encode()}),
    "one tensor": (b"\x89 bytes alone", {LENGTH: "0"}),
    "br": (b"\x0b\x02\x80 no brotli", {"Content-Encoding": "br"}),
    "zstd": (b"(\xb5/\xfd bytes", {"Content-Encoding": "zstd"}),
    "an unheard-of encoding": (packed(), {"Content-Encoding": "é".encode("latin-1")}),
    "two encodings": (gzip.compress(ZIP), {"Content-Encoding": "gzip, gzip"}),
    "gzip that is none": (b"refused", {"Content-Encoding": "gzip"}),
    "deflate that is none": (b"refused", {"Content-Encoding": "deflate"}),
    "gzip that is cut": (ZIP[:-9], {"Content-Encoding": "gzip"}),
    "gzip and more": (ZIP + b"more", {"Content-Encoding": "gzip"}),
    "gzip of no JSON": (gzip.compress(b"no JSON"), {"Content-Encoding": "gzip"}),
    "gzip with a long id": (
        gzip.compress(packed(id="x" * 256)),
        {"Content-Encoding": "gzip"},
    ),
    "a bomb": (
        gzip.compress(bytes(30 * 2**20)),
        {"Content-Encoding": "gzip"},
    ),
    "identity": (packed(), {"Content-Encoding": "identity"}),
    "charset": (packed(), {"Content-Type": "application/json; charset=zlib"}),
}


@pytest.fixture
def both(store, upstream):
    """The same server, once with storing and once without."""
    for name in ("mirror", "strict"):
        store.model(upstream.url, name)
        store.model(
            upstream.url,
            f"{name}-off",
            upstream_model=name,
            enable_inference_storage=False,
        )


# What the strict server cannot read.
REFUSED = [
    "nothing",
    "no JSON",
    "half a text",
    "bad UTF-8",
    "too deep",
    "a NUL",
    "a lone surrogate",
    "NaN",
    "one tensor",
    "br",
    "zstd",
    "two encodings",
    "gzip that is none",
    "deflate that is none",
    "gzip that is cut",
    "gzip and more",
    "gzip of no JSON",
    "gzip with a long id",
    "a bomb",
]


def call_twice(proxied, upstream, server, name):
    """The answer with storing on; forwarded and answered as it is with storing off."""
    body, headers = ODD[name]
    off = proxied.infer(f"{server}-off", body or b"", headers=headers)
    seen_off = upstream.seen[-1]
    on = proxied.infer(server, body or b"", headers=headers)
    seen_on = upstream.seen[-1]

    assert seen_on.body == seen_off.body == body
    assert passed(seen_on) == passed(seen_off)
    assert (on.status_code, on.content) == (off.status_code, off.content)
    assert off.headers["Inference-Store"] == "off"
    return on


@pytest.mark.parametrize(
    ("server", "name"),
    [("mirror", name) for name in ODD]
    + [("strict", name) for name in ODD if name not in REFUSED],
)
def test_an_odd_body_is_forwarded_and_its_answer_stored(
    proxied, both, upstream, server, name
):
    response = call_twice(proxied, upstream, server, name)

    assert response.headers["Inference-Store"] == "recorded"
    stored = proxied.marker(response.headers["Inference-Id"])
    answer = proxied.blob(stored["event"]["inference_storage_key"])
    assert answer == response.content


@pytest.mark.parametrize("name", REFUSED)
def test_an_odd_body_that_is_refused_is_forwarded_and_not_stored(
    proxied, both, upstream, name
):
    response = call_twice(proxied, upstream, "strict", name)

    assert response.status_code == 422
    told = response.headers["Inference-Store"]
    assert told == "not-recorded; reason=upstream-status"


def passed(seen) -> dict:
    """But for the ids of our own, which differ from call to call."""
    ours = ("host", "x-request-id", "inference-id")
    return {name: value for name, value in seen.headers.items() if name not in ours}


@pytest.mark.parametrize(
    "name",
    [
        "a long id",
        "an id with a line end",
        "an id with a NUL",
        "a dot",
        "a control",
        "a number for an id",
        "a list for an id",
        "false for an id",
        "gzip with a long id",
    ],
)
def test_an_id_that_is_none_is_told_in_the_record(proxied, both, upstream, name):
    body, headers = ODD[name]
    answer = proxied.infer("mirror", body, headers=headers)

    given = answer.headers["Inference-Id"]
    assert len(given) == 36 and upstream.seen[-1].headers["inference-id"] == given
    marker = proxied.marker(given)
    assert any("wished for the id" in each for each in marker["warnings"])
    assert proxied.blob(marker["event"]["data_storage_key"]) == b"a ship"


@pytest.mark.parametrize("name", ["br", "zstd", "gzip that is cut", "a bomb"])
def test_what_cannot_be_unpacked_is_kept_as_it_came(proxied, both, name):
    body, headers = ODD[name]
    answer = proxied.infer("mirror", body, headers=headers)

    marker = proxied.marker(answer.headers["Inference-Id"])
    assert proxied.blob(marker["event"]["data_storage_key"]) == body
    assert marker["input"]["content_encoding"] == headers["Content-Encoding"]
    assert any("kept as it came" in each for each in marker["warnings"])


@pytest.mark.parametrize("strips", [False, True])
@pytest.mark.parametrize("name", ["no JSON", "a deep object", "br", "gzip that is cut"])
def test_what_cannot_be_read_passes_where_metadata_is_stripped(
    proxied, store, upstream, name, strips
):
    store.model(upstream.url, "bare", upstream_model="mirror", strip_metadata=strips)
    body, headers = ODD[name]

    assert proxied.infer("bare", body, headers=headers).ok
    assert upstream.seen[-1].body == body


def test_many_inputs_are_one_record_where_a_header_cannot_name_them(
    proxied, store, upstream
):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    tensor = {
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": len(file.getvalue()) + 4},
    }
    inputs = [{"name": f"image-{n}", **tensor} for n in range(1000)]
    head = orjson.dumps({"id": "many", "inputs": inputs})
    picture = len(file.getvalue()).to_bytes(4, "little") + file.getvalue()

    body = head + picture * 1000
    off = requests.post(f"{upstream.url}/v2/models/verdict/infer", body, timeout=10)
    store.model(upstream.url, "verdict")
    answer = proxied.infer("verdict", body, headers={LENGTH: str(len(head))})

    assert answer.content == off.content
    assert answer.headers["Inference-Store"] == "recorded"
    assert answer.headers["Inference-Id"] == "many"
    marker = proxied.marker("many")
    assert any("too many to name" in each for each in marker["warnings"])
    assert len(marker["input"]["tensors"]) == 64


def test_a_slow_answer_arrives_whether_it_is_kept_or_not(proxied, store, upstream):
    """It takes 3 s, where 2 s of silence are too many."""
    store.model(upstream.url, "trickling")
    store.model(
        upstream.url,
        "trickling-off",
        upstream_model="trickling",
        enable_inference_storage=False,
    )
    on, off = proxied.infer("trickling"), proxied.infer("trickling-off")

    assert (on.status_code, on.content) == (off.status_code, off.content)
    assert on.headers["Inference-Store"] == "recorded"


@pytest.mark.parametrize("given", ["x" * 256, "a%0Ab", "..", "%00"])
def test_a_session_forwards_under_an_id_of_ours(proxied, store, upstream, given):
    store.model("", "texts-odd", task_type="Text Generation")
    configuration = {"url": upstream.url, "protocol": "json"}
    session, secret = store.session("url", configuration, model_id="texts-odd")

    answer = proxied.call(
        session, secret, {"text": "a ship"}, headers={"Inference-Id": given}
    )

    assert answer.ok and answer.headers["Inference-Store"] == "recorded"
    assert len(answer.headers["Inference-Id"]) == 36
    marker = proxied.marker(answer.headers["Inference-Id"])
    assert any("wished for the id" in each for each in marker["warnings"])


@pytest.mark.parametrize("name", ["br", "gzip that is cut", "no JSON", "bad UTF-8"])
def test_a_session_forwards_what_cannot_be_read(proxied, store, upstream, name):
    store.model("", "texts-odd", task_type="Text Generation")
    configuration = {"url": upstream.url, "protocol": "json"}
    body, headers = ODD[name]
    answers = []
    for model_id in ("texts-odd", None):
        fields = {"model_id": model_id} if model_id else {}
        session, secret = store.session(
            "url", configuration, endpoint="v2/models/mirror/infer", **fields
        )
        answers.append(proxied.call(session, secret, body, headers=headers))
        assert upstream.seen[-1].body == body

    on, off = answers
    assert (on.status_code, on.content) == (off.status_code, off.content)
    marker = proxied.marker(on.headers["Inference-Id"])
    assert proxied.blob(marker["event"]["data_storage_key"]) == body


ENCODINGS = st.sampled_from([None, "gzip", "deflate", "br", "zstd", "x-gzip", "g zip"])
BODIES = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(
        st.sampled_from(["id", "inputs", "parameters", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "datatype", "shape", "data", "id"]), inner
                )
            ),
            max_leaves=8,
        ),
    ).map(orjson.dumps),
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(BODIES, ENCODINGS, st.sampled_from([None, "gzip", "deflate"]), st.booleans())
def test_any_body_is_forwarded_and_kept(
    proxied, both, upstream, body, said, packing, has_length
):
    if packing:
        body = (gzip if packing == "gzip" else zlib).compress(body)
    headers = {"Content-Encoding": said} if said else {}
    if has_length:
        headers[LENGTH] = str(len(body) // 2)

    answer = proxied.infer("mirror", body, headers=headers)

    assert answer.status_code == 200, answer.text
    assert upstream.seen[-1].body == body
    assert answer.headers["Inference-Store"] == "recorded", answer.headers


def test_all_that_was_forwarded_was_captured(proxied):
    """Of what the tests before this one sent nothing is set aside."""
    wait_until(proxied.is_drained, 20)
    assert not list((proxied.home / "spool").glob("*.set-aside"))
