"""Batches of an OpenInference table, made of inference rows.

One statement reads a batch, which becomes columns and is then dropped. So memory is that of a
batch, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from django.conf import settings

from exports.formats.open_inference import extra_columns, predictions, reading
from exports.formats.open_inference.layout import (
    IDENTITY,
    INFERENCE_ID,
    INPUT_LINK,
    ITEM_NUMBER,
    LINK,
    PROMPT,
    SPLIT,
    STANDARD,
    TIMESTAMP,
    VECTOR,
    Key,
    Layout,
)
from exports.formats.open_inference.predictions import Item
from exports.formats.open_inference.reading import Source
from exports.members import (
    DAMAGED,
    NOT_UNDERSTOOD,
    NOTHING_FOUND,
    answer_of,
)
from inferences.models import (
    Inference,
    InferenceAction,
    LabelName,
    MetadataType,
    SourceName,
)
from inferences.predictions.parse import deconstructed
from inferences.predictions.parsers.prompts import is_textual, read_prompt
from inferences.store import metadata_slots
from inferences.store.metadata_slots import place_of
from inferences.store.reading import fetch
from inferences.store.stored_requests import NoRequestText, Reason, request_text
from istore.addresses import model_address
from istore.blobs import BlobDamaged
from istore.blobs.batch_reading import BatchReader
from istore.blobs.damage import telling_damage

TEXT, REAL, WHOLE, FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
PORTION_BYTES = 64 * 1024**2  # of inputs whose prompts are in memory at the same time
PLAIN = "^[A-Za-z0-9_.~-]*$"  # characters that a URL needs not escape
READERS = 8  # blobs that are read at the same time


@dataclass
class Rows:
    """A batch with the columns of the layout, and which inferences are in it or left out."""

    batch: pa.RecordBatch
    # Row ids of the inferences that have at least one row in the batch.
    written: list[int] = field(default_factory=list)
    # The other inferences: their ids by the reason, and their row ids.
    left_out: dict[str, list[str]] = field(default_factory=dict)
    left_out_ids: list[int] = field(default_factory=list)
    other_vectors: int = 0  # vectors of another length than the model's: null
    too_large: int = 0  # requests that are not read as text: no prompt


class Tables:
    """The reader of one layout's batches."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.model = layout.model
        self._label_names = _Names(LabelName)
        self._source_names = _Names(SourceName)
        self._needs_answers = bool(layout.beside) or predictions.needs_answers(
            self.model.task_type
        )
        self.sources = self._sources_of_columns()
        self._reader: reading.Reader | None = None
        self._too_large = 0

    def ahead(self, row_ids: Sequence[int]) -> Future[pa.Table]:
        """Start reading these rows in a thread; ``rows`` takes the result. ``close`` ends it."""
        if self._reader is None:
            self._reader = reading.Reader()
        return self._reader.start(self.model, row_ids, self.sources)

    def close(self) -> None:
        """End the thread that reads, if there is one."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def rows(self, table: pa.Table) -> Rows:
        """Return the live inferences among the rows that were read, oldest first."""
        # Places of rows whose answer or input cannot be read: they are left out.
        damaged: set[int] = set()
        self._too_large = 0
        answers = self._answers(table, damaged) if self._needs_answers else []
        prompts = self._prompts(table, damaged) if self.layout.has_prompt else []
        left_out = table
        if damaged:
            here = [place not in damaged for place in range(table.num_rows)]
            left_out = table.filter(pa.array([not each for each in here]))
            table = table.filter(pa.array(here))
            answers, prompts = (
                list(compress(answers, here)),
                list(compress(prompts, here)),
            )
        filled, other_vectors = self._standing(table, prompts)
        if self.layout.has_truth:
            written = table["truth"].to_pylist()
            actuals = predictions.actuals(self.model.task_type, written)
            filled |= predictions.columns_of(actuals, self.layout.actual)
        if self.layout.beside:
            names = map(str, self.layout.beside_names)
            columns = extra_columns.columns(self.layout.beside, answers)
            filled |= {n: column for n, (_, column) in zip(names, columns, strict=True)}
        if self.layout.is_exploded and self.layout.has_items:
            rows = self._exploded(table, filled, answers)
        else:
            rows = self._flat(table, filled, answers)
        rows.other_vectors, rows.too_large = other_vectors, self._too_large
        if damaged:
            names = left_out["inference_id"].to_pylist()
            rows.left_out.setdefault(DAMAGED, []).extend(names)
            rows.left_out_ids += left_out["id"].to_pylist()
        return rows

    def portions(self, table: pa.Table) -> Iterator[pa.Table]:
        """Yield the rows in portions whose prompts fit into memory; a long one is alone."""
        if not self.layout.has_prompt:
            yield table
            return
        start = size = 0
        for place, bytes_ in enumerate(table["data_size"].to_pylist()):
            size += bytes_ or 0
            if size > PORTION_BYTES and place > start:
                yield table.slice(start, place - start)
                start, size = place, bytes_ or 0
        yield table.slice(start)

    def all_rows(self, row_ids: Sequence[int], at_once: int) -> Iterator[Rows]:
        """Yield batches of ``at_once`` rows; each is read while the one before is processed."""
        starts = range(0, len(row_ids), at_once)
        following = (self.ahead(row_ids[start : start + at_once]) for start in starts)
        try:
            present = next(following, None)
            while present is not None:
                read = present
                present = next(following, None)
                yield from map(self.rows, self.portions(read.result()))
        finally:
            self.close()

    # -- sources: the SQL of the columns

    def _sources_of_columns(self) -> list[Source]:
        columns = [
            Source("inference_id", "row.inference_id", TEXT),
            Source("action", "row.inference_action", WHOLE),
            Source("source", "row.source_id", WHOLE),
            Source("latitude", "row.latitude", REAL),
            Source("longitude", "row.longitude", REAL),
            Source("data_hash", "encode(row.data_hash, 'hex')", TEXT),
            Source("data_size", "row.data_size", WHOLE),
            Source("is_protected", "row.is_protected", FLAG),
            Source("has_input", "cold.data_storage_key <> ''", FLAG),
            Source("labels", "coalesce(row.classes, row.labels)", TEXT),
            Source("scores", "coalesce(row.probabilities, row.scores)", TEXT),
        ]
        columns += [self._of_key(n, key) for n, key in enumerate(self.layout.keys)]
        if self._needs_answers:
            columns.append(Source("answer", "nullif(cold.data, '')", TEXT))
            columns.append(Source("elsewhere", ELSEWHERE, FLAG))
        if self.layout.has_splits:
            columns.append(Source("split", "NULL", TEXT))
        if self.layout.has_prompt:
            columns.append(Source("input_key", "cold.data_storage_key", TEXT))
            columns.append(Source("named_text", NAMED_TEXT, TEXT))
            columns.append(Source("content_type", "cold.data_content_type", TEXT))
        if self.layout.has_vector:
            columns.append(Source("vector", reading.VECTOR, TEXT))
        if self.layout.has_truth:
            columns.append(Source("truth", reading.TRUTH, TEXT))
        return columns

    def _of_key(self, number: int, key: Key) -> Source:
        """Return the source of a key: its slots for numbers, else the text that was given."""
        name = f"key_{number}"
        kinds = (MetadataType.FLOAT, MetadataType.INT)
        places = [place_of(self.model, key.name, k) for k in kinds if k in key.types]
        slots = [f"row.{place.slot}" for place in places if place and place.slot]
        if key.type != TEXT and len(slots) == len(key.types):
            sql = ", ".join(f"{slot}::float8" for slot in slots)
            sql = slots[0] if len(slots) == 1 else f"coalesce({sql})"
            return Source(name, sql, key.type)
        path = "cold.metadata #>> ARRAY[%s, '1']"
        return Source(name, path, TEXT, (key.name,))

    # -- columns that every row has

    def _standing(
        self, table: pa.Table, prompts: list[str | None]
    ) -> tuple[dict[str, Any], int]:
        count = table.num_rows
        model = self.model
        address = model_address(model.project.project_id, model.model_id)
        link = f"{settings.ISTORE_URL}/api/v1/{address}/inferences/"
        named = table["inference_id"].combine_chunks()
        quoted = named
        if not pc.all(pc.match_substring_regex(named, PLAIN), min_count=0).as_py():
            quoted = pa.array([quote(each, "") for each in named.to_pylist()], TEXT)
        links = pc.binary_join_element_wise(link, quoted, "/input", "")
        has_input = table["has_input"].combine_chunks()
        links = pc.if_else(has_input, links, pa.scalar(None, TEXT))
        actions = {each.value: each.label for each in InferenceAction}
        filled: dict[str, Any] = {
            str(IDENTITY): named,
            str(TIMESTAMP): reading.moments(table["id"]),
            str(LINK if self.layout.has_vector else INPUT_LINK): links,
            str(STANDARD["model_id"]): pa.repeat(self.model.model_id, count),
            str(STANDARD["action"]): reading.named(table["action"], actions),
            str(STANDARD["source"]): self._source_names.of(table["source"]),
        }
        for name in ("latitude", "longitude", "data_hash", "data_size", "is_protected"):
            filled[str(STANDARD[name])] = table[name]
        for number, key in enumerate(self.layout.keys):
            filled[str(key.column)] = _of_type(table[f"key_{number}"], key.type)
        if self.layout.has_splits:
            filled[str(SPLIT)] = table["split"]
        if self.layout.has_prompt:
            filled[str(PROMPT)] = pa.array(prompts, TEXT)
        other = 0
        if self.layout.has_vector:
            size = self.model.embedding_size
            found, other = reading.vectors(table["vector"], size)
            filled[str(VECTOR)] = found
        return filled, other

    # -- the two shapes of a table

    def _flat(
        self, table: pa.Table, filled: dict[str, Any], answers: list[str | None]
    ) -> Rows:
        places = self.layout.prediction
        answered = predictions.answered_places(places)
        if answered:
            parsed = self._predictions(answers)
            filled |= predictions.columns_of(parsed, answered)
        if in_arrays := [place for place in places if place not in answered]:
            columns = predictions.class_columns(*self._classes(table))
            filled |= {str(place.name): columns[place.said] for place in in_arrays}
        if self.layout.is_exploded:
            filled[str(INFERENCE_ID)] = filled[str(IDENTITY)]
            filled[str(ITEM_NUMBER)] = pa.array([0] * table.num_rows, WHOLE)
            filled[str(IDENTITY)] = _number(
                filled[str(IDENTITY)], filled[str(ITEM_NUMBER)]
            )
        return Rows(self._batch(filled), table["id"].to_pylist())

    def _exploded(
        self, table: pa.Table, filled: dict[str, Any], answers: list[str | None]
    ) -> Rows:
        """Return one row for each item; columns of the inference are repeated in each."""
        found = predictions.class_items(*self._classes(table))
        if answers:
            read = self._items(answers)
            # An answer has more fields of its items than the arrays of the row.
            found = [
                a if a is not None else b for a, b in zip(read, found, strict=True)
            ]
        counts = np.array([len(each) if each else 0 for each in found], dtype=np.int64)
        flat = [item for each in found if each for item in each]
        of_row = pa.array(np.repeat(np.arange(len(found)), counts))
        filled = {
            name: _combine(column).take(of_row) for name, column in filled.items()
        }
        starts = np.repeat(np.cumsum(counts) - counts, counts)
        numbers = pa.array(np.arange(len(flat)) - starts, WHOLE)
        filled[str(INFERENCE_ID)] = filled[str(IDENTITY)]
        filled[str(ITEM_NUMBER)] = numbers
        filled[str(IDENTITY)] = _number(filled[str(INFERENCE_ID)], numbers)
        attributes = {"label": "label", "score": "score", "item": "json"}
        for place in self.layout.prediction:
            values = [getattr(item, attributes[place.said]) for item in flat]
            filled[str(place.name)] = pa.array(values, place.type)
        rows = Rows(self._batch(filled))
        names = table["inference_id"].to_pylist()
        for row_id, name, each in zip(
            table["id"].to_pylist(), names, found, strict=True
        ):
            if each:
                rows.written.append(row_id)
            else:
                why = NOT_UNDERSTOOD if each is None else NOTHING_FOUND
                rows.left_out.setdefault(why, []).append(name)
                rows.left_out_ids.append(row_id)
        return rows

    def _batch(self, filled: dict[str, Any]) -> pa.RecordBatch:
        schema = self.layout.schema
        columns = [
            _combine(filled[name]).cast(type_) for name, type_ in _fields(schema)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    # -- answers and inputs

    def _predictions(self, answers: list[str | None]) -> list[dict[str, Any] | None]:
        task = self.model.task_type
        return list(predictions.predictions(task, answers, self._read))

    def _items(self, answers: list[str | None]) -> list[list[Item] | None]:
        return list(predictions.items(self.model.task_type, answers, self._read))

    def _read(self, text: str) -> Any:
        return deconstructed(self.model, text)

    def _classes(self, table: pa.Table) -> tuple[pa.ListArray, pa.ListArray]:
        """Return the labels and scores of each row, from the row's arrays."""
        numbers = reading.lists(table["labels"], pa.int32())
        names = self._label_names.of(numbers.values)
        counts = np.diff(numbers.offsets.to_numpy())
        labels = reading.with_offsets(names, counts, numbers.is_null())
        return labels, reading.lists(table["scores"], REAL)

    def _answers(self, table: pa.Table, damaged: set[int]) -> list[str | None]:
        """Return the answers as text; those in blobs are fetched."""
        answers: list[str | None] = table["answer"].to_pylist()
        elsewhere = table["elsewhere"].to_pylist()
        if any(elsewhere):
            ids = table["id"].to_pylist()
            missing = [i for i, away in zip(ids, elsewhere, strict=True) if away]
            fetched = fetch(self.model, missing)
            reader = BatchReader(each.payload.answer_storage_key for each in fetched)
            found = {each.id: _answer_text(each, reader) for each in fetched}
            answers = [
                found.get(row_id) if away else text
                for row_id, away, text in zip(ids, elsewhere, answers, strict=True)
            ]
            damaged |= {
                place
                for place, (row_id, away) in enumerate(zip(ids, elsewhere, strict=True))
                if away and found.get(row_id, "") is None
            }
        return answers

    def _prompts(self, table: pa.Table, damaged: set[int]) -> list[str | None]:
        """Return the prompts of text models: the named input ``text``, else the input."""
        keys, types = table["input_key"].to_pylist(), table["content_type"].to_pylist()
        named = table["named_text"].to_pylist()
        keys = [
            key if is_textual(type_) else None
            for key, type_ in zip(keys, types, strict=True)
        ]
        keys = [
            key if of_name is None else None
            for key, of_name in zip(keys, named, strict=True)
        ]
        read = partial(_text_input, BatchReader(filter(None, keys)))
        with ThreadPoolExecutor(READERS) as readers:
            texts = list(readers.map(read, keys, types))
        damaged |= {n for n, text in enumerate(texts) if text is Reason.DAMAGED}
        self._too_large += sum(text is Reason.TOO_LARGE for text in texts)
        return [
            (None if isinstance(text, Reason) else text) if of_name is None else of_name
            for text, of_name in zip(texts, named, strict=True)
        ]


