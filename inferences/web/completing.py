"""Values that complete a comparison in the text query, with their counts."""

from __future__ import annotations

from collections import Counter

import orjson
from django.contrib.auth.decorators import login_required
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from inferences.models import RegisteredModel
from inferences.search import counting
from inferences.search.filters import InferenceFilter
from inferences.search.filters.metadata import KINDS, TERMS_OF_KEYS
from inferences.store.metadata_slots import place_of
from inferences.web.access import visible_model
from inferences.web.view_models.sampling import values_at
from istore.db.replica import reads_replica
from istore.db.statement_timeout import statement_timeout
from protocols.text_requests import SESSION

SECONDS = 1.0
OFFERED = 12
LONGEST = 200  # characters of a value that is offered
TYPES = ("string", "int", "float")
KEYS_OF_TERMS = {**TERMS_OF_KEYS, "conversation": SESSION}


@login_required
@require_safe
@reads_replica
def values(request: HttpRequest, model_id: str) -> HttpResponse:
    """Return as JSON the most frequent values of ``key`` that have ``part`` in them.

    Each is ``[value, count]``; ``is_whole`` says whether all inferences were counted, or the
    newest. Numbers of a key are written as they are compared.
    """
    model = visible_model(request, model_id)
    key = request.GET.get("key", "")
    part = request.GET.get("part", "").lower()
    try:
        counts, is_whole = _count(model, KEYS_OF_TERMS.get(key, key))
    except OperationalError:
        counts, is_whole = Counter(), False
    fitting = [
        (value, number)
        for value, number in sorted(
            counts.items(), key=lambda each: (-each[1], each[0])
        )
        if part in value.lower() and len(value) <= LONGEST
    ]
    found = {"values": fitting[:OFFERED], "is_whole": is_whole}
    return HttpResponse(orjson.dumps(found), content_type="application/json")


def _count(model: RegisteredModel, key: str) -> tuple[Counter[str], bool]:
    """Return the counts of a key's values, of its first type that has some."""
    everything = InferenceFilter()
    for type_ in TYPES:
        place = place_of(model, key, KINDS[type_])
        if place is None:
            continue
        with statement_timeout(SECONDS):
            if place.slot and type_ == "string":
                told = counting.values_of(model, everything, place.slot)
                if told is not None:
                    return told, True
            found, is_whole = values_at(model, everything, place)
        return Counter(map(str, found)), is_whole
    return Counter(), True
