"""What backups know of inferences: the blobs that rows name, and rows of blobs that moved.

A backup dumps the database before it copies the blobs. So after a restore some rows name places
from which blobs were moved meanwhile, into a pack or into another one.
"""

from __future__ import annotations

from collections.abc import Mapping

from django.db import connection, transaction

from inferences.models import InferencePayload, UploadGrant
from inferences.store import pack_rewriting
from istore import blobs
from istore.backup import hooks
from istore.backup.hooks import NamedKeys
from istore.blobs import packs
from istore.blobs.keys import DATASETS

TABLE = InferencePayload._meta.db_table

# Inputs, answers, and the markers in the folders of answers. Rows with an intent are being
# removed, so their blobs may be gone. An erasure may have taken a marker alone.
NAMED = f"""
SELECT data_storage_key FROM {TABLE}
WHERE removal_at IS NULL AND input_removal_at IS NULL AND data_storage_key <> ''
UNION ALL
SELECT answer_storage_key FROM {TABLE}
WHERE removal_at IS NULL AND answer_storage_key <> ''
UNION ALL
SELECT regexp_replace(answer_storage_key, '[^/]*$', '{blobs.METADATA}') FROM {TABLE}
WHERE removal_at IS NULL AND answer_storage_key ~ '/{blobs.ANSWER}$'
  AND NOT coalesce(notes ? 'marker_erased', false)
"""
# Staged uploads: an object may not have been put yet.
STAGED = f"SELECT storage_key FROM {UploadGrant._meta.db_table} WHERE bound_at IS NULL"

REPOINT = f"""
UPDATE {TABLE} AS payload SET {{column}} = moved.new
FROM unnest(%(old)s::text[], %(new)s::text[]) AS moved (old, new)
WHERE payload.model_key = %(model)s AND payload.{{column}} = moved.old
"""


def register() -> None:
    """Tell backups of the blobs of inferences and of uploads."""
    hooks.named_keys.register("inferences", NamedKeys(NAMED))
    hooks.named_keys.register("uploads", NamedKeys(STAGED, required=False))
    hooks.repoints.register("inferences", repoint)


@transaction.atomic
def repoint(moved: Mapping[str, str]) -> None:
    """Point every row that names an old key at the new one.

    Storage keys have no index: each call reads the payloads of the models once, so it gets many
    moves.
    """
    final = {old: _last(moved, old) for old in moved}
    by_model: dict[int, dict[str, str]] = {}
    for old, new in final.items():
        if not new.startswith(DATASETS):  # such an object is named by no inference
            _, number, _ = new.split("/", 2)
            by_model.setdefault(int(number), {})[old] = new
    for model_key, of_model in sorted(by_model.items()):
        for column in ("data_storage_key", "answer_storage_key"):
            with connection.cursor() as cursor:
                cursor.execute(
                    REPOINT.format(column=column),
                    {
                        "model": model_key,
                        "old": list(of_model),
                        "new": list(of_model.values()),
                    },
                )
    by_pack: dict[str, dict[str, str]] = {}
    for old, new in final.items():
        by_pack.setdefault(packs.pack_of(old), {})[old] = new
    for pack, of_pack in by_pack.items():
        for each in pack_rewriting.repoints.values():
            each(pack, of_pack)


def _last(moved: Mapping[str, str], key: str) -> str:
    """Return where a blob went at last: a pack may have been rewritten twice."""
    seen: set[str] = set()
    while key in moved and key not in seen:
        seen.add(key)
        key = moved[key]
    return key
