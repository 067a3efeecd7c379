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


@given(shares, st.integers(0, 2**63 - 1), hashes)
def test_bounds_are_exact(parts, seed, found):
    """As the sum of shares and the quotient of a digest were compared by earlier releases."""
    wanted = splitting(parts, seed=seed)
    drawn = int.from_bytes(wanted.digest_of(found, {})[:8]) / 2**64
    reached = 0.0
    for name, share in sorted(wanted.shares.items()):
        reached += share
        if share and drawn < reached:
            assert wanted.split_of(found, {}) == name
            return


def test_a_moved_unit_stays_where_it_was_moved_until_its_seed_changes():
    wanted = splitting([1, 1], seed=3)
    first = wanted.split_of(b"one", {})
    (other,) = set(wanted.shares) - {first}
    moved = wanted.moving([wanted.digest_of(b"one", {})], other)
    assert moved.split_of(b"one", {}) == other
    assert Splitting.from_json(moved.to_json()) == moved
    assert splitting([3, 1], seed=3).keeping_moved(moved).moved == moved.moved
    assert splitting([1, 1], seed=4).keeping_moved(moved).moved == {}
    assert splitting([1], seed=3).keeping_moved(moved).moved in ({}, moved.moved)
    back = moved.moving([wanted.digest_of(b"one", {})], first)
    assert back == wanted  # where its hash draws it, nothing is kept


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["share", "group", "value", "none"])
def test_the_database_splits_as_python_does(kind, dataset, model):
    from datasets.models import DatasetEntry
    from istore.db.clock import now

    key = "patient" if kind in ("group", "value") else ""
    wanted = Splitting(kind, {"a": 0.3, "b": 0.0, "c": 0.7}, seed=11, key=key)
    source = dataset.sources.create(
        model_id="m", task_type="", box_format="", class_labels=[]
    )
    values = ["a", "c", "other", "x\\y", "é"]
    entries = DatasetEntry.objects.bulk_create(
        DatasetEntry(
            dataset=dataset,
            source=source,
            model_id="m",
            inference_id=str(n),
            row_id=n,
            first_version=1,
            happened_at=now(),
            inference_action=1,
            data_hash=hashlib.sha256(str(n).encode()).digest(),
            data_size=1,
            metadata={"patient": ["string", values[n % 6]]} if n % 6 < 5 else {},
            content_hash=b"",
        )
        for n in range(200)
    )
    if wanted.may_move:
        units = [wanted.digest_of(e.data_hash, e.metadata) for e in entries[:40:3]]
        wanted = wanted.moving(units, "b")
        assert wanted.moved
    found = dict(dataset.entries.with_split(wanted).values_list("pk", "split"))
    assert found == {e.pk: wanted.split_of(e.data_hash, e.metadata) for e in entries}
