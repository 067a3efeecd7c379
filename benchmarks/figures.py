"""Figures of a run, so that ``benchmarks/run`` can keep them and compare runs.

A script notes each figure where it prints it. Alone, a script notes nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "ISTORE_BENCHMARK_FIGURES"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value, the bare limit of the same run, and what it should be.

    ``target`` is for the share of the limit where there is one, for the value otherwise; with
    ``fewer`` it is the most, otherwise the least.
    """

    name: str
    value: float
    unit: str
    limit: float | None = None
    target: float | None = None
    fewer: bool = False

    @property
    def share(self) -> float | None:
        """The value as a share of the limit."""
        return self.value / self.limit if self.limit else None

    @property
    def compared(self) -> float:
        """What is compared with the target."""
        return self.value if self.share is None else self.share

    @property
    def is_missed(self) -> bool:
        """Whether there is a target that is not reached."""
        if self.target is None:
            return False
        return (
            self.compared > self.target if self.fewer else self.compared < self.target
        )


def note(
    name: str,
    value: float,
    unit: str,
    *,
    limit: float | None = None,
    target: float | None = None,
    fewer: bool = False,
) -> None:
    """Append the figure to the file that ``benchmarks/run`` names, if it runs this script."""
    if path := os.environ.get(VARIABLE):
        figure = Figure(name, value, unit, limit, target, fewer)
        with Path(path).open("a") as file:
            file.write(f"{json.dumps(asdict(figure))}\n")


def read(path: Path) -> Iterator[Figure]:
    """Yield the figures that were noted in a file."""
    if path.exists():
        for line in path.read_text().splitlines():
            yield Figure(**json.loads(line))
