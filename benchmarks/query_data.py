"""Rows for ``query.py``: equal to those of ``record``, but generated in the database.

A few inferences are recorded first, so that keys, labels and sources have their numbers.
The rest comes from one ``INSERT .. SELECT`` per table, over several connections: random ids,
30 days, seven metadata (one without a slot), three detections, an answer of 400 bytes. ``frame``
grows with time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from inferences.models import RegisteredModel

DAYS = 30
START = datetime.now(UTC).replace(microsecond=0) - timedelta(days=DAYS)
CHUNK = 100_000  # rows of a statement
WRITERS = min(os.cpu_count() or 1, 4)  # connections that fill at once
DIMENSIONS, CLUSTERS, SPREAD_OVER = 384, 500, 64
LABELS = ["ship", "boat", "buoy", "crane", "wreck"]
SOURCES = [f"quay-{number}" for number in range(9)]
PICTURES = 16  # different inputs, which all inferences of a model share
SITES = ["main", "east", "pier", *(f"other-{n}" for n in range(40))]


def register(model_id: str, embedding_size: int = 0) -> RegisteredModel:
    """Register a model with a few inferences, so that every label and key has its number."""
    from inferences.models import (
        InferenceAction,
        MetadataKey,
        RegisteredModel,
        TaskType,
    )
    from inferences.models.metadata_values import MetadataValue
    from inferences.store.recording import NewInference, record
    from istore.models import Project

    project, _ = Project.objects.get_or_create(project_id="benchmark")
    model = RegisteredModel.objects.create(
        model_id=model_id,
        project=project,
        task_type=TaskType.OBJECT_DETECTION,
        embedding_size=embedding_size,
    )
    MetadataKey.objects.create(registered_model=model, key="tag", kind="int", slot="")
    pose = json.dumps({"angle": 0.5, "site": "a"})
    given = [
        ("site", "string", "main"),
        ("operator", "string", "operator-0"),
        ("frame", "int", "0"),
        ("speed", "int", "0"),
        ("gain", "float", "0.5"),
        ("pose", "json", pose),
        ("tag", "int", "0"),
    ]
    record(
        model,
        [
            NewInference(
                inference_id=f"first-{number}",
                inference_action=InferenceAction.DETECT,
                data_hash=hashlib.sha256(b"").digest(),
                created_at=START + timedelta(microseconds=number),
                metadata=[MetadataValue(*each) for each in given],
                data_source=source,
                detections=[(label, 0.5) for label in LABELS],
            )
            for number, source in enumerate(SOURCES)
        ],
    )
    model.refresh_from_db()
    return model


def store_inputs(model: RegisteredModel) -> list[str]:
    """Store some pictures as one pack, and return their keys; again the same for one model.

    Lists look at the input of each inference, and one that is missing costs more than one that
    is there.
    """
    from PIL import Image

    from istore import blobs
    from istore.blobs import packs

    pictures = []
    for number in range(PICTURES):
        drawn = io.BytesIO()
        Image.new("RGB", (64, 48), (number, 0, 0)).save(drawn, "PNG")
        pictures.append((bytes([number]) * 16, drawn.getvalue()))
    hour = blobs.prefix_for(model.project_id, model.pk, START, "").rstrip("/")
    pack = packs.build_inputs(f"{hour}/{'0' * 32}.{packs.INPUTS}", pictures)
    blobs.put(pack.key, pack.body)
    return [member.content_key(pack.key) for member in pack.members]


# SQL expressions of the answer: any 400 bytes, or three boxes as the API stores them.
ANY_TEXT = "rpad('{\"outputs\": ', 400, md5(id::text))"
BOXES = """
(SELECT json_build_object('object_detection', json_agg(json_build_object(
     'label', (%(names)s::text[])[array_position(%(labels)s::integer[], label)],
     'score', score, 'xmin', (id %% 997)::float8 + 0.5, 'ymin', (id %% 499)::float8 + 0.25,
     'xmax', (id %% 997)::float8 + 64.5, 'ymax', (id %% 499)::float8 + 48.25)))::text
 FROM unnest(ARRAY[l1, l2, l3], ARRAY[s1, s2, s3]) AS one (label, score))
