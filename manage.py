#!/usr/bin/env python3
"""Django's command line, with the settings of the store.

An installed server has this file and the apps in one directory of their own, because names such as
``datasets`` belong to other distributions, too: ``istore-server`` is ``main``, ``istore-probe`` is
``probe``, and both put that directory first.
"""

from __future__ import annotations

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def main() -> None:
    _import_from_here()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
    from django.core.management import execute_from_command_line

    from istore.freshness import changes_heard

    with changes_heard():
        execute_from_command_line(sys.argv)


def probe() -> int:
    _import_from_here()
    from supervisor.probe import main

    return main()


def _import_from_here() -> None:
    if HERE not in sys.path:
        sys.path.insert(0, HERE)


if __name__ == "__main__":
    main()
