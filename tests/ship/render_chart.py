"""Run by the interpreter of an environment with Helm: lints the chart and renders it.

    python render_chart.py CHART <VALUES.json

Prints JSON: ``findings`` of lint, ``manifests`` by name of their template, or ``error``.
"""

from __future__ import annotations

import json
import sys

import helm_python as helm


def main() -> None:
    values = json.load(sys.stdin)
    chart = sys.argv[1]
    answer: dict[str, object] = {"findings": helm.lint(chart, values)}
    try:
        with helm.Chart.load(chart) as loaded:
            answer["manifests"] = loaded.render(values, name="shop", namespace="prod")
    except helm.HelmError as error:
        answer["error"] = str(error)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
