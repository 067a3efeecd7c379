import base64
import gzip
import hashlib
import io
import zlib
from urllib.parse import quote

import numpy as np
import orjson
import pytest
import requests
import tritonclient.http as triton
from PIL import Image

from istore.blobs.keys import MemberKey
from istore.telemetry.access import may_read_metrics
from proxy.tests.conftest import request_body, wait_until
from proxy.tests.crashing import settled

pytestmark = pytest.mark.django_db


@pytest.fixture
def echo(store, upstream, proxied):
    return store.model(upstream.url, "echo")


def picture(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, "PNG")
    return file.getvalue()


def test_an_answer_is_passed_on_and_recorded(proxied, echo, upstream):
    answer = proxied.infer("echo", request_body(id="first"))
    assert answer.status_code == 200
    assert answer.headers["Inference-Store"] == "recorded"
    assert answer.headers["Inference-Id"] == "first"
    assert upstream.seen[-1].body == answer.request.body
    marker = proxied.marker("first")
    assert proxied.blob(marker["event"]["data_storage_key"]) == b"a ship"
    assert proxied.blob(marker["event"]["inference_storage_key"]) == answer.content
    assert proxied.answer(marker) == answer.content
    assert marker["answer"]["status"] == 200
    assert marker["inference_action"] == "detect"
    assert marker["input"] == {
        "sha256": hashlib.sha256(b"a ship").hexdigest(),
        "size": 6,
        "content_type": "text/plain; charset=utf-8",
        "name": "text",
        "datatype": "BYTES",
        "shape": [1],
    }


def test_blobs_lie_under_keys_of_our_own(proxied, echo):
    proxied.infer("echo", request_body(id="../../etc"))
    event = proxied.marker("../../etc")["event"]
    pack = MemberKey.parse(event["data_storage_key"]).pack
    project, model, *moment, name = pack.split("/")
    unique, kind = name.split(".")
    assert (int(project), int(model)) == (echo.project_id, echo.pk)
    received = event["request_received_at"]
    assert moment == [received[:4], received[5:7], received[8:10], received[11:13]]
    assert unique[14] == "7" and kind == "inputs"


def test_an_event_is_published_for_what_is_stored(proxied, echo):
    proxied.infer("echo", request_body(id="published"))
    proxied.marker("published")

    def found():
        return [e for e in proxied.events() if e.inference_id == "published"]

    wait_until(found, 10)
    (event,) = found()
    assert settled(event.as_dict()) == settled(proxied.marker("published")["event"])
    assert event.request_received_at <= event.request_forwarded_at
    assert event.request_forwarded_at <= event.request_responded_at
    assert event.request_responded_at <= event.event_published_at


def test_metadata_goes_into_the_marker(proxied, echo):
    items = [
        {"key": "camera", "type": "string", "value": "north"},
        {"key": "frame", "type": "int", "value": "x"},
        {"key": "latitude", "type": "float", "value": "51.5"},
        {"key": "longitude", "type": "float", "value": 4.0},
        {"key": "data_source", "type": "string", "value": "quay-3"},
    ]
    body = request_body(id="with-metadata")
    body["inputs"][0]["parameters"] = {"metadata": orjson.dumps(items).decode()}
    answer = proxied.infer("echo", body)
    assert answer.headers["Inference-Store"] == "recorded"
    marker = proxied.marker("with-metadata")
    # As in creates of the API: what the record has a column for is no metadata.
    assert marker["metadata"] == items[:1]
    assert (marker["latitude"], marker["longitude"]) == (51.5, 4.0)
    assert marker["data_source"] == "quay-3"
    assert len(marker["warnings"]) == 1 and "frame" in marker["warnings"][0]


def test_metadata_is_stripped_when_the_model_says_so(proxied, store, upstream):
    store.model(upstream.url, "stripped", strip_metadata=True)
    body = request_body(id="stripped-1")
    body["inputs"][0]["parameters"] = {"metadata": '[{"key":"a","value":"b"}]', "x": 1}
    data = gzip.compress(orjson.dumps(body))
    answer = proxied.infer("stripped", data, headers={"Content-Encoding": "gzip"})
    assert answer.headers["Inference-Store"] == "recorded"
    seen = upstream.seen[-1]
    assert orjson.loads(seen.body)["inputs"][0]["parameters"] == {"x": 1}
    assert "content-encoding" not in seen.headers
    assert proxied.marker("stripped-1")["metadata"][0]["key"] == "a"


