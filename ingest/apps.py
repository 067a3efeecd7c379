from __future__ import annotations

from django.apps import AppConfig


class IngestConfig(AppConfig):
    name = "ingest"

    def ready(self) -> None:
        from inferences import erasure
        from inferences.maintenance.orphan_blobs import know_fates
        from ingest import erasing, heartbeat, operations_panel, verification
        from istore.checks import health, operations
        from istore.checks.verification import register

        health.watched["listener"] = heartbeat.silence
        know_fates(verification.fates)
        operations.register(
            "Events", "operations/_stream.html", operations_panel.stream
        )
        register("consumers", verification.dead_consumers, collects=True)
        erasure.register("events set aside", of_value=erasing.erase_dead_letters)