"""


def fill(
    model: RegisteredModel, rows: int, first: int = 0, answer: str = ANY_TEXT
) -> None:
    """Add rows, spread evenly over all 30 days; ``first`` is the number of the first."""
    from django.db import connection

    from inferences.models.zone_maps import Segment, SegmentGroup

    # These statements touch no segments.
    SegmentGroup.objects.filter(registered_model=model).delete()
    Segment.objects.filter(registered_model=model).delete()
    values = _values(model, rows, first)
    statements = _statements(model, answer)
    chunks = [
        values | {"begun": begun, "end": min(begun + CHUNK, rows) - 1}
        for begun in range(0, rows, CHUNK)
    ]

    def work(some: list[dict[str, object]]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit = off")
            cursor.execute(FUNCTIONS)
            for within in some:
                for statement in statements:
                    cursor.execute(statement, within)
            cursor.execute("RESET synchronous_commit")
        if threading.current_thread() is not threading.main_thread():
            connection.close()

    if len(chunks) == 1:
        work(chunks)
        return
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(work, [chunks[n::WRITERS] for n in range(WRITERS)]):
            pass


def fill_vectors(model: RegisteredModel) -> None:
    """Add a vector to each inference."""
    from django.db import connection

    embeddings = Embeddings(seed=1)
    ids = np.array(list(model.inferences.values_list("id", flat=True)))
    head = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    row = np.dtype(
        [
            ("fields", ">i2"),
            ("id_size", ">i4"),
            ("id", ">i8"),
            ("model_size", ">i4"),
            ("model", ">i4"),
            ("vector_size", ">i4"),
            ("dimensions", ">i2"),
            ("unused", ">i2"),
            ("vector", ">f4", DIMENSIONS),
        ]
    )
    with connection.cursor() as cursor:
        statement = (
            "COPY inferences_embedding (id, model_key, vector) FROM STDIN BINARY"
        )
        with cursor.copy(statement) as copy:
            copy.write(head)
            for begun in range(0, len(ids), 10_000):
                some = ids[begun : begun + 10_000]
                packed = np.zeros(len(some), row)
                packed["fields"], packed["id_size"], packed["id"] = 3, 8, some
                packed["model_size"], packed["model"] = 4, model.pk
                packed["vector_size"] = 4 + 4 * DIMENSIONS
                packed["dimensions"] = DIMENSIONS
                packed["vector"] = embeddings.draw(len(some))
                copy.write(packed.tobytes())
            copy.write(b"\xff\xff")


class Embeddings:
    """Vectors as a model of pictures or texts makes them, drawn again alike by the same seed.

    Uniform vectors have no neighbours worth finding. These lie about 500 subjects, of which some
    have a hundred times as many as others. All share a mean, and their variance falls from
    direction to direction, so that about 64 of the numbers' 384 dimensions count; a tenth of
    their length is noise in all of them. Norms vary by a fifth.
    """

    def __init__(self, seed: int) -> None:
        fixed = np.random.default_rng(1)
        basis = fixed.normal(size=(DIMENSIONS, SPREAD_OVER))
        falling = np.arange(1, SPREAD_OVER + 1) ** -0.5
        self.basis = (np.linalg.qr(basis)[0] * falling).T.astype(np.float32)
        self.mean = fixed.normal(size=DIMENSIONS) / DIMENSIONS**0.5
        self.subjects = fixed.normal(size=(CLUSTERS, SPREAD_OVER))
        self.shares = np.arange(1, CLUSTERS + 1) ** -0.75
        self.shares /= self.shares.sum()
        self.chance = np.random.default_rng(seed)

    def draw(self, count: int) -> np.ndarray:
        """Return that many vectors."""
        chance = self.chance
        subjects = self.subjects[chance.choice(CLUSTERS, count, p=self.shares)]
        within = subjects + 0.6 * chance.normal(size=subjects.shape)
        found = self.mean + within.astype(np.float32) @ self.basis
        noise = chance.standard_normal((count, DIMENSIONS), np.float32)
        length = np.linalg.norm(found, axis=1, keepdims=True)
        found += 0.1 * length * noise / DIMENSIONS**0.5
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return found * chance.uniform(0.8, 1.2, (count, 1))


def settle() -> None:
    """Build zone maps, VACUUM ANALYZE and CHECKPOINT, as a quiet hour would have done."""
    from django.db import connection

    from inferences.search.zone_maps import build

    while build.seal():
        pass
    build.group_built()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _values(model: RegisteredModel, rows: int, first: int) -> dict[str, object]:
    from inferences.models.row_ids import microseconds
    from inferences.store import metadata_slots

    return {
        "model": model.pk,
        "first": first,
        "start": microseconds(START),
        "step": DAYS * 86_400_000_000 / rows,
        "names": LABELS,
        "labels": [metadata_slots.labels.number(model, name) for name in LABELS],
        "sources": [metadata_slots.sources.number(model, name) for name in SOURCES],
        "sites": SITES,
        "inputs": store_inputs(model),
        "tag": metadata_slots.place_of(model, "tag", "int").key_id,
    }


def _statements(model: RegisteredModel, answer: str) -> list[str]:
    from inferences.store import metadata_slots

    slots = {
        name: metadata_slots.place_of(model, *key).slot
        for name, key in {
            "site": ("site", "string"),
            "operator": ("operator", "string"),
            "frame": ("frame", "int"),
            "speed": ("speed", "int"),
            "gain": ("gain", "float"),
            "angle": ("pose.angle", "json.number"),
            "pose_site": ("pose.site", "json.string"),
        }.items()
    }
    columns, values = ", ".join(slots.values()), ", ".join(slots)
    return [
        FRESH,
        "INSERT INTO inferences_inferencekey (model_key, inference_id, row_id) "
        "SELECT %(model)s, inference_id, id FROM fresh",
        "INSERT INTO inferences_inference (id, model_key, latitude, longitude, area_cell, "
        "data_size, source_id, top_score, low_score, inference_action, version, "
        f"is_protected, deleted, inference_id, data_hash, labels, scores, {columns}) "
        "SELECT id, %(model)s, latitude, longitude, pg_temp.cell(latitude, longitude), "
        "20000, source_id, greatest(s1, s2, s3), least(s1, s2, s3), 1, 1, "
        "false, false, inference_id, hash, ARRAY[l1, l2, l3], ARRAY[s1, s2, s3], "
        f"{values} FROM fresh",
        "INSERT INTO inferences_inferencepayload (id, model_key, metadata, data, "
        "data_storage_key, data_content_type, answer_storage_key, content_hash, notes) "
        "SELECT id, %(model)s, jsonb_build_object("
        "'site', ARRAY['string', site], 'operator', ARRAY['string', operator], "
        "'frame', ARRAY['int', frame::text], 'speed', ARRAY['int', speed::text], "
        "'gain', ARRAY['float', gain::text], 'tag', ARRAY['int', tag::text], "
        "'pose', ARRAY['json', jsonb_build_object('angle', angle, 'site', pose_site)::text]), "
        f"{answer}, (%(inputs)s::text[])[1 + id %% {PICTURES}], "
        "'image/png', '1/1/' || inference_id || '/answer', hash, "
        '\'{"times": {"received": "2026-01-01T00:00:00.000000Z"}}\' FROM fresh',
        "INSERT INTO inferences_detection (id, model_key, label_id, score) "
        "SELECT id, %(model)s, each.label, each.score FROM fresh, "
        "unnest(ARRAY[l1, l2, l3], ARRAY[s1, s2, s3]) AS each (label, score)",
        "INSERT INTO inferences_overflownumber (id, model_key, key_id, value) "
        "SELECT id, %(model)s, %(tag)s, tag FROM fresh",
        "DROP TABLE fresh",
    ]


LABEL = (
    "(%(labels)s::integer[])[CASE WHEN {0} < 0.2 THEN 1 WHEN {0} < 0.6 THEN 2 "
    "WHEN {0} < 0.9 THEN 3 WHEN {0} < 0.9999 THEN 4 ELSE 5 END] AS {1}"
)
FRESH = f"""
CREATE TEMP TABLE fresh AS
SELECT (us << 12) | (n & 4095) AS id, gen_random_uuid()::text AS inference_id,
       sha256(n::text::bytea) AS hash, (us - %(start)s) / 1000000 AS frame,
       (%(sites)s::text[])[CASE WHEN a < 0.6 THEN 1 WHEN a < 0.8 THEN 2 WHEN a < 0.82 THEN 3
                           ELSE 4 + floor(random() * 40)::integer END] AS site,
       'operator-' || floor(random() * 500)::integer AS operator,
       floor(random() * 1000000)::bigint AS speed, random() AS gain, random() AS angle,
       chr(97 + floor(random() * 8)::integer) AS pose_site,
       floor(random() * 1000)::integer AS tag,
       51 + random() AS latitude, 4 + random() AS longitude,
       (%(sources)s::integer[])[1 + floor(random() * 9)::integer] AS source_id,
       {LABEL.format("x1", "l1")}, {LABEL.format("x2", "l2")}, {LABEL.format("x3", "l3")},
       random()::real AS s1, random()::real AS s2, random()::real AS s3
