"""Hooks: places where apps add to the work of others, which do not know them.

``verification.checks.register("archives", Check(verifying.archives))`` in ``AppConfig.ready``
is the one form. A hook is a variable of the module that calls what is registered.
"""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


class Hook(dict[str, T]):
    """What apps registered at one place: a function or a value by name, in that order."""

    def register(self, name: str, value: T) -> None:
        """Add a function or value; one of the same name is replaced."""
        self[name] = value

    @property
    def single(self) -> T | None:
        """What is registered where one app at most has something to add; None without it."""
        return next(iter(self.values()), None)
