"""Make the secrets of an installation as files, for containers that mount them."""

from __future__ import annotations

import os
import secrets
from argparse import ArgumentParser
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

# Of the store, and of the servers beside it.
NAMES = (
    *("secret_key", "signing_key", "metrics_token", "admin_password"),
    *("database_password", "redis_password", "s3_access_key", "s3_secret_key"),
    "postgres_password",
)
# The servers read them as users of their own; whoever cannot reach the directory reads none.
MODE = 0o444
BYTES = 24


class Command(BaseCommand):
    help = "Writes a random value into each file of a directory that is not there yet."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("directory", type=Path)

    def handle(self, *, directory: Path, **options: Any) -> str:
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            made = [name for name in NAMES if _make(directory / name)]
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise CommandError(f"{directory}: {why}.") from None
        return f"Made {', '.join(made)}." if made else "All of them were there."


def _make(path: Path) -> bool:
    if path.exists():
        return False
    # ``link`` is atomic and fails if the name exists: of two first starts, one wins.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(secrets.token_urlsafe(BYTES))
    fresh.chmod(MODE)
    is_made = False
    with suppress(FileExistsError):
        os.link(fresh, path)
        is_made = True
    fresh.unlink()
    return is_made
