"""Management commands end with a sentence, not with a traceback, when the store refuses."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from istore.errors import StoreError


class StoreCommand(BaseCommand):
    """A command whose ``StoreError`` becomes a ``CommandError`` with the same sentence."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except StoreError as error:
            raise CommandError(str(error)) from None
