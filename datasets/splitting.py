"""Which split an entry belongs to: decided by a hash, so that nothing has to be kept.

The unit that is split is the input (equal inputs stay together) or the value of a metadata
key (groups stay together). ``sha256(seed, unit)`` read as a number from 0 to 1 falls into
one of the shares: the same seed gives the same split, and what is added later moves nothing
that was there. Shares hold as closely as chance allows: of n units about sqrt(n) off.
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
    """``none``; by ``share`` of the inputs; by share of the ``group``s that a metadata
    key makes; or by the ``value`` of the key, which names the split itself.
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
    def read(cls, kept: Mapping[str, Any]) -> Splitting:
        """As a dataset keeps it."""
        return cls(**kept)

    def kept(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "shares": dict(self.shares),
            "seed": self.seed,
            "key": self.key,
        }

    @property
    def names(self) -> list[str]:
        """The splits, the largest first."""
        if self.kind == "none":
            return []
        return sorted(self.shares, key=lambda name: (-self.shares[name], name))

    def split_of(
        self, data_hash: bytes, metadata: Mapping[str, list[str]]
    ) -> str | None:
        """The split of an entry; None when there are no splits, or its key says none.

        ``metadata`` is ``{key: [type, text]}``.
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
        # In an order of their own: what keeps the shares may not keep theirs.
        wanted = [(name, share) for name, share in sorted(self.shares.items()) if share]
        for name, share in wanted:
            reached += share
            if drawn < reached:
                return name
        return wanted[-1][0]  # what rounding left over
