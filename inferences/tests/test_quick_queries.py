"""What is read and compiled without the frameworks is what they read and compile."""

from __future__ import annotations

import pytest
from django.db.models import Q

from inferences.models import SLOTS, Inference
from inferences.search.access_paths import Sql, where_of, where_of_inferences
from inferences.search.api.filter_serializers import (
    CountQuerySerializer,
    InferenceQuerySerializer,
)
from inferences.search.api.quick_queries import read_quickly
from istore.errors import Invalid

COMPARISON = {"key": "frame", "type": "int", "operator": ">", "value": "7"}
ORDINARY = [
    {},
    {"filters": {}},
    {"filters": {"metadata_filter": [COMPARISON]}},
    {"filters": {"metadata_filter": [COMPARISON, {**COMPARISON, "key": "camera"}]}},
    {"pagination": {"direction": "desc", "limit": 50, "offset": 3, "sort": "score"}},
    {"pagination": {"cursor": "abc"}, "presign": True},
]
UNUSUAL = [
    [],
    {"filters": None},
    {"filters": {"metadata_filter": []}},
    {"filters": {"metadata_filter": [{**COMPARISON, "value": "seven"}]}},
    {"filters": {"metadata_filter": [{**COMPARISON, "key": ""}]}},
    {"filters": {"metadata_filter": [{**COMPARISON, "more": 1}]}},
    {"filters": {"metadata_filter": [COMPARISON] * 1000}},
    {"filters": {"data_source_filter": "quay"}},
    {"filters": {"other": 1}},
    {"filter": {}},
    {"pagination": {"limit": 0}},
    {"pagination": {"limit": True}},
    {"pagination": {"limit": 10**6}},
    {"pagination": {"limit": "5"}},
    {"pagination": {"offset": -1}},
    {"pagination": {"offset": 2**31 + 1}},
    {"pagination": {"sort": "name"}},
    {"pagination": {"sort": []}},
    {"pagination": {"cursor": "a" * 4001}},
    {"pagination": {"cursor": "abc", "offset": 1}},
    {"presign": 1},
    {"limit": 5},
    {"unknown": 1},
]


@pytest.mark.parametrize("serializer", [InferenceQuerySerializer, CountQuerySerializer])
@pytest.mark.parametrize("body", ORDINARY)
def test_an_ordinary_body_is_read_as_the_serializer_reads_it(serializer, body):
    quick = read_quickly(serializer.value_class, body)

    assert quick is not None
    assert quick == serializer().run_validation(body)
    assert repr(quick) == repr(serializer().run_validation(body))  # what cursors hash


@pytest.mark.parametrize("body", UNUSUAL)
def test_any_other_body_is_left_to_the_serializer(body):
    assert read_quickly(InferenceQuerySerializer.value_class, body) is None


def test_a_count_has_a_limit():
    assert CountQuerySerializer.parse({"limit": 5}).limit == 5
    with pytest.raises(Invalid):
        CountQuerySerializer.parse({"limit": 0})


def list_sent(sql: Sql) -> list[str]:
    """Return what is sent: ``Int8(7)`` of Django is 7, but 7.0 is another value than 7."""
    return [sql.sql, *map(str, sql.values)]


VALUES = [0, 7, -(2**63), 2**63 - 1, 2**63, -(2**70), 0.5, 1e300, -0.0, "", "a", True]
COLUMNS = [names[0] for names in SLOTS.values()]


@pytest.mark.parametrize("column", [*COLUMNS, "latitude", "data_hash"])
@pytest.mark.parametrize("lookup", ["", "__exact", "__lt", "__lte", "__gt", "__gte"])
def test_a_comparison_of_a_slot_is_compiled_as_django_compiles_it(column, lookup):
    for value in VALUES:
        test = Q(**{f"{column}{lookup}": value})
        try:
            expected = where_of(Inference.objects.filter(test))
        except (TypeError, ValueError) as error:
            with pytest.raises(type(error)):
                where_of_inferences(test)
            continue
        for wrapped in (test, Q(test), test & Q()):
            assert list_sent(where_of_inferences(wrapped)) == list_sent(expected)
        flipped = where_of(Inference.objects.filter(~test))
        assert list_sent(where_of_inferences(~test)) == list_sent(flipped)
