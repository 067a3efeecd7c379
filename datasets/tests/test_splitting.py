"""Splits: by chance that a seed decides, groups together, nothing moved by what comes."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.splitting import Splitting

hashes = st.binary(min_size=32, max_size=32)
shares = st.lists(st.integers(0, 20), min_size=1, max_size=5).filter(sum)


def splitting(parts: list[int], **more) -> Splitting:
    total = sum(parts)
    wanted = {f"part-{n}": each / total for n, each in enumerate(parts)}
    return Splitting(**{"kind": "share", "shares": wanted} | more)


@given(shares, st.integers(0, 2**63 - 1), st.lists(hashes, unique=True, max_size=40))
def test_the_same_seed_gives_the_same_split_whatever_else_is_there(parts, seed, found):
    first, again = splitting(parts, seed=seed), splitting(parts, seed=seed)
    assert [first.split_of(h, {}) for h in found] == [
        again.split_of(h, {}) for h in found
    ]


@given(shares, st.integers(0, 1000), hashes)
def test_the_order_in_which_the_shares_stand_does_not_matter(parts, seed, found):
    wanted = splitting(parts, seed=seed)
    turned = splitting(parts, seed=seed, shares=dict(reversed(wanted.shares.items())))
    assert wanted.split_of(found, {}) == turned.split_of(found, {})


@given(shares, st.integers(0, 1000))
def test_shares_hold_as_closely_as_chance_allows(parts, seed):
    wanted, count = splitting(parts, seed=seed), 2000
    drawn = Counter(
        wanted.split_of(hashlib.sha256(str(n).encode()).digest(), {})
        for n in range(count)
    )
    for name, share in wanted.shares.items():
        room = 6 * math.sqrt(count * share * (1 - share))
        assert abs(drawn[name] - share * count) <= room


@given(shares, st.integers(0, 1000), hashes, hashes, st.text(max_size=20))
def test_a_group_stays_together(parts, seed, one, other, group):
    wanted = splitting(parts, kind="group", key="patient", seed=seed)
    metadata = {"patient": ["string", group]}
    assert wanted.split_of(one, metadata) == wanted.split_of(other, metadata)


def test_a_value_names_the_split_itself():
    wanted = Splitting("value", {"train": 0.5, "test": 0.5}, key="split")
    assert wanted.split_of(b"", {"split": ["string", "test"]}) == "test"
    assert wanted.split_of(b"", {"split": ["string", "other"]}) is None
    assert wanted.split_of(b"", {}) is None


def test_without_splits_nothing_has_one():
    assert Splitting().split_of(b"", {}) is None
    assert Splitting().names == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "shares"},
        {"kind": "share", "shares": {}},
        {"kind": "share", "shares": {"train": 0.5}},
        {"kind": "share", "shares": {"train": 2, "test": -1}},
        {"kind": "share", "shares": {"a/b": 1}},
        {"kind": "share", "shares": {"train": math.nan}},
        {"kind": "group"},
        {"kind": "share", "key": "patient"},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        Splitting(**wrong)
