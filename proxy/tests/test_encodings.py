"""Compressed bodies: how much comes out, in how much time, and what is held meanwhile."""

from __future__ import annotations

import gzip
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.encodings import NoRoom, TooLarge, decode

MEMBERS = st.lists(st.binary(max_size=3000), min_size=1, max_size=5)


@given(MEMBERS, st.binary(max_size=300))
def test_all_members_come_out_and_nothing_else_does(members, rest):
    body = b"".join(map(gzip.compress, members))
    whole = b"".join(members)
    assert decode(body, "gzip", len(whole)) == whole
    if whole:
        with pytest.raises(TooLarge):
            decode(body, "gzip", len(whole) - 1)
    with pytest.raises(ValueError):
        decode(body[:-1], "gzip", len(whole))
    assert decode(zlib.compress(whole), "deflate", len(whole)) == whole
    assert decode(zlib.compress(whole)[2:-4], "deflate", len(whole)) == whole


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_come_out_or_are_told(body, encoding):
    try:
        decode(body, encoding, 10_000)
    except ValueError as error:
        assert str(error)


def test_many_members_take_linear_time():
    body = gzip.compress(b"", 9, mtime=0) * 90_000  # 1.8 MB
    began = time.thread_time()
    assert decode(body, "gzip", 100) == b""
    assert time.thread_time() - began < 3


def test_more_members_than_anybody_sends_are_refused():
    body = gzip.compress(b"", 9, mtime=0) * 100_001
    with pytest.raises(ValueError, match="members"):
        decode(body, "gzip", 100)


def test_room_is_taken_piece_by_piece_before_more_comes_out():
    body = gzip.compress(bytes(50 * 2**20))
    taken: list[int] = []

    def take(count: int) -> bool:
        taken.append(count)
        return sum(taken) <= 3 * 2**20

    with pytest.raises(NoRoom):
        decode(body, "gzip", 2**30, take)
    assert sum(taken) <= 4 * 2**20
