"""Low watermarks of a model (``first_id``, ``blob_gone_before``), from which scans start.

Without them scans would read the dead rows of a removal again and again. They are raised
after a removal; ``recording.lower_bounds`` lowers them before an older row is inserted.
Writers hold the model's row FOR SHARE until they commit, and raising takes it FOR UPDATE:
so no row is ever stored below a watermark that was raised meanwhile.
"""

from __future__ import annotations

from django.conf import settings
from django.db import OperationalError, transaction

from inferences.models import RegisteredModel
from istore.db.statement_timeout import statement_timeout

LOCKED_SECONDS = 0.25  # the longest time that writers are kept waiting


def raise_sweep_start(model: RegisteredModel, row_id: int) -> bool:
    """Let sweeps of inputs start at this row id. Returns False if they already do.

    The caller must look after rows that were written below it while the watermark rose.
    """
    lower = RegisteredModel.objects.filter(pk=model.pk, blob_gone_before__lt=row_id)
    return lower.update(blob_gone_before=row_id) == 1


def raise_first_id(model: RegisteredModel) -> None:
    """Let pages in the order of time start at the first live row.

    The row is searched without a lock, and once more under the lock of the model row. If
    that takes longer than ``LOCKED_SECONDS`` the watermark stays, and pages go on reading
    over dead rows.
    """
    before = model.inferences.live().order_by("id").values_list("id", flat=True)
    settled = before.filter(id__gte=model.first_id).first()
    if settled is None or settled <= model.first_id:
        return
    seconds = min(LOCKED_SECONDS, settings.ISTORE_QUERY_SECONDS)
    try:
        with transaction.atomic(), statement_timeout(seconds):
            row = RegisteredModel.objects.select_for_update().get(pk=model.pk)
            first = before.filter(id__gte=row.first_id, id__lte=settled).first()
            if first is not None:
                RegisteredModel.objects.filter(pk=model.pk).update(first_id=first)
    except OperationalError:  # the lock or the query took too long
        return
