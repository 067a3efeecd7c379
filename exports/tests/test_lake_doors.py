"""A store without a table of the lake does not pay for the lake's libraries."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("pyiceberg", "sqlalchemy", "duckdb")
PROGRAM = f"""
import sys
import django

django.setup()
import istore.urls
import exports.tasks

print([name for name in {HEAVY} if name in sys.modules])
"""


def test_a_process_that_starts_imports_no_library_of_the_lake():
    argv = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    assert subprocess.check_output(argv, text=True).split() == ["[]"]