class _Names:
    """A cache of a model's words by their numbers."""

    def __init__(self, table: type[LabelName] | type[SourceName]) -> None:
        self.table = table
        self.known: dict[int, str] = {}

    def of(self, numbers: pa.Array | pa.ChunkedArray) -> pa.Array:
        met = set(pc.unique(numbers).to_pylist()) - {None}
        if missing := met - self.known.keys():
            rows = self.table.objects.filter(pk__in=missing)
            if len(self.known) > metadata_slots.WORDS_REMEMBERED:
                self.known.clear()
                rows = self.table.objects.filter(pk__in=met)
            self.known |= dict(rows.values_list("id", "name"))
        return reading.named(numbers, self.known)


def _text_input(
    reader: BatchReader, key: str | None, content_type: str | None
) -> str | Reason:
    """Return the prompt, or why there is none."""
    try:
        return read_prompt(request_text(key, content_type, reader))
    except NoRequestText as why:
        return why.reason


def _answer_text(inference: Inference, reader: BatchReader) -> str | None:
    """Return the answer as text; None if its blob is damaged or gone."""
    try:
        with telling_damage(inference.inference_id):
            return answer_of(inference, reader)
    except (FileNotFoundError, BlobDamaged):
        return None


# Of a collection that was stored with named inputs, the one that is the text.
NAMED_TEXT = (
    "CASE WHEN cold.data LIKE '{%%' AND cold.data LIKE '%%\"inputs\"%%'"
    " AND cold.data IS JSON OBJECT THEN cold.data::json #>> '{inputs,text}' END"
)
# Text that did not fit the row; an answer with binary parts is none.
ELSEWHERE = (
    "cold.data = '' AND cold.answer_storage_key <> ''"
    " AND coalesce(cold.notes #>> '{answer,header_length}', '0') = '0'"
)


def _of_type(column: pa.ChunkedArray, type_: pa.DataType) -> Any:
    """Return a metadata column with its key's type; a number without a slot is parsed here."""
    if column.type == type_ or not pa.types.is_string(column.type):
        return column
    try:
        return column.cast(type_)
    except pa.ArrowInvalid:  # such as "+1.5", which Python parses and Arrow does not
        read = int if type_ == WHOLE else float
        texts = column.to_pylist()
        return pa.array([None if t is None else read(t) for t in texts], type_)


def _number(names: Any, numbers: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(_combine(names), numbers.cast(TEXT), ":")


def _combine(column: Any) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _fields(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(each.name, each.type) for each in schema]
