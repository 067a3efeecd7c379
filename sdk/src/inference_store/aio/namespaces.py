"""The functions of the modules as methods of an asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from inference_store import pagination
from inference_store.aio import (
    dataset,
    deleted,
    erasure,
    export_schedule,
    export_task,
    ground_truth,
    inference,
    metadata,
    protection,
    quality,
    register,
    retention_policy,
    retention_task,
    upload,
)
from inference_store.binding import bound
from inference_store.models import Inference, NewGetInferencesRequest

if TYPE_CHECKING:
    from inference_store.aio.client import AsyncClient


class AsyncNamespace:
    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.run = client.run


class AsyncInferences(AsyncNamespace):
    """The functions of ``inference_store.aio.inference``."""

    filter_inferences = bound(inference.filter_inferences)
    list_inferences = bound(inference.list_inferences)
    count_inferences = bound(inference.count_inferences)
    get_inference = bound(inference.get_inference)
    create_inference = bound(inference.create_inference)
    create_inference_from_upload = bound(inference.create_inference_from_upload)
    create_inference_storage_request = bound(inference.create_inference_storage_request)
    create_inferences = bound(inference.create_inferences)
    delete_inference = bound(inference.delete_inference)
    bulk_delete_inferences = bound(inference.bulk_delete_inferences)

    def iter_inferences(
        self,
        model_id: str,
        request_body: NewGetInferencesRequest | None = None,
        page_size: int = 500,
        *,
        progress: bool = False,
        fields: Sequence[str] = (),
    ) -> AsyncIterator[Inference]:
        """Return an async iterator, as ``aio.inference.iter_inferences`` does."""
        return pagination.walk_async(
            self.client, model_id, request_body, page_size, progress, fields
        )


class AsyncMetadataValues(AsyncNamespace):
    """The functions of ``inference_store.aio.metadata`` that call the store."""

    create_metadata = bound(metadata.create_metadata)
    replace_metadata = bound(metadata.replace_metadata)
    bulk_add_metadata = bound(metadata.bulk_add_metadata)
    get_metadata = bound(metadata.get_metadata)
    delete_metadata = bound(metadata.delete_metadata)
    get_metadata_key_type_counts = bound(metadata.get_metadata_key_type_counts)
    get_metadata_statistics = bound(metadata.get_metadata_statistics)


class AsyncRegistration(AsyncNamespace):
    """The functions of ``inference_store.aio.register``."""

    register_model_for_inference_storage = bound(
        register.register_model_for_inference_storage
    )
    get_registered_model = bound(register.get_registered_model)
    list_registered_models = bound(register.list_registered_models)


class AsyncRetentionPolicies(AsyncNamespace):
    """The functions of ``inference_store.aio.retention_policy``."""

    create_retention_policy = bound(retention_policy.create_retention_policy)
    get_retention_policy = bound(retention_policy.get_retention_policy)
    replace_retention_policy = bound(retention_policy.replace_retention_policy)
    delete_retention_policy = bound(retention_policy.delete_retention_policy)
    preview_retention_policy = bound(retention_policy.preview_retention_policy)


class AsyncRetentionTasks(AsyncNamespace):
    """The functions of ``inference_store.aio.retention_task``."""

    create_retention_task = bound(retention_task.create_retention_task)
    get_retention_task = bound(retention_task.get_retention_task)
    filter_retention_tasks = bound(retention_task.filter_retention_tasks)
    stop_retention_task = bound(retention_task.stop_retention_task)
    resume_retention_task = bound(retention_task.resume_retention_task)


class AsyncExportTasks(AsyncNamespace):
    """The functions of ``inference_store.aio.export_task``."""

    create_export_task = bound(export_task.create_export_task)
    get_export_task = bound(export_task.get_export_task)
    filter_export_tasks = bound(export_task.filter_export_tasks)
    stop_export_task = bound(export_task.stop_export_task)
    retry_export_task = bound(export_task.retry_export_task)
    list_export_formats = bound(export_task.list_export_formats)


class AsyncGroundTruths(AsyncNamespace):
    """The functions of ``inference_store.aio.ground_truth``."""

    put_ground_truth = bound(ground_truth.put_ground_truth)
    get_ground_truth = bound(ground_truth.get_ground_truth)
    delete_ground_truth = bound(ground_truth.delete_ground_truth)
    get_ground_truth_history = bound(ground_truth.get_ground_truth_history)
    join_ground_truth = bound(ground_truth.join_ground_truth)
    upload_ground_truth = bound(ground_truth.upload_ground_truth)
    count_ground_truth = bound(ground_truth.count_ground_truth)
    list_pending_ground_truth = bound(ground_truth.list_pending_ground_truth)


class AsyncQualityFigures(AsyncNamespace):
    """The functions of ``inference_store.aio.quality``."""

    get_quality = bound(quality.get_quality)


class AsyncUploads(AsyncNamespace):
    """The functions of ``inference_store.aio.upload``."""

    upload_data = bound(upload.upload_data)
    upload_inference_and_metadata = bound(upload.upload_inference_and_metadata)
    put_upload = bound(upload.put_upload)


class AsyncProtection(AsyncNamespace):
    """The functions of ``inference_store.aio.protection``."""

    protect_inference = bound(protection.protect_inference)
    protect_inferences = bound(protection.protect_inferences)


class AsyncDeletedInferences(AsyncNamespace):
    """The functions of ``inference_store.aio.deleted``."""

    filter_deleted_inferences = bound(deleted.filter_deleted_inferences)
    restore_inferences = bound(deleted.restore_inferences)
    remove_deleted_inferences = bound(deleted.remove_deleted_inferences)


class AsyncErasures(AsyncNamespace):
    """The functions of ``inference_store.aio.erasure``."""

    create_erasure = bound(erasure.create_erasure)
    get_erasure = bound(erasure.get_erasure)
    list_erasures = bound(erasure.list_erasures)
    stop_erasure = bound(erasure.stop_erasure)
    was_erased = bound(erasure.was_erased)


class AsyncExportSchedules(AsyncNamespace):
    """The functions of ``inference_store.aio.export_schedule``."""

    create_export_schedule = bound(export_schedule.create_export_schedule)
    list_export_schedules = bound(export_schedule.list_export_schedules)
    get_export_schedule = bound(export_schedule.get_export_schedule)
    change_export_schedule = bound(export_schedule.change_export_schedule)
    delete_export_schedule = bound(export_schedule.delete_export_schedule)
    run_export_schedule = bound(export_schedule.run_export_schedule)
    list_scheduled_exports = bound(export_schedule.list_scheduled_exports)
    list_exported_files = bound(export_schedule.list_exported_files)
    list_export_destinations = bound(export_schedule.list_export_destinations)


class AsyncDatasets(AsyncNamespace):
    """The functions of ``inference_store.aio.dataset``."""

    list_datasets = bound(dataset.list_datasets)
    create_dataset = bound(dataset.create_dataset)
    get_dataset = bound(dataset.get_dataset)
    change_dataset = bound(dataset.change_dataset)
    delete_dataset = bound(dataset.delete_dataset)
    add_to_dataset = bound(dataset.add_to_dataset)
    get_addition = bound(dataset.get_addition)
    list_entries = bound(dataset.list_entries)
    remove_entries = bound(dataset.remove_entries)
    publish_version = bound(dataset.publish_version)
    list_versions = bound(dataset.list_versions)
    get_version = bound(dataset.get_version)
    compare_versions = bound(dataset.compare_versions)
    create_archive = bound(dataset.create_archive)
    get_archive = bound(dataset.get_archive)
