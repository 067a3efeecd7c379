"""Several texts in one request of a session: an inference each."""

from __future__ import annotations

import openai
import orjson
import pytest

from inferences.predictions.parse import deconstruct
from proxy.tests.openai_upstream import OpenAIUpstream

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def embedder():
    server = OpenAIUpstream()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client_of(store, embedder, proxied):
    def client(model_id: str):
        store.model("", model_id, task_type="Text Embedding", embedding_size=3)
        session, secret = store.session(
            "url",
            {"url": embedder.url, "protocol": "openai"},
            model_id=model_id,
            endpoint="v1/embeddings",
        )
        base = f"{proxied.url}/api/v1/inferencesessions/{session.id.hex}/infer/v1"
        return openai.OpenAI(base_url=base, api_key=secret, max_retries=0)

    return client


def ask(client, texts, **options):
    answer = client.embeddings.with_raw_response.create(
        model="m", input=texts, **options
    )
    assert answer.headers["Inference-Store"] == "recorded"
    return answer.headers["Inference-Id"].split(","), answer.parse()


@pytest.mark.parametrize("options", [{}, {"encoding_format": "float"}])
def test_each_text_of_the_client_has_its_vector(client_of, proxied, options):
    texts = ["a", "two", "ships"]

    ids, answer = ask(client_of(f"several-{len(options)}"), texts, **options)

    assert len(ids) == 3 and len(answer.data) == 3
    tokens = []
    for n, text in enumerate(texts):
        marker = proxied.marker(ids[n])
        asked = orjson.loads(proxied.blob(marker["event"]["data_storage_key"]))
        assert asked["input"] == text
        said = proxied.blob(marker["event"]["inference_storage_key"]).decode()
        found = deconstruct(said, task_type="Text Embedding", embedding_size=3)
        assert found.embedding == [len(text), n, 0.5]
        metadata = {each["key"]: each["value"] for each in marker["metadata"]}
        assert metadata["model_version"] == "embedder-2"
        assert metadata["inference_session"]
        tokens.append(metadata.get("total_tokens"))
        assert marker["warnings"] == []
    assert tokens == ["9", None, None]


def test_ids_of_the_caller_are_numbered(client_of, proxied):
    headers = {"Inference-Id": "mine"}

    ids, _ = ask(client_of("numbered"), ["a", "b"], extra_headers=headers)

    assert ids == ["mine-0", "mine-1"]
    again, _ = ask(client_of("numbered"), ["a", "b"], extra_headers=headers)
    # Taken by then, they may have a mark behind their number.
    assert [each.partition("~")[0] for each in again] == ids


@pytest.mark.parametrize("texts", ["a ship", ["a ship"]])
def test_one_text_is_one(client_of, proxied, texts):
    ids, _ = ask(client_of("alone"), texts)

    assert len(ids) == 1
    marker = proxied.marker(ids[0])
    asked = orjson.loads(proxied.blob(marker["event"]["data_storage_key"]))
    assert asked["input"] == texts