def test_a_request_without_an_id_gets_one_that_goes_upstream_too(
    proxied, echo, upstream
):
    answer = proxied.infer("echo")
    given = answer.headers["Inference-Id"]
    assert given[14] == "7" and len(given) == 36
    assert upstream.seen[-1].headers["inference-id"] == given
    assert upstream.seen[-1].headers["x-request-id"] == given
    assert proxied.marker(given)["event"]["inference_id"] == given


@pytest.mark.parametrize("given", ["ü/ä %2F,?#", "a b", "x" * 255, "日本"])
def test_any_id_is_kept_as_it_is(proxied, echo, given):
    answer = proxied.infer("echo", request_body(id=given))
    assert requests.utils.unquote(answer.headers["Inference-Id"]) == given
    assert proxied.marker(given)["event"]["inference_id"] == given


@pytest.mark.parametrize("model_id", ["a/b c%2F", "日本/ü?x=1#", "..."])
def test_a_model_may_have_any_id(proxied, store, upstream, model_id):
    store.model(upstream.url + "/base/", model_id)
    answer = proxied.infer(model_id)
    assert answer.headers["Inference-Store"] == "recorded"
    name = quote(model_id, safe="") if model_id.strip(".") else "%2E%2E%2E"
    assert upstream.seen[-1].path == f"/base/v2/models/{name}/infer"


def test_a_model_may_have_another_name_upstream(proxied, store, upstream):
    store.model(upstream.url, "renamed", upstream_model="echo")
    assert proxied.infer("renamed").status_code == 200
    assert upstream.seen[-1].path == "/v2/models/echo/infer"


def test_a_server_without_versions_is_asked_for_the_model(proxied, echo, upstream):
    answer = proxied.infer("echo", path="/v2/models/echo/versions/2/infer")
    assert answer.status_code == 200
    assert [seen.path for seen in upstream.seen[-2:]] == [
        "/v2/models/echo/versions/2/infer",
        "/v2/models/echo/infer",
    ]


def test_a_version_goes_on_to_a_server_that_knows_it(proxied, store, upstream):
    store.model(upstream.url, "knows-versions")
    path = "/v2/models/knows-versions/versions/2/infer"
    assert proxied.infer("", path=path).status_code == 200
    assert upstream.seen[-1].path == path


def test_only_listed_headers_pass(proxied, store, upstream):
    store.model(upstream.url, "gzipped")
    headers = {
        "Upstream-Authorization": "Bearer theirs",
        "Cookie": "session=1",
        "X-Forwarded-For": "1.2.3.4",
        "Traceparent": "00-1-2-00",
        "User-Agent": "tester",
        "Accept-Encoding": "gzip",
    }
    answer = proxied.infer("gzipped", headers=headers, stream=True)
    seen = upstream.seen[-1].headers
    assert seen["authorization"] == "Bearer theirs"
    assert seen["traceparent"] == "00-1-2-00"
    assert seen["user-agent"] == "tester"
    assert not {"cookie", "x-forwarded-for", "upstream-authorization"} & seen.keys()
    assert proxied.store.secret not in str(seen)
    assert "X-Secret" not in answer.headers
    assert answer.headers["Content-Encoding"] == "gzip"
    raw = answer.raw.read(decode_content=False)
    stored = proxied.marker(answer.headers["Inference-Id"])
    blob = proxied.blob(stored["event"]["inference_storage_key"])
    assert blob == gzip.decompress(raw)
    assert stored["answer"]["content_encoding"] == "gzip"


