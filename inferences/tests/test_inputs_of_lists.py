"""What a list asks for its inputs: those that are missing cost one statement together."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exports.tests.conftest import png
from inferences.web.view_models.inputs import looks_of_blobs
from istore import blobs
from istore.blobs import moves

pytestmark = pytest.mark.django_db


@pytest.fixture
def stored(blob_directory):
    """A picture under its key, one that was moved, and two rows of one input that is gone."""
    blobs.put("1/1/here", png())
    blobs.put("1/1/new", b"moved")
    moves.note({"1/1/old": "1/1/new"})
    return {
        1: ("1/1/here", "image/png"),
        2: ("1/1/old", "text/plain"),
        3: ("1/1/gone", "image/png"),
        4: ("1/1/gone", "text/plain"),
    }


def test_missing_inputs_are_looked_for_by_one_statement(stored):
    with CaptureQueriesContext(connection) as asked:
        found = looks_of_blobs(stored)
    assert len(asked) == 1
    assert found[1].picture
    assert found[2].text == "moved"
    assert found[3].missing == found[4].missing == "expired"


def test_inputs_that_are_there_need_no_statement(stored):
    with CaptureQueriesContext(connection) as asked:
        assert looks_of_blobs({1: stored[1]})[1].picture
    assert not asked.captured_queries


def test_moved_prompts_are_read_where_they_are(stored):
    found = looks_of_blobs({2: stored[2]}, prompts={2})
    assert found[2].text == "moved"
