"""What two texts have in common, word by word: Myers' algorithm, with bounds.

E. W. Myers: An O(ND) Difference Algorithm and Its Variations, Algorithmica 1 (1986).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

CHARS_MAX = 200_000  # of each text
EDITS_MAX = 1_000  # beyond so many differing words the rest is shown as replaced
WORDS = re.compile(r"\s+|\w+|[^\w\s]")
SCRAP = 3  # characters; shorter ones between two changes are changed with them
SAME, REMOVED, ADDED = "same", "removed", "added"


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of words: in both texts, or in one of them."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The differences of two texts. ``is_cut`` says that the ends of long texts are left out."""

    pieces: Sequence[Piece]
    is_cut: bool

    @property
    def before(self) -> list[Piece]:
        """The first text."""
        return [piece for piece in self.pieces if piece.kind != ADDED]

    @property
    def after(self) -> list[Piece]:
        """The second text."""
        return [piece for piece in self.pieces if piece.kind != REMOVED]

    @property
    def removed(self) -> int:
        """The number of words that only the first text has."""
        return self._count(REMOVED)

    @property
    def added(self) -> int:
        """The number of words that only the second text has."""
        return self._count(ADDED)

    def _count(self, kind: str) -> int:
        return sum(
            len(re.findall(r"\w+", piece.text))
            for piece in self.pieces
            if piece.kind == kind
        )


def compare_words(before: str, after: str) -> Difference:
    """Return the differences of two texts, word by word."""
    is_cut = max(len(before), len(after)) > CHARS_MAX
    old, new = WORDS.findall(before[:CHARS_MAX]), WORDS.findall(after[:CHARS_MAX])
    steps = _without_scraps(list(_compare(old, new)))
    pieces = [
        Piece(kind, "".join(word for _, word in run))
        for kind, run in groupby(steps, key=lambda step: step[0])
    ]
    return Difference(pieces, is_cut)


def _compare(old: list[str], new: list[str]) -> Iterator[tuple[str, str]]:
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    end = 0
    most = min(len(old), len(new)) - start
    while end < most and old[-1 - end] == new[-1 - end]:
        end += 1
    inner_old = old[start : len(old) - end]
    inner_new = new[start : len(new) - end]
    yield from ((SAME, word) for word in old[:start])
    steps = _shortest_edit(inner_old, inner_new)
    if steps is None:
        yield from ((REMOVED, word) for word in inner_old)
        yield from ((ADDED, word) for word in inner_new)
    else:
        yield from steps
    yield from ((SAME, word) for word in old[len(old) - end :])


def _without_scraps(steps: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the steps, with what is the same between two changes only if it is worth reading.

    A space or a comma that both texts happen to have would cut a changed sentence into pieces.
    """
    runs = [(kind, list(run)) for kind, run in groupby(steps, key=lambda step: step[0])]
    kept: list[tuple[str, str]] = []
    for place, (kind, run) in enumerate(runs):
        text = "".join(word for _, word in run)
        is_inner = 0 < place < len(runs) - 1
        if kind == SAME and is_inner and len(text.strip()) < SCRAP and "\n" not in text:
            kept += [(REMOVED, text), (ADDED, text)]
        else:
            kept += run
    return _in_order(kept)


def _shortest_edit(old: list[str], new: list[str]) -> list[tuple[str, str]] | None:
    """Return the shortest edit, or None if it has more than ``EDITS_MAX`` words."""
    most = min(len(old) + len(new), EDITS_MAX)
    middle = most + 1
    # By diagonal: how far in ``old`` the furthest path comes. Kept for each number of edits, as
    # four bytes a diagonal, to walk back on.
    reach = array("i", [0]) * (2 * most + 3)
    history: list[array[int]] = []
    for edits in range(most + 1):
        history.append(reach[middle - edits - 1 : middle + edits + 2])
        for k in range(-edits, edits + 1, 2):
            left, right = reach[middle + k - 1], reach[middle + k + 1]
            is_down = k == -edits or (k != edits and left < right)
            x = right if is_down else left + 1
            y = x - k
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            reach[middle + k] = x
            if x >= len(old) and y >= len(new):
                return _walk_back(history, old, new)
    return None


def _walk_back(
    history: Sequence[Sequence[int]], old: list[str], new: list[str]
) -> list[tuple[str, str]]:
    x, y = len(old), len(new)
    steps: list[tuple[str, str]] = []
    for edits in range(len(history) - 1, -1, -1):
        reach, middle, k = history[edits], edits + 1, x - y
        left, right = reach[middle + k - 1], reach[middle + k + 1]
        is_down = k == -edits or (k != edits and left < right)
        former = k + 1 if is_down else k - 1
        from_x = max(reach[middle + former], 0) if edits else 0
        from_y = from_x - former if edits else 0
        while x > from_x and y > from_y:
            x, y = x - 1, y - 1
            steps.append((SAME, old[x]))
        if edits:
            steps.append((ADDED, new[from_y]) if is_down else (REMOVED, old[from_x]))
        x, y = from_x, from_y
    # Of a replaced run what was removed stands before what was added.
    return _in_order(steps[::-1])


def _in_order(steps: list[tuple[str, str]]) -> list[tuple[str, str]]:
    ordered: list[tuple[str, str]] = []
    for _, run in groupby(steps, key=lambda step: step[0] == SAME):
        ordered += sorted(run, key=lambda step: step[0] == ADDED)
    return ordered
