from __future__ import annotations

from django.apps import AppConfig

from istore.db import vacuum_settings
from istore.db.vacuum_settings import by_share

VACUUM_SETTINGS = {"ingest_setasideevent": by_share(dead=0.05)}


class IngestConfig(AppConfig):
    name = "ingest"

    def ready(self) -> None:
        vacuum_settings.tables.register(self.label, VACUUM_SETTINGS)
        from inferences.erasure import TraceHolder, trace_holders
        from inferences.maintenance.orphan_blobs import fates
        from inferences.store import pack_rewriting
        from ingest import (
            dead_letters,
            erasing,
            heartbeat,
            operations_panel,
            telemetry,
            verification,
        )
        from istore.backup import hooks
        from istore.checks import health
        from istore.checks.operations import Panel, panels
        from istore.checks.verification import Check, checks

        health.watched.register("listener", heartbeat.silence)
        telemetry.register()
        fates.register("ingest", verification.fates)
        pack_rewriting.repoints.register("dead letters", dead_letters.repoint)
        panels.register(
            "Events", Panel("operations/_stream.html", operations_panel.stream)
        )
        checks.register("consumers", Check(verification.dead_consumers, collects=True))
        # Not required: a letter may be about a blob that never was.
        hooks.named_keys.register(
            "dead letters", hooks.NamedKeys(dead_letters.NAMED, required=False)
        )
        trace_holders.register(
            "events set aside",
            TraceHolder(
                of_records=erasing.erase_letters_of,
                of_value=erasing.erase_dead_letters,
            ),
        )
