"""A progress bar on standard error, shown on a terminal only."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


class Bar:
    """A progress bar that counts inferences. Without ``shown`` or a terminal it does nothing."""

    def __init__(
        self, shown: bool, total: int | None = None, unit: str = " inferences"
    ) -> None:
        # With disable=None tqdm shows the bar only if standard error is a terminal.
        disable = None if shown else True
        self._bar: Any = tqdm(total=total, unit=unit, disable=disable)

    def advance(self, count: int = 1) -> None:
        self._bar.update(count)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *failure: object) -> None:
        self._bar.close()
