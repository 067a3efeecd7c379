"""Two texts compared word by word."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferences.web.view_models.word_diff import CHARS_MAX, compare_words

words = st.text("ab \n.", max_size=40)


@given(words, words)
def test_both_texts_are_whole_in_their_difference(before, after):
    found = compare_words(before, after)

    assert "".join(piece.text for piece in found.before) == before
    assert "".join(piece.text for piece in found.after) == after
    assert not found.is_cut
    if before == after:
        assert not found.removed and not found.added


@pytest.mark.parametrize(
    ("before", "after", "pieces"),
    [
        ("the cat sat", "the dog sat", ["the ", "-cat", "+dog", " sat"]),
        ("a", "a", ["a"]),
        ("", "new", ["+new"]),
        ("old", "", ["-old"]),
        # A space between two changes is a part of them.
        ("one two four", "x y four", ["-one two", "+x y", " four"]),
    ],
)
def test_what_differs_is_told_in_words(before, after, pieces):
    marks = {"same": "", "removed": "-", "added": "+"}
    found = compare_words(before, after).pieces

    assert [marks[piece.kind] + piece.text for piece in found] == pieces


def test_long_texts_without_anything_in_common_take_a_second_at_most():
    before = " ".join(str(n % 7) for n in range(100_000))
    after = " ".join(str(n * n % 11) for n in range(100_000))

    began = time.process_time()
    found = compare_words(before, after)

    assert time.process_time() - began < 3
    assert not found.is_cut
    assert compare_words("x" * (CHARS_MAX + 1), "").is_cut
