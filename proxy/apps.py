from __future__ import annotations

from django.apps import AppConfig


class ProxyConfig(AppConfig):
    name = "proxy"

    def ready(self) -> None:
        from istore.checks import health
        from istore.checks.operations import Panel, panels
        from istore.checks.verification import Check, checks
        from proxy import backlog, telemetry
        from proxy.spool import spool_health

        health.watched.register("spool", spool_health.trouble)
        telemetry.register()
        health.watched.register("spool files", spool_health.files_left)
        checks.register("spool files", Check(spool_health.spool_files))
        panels.register("Backlog", Panel("operations/_backlog.html", backlog.panel))
        panels.register(
            "Files of the spool",
            Panel("operations/_spool_files.html", spool_health.panel),
        )
