from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class IstoreConfig(AppConfig):
    name = "istore"

    def ready(self) -> None:
        from istore.db import forks, replica
        from istore.db.pooling import keep_settings
        from istore.freshness import watch_connection

        forks.watch()
        connection_created.connect(watch_connection)
        post_migrate.connect(keep_settings, sender=self)
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
