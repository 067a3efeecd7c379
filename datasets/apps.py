from __future__ import annotations

from django.apps import AppConfig


class DatasetsConfig(AppConfig):
    name = "datasets"

    def ready(self) -> None:
        from datasets import erasing, membership, verifying
        from inferences import erasure
        from inferences.search.filters import in_dataset
        from istore.checks.verification import register

        in_dataset.register(membership.rows_in)
        erasure.register(
            "dataset entries",
            of_records=erasing.of_records,
            of_value=erasing.of_value,
        )
        register("dataset inputs", verifying.check_inputs)
        register("dataset leftovers", verifying.leftovers, collects=True)
