"""What holds a copy of an inference: apps register how the page of an inference finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from inferences.models import Inference
from istore.hooks import Hook


@dataclass(frozen=True, slots=True)
class Holding:
    """A collection with the inference in it: its name, the copy's page, and a note such as a split."""

    name: str
    address: str
    note: str = ""


holders: Hook[Callable[[Inference], list[Holding]]] = Hook()


def holdings_of(inference: Inference) -> list[Holding]:
    """Return what holds a copy of the inference."""
    return [each for find in holders.values() for each in find(inference)]
