from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate

from istore.db.vacuum_settings import by_queue, by_share, for_updates

VACUUM_SETTINGS = {
    # Appended to for good, and read by time.
    "istore_auditentry": by_share(dead=0.1, inserted=0.05),
    # Rows that live for minutes or a day.
    "istore_movedblob": by_queue(10_000),
    "istore_packinmaking": by_queue(1_000),
    "istore_releasedmember": by_queue(10_000),
    "istore_idempotentcall": by_queue(1_000),
    # Few rows, whose lease is prolonged every few seconds.
    "istore_backuptask": for_updates(50),
}


class IstoreConfig(AppConfig):
    name = "istore"

    def ready(self) -> None:
        from istore.db import forks, replica, vacuum_settings
        from istore.db.pooling import keep_settings
        from istore.freshness import watch_connection

        forks.watch()
        connection_created.connect(watch_connection)
        post_migrate.connect(keep_settings, sender=self)
        post_migrate.connect(vacuum_settings.give)
        vacuum_settings.tables.register(self.label, VACUUM_SETTINGS)
        from istore.backup import figures
        from istore.checks import health, shared_secrets
        from istore.checks.operations import Panel, panels

        health.watched.register("backup", figures.lateness)
        health.watched.register("replica", replica.trouble)
        health.watched.register("secrets", shared_secrets.differ)
        if replica.is_given():
            panels.register(
                "Read replica", Panel("operations/_replica.html", replica.panel)
            )
        panels.register("Backup", Panel("operations/_backup.html", figures.panel))
        from istore.telemetry import store_figures

        store_figures.register()
