"""A text is searched by: a session embeds it, and the nearest vectors are found."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from inference_store import mocks

from inferences.models import InferenceAction
from inferences.search.query import InferenceQuery
from inferences.search.vectors import EmbeddingFilter
from inferences.store import removal
from inferences.store.recording import NewInference, record
from istore.errors import Conflict
from services.embedding import vector_in
from services.sessions import terminate_session

pytestmark = pytest.mark.django_db
TEXTS = ("a ship enters the harbour", "rain on the quay", "a cat sleeps")


def test_the_nearest_to_a_text_come_first(store, proxied, settings):
    settings.ISTORE_PROXY_INTERNAL_URL = proxied.url
    session, _ = store.session("mock", {"mock": "text-embedding"}, endpoint="embed")
    model = store.model(
        "",
        "captions",
        embedding_size=64,
        text_embedding_service=str(session.service_id),
    )
    embed = mocks.TextEmbedding()

    def ask(text: str) -> list[str]:
        found = InferenceQuery(embedding=EmbeddingFilter(text=text)).page(model)
        return [each.inference_id for each in found.inferences]

    def fill() -> None:
        record(
            model,
            [
                NewInference(
                    inference_id=text,
                    inference_action=InferenceAction.EMBED,
                    data_hash=b"\0" * 32,
                    created_at=datetime(2026, 5, number, tzinfo=UTC),
                    embedding=embed.vector(text),
                )
                for number, text in enumerate(TEXTS, 1)
            ],
        )

    def empty() -> None:  # what is committed outlives the model that it is of
        for text in TEXTS:
            removal.remove_one("test", model, text)

    store.thread.submit(fill).result()
    assert store.thread.submit(ask, "the ship in a harbour").result()[0] == TEXTS[0]
    assert store.thread.submit(ask, "sleeping cats").result()[0] == TEXTS[2]
    store.thread.submit(terminate_session, "test", session).result()
    with pytest.raises(Conflict) as raised:
        store.thread.submit(ask, "rain").result()
    assert raised.value.code == "text-embedding-not-ready"
    store.thread.submit(empty).result()


def test_vectors_are_read_in_the_forms_they_are_answered_in():
    for answer in (
        [1, 2.5],
        [[1, 2.5]],
        {"embedding": [1, 2.5]},
        [{"embedding": [1, 2.5]}],
        {"data": [{"embedding": [1, 2.5], "index": 0}]},
        {"outputs": [{"name": "o", "data": [1, 2.5]}]},
    ):
        assert vector_in(answer) == [1, 2.5]
    for answer in (None, [], {}, "x", [True], [{"embedding": []}], {"data": []}):
        assert vector_in(answer) is None