def test_several_images_are_several_inferences(proxied, store, upstream):
    store.model(upstream.url, "detector")
    pictures = [picture(color) for color in ("red", "green", "blue")]
    inputs = [
        {
            "name": f"image-{n}",
            "datatype": "BYTES",
            "shape": [1],
            "data": [base64.b64encode(each).decode()],
            "parameters": {"content_type": "base64"},
        }
        for n, each in enumerate(pictures)
    ]
    answer = proxied.infer("detector", {"id": "batch", "inputs": inputs})
    assert answer.headers["Inference-Id"] == "batch-0,batch-1,batch-2"
    for number, each in enumerate(pictures):
        marker = proxied.marker(f"batch-{number}")
        event = marker["event"]
        assert proxied.blob(event["data_storage_key"]) == each
        assert marker["input"]["content_type"] == "image/png"
        assert marker["request_part"] == [number, 3]
        own = orjson.loads(proxied.blob(event["inference_storage_key"]))
        assert [output["data"] for output in own["outputs"]] == [[number]]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_is_forwarded_as_it_is(proxied, echo, upstream, encoding):
    name = f"compressed-{encoding}"
    plain = orjson.dumps(request_body(id=name))
    data = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    answer = proxied.infer("echo", data, headers={"Content-Encoding": encoding})
    assert answer.headers["Inference-Id"] == name
    assert upstream.seen[-1].body == data
    assert upstream.seen[-1].headers["content-encoding"] == encoding
    key = proxied.marker(name)["event"]["data_storage_key"]
    assert proxied.blob(key) == b"a ship"


def test_a_body_in_chunks_is_forwarded_whole(proxied, echo, upstream):
    pieces = [
        orjson.dumps(request_body(id="pieces"))[n::1][:7] for n in range(0, 200, 7)
    ]
    answer = requests.post(
        f"{proxied.url}/v2/models/echo/infer",
        data=iter(pieces),
        headers={"Authorization": f"Bearer {proxied.store.secret}"},
        timeout=10,
    )
    assert answer.headers["Inference-Id"] == "pieces"
    assert upstream.seen[-1].body == b"".join(pieces)


def test_tritonclient_gets_the_same_bytes_as_directly(proxied, store, upstream):
    store.model(upstream.url, "binary")
    tensor = triton.InferInput("in", [4, 8], "FP32")
    values = np.arange(32, dtype=np.float32).reshape(4, 8)
    tensor.set_data_from_numpy(values, binary_data=True)
    wanted = [triton.InferRequestedOutput("out", binary_data=True)]
    answers = []
    for address in (upstream.url, proxied.url):
        client = triton.InferenceServerClient(address.removeprefix("http://"))
        headers = {"Authorization": f"Bearer {store.secret}"}
        answers.append(
            client.infer(
                "binary", [tensor], outputs=wanted, request_id="bin", headers=headers
            )
        )
        client.close()
    direct, proxied_answer = answers
    assert proxied_answer.get_response() == direct.get_response()
    assert (proxied_answer.as_numpy("out") == values).all()
    assert upstream.seen[-1].body == upstream.seen[-2].body
    marker = proxied.marker("bin")
    assert marker["answer"]["header_length"] is not None
    stored = orjson.loads(proxied.blob(marker["event"]["data_storage_key"]))
    assert np.allclose(np.array(stored["data"]).ravel(), values.ravel())


def test_with_storage_off_all_passes_and_nothing_is_kept(proxied, store, upstream):
    store.model(upstream.url, "echo", enable_inference_storage=False)
    store.model(upstream.url, "unread", enable_inference_storage=False)
    answer = proxied.infer("unread", b"not json", headers={"Content-Encoding": "br"})
    assert answer.status_code == 200
    assert answer.headers["Inference-Store"] == "off"
    assert upstream.seen[-1].body == b"not json"
    named = proxied.infer("unread", request_body(id="off-1"))
    assert named.headers["Inference-Id"] == "off-1"
    assert "off-1" not in [e["event"]["inference_id"] for e in proxied.markers()]


def test_switching_storage_counts_within_a_second(proxied, store, upstream):
    store.model(upstream.url, "switched", enable_inference_storage=False)
    assert proxied.infer("switched").headers["Inference-Store"] == "off"
    store.model(upstream.url, "switched")
    told = lambda: proxied.infer("switched").headers["Inference-Store"]  # noqa: E731
    wait_until(lambda: told() == "recorded", 1.5)


def test_an_event_stream_is_passed_on_and_acknowledges_nothing(
    proxied, store, upstream
):
    store.model(upstream.url, "events")
    answer = proxied.infer("events", request_body(id="stream"), stream=True)
    assert answer.headers["Inference-Store"] == "streaming"
    chunks = list(answer.iter_content(None))
    assert chunks == [b"data: 1\n\n", b"data: 2\n\n"]
    assert "stream" not in [e["event"]["inference_id"] for e in proxied.markers()]


