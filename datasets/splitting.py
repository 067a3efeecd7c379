"""Splits: a hash decides the split of an entry, so that no assignment has to be stored.

The unit of splitting is the input (equal inputs stay together) or the value of a metadata
key (groups stay together). ``sha256(seed, unit)``, scaled to a number from 0 to 1, falls
into one of the shares. So the same seed gives the same split, and later additions do not
move earlier entries. Shares are met only on average: with n units a split is off by about
sqrt(n) units.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

KINDS = ("none", "share", "group", "value")
SPLITS_MAX = 10
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
DEFAULT = {"train": 0.8, "validation": 0.1, "test": 0.1}
NEARLY = 1e-9


@dataclass(frozen=True, slots=True)
class Splitting:
    """How a dataset is split, by ``kind``.

    ``none``: not at all. ``share``: shares of the inputs. ``group``: shares of the groups that
    have one value of the metadata ``key``. ``value``: that value is the name of the split.
    Shares add up to 1.
    """

    kind: str = "none"
    shares: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT))
    seed: int = 0
    key: str = ""

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
        }

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
        value = metadata.get(self.key)
        if self.kind == "value":
            return value[1] if value and value[1] in self.shares else None
        if self.kind == "group" and value:
            return self._drawn(f"{self.key}\0{value[1]}")
        return self._drawn(bytes(data_hash).hex())

    def _drawn(self, unit: str) -> str:
        digest = hashlib.sha256(f"{self.seed}\0{unit}".encode()).digest()
        drawn, reached = int.from_bytes(digest[:8]) / 2**64, 0.0
        # Sorted by name: jsonb does not keep the order of keys, and the split depends on it.
        wanted = [(name, share) for name, share in sorted(self.shares.items()) if share]
        for name, share in wanted:
            reached += share
            if drawn < reached:
                return name
        return wanted[-1][0]  # rounding may leave the sum of shares below 1