FROM (SELECT n, %(start)s + 1000 + %(first)s + (n * %(step)s)::bigint AS us, random() AS a,
             random() AS x1, random() AS x2, random() AS x3
      FROM generate_series(%(begun)s::bigint, %(end)s::bigint) AS n) AS made
"""
SPREAD = """
CREATE FUNCTION pg_temp.spread_{bits}(n bigint) RETURNS bigint IMMUTABLE LANGUAGE sql
AS 'SELECT (n | (n << {bits})) & {mask}';
"""
MASKS = {
    16: 0x0000FFFF0000FFFF,
    8: 0x00FF00FF00FF00FF,
    4: 0x0F0F0F0F0F0F0F0F,
    2: 0x3333333333333333,
    1: 0x5555555555555555,
}
NESTED = "floor({})::bigint"
for _bits in MASKS:
    NESTED = f"pg_temp.spread_{_bits}({NESTED})"
SIDE = 1 << 26
FUNCTIONS = (
    "DROP FUNCTION IF EXISTS pg_temp.cell;"
    + "".join(f"DROP FUNCTION IF EXISTS pg_temp.spread_{bits};" for bits in MASKS)
    + "".join(SPREAD.format(bits=bits, mask=mask) for bits, mask in MASKS.items())
    + "CREATE FUNCTION pg_temp.cell(latitude float8, longitude float8) RETURNS bigint "
    "IMMUTABLE LANGUAGE sql AS 'SELECT "
    + NESTED.format(f"(longitude + 180) / 360 * {SIDE}")
    + " | ("
    + NESTED.format(f"(latitude + 90) / 180 * {SIDE}")
    + " << 1)';"
)
