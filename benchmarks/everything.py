"""Run every benchmark, keep its figures in ``history.jsonl``, and draw the history.

``benchmarks/run`` starts this. Each script measures beside its bare limit in its own run. A line
of the history is one run: commit, moment, machine, and figures by script. ``history.svg`` shows
each figure over the runs. ``--quick`` only shows that all scripts run: its figures are printed,
and not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import figures, plot  # noqa: E402
from benchmarks.figures import Figure  # noqa: E402

HISTORY, PLOT = ROOT / "benchmarks/history.jsonl", ROOT / "benchmarks/history.svg"
IDLE = 0.7  # load at which a machine counts as idle
PATIENCE = 300  # seconds to wait for it

# The arguments of each script: for a run that is kept, and for a quick one.
SCRIPTS = {
    "start": ("", "--rounds 1 --idle 2"),
    "api": ("", "--rows 2000"),
    "proxy": ("", "--rounds 1 --seconds 1"),
    "capture": ("", "--count 500 --seconds 3"),
    "ingest": ("", "--rows 2000 --events 500"),
    "batches": ("", "--rows 2000 --batches 1 --rounds 1"),
    "text": ("", "--spans 1024"),
    "query": ("--rows 2000000 --first 200000", "--rows 5000 --vectors 500"),
    "pages": ("--rows 2000000 --first 200000", "--rows 5000"),
    "text_search": ("--texts 2000000", "--texts 3000"),
    "export": ("--rows 1000000", "--rows 5000 --rounds 1"),
    "retention": ("--rows 2000000", "--rows 5000"),
}


def wait_until_idle() -> None:
    """Wait until the machine has little else to do; end the program if it never has."""
    until = time.monotonic() + PATIENCE
    while (load := os.getloadavg()[0]) > IDLE:
        if time.monotonic() > until:
            raise SystemExit(
                f"The load is {load:.1f}: other work would be measured. Stop it, or give "
                "--busy."
            )
        time.sleep(5)


def measure(name: str, arguments: str) -> list[Figure]:
    """Run one script, whose output is shown, and return its figures."""
    print(f"\n== {name} {arguments}".rstrip(), flush=True)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "figures"
        subprocess.run(
            [sys.executable, ROOT / f"benchmarks/{name}.py", *arguments.split()],
            env=os.environ | {figures.VARIABLE: str(path)},
            check=True,
        )
        return list(figures.read(path))


def commit() -> str:
    """Return the short id of the commit, with ``+`` if files were changed since."""
    asked = ["git", "-C", ROOT, "describe", "--always", "--dirty=+", "--abbrev=7"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


def show(found: dict[str, list[Figure]]) -> None:
    """Print all figures as a table, and what was missed."""
    print(f"\n{'':52} {'measured':>16} {'share':>8} {'target':>8}")
    for script, each in found.items():
        for figure in each:
            share = "" if figure.share is None else f"{figure.share:.3f}"
            target = "" if figure.target is None else f"{figure.target:g}"
            value = f"{figure.value:,.4g} {figure.unit}"
            print(
                f"{f'{script}: {figure.name}':52} {value:>16} {share:>8} {target:>8} "
                f"{'missed' if figure.is_missed else ''}".rstrip()
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("only", nargs="*", help=f"of: {', '.join(SCRIPTS)}; all")
    parser.add_argument("--quick", action="store_true", help="small numbers, not kept")
    parser.add_argument("--busy", action="store_true", help="do not wait for idleness")
    given = parser.parse_args()
    if unknown := set(given.only) - SCRIPTS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    found: dict[str, list[Figure]] = {}
    begun, measured = datetime.now(UTC), commit()
    for name in given.only or SCRIPTS:
        if not (given.quick or given.busy):
            wait_until_idle()
        found[name] = measure(name, SCRIPTS[name][given.quick])
    show(found)
    if given.quick:
        return
    line = {
        "commit": measured,
        "begun_at": begun.isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "busy": given.busy,
        "figures": {name: [asdict(e) for e in each] for name, each in found.items()},
    }
    with HISTORY.open("a") as file:
        file.write(f"{json.dumps(line)}\n")
    PLOT.write_text(plot.draw(HISTORY))


if __name__ == "__main__":
    main()
