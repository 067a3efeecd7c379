"""Plots as scalable vector graphics that the server draws: bars, steps and lines with axes.

``bar_plot`` and ``line_plot`` return a ``Plot``, which ``templates/_plot.html`` renders and
``static/js/plots.js`` makes explorable. All positions are percentages of the area between the
axes, so the drawing fits any width and its text is never distorted.
"""

from istore.web.plots.bar_plot import BinEdges, Names, Series, bar_plot
from istore.web.plots.line_plot import Point, line_plot
from istore.web.plots.plot import Drag, Plot

__all__ = [
    "BinEdges",
    "Drag",
    "Names",
    "Plot",
    "Point",
    "Series",
    "bar_plot",
    "line_plot",
]
