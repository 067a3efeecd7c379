"""Draw the history of all figures as one SVG: a row for each figure, its runs from left to right.

Of each figure the last value is written out. A dashed line is its target; a run that misses it
is a hollow point. The scale of each row is its own and starts at zero.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from benchmarks.figures import Figure

NAME, CHART, VALUE, ROW, MARGIN = 330, 300, 150, 34, 12
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333; }
.head { font-weight: 600; }
.line { fill: none; stroke: #2563a8; stroke-width: 1.5; }
.met { fill: #2563a8; }
.missed { fill: #fff; stroke: #b4421f; stroke-width: 1.5; }
.target { stroke: #888; stroke-dasharray: 3 3; }
.base { stroke: #ddd; }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd; } .base { stroke: #444; } .missed { fill: #222; }
  .line { stroke: #7db1e8; } .met { fill: #7db1e8; }
}
"""


def draw(history: Path) -> str:
    """Return the SVG of a history file."""
    runs = [json.loads(line) for line in history.read_text().splitlines()]
    rows: dict[str, list[tuple[int, Figure]]] = {}
    for number, run in enumerate(runs):
        for script, figures in run["figures"].items():
            for each in figures:
                name = f"{script}: {each['name']}"
                rows.setdefault(name, []).append((number, Figure(**each)))
    width, height = NAME + CHART + VALUE, ROW * (len(rows) + 1) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>Figures of the benchmarks by run</title>",
        f"<style>{STYLE}</style>",
        f'<text class="head" x="{MARGIN}" y="22">Runs: {len(runs)}, the last of commit '
        f"{escape(runs[-1]['commit'])}{' beside other work' * runs[-1]['busy']}</text>",
    ]
    for place, (name, points) in enumerate(rows.items(), start=1):
        parts += _row(name, points, len(runs), ROW * place)
    return "\n".join([*parts, "</svg>", ""])


def _row(name: str, points: list[tuple[int, Figure]], runs: int, top: int) -> list[str]:
    last = points[-1][1]
    highest = max(*(f.compared for _, f in points), last.target or 0) or 1
    base, room = top + ROW - 8, ROW - 12

    def x(number: int) -> float:
        return NAME + CHART * (number + 0.5) / runs

    def y(value: float) -> float:
        return base - room * value / highest

    unit = "of the limit" if last.share is not None else last.unit
    parts = [
        f'<text x="{MARGIN}" y="{base - 4}">{escape(name)}</text>',
        f'<line class="base" x1="{NAME}" x2="{NAME + CHART}" y1="{base}" y2="{base}"/>',
        f'<text x="{NAME + CHART + MARGIN}" y="{base - 4}">{last.compared:.3g} '
        f"{escape(unit)}</text>",
    ]
    if last.target is not None:
        at = f'y1="{y(last.target):.1f}" y2="{y(last.target):.1f}"'
        parts.append(f'<line class="target" x1="{NAME}" x2="{NAME + CHART}" {at}/>')
    line = " ".join(f"{x(n):.1f},{y(f.compared):.1f}" for n, f in points)
    parts.append(f'<polyline class="line" points="{line}"/>')
    parts += [
        f'<circle class="{"missed" if f.is_missed else "met"}" cx="{x(n):.1f}" '
        f'cy="{y(f.compared):.1f}" r="3"/>'
        for n, f in points
    ]
    return parts
