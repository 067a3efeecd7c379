from __future__ import annotations

from django.apps import AppConfig

from istore.db import vacuum_settings
from istore.db.vacuum_settings import by_share, for_updates

VACUUM_SETTINGS = {
    "datasets_datasetentry": by_share(dead=0.05),
    "datasets_datasetblob": by_share(dead=0.05),
    **{
        f"datasets_{task}": for_updates(50) for task in ("addingtask", "datasetarchive")
    },
}


class DatasetsConfig(AppConfig):
    name = "datasets"

    def ready(self) -> None:
        vacuum_settings.tables.register(self.label, VACUUM_SETTINGS)
        from datasets import erasing, found, membership, shared_blobs, verifying
        from datasets.models import DatasetArchive, DatasetBlob
        from datasets.web import of_model
        from inferences.erasure import TraceHolder, trace_holders
        from inferences.search.filters import in_dataset
        from inferences.store import pack_rewriting
        from inferences.web import held_in
        from istore.backup import hooks
        from istore.checks.verification import Check, checks
        from istore.web import finding, rail

        finding.sources.register("Datasets", found.find_datasets)
        held_in.holders.register("datasets", of_model.holdings_of)
        place = rail.Place("stack", 20, rail.named("datasets:overview"), ("datasets",))
        rail.places.register("Datasets", place)
        in_dataset.lookups.register("datasets", membership.rows_in)
        pack_rewriting.repoints.register("datasets", shared_blobs.repoint)
        trace_holders.register(
            "dataset entries",
            TraceHolder(of_records=erasing.of_records, of_value=erasing.of_value),
        )
        inputs = f"SELECT storage_key FROM {DatasetBlob._meta.db_table} WHERE removal_at IS NULL"
        hooks.named_keys.register("dataset inputs", hooks.NamedKeys(inputs))
        # Not required: archives expire meanwhile, and can be made again.
        archives = f"SELECT archive_key FROM {DatasetArchive._meta.db_table}"
        hooks.named_keys.register(
            "dataset archives", hooks.NamedKeys(archives, required=False)
        )
        checks.register("dataset inputs", Check(verifying.check_inputs))
        checks.register("dataset leftovers", Check(verifying.leftovers, collects=True))