def test_json_in_chunks_is_recorded(proxied, store, upstream):
    store.model(upstream.url, "chunked")
    answer = proxied.infer("chunked", request_body(id="in-chunks"))
    assert answer.headers["Inference-Store"] == "recorded"
    key = proxied.marker("in-chunks")["event"]["inference_storage_key"]
    assert proxied.blob(key) == answer.content == b'{"outputs":[]}'


@pytest.mark.parametrize("behaviour", ["early", "until-the-end"])
def test_an_answer_may_come_in_any_form_of_http(proxied, store, upstream, behaviour):
    store.model(upstream.url, behaviour)
    answer = proxied.infer(behaviour)
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert answer.headers["Inference-Store"] == "recorded"


def test_a_large_body_and_a_large_answer_pass_whole(proxied, store, upstream):
    store.model(upstream.url, "binary", enable_inference_storage=False)
    head = orjson.dumps(request_body())
    body = head + bytes(range(256)) * 6000
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = proxied.infer("binary", body, headers=headers)
    assert upstream.seen[-1].body == body
    assert answer.content.endswith(body[len(head) :])


def test_an_error_of_the_model_passes_and_is_not_recorded(proxied, store, upstream):
    store.model(upstream.url, "failing")
    answer = proxied.infer("failing")
    assert (answer.status_code, answer.json()) == (400, {"error": "bad tensor"})
    assert answer.headers["Inference-Store"] == "not-recorded; reason=upstream-status"


def test_what_is_too_large_to_keep_is_still_answered(proxied, echo):
    body = request_body(id="large")
    body["inputs"][0]["data"] = ["x" * 1_100_000]
    answer = proxied.infer("echo", body)
    assert answer.status_code == 200
    assert answer.headers["Inference-Store"] == "not-recorded; reason=too-large"


def test_what_cannot_be_taken_apart_is_kept_as_it_came(proxied, echo):
    body = b'{"id": "odd", "inputs": "not a list"}'
    assert proxied.infer("echo", body).headers["Inference-Store"] == "recorded"
    marker = proxied.marker("odd")
    assert proxied.blob(marker["event"]["data_storage_key"]) == body
    assert marker["warnings"]


def test_a_client_that_leaves_does_not_end_the_call(proxied, store, upstream):
    store.model(upstream.url, "slow")
    with pytest.raises(requests.ReadTimeout):
        proxied.infer("slow", request_body(id="left"), timeout=0.2)
    assert proxied.marker("left")["answer"]["status"] == 200


def test_what_the_server_says_about_a_model_passes(proxied, echo, upstream):
    headers = {"Authorization": f"Bearer {proxied.store.secret}"}
    for path in ("", "/ready", "/versions/1", "/versions/1/ready"):
        url = f"{proxied.url}/v2/models/echo{path}"
        assert requests.get(url, headers=headers, timeout=5).json()["name"] == "echo"


def test_the_proxy_tells_about_itself(proxied):
    for path in ("/v2", "/v2/"):
        told = requests.get(proxied.url + path, timeout=5).json()
        assert told["name"] == "inference-store"
        assert "binary_tensor_data" in told["extensions"]
    assert requests.get(f"{proxied.url}/v2/health/ready", timeout=5).ok
    metrics = requests.get(f"{proxied.url}/metrics", timeout=5).text
    assert "istore_proxy_recorded_total" in metrics
    assert "istore_spool_bytes" in metrics
    assert "istore_proxy_in_flight 0.0" in metrics  # the question itself is no call


def test_metrics_want_their_token_where_others_come_through(proxied, settings):
    def may(peer, authorization=b""):
        return may_read_metrics(peer, authorization)

    right = f"Bearer {settings.ISTORE_METRICS_TOKEN}".encode()
    settings.ISTORE_IS_LOCAL = True
    assert may("127.0.0.1") and may("::1") and may("::ffff:127.0.0.1")
    assert not may("10.0.0.1") and not may("") and not may("127.0.0.1", b"Bearer x")
    settings.ISTORE_IS_LOCAL = False
    assert not may("127.0.0.1") and may("10.0.0.1", right)
    wrong = {"Authorization": "Bearer wrong"}
    assert (
        requests.get(f"{proxied.url}/metrics", headers=wrong, timeout=5).status_code
        == 401
    )
