"""Tables of members without an inference row: entries of datasets.

Their columns are known only when all members have passed. Until then each member is kept as a
line of a temporary file. Its answer is parsed as it passes, by its own model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import IO, Any

import orjson
import pyarrow as pa

from exports.formats.open_inference import predictions
from exports.formats.open_inference.layout import Key, Layout, Shape
from exports.formats.open_inference.predictions import Item
from exports.formats.open_inference.reading import VECTOR_SIZES, Source, written_vector
from exports.formats.open_inference.tables import (
    PORTION_BYTES,
    Rows,
    Tables,
)
from exports.members import DAMAGED, NOT_UNDERSTOOD, NOTHING_FOUND, Member, Skip
from inferences.models import InferenceAction
from inferences.models.row_ids import first_id_at
from inferences.predictions.columns import prediction_of
from inferences.predictions.parsers.prompts import read_prompt
from inferences.store.answer_text import named_text
from inferences.store.stored_requests import NoRequestText

ACTIONS = {each.label: each.value for each in InferenceAction}
LINE = orjson.OPT_APPEND_NEWLINE


class Kept:
    """Members that wait in a temporary file for their table."""

    def __init__(self, model: Any, shape: Shape, file: IO[bytes]) -> None:
        self.model = model
        self.shape = shape
        self.file = file
        self.types: dict[str, set[str]] = {}
        self.sizes: Counter[int] = Counter()
        self.labels: dict[str, int] = {}
        self.sources: dict[str, int] = {}
        self.has_splits = False

    def add(self, member: Member) -> None:
        """Write the member to the file. Raises ``Skip`` if the table will have no row for it."""
        line = self._line(member)
        if self.shape is Shape.EXPLODED and has_items(self.model.task_type):
            if line["items"] is None:
                raise Skip(NOT_UNDERSTOOD)
            if not line["items"]:
                raise Skip(NOTHING_FOUND)
        for key, value in member.metadata.items():
            self.types.setdefault(key, set()).add(value.type)
        vector = member.embedding
        if vector is not None and len(vector) in VECTOR_SIZES:
            self.sizes[len(vector)] += 1
        self.has_splits = self.has_splits or member.split is not None
        self.file.write(orjson.dumps(line, option=LINE))

    def _line(self, member: Member) -> dict[str, Any]:
        task, said = self.model.task_type, member.said
        source, pairs = member.data_source, said.pairs
        understood = said.understood
        labels = scores = None
        if pairs is not None:
            labels = _array(_number(self.labels, name) for name, _ in pairs)
            scores = _array(score for _, score in pairs)
        return {
            "id": first_id_at(member.created_at),
            "inference_id": member.inference_id,
            "action": ACTIONS.get(member.inference_action),
            "source": None if source is None else _number(self.sources, source),
            "latitude": member.latitude,
            "longitude": member.longitude,
            "data_hash": member.data_hash.hex(),
            "data_size": member.data_size,
            "is_protected": member.is_protected,
            "has_input": False,  # the API has no URL for the input of an entry
            "labels": labels,
            "scores": scores,
            "metadata": {key: value.text for key, value in member.metadata.items()},
            "vector": member.embedding and written_vector(member.embedding),
            "prompt": _prompt(member),
            "split": member.split,
            "prediction": prediction_of(task, said) if understood else None,
            "items": predictions.items_of(task, said) if understood else None,
        }

    def tables(self) -> KeptTables:
        """Return the reader that turns the lines into batches."""
        (size, _), *_ = self.sizes.most_common(1) or [(0, 0)]
        model: Any = SimpleNamespace(**vars(self.model) | {"embedding_size": size})
        keys = tuple(
            Key(name, frozenset(self.types[name])) for name in sorted(self.types)
        )
        layout = Layout(model, self.shape, keys, has_splits=self.has_splits)
        return KeptTables(layout, self)

    def lines(self, at_once: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the kept lines in lists of up to ``at_once``, fewer if they are long."""
        self.file.seek(0)
        some: list[dict[str, Any]] = []
        size = 0
        for line in self.file:
            size += len(line)
            if some and (len(some) == at_once or size > PORTION_BYTES):
                yield some
                some, size = [], len(line)
            some.append(orjson.loads(line))
        if some:
            yield some


class KeptTables(Tables):
    """Batches from the kept lines, with the columns of ``Tables``."""

    def __init__(self, layout: Layout, kept: Kept) -> None:
        super().__init__(layout)
        self.kept = kept
        self._label_names.known = {n: name for name, n in kept.labels.items()}
        self._source_names.known = {n: name for name, n in kept.sources.items()}
        self._present: list[dict[str, Any]] = []

    def kept_rows(self, at_once: int) -> Iterator[Rows]:
        """Yield all kept members as batches of up to ``at_once`` rows."""
        for lines in self.kept.lines(at_once):
            self._present = lines
            yield self.rows(self._table())

    def _table(self) -> pa.Table:
        wanted = [Source("id", "", pa.int64()), *self.sources]
        columns = [self._column(source) for source in wanted]
        return pa.table(columns, names=[source.name for source in wanted])

    def _column(self, source: Source) -> pa.Array:
        name, type_ = source.name, source.type
        if name.startswith("key_"):
            key = self.layout.keys[int(name.removeprefix("key_"))].name
            values = [line["metadata"].get(key) for line in self._present]
        else:
            values = [line.get(name) for line in self._present]
        return pa.array(values, type_)

    def _of_key(self, number: int, key: Key) -> Source:
        return Source(f"key_{number}", "", pa.string())

    def _answers(self, table: pa.Table, damaged: set[int]) -> list[Any]:
        return self._present

    def _predictions(self, answers: Sequence[Any]) -> list[Any]:
        return [line["prediction"] for line in answers]

    def _items(self, answers: Sequence[Any]) -> list[Any]:
        return [
            None if line["items"] is None else [Item(**each) for each in line["items"]]
            for line in answers
        ]

    def _prompts(self, table: pa.Table, damaged: set[int]) -> list[str | None]:
        return [line["prompt"] for line in self._present]


def has_items(task_type: str) -> bool:
    """Return whether answers of this task type consist of items."""
    return predictions.item_name(task_type) is not None


def _number(known: dict[str, int], word: str) -> int:
    return known.setdefault(word, len(known) + 1)


def _array(values: Any) -> str:
    """Return numbers in PostgreSQL's text form of an array."""
    return "{" + ",".join("NULL" if v is None else str(v) for v in values) + "}"


def _prompt(member: Member) -> str | None:
    """Return the named input ``text``, else the input as text, or None."""
    if (named := named_text(member.answer)) is not None:
        return named
    try:
        return read_prompt(member.request)
    except NoRequestText:
        return None
    except Skip as why:
        if str(why) == DAMAGED:
            raise
        return None
