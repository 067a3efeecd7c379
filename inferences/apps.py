from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class InferencesConfig(AppConfig):
    name = "inferences"

    def ready(self) -> None:
        from istore import health

        health.watched["partitions"] = partitions_left


def partitions_left() -> str | None:
    """That new inferences have a home for some time to come."""
    from inferences.partitions import upper_bound
    from istore.health import soon

    end = upper_bound()
    if soon(end, settings.ISTORE_PARTITION_WARN_DAYS):
        return f"Partitions end at {end}: manage.py make_partitions."
    return None
