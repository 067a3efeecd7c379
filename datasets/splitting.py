"""Splits: a hash decides the split of an entry, so that no assignment has to be stored.

The unit of splitting is the input (equal inputs stay together) or the value of a metadata
key (groups stay together). ``sha256(seed, unit)``, scaled to a number from 0 to 1, falls
into one of the shares. So the same seed gives the same split, and later additions do not
move earlier entries. Shares are met only on average: with n units a split is off by about
sqrt(n) units. A unit that a person moved is kept with the splitting, by a hash of seed and
unit: ``moved``. ``split_sql`` has the same rules as an expression of the database.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

KINDS = ("none", "share", "group", "value")
SPLITS_MAX = 10
MOVED_MAX = 2_000  # units; the splitting is read with its dataset
DIGEST_BYTES = 16  # of the hash that a moved unit is kept by
LIMIT = 2**64  # of the numbers that decide
DIGEST = re.compile(r"[0-9a-f]{32}")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
DEFAULT = {"train": 0.8, "validation": 0.1, "test": 0.1}
NEARLY = 1e-9


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a dataset is split, by ``kind``.

    ``none``: not at all. ``share``: shares of the inputs. ``group``: shares of the groups that
    have one value of the metadata ``key``. ``value``: that value is the name of the split.
    Shares add up to 1. ``moved`` has the split of each unit that a person moved, by the
    ``digest_of`` its entries.
    """

    kind: str = "none"
    shares: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT))
    seed: int = 0
    key: str = ""
    moved: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: one of {', '.join(KINDS)}.")
        if not 0 < len(self.shares) <= SPLITS_MAX:
            raise ValueError(f"shares: 1 to {SPLITS_MAX} splits.")
        if odd := [name for name in self.shares if not WORD.fullmatch(name)]:
            raise ValueError(f"shares: {odd[0]!r} is not a word.")
        numbers = self.shares.values()
        if not all(math.isfinite(n) and 0 <= n <= 1 for n in numbers):
            raise ValueError("shares: each is from 0 to 1.")
        if abs(math.fsum(numbers) - 1) > NEARLY:
            raise ValueError("shares: together they are 1.")
        if (self.kind in ("group", "value")) != bool(self.key):
            raise ValueError("key: the metadata key, of group and value alone.")
        if len(self.moved) > MOVED_MAX:
            raise ValueError(f"moved: {MOVED_MAX:,} inputs or groups at most.")
        if not all(DIGEST.fullmatch(digest) for digest in self.moved):
            raise ValueError("moved: 32 hexadecimal digits and the name of a split.")

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Splitting:
        """Return the splitting that a dataset stored."""
        return cls(**stored)

    def to_json(self) -> dict[str, Any]:
        """Return the splitting as a dataset stores it."""
        return {
            "kind": self.kind,
            "shares": dict(self.shares),
            "seed": self.seed,
            "key": self.key,
            **({"moved": dict(self.moved)} if self.moved else {}),
        }

    def keeping_moved(self, former: Splitting) -> Splitting:
        """Return the splitting with the moves of a former one that drew the same units.

        Moves to splits that are no more, and moves of another seed, are left out.
        """
        if self.moved or self._units != former._units:
            return self
        kept = {d: name for d, name in former.moved.items() if name in self.shares}
        return replace(self, moved=kept)

    def moving(self, digests: Iterable[bytes], split: str) -> Splitting:
        """Return the splitting with these units in a split. Raises ``ValueError`` for too many."""
        moved = dict(self.moved)
        for digest in digests:
            name = digest[:DIGEST_BYTES].hex()
            moved.pop(name, None)
            if self._drawn(digest) != split:
                moved[name] = split
        return replace(self, moved=moved)

    @property
    def _units(self) -> tuple[str, int, str]:
        return self.kind, self.seed, self.key

    @property
    def may_move(self) -> bool:
        """Whether units can be moved: not without splits, and not against a metadata value."""
        return self.kind in ("share", "group")

    @property
    def names(self) -> list[str]:
        """The names of the splits, largest share first."""
        if self.kind == "none":
            return []
        return sorted(self.shares, key=lambda name: (-self.shares[name], name))

    def split_of(
        self, data_hash: bytes | memoryview, metadata: Mapping[str, list[str]]
    ) -> str | None:
        """Return the split of an entry; None without splits, or if the key's value names none.

        ``metadata`` is ``{key: [type, text]}``. With ``group``, an entry without the key is
        split by its input.
        """
        if self.kind == "none":
            return None
        if self.kind == "value":
            value = metadata.get(self.key)
            return value[1] if value and value[1] in self.shares else None
        digest = self.digest_of(data_hash, metadata)
        moved = self.moved.get(digest[:DIGEST_BYTES].hex())
        return moved if moved in self.shares else self._drawn(digest)

    def digest_of(
        self, data_hash: bytes | memoryview, metadata: Mapping[str, list[str]]
    ) -> bytes:
        """Return the hash of the seed and of the unit that an entry belongs to."""
        value = metadata.get(self.key) if self.kind == "group" else None
        unit = f"{self.key}\0{value[1]}" if value else bytes(data_hash).hex()
        return hashlib.sha256(f"{self.seed}\0{unit}".encode()).digest()

    @property
    def bounds(self) -> tuple[tuple[str, int], ...]:
        """Each split with the number below which the first eight bytes of a digest fall into it.

        They are in the order of the names, as jsonb does not keep that of keys, and the split
        depends on it.
        """
        return _bounds(tuple(sorted(self.shares.items())))

    def _drawn(self, digest: bytes) -> str:
        number = int.from_bytes(digest[:8])
        return next(name for name, bound in self.bounds if number < bound)


@lru_cache(maxsize=256)
def _bounds(shares: tuple[tuple[str, float], ...]) -> tuple[tuple[str, int], ...]:
    reached, found = 0.0, []
    for name, share in shares:
        if share:
            reached += share
            found.append((name, _first_from(reached)))
    # Rounding may leave the sum of shares below 1.
    return (*found[:-1], (found[-1][0], LIMIT))


def _first_from(share: float) -> int:
    """Return the smallest number whose part of ``LIMIT``, as a double, is ``share`` or more."""
    low, high = 0, LIMIT
    while low < high:
        middle = (low + high) // 2
        if middle / LIMIT < share:
            low = middle + 1
        else:
            high = middle
    return low
