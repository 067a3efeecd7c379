from __future__ import annotations

import pytest

from inferences.models import InferencePayload
from ingest.tests.builders import MOMENT, capture

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_becomes_a_record(model, deliver, stream):
    deliver(capture(model, "a"))

    stored = model.inferences.get()
    payload = InferencePayload.objects.beside(model).get()
    assert stored.created_at == MOMENT
    assert payload.data_content_type == "image/png"
    assert stream.lag().pending == 0
