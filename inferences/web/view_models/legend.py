"""The legend of a list: its labels with their colours, as links that filter by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from inferences.search import text
from inferences.search.filters import And, DetectionFilter, Not
from inferences.search.filters.tree import conjuncts, normal
from inferences.web.view_models.colours import Colours
from inferences.web.view_models.facets import Choice
from inferences.web.view_models.questions import Question

SHOWN = 24


@dataclass(frozen=True, slots=True)
class Entry:
    """A label: its colour, the inferences that have it, and the link to these alone."""

    name: str
    place: int
    hue: int
    is_on: bool
    link: str
    count: int | None = None
    is_excluded: bool = False  # by the query; the link takes that back
    x: float = 0  # of its part of the distribution, in percent
    width: float = 0


def legend(
    colours: Colours, question: Question, counted: Sequence[Choice] = ()
) -> list[Entry]:
    """Return the labels with counts, most frequent first; without counts as they appeared.

    The link of a label that is the only one chosen takes the filter back.
    """
    chosen = question.labels
    every = question.link(label=None)
    shown = [each for each in counted if each.count or each.is_on][:SHOWN]
    counts = {each.name: each.count for each in shown}
    excluded = _excluded(question)
    names = list(counts) or _known(colours.labels, chosen)
    names += [each for each in excluded if each not in names]
    total = sum(count or 0 for count in counts.values()) or 1
    entries, x = [], 0.0
    for name in names:
        place, hue = colours.of(name)
        count = counts.get(name)
        width = 100 * (count or 0) / total
        is_on = name in chosen
        link = every if chosen == [name] else f"{every}&label={quote(name, safe='')}"
        is_excluded = name in excluded
        entries.append(
            Entry(
                name,
                place,
                hue,
                is_on,
                excluded.get(name, link),
                count,
                is_excluded,
                round(x, 2),
                round(width, 2),
            )
        )
        x += width
    return entries


def _excluded(question: Question) -> dict[str, str]:
    """Return the labels that the text query excludes, each with the link that takes it back."""
    try:
        asked = list(conjuncts(normal(text.parse(question.query.get("q", "*")))))
    except ValueError:
        return {}
    found = {}
    for part in asked:
        match part:
            case Not(DetectionFilter(labels=(name,)) as named):
                if named == DetectionFilter((name,)):
                    rest = text.write(And(tuple(e for e in asked if e != part)))
                    found[name] = question.link(q=rest or None)
    return found


def _known(labels: Sequence[str], chosen: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*chosen, *labels]))[:SHOWN]
