"""Records that carry a person, and searches for traces of them in tables and files."""

from __future__ import annotations

import json
import uuid

from django.db import connection

from inferences.erasure.matching_records import Carried
from inferences.erasure.running import open_erasure
from istore import blobs

PERSON = "Zaphod Beeblebrox 4711"


def stored(make_inference, name, person=PERSON, to=None, **fields):
    """An inference with all blobs, whose marker and answer quote the person."""
    folder = f"1/1/2025/06/01/00/{uuid.uuid4()}"
    metadata = {f"key_{number}": number for number in range(9)}
    marker = {"metadata": [{"key": "person", "type": "string", "value": person}]}
    blobs.put(f"{folder}/input", person.encode())
    blobs.put(f"{folder}/answer", person.encode())
    blobs.put(f"{folder}/metadata", json.dumps(marker).encode())
    given = {"to": to} if to else {}
    return make_inference(
        {**metadata, "person": person, "story": {"of": {"name": person}}},
        inference_id=name,
        data_storage_key=f"{folder}/input",
        answer_storage_key=f"{folder}/answer",
        data=person,
        detections=[("ship", 0.9)],
        **given,
        **fields,
    )


def tables_with(text):
    """Every table of the database in which any value of any row holds the text."""
    found = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
            "WHERE n.nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(
                f'SELECT 1 FROM "{table}" AS t WHERE position(%s in t::text) > 0 '
                "OR position(%s in t::text) > 0 LIMIT 1",
                [text, text.encode().hex()],
            )
            if cursor.fetchone():
                found.append(table)
    return found


def objects_with(text):
    """The keys of the stored objects that hold the text, on disk or in a bucket."""
    found = [each.key for each in blobs.walk()]
    return [key for key in found if text.encode() in blobs.get(key)]


def open_task(project, *, key="person", type="string", value=PERSON, dry_run=False):
    carried = Carried(key, type, value)
    return open_erasure("user anna", project, carried, why="", dry_run=dry_run)
