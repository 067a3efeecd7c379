import pytest

from proxy.tests.conftest import request_body

pytestmark = pytest.mark.django_db


@pytest.fixture
def echo(store, upstream, proxied):
    return store.model(upstream.url, "echo")


def test_an_answer_is_passed_on_and_recorded(proxied, echo, upstream):
    answer = proxied.infer("echo", request_body(id="first"))
    assert answer.status_code == 200
    assert answer.headers["Inference-Store"] == "recorded"
    assert answer.headers["Inference-Id"] == "first"
    assert upstream.seen[-1].body == answer.request.body
    marker = proxied.marker("first")
    assert proxied.blob(marker["event"]["data_storage_key"]) == b"a ship"
    assert proxied.blob(marker["event"]["inference_storage_key"]) == answer.content
