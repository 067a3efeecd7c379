#!/usr/bin/env python3
"""Django's command line, with the settings of the store."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
    from django.core.management import execute_from_command_line

    from istore.freshness import changes_heard

    with changes_heard():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
