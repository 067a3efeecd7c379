"""The Django app of the store: it registers its checks, panels and hooks when it starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings


class InferencesConfig(AppConfig):
    name = "inferences"

    def ready(self) -> None:
        from istore.checks import health

        health.watched["partitions"] = partitions_left
        register_checks()
        from inferences.erasure import traces

        traces.register()
        from inferences.ground_truth import pending_truths
        from inferences.store import recording

        recording.awaited.append(pending_truths.apply)
        from inferences.maintenance import storage_by_model
        from inferences.store import lost_copies
        from istore.checks import operations

        operations.register(
            "Storage",
            "operations/_storage.html",
            storage_by_model.by_model,
            is_scoped=True,
        )
        operations.register(
            "Streams without a copy",
            "operations/_lost_copies.html",
            lost_copies.panel,
            is_scoped=True,
        )


def register_checks() -> None:
    """Register this app's checks of ``manage.py verify``, in the order that repairs need."""
    from inferences.maintenance import (
        consistency_checks,
        orphan_blobs,
        orphan_members,
        zone_map_checks,
    )
    from istore.checks.verification import register

    register("rows", consistency_checks.rows)  # first: it saves protected records
    register("intents", consistency_checks.intents)
    register("ids", consistency_checks.keys)
    register("counts", consistency_checks.counts)
    register("segments", zone_map_checks.bounds)
    register("named objects", consistency_checks.named_objects)
    register("unnamed objects", orphan_blobs.unnamed_objects, collects=True)
    register("unnamed members", orphan_members.unnamed_members, collects=True)
    register("staged uploads", orphan_blobs.staged_uploads, collects=True)
    register("uploads in parts", orphan_blobs.open_multipart_uploads, collects=True)
    # Never collected by beat: with another database than yesterday it would empty the blobs.
    register("objects of no model", orphan_blobs.objects_of_no_model)


def partitions_left() -> str | None:
    """Return a warning when partitions end within ``ISTORE_PARTITION_WARN_DAYS``, else None."""
    from inferences.store.partitions import upper_bound
    from istore.checks.health import soon

    end = upper_bound()
    if soon(end, settings.ISTORE_PARTITION_WARN_DAYS):
        return f"Partitions end at {end}: manage.py make_partitions."
    return None
