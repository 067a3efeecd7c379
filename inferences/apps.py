"""The Django app of the store: it registers its checks, panels and hooks when it starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings

from istore.db import vacuum_settings


class InferencesConfig(AppConfig):
    name = "inferences"

    def ready(self) -> None:
        from inferences.store.vacuum_settings import OF_TABLES

        vacuum_settings.tables.register(self.label, OF_TABLES)
        from istore.checks import health

        health.watched.register("partitions", partitions_left)
        register_checks()
        from inferences.erasure import traces

        traces.register()
        from inferences.erasure import replaying
        from inferences.maintenance import backed_up_blobs
        from istore.backup import hooks

        backed_up_blobs.register()
        hooks.erasures.register("inferences", replaying.erase_again)
        from inferences.ground_truth import pending_truths
        from inferences.store import recording

        recording.truth_joins.register("pending truths", pending_truths.apply)
        from inferences.maintenance import storage_by_model
        from inferences.search.vectors import index_panel
        from inferences.store import lost_copies
        from inferences.web import found
        from istore.checks.operations import Panel, panels
        from istore.web import finding, rail

        finding.sources.register("Models", found.find_models)
        finding.sources.register("Saved views", found.find_views)
        finding.sources.register("Inferences", found.find_inferences)
        models = rail.Place(
            "grid", 10, rail.named("inferences:models"), ("inferences",)
        )
        rail.places.register("Models", models)
        rail.project_routes |= {
            f"inferences:{name}" for name in ("prices", "erasures", "erasure")
        }
        storage, lost = "operations/_storage.html", "operations/_lost_copies.html"
        panels.register(
            "Storage", Panel(storage, storage_by_model.by_model, is_scoped=True)
        )
        vectors = "operations/_vectors.html"
        panels.register(
            "Vector indexes", Panel(vectors, index_panel.panel, is_scoped=True)
        )
        panels.register(
            "Streams without a copy", Panel(lost, lost_copies.panel, is_scoped=True)
        )


def register_checks() -> None:
    """Register this app's checks of ``manage.py verify``, in the order that repairs need."""
    from inferences.maintenance import (
        consistency_checks,
        orphan_blobs,
        orphan_members,
        zone_map_checks,
    )
    from istore.checks.verification import Check, checks

    checks.register(
        "rows", Check(consistency_checks.rows)
    )  # first: it saves protected records
    checks.register("intents", Check(consistency_checks.intents))
    checks.register("ids", Check(consistency_checks.keys))
    checks.register("counts", Check(consistency_checks.counts))
    checks.register("segments", Check(zone_map_checks.segments))
    checks.register("named objects", Check(consistency_checks.named_objects))
    checks.register(
        "unnamed objects", Check(orphan_members.unnamed_objects, collects=True)
    )
    checks.register(
        "unnamed members", Check(orphan_members.unnamed_members, collects=True)
    )
    checks.register("staged uploads", Check(orphan_blobs.staged_uploads, collects=True))
    checks.register(
        "uploads in parts", Check(orphan_blobs.open_multipart_uploads, collects=True)
    )
    # Never collected by beat: with another database than yesterday it would empty the blobs.
    checks.register("objects of no model", Check(orphan_blobs.objects_of_no_model))


def partitions_left() -> str | None:
    """Return a warning when partitions end within ``ISTORE_PARTITION_WARN_DAYS``, else None."""
    from inferences.store.partitions import upper_bound
    from istore.checks.health import soon

    end = upper_bound()
    if soon(end, settings.ISTORE_PARTITION_WARN_DAYS):
        return f"Partitions end at {end}: manage.py make_partitions."
    return None
