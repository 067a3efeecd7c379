"""Members: inferences in the form that formats use, with blobs fetched on demand.

A member is closed after its turn; formats copy what they need into files.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import IO, Any, NamedTuple

import filetype

from exports import scratch
from inferences.models import (
    Embedding,
    Inference,
    RecentEmbedding,
    RegisteredModel,
)
from inferences.models.ground_truth import GroundTruth
from inferences.models.metadata_values import READERS
from inferences.predictions.parse import deconstructed
from inferences.predictions.parsers import Deconstructed, Detection
from inferences.predictions.parsers.prompts import is_textual
from inferences.previews.picture_pool import Busy, Unreadable, pool
from inferences.previews.pictures import HEAD, LARGEST_INPUT, Measure
from inferences.store.reading import fetch
from inferences.store.stored_requests import (
    NoRequestText,
    Reason,
    is_too_large,
    open_with,
    text_of,
)
from istore import blobs
from istore.blobs.batch_reading import BatchReader
from istore.blobs.damage import telling_damage
from istore.db.replica import read_up_to_date

IN_MEMORY = 1024**2  # bytes; a larger input is kept in a temporary file
CHUNK = 256 * 1024
SNIFFED = 4096
THREADS, AHEAD = 6, 12  # an object store is slow for one request, fast for many
TICK_SECONDS = 1.0
# How files of a kind begin and, but for what some cameras append, end.
ENDS = (
    (b"\xff\xd8\xff", b"\xff\xd9"),
    (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"),
    (b"GIF8", b"\x00\x3b"),  # the end of the last block, then the trailer
)
END_WITHIN = 64 * 1024
EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "image/bmp": "bmp",
    "image/tiff": "tif",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heic",
    "image/jp2": "jp2",
    "image/jpx": "jp2",
    "application/json": "json",
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/csv": "csv",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "video/mp4": "mp4",
}

# Extensions that few readers know, by those of the format that opens them.
ALIKE = {"apng": "png", "jpx": "jp2", "heif": "heic"}


class Skip(Exception):
    """Raised for a member that the archive cannot hold; the text is a key of ``SKIPPED``."""


# What content that nobody foresaw makes decoders raise. A full disk and a storage that is away are
# no such thing: they end the attempt.
UNDECODABLE = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)

DELETED, NO_INPUT, NOT_A_PICTURE = "deleted", "no-input", "not-a-picture"
DAMAGED, TOO_LARGE = "damaged-input", "too-large"
NOT_READ = "not-read-there"
NOTHING_FOUND, NOT_UNDERSTOOD = "nothing-found", "not-understood"
NO_CONVERSATION, NO_ANSWER, NO_TRUTH = "no-conversation", "no-answer", "no-ground-truth"
NOT_TEXT = "not-text"
SKIPPED = {
    DELETED: "Removed before its turn came.",
    NO_INPUT: "No input is stored, or no longer.",
    DAMAGED: "The stored input or answer is damaged, or cannot be read.",
    TOO_LARGE: "The request has more bytes than are read as text.",
    NOT_A_PICTURE: "The input is not a picture that can be decoded.",
    NOT_READ: "Those who open this format do not read such pictures.",
    NOTHING_FOUND: "The model found nothing, and the table has a row for each finding.",
    NOT_UNDERSTOOD: "Nobody could take the answer apart into findings.",
    NO_CONVERSATION: "The input is no request to a language model that can be read.",
    NO_ANSWER: "The answer has no text and no calls of tools.",
    NO_TRUTH: "There is no ground truth with a text.",
    NOT_TEXT: "Sound, files or pictures stand where this format takes text alone.",
}


class Damaged(Skip):
    """Raised where the stored input or answer of a member cannot be decoded."""

    def __init__(self) -> None:
        super().__init__(DAMAGED)


@contextmanager
def decoding(raises: tuple[type[Exception], ...] = UNDECODABLE) -> Iterator[None]:
    """Raise ``Damaged`` for what decoders of stored content raise.

    Put nothing but such a decoder inside: a fault of a format must fail the export, and not look
    like a damaged input.
    """
    try:
        yield
    except raises as error:
        raise Damaged from error


class Value(NamedTuple):
    """A metadata value as it was given."""

    type: str  # string, int, float or json
    text: str

    @property
    def native(self) -> Any:
        """The Python value, or the text itself if it cannot be parsed as its type."""
        try:
            return READERS[self.type](self.text)
        except (KeyError, ValueError, RecursionError):
            return self.text


class Content:
    """The bytes of an input, copied once from the blob store, with their size and SHA-256."""

    def __init__(self, source: IO[bytes]) -> None:
        self.file = scratch.spooled(IN_MEMORY)
        digest = hashlib.sha256()
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            self.file.write(chunk)
        self.size = self.file.tell()
        self.sha256 = digest.digest()

    @cached_property
    def ends_early(self) -> bool:
        """Whether a picture lacks the end marker of its kind, as one truncated in transit does."""
        head = self.head(SNIFFED)
        for start, end in ENDS:
            if head.startswith(start):
                self.file.seek(max(0, self.size - END_WITHIN))
                return end not in self.file.read()
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return self.size < 8 + int.from_bytes(head[4:8], "little")
        return False

    def head(self, size: int) -> bytes:
        """Return the first ``size`` bytes."""
        self.file.seek(0)
        return self.file.read(size)

    def open(self) -> IO[bytes]:
        """Return the bytes from the beginning. The member owns the file: do not close it."""
        self.file.seek(0)
        return self.file

    def close(self) -> None:
        self.file.close()


@dataclass
class Member:
    """One inference of the set.

    ``read_input`` opens the input and raises ``FileNotFoundError`` if there is none. It is called
    in another thread, without the database. ``split`` is set for members of a dataset: train,
    validation or test.
    """

    number: int  # its position in the set, from 1
    inference_id: str
    created_at: datetime
    updated_at: datetime | None
    inference_action: str
    data_hash: bytes
    data_size: int
    data_source: str | None
    latitude: float | None
    longitude: float | None
    is_protected: bool
    version: int
    metadata: dict[str, Value]
    notes: dict[str, Any] | None
    content_type: str
    read_input: Callable[[], IO[bytes]]
    read_answer: Callable[[], str]
    read_embedding: Callable[[], Sequence[float] | None]
    said_of: Callable[[str], Deconstructed]
    read_truth: Callable[[], dict[str, Any] | None]
    # Opens the object of the answer as the model gave it; entries of datasets have none.
    open_answer: Callable[[], IO[bytes]] | None = None
    inference: Inference | None = None  # the row; None for entries of datasets
    split: str | None = None
    _content: Content | None = field(default=None, init=False)

    # -- the input

    @property
    def content(self) -> Content:
        """The input. Raises ``Skip`` if there is none."""
        if self._content is None:
            try:
                with telling_damage(self.inference_id), self.read_input() as source:
                    self._content = Content(source)
            except FileNotFoundError:
                raise Skip(NO_INPUT) from None
            except blobs.BlobDamaged:
                raise Damaged from None
        return self._content

    def fetch(self) -> None:
        """Load the input if there is one; called in another thread."""
        with suppress(Skip):
            _ = self.content

    def open(self) -> IO[bytes]:
        """Return the input as a file. Raises ``Skip`` if there is none."""
        return self.content.open()

    @property
    def request(self) -> str:
        """The input as text. Raises ``Skip`` and ``NoRequestText``."""
        if not is_textual(self.content_type):
            raise NoRequestText(Reason.NO_TEXT)
        if is_too_large(self.content.size):
            raise NoRequestText(Reason.TOO_LARGE)
        return text_of(self.content.open().read())

    @cached_property
    def extension(self) -> str:
        """The file extension by the content type, else by the first bytes, else ``bin``."""
        media_type = self.content_type.partition(";")[0].strip().lower()
        if media_type in EXTENSIONS:
            return EXTENSIONS[media_type]
        guessed = filetype.guess_extension(self.content.head(SNIFFED)) or "bin"
        return ALIKE.get(guessed, guessed)

    @cached_property
    def picture(self) -> Measure:
        """The size of the picture in decoded pixels. Raises ``Skip`` if it is none."""
        head = self.content.head(HEAD)
        try:
            return self._measured(head)
        except Unreadable:
            if not len(head) < self.content.size <= LARGEST_INPUT:
                raise Skip(NOT_A_PICTURE) from None
        try:
            return self._measured(self.content.open().read())
        except Unreadable:
            raise Skip(NOT_A_PICTURE) from None

    def _measured(self, content: bytes) -> Measure:
        while True:
            try:
                answer, _ = pool.ask(content)
            except Busy:  # retry: pages have priority over exports
                continue
            return Measure(answer["width"], answer["height"], answer["orientation"])

    # -- the answer

    @cached_property
    def answer(self) -> str:
        """The answer as text, from its blob if it did not fit the row. Raises ``Skip``."""
        try:
            with telling_damage(self.inference_id):
                return self.read_answer()
        except (FileNotFoundError, blobs.BlobDamaged):
            raise Damaged from None

    @cached_property
    def said(self) -> Deconstructed:
        """The parsed answer. Raises ``Skip``."""
        text = self.answer
        with decoding():
            return self.said_of(text)

    @property
    def detections(self) -> list[Detection]:
        """The detections of the answer; for a single-class answer only the best."""
        return self.said.meant

    @property
    def is_deconstructed(self) -> bool:
        """Whether labels are known, even if there are none."""
        found = self.said
        return found.understood and not (found.embedding and not found.detections)

    @cached_property
    def embedding(self) -> Sequence[float] | None:
        """The embedding, or None if there is none."""
        return self.read_embedding()

    @cached_property
    def truth(self) -> dict[str, Any] | None:
        """The ground truth, or None if there is none."""
        return self.read_truth()

    def close(self) -> None:
        """Close the input's temporary file."""
        if self._content:
            self._content.close()


class Batch:
    """Neighbours in a set, which are read together. ``row_ids`` and ``names`` are the wanted."""

    def __init__(
        self,
        model: RegisteredModel,
        first_number: int,
        row_ids: Sequence[int],
        names: Sequence[str],
    ) -> None:
        self.model = model
        self.first_number = first_number
        self.row_ids = row_ids
        self.names = names

    @cached_property
    def inferences(self) -> dict[int, Inference]:
        """The live inferences with their payloads, by row id."""
        found = read_up_to_date(lambda: fetch(self.model, self.row_ids))
        return {each.id: each for each in found}

    @cached_property
    def embeddings(self) -> dict[int, list[float]]:
        """The embeddings by row id, of the inferences that have one."""
        if not self.model.embedding_size:
            return {}
        found: dict[int, list[float]] = {}
        for table in (Embedding, RecentEmbedding):
            rows = table.objects.beside(self.model).filter(id__in=self.row_ids)
            for row_id, vector in rows.values_list("id", "vector"):
                found[row_id] = [float(each) for each in vector]
        return found

    @cached_property
    def truths(self) -> dict[int, GroundTruth]:
        """The ground truth by row id, of the inferences that have one."""
        rows = GroundTruth.objects.beside(self.model).filter(id__in=self.row_ids)
        return {each.id: each for each in rows}

    def truth_of(self, inference: Inference) -> dict[str, Any] | None:
        """Return the ground truth of an inference of the batch, or None."""
        found = self.truths.get(inference.id)
        return found.truth if found else None

    @cached_property
    def reader(self) -> BatchReader:
        """The reader of inputs and answers, which reads those of a pack together."""
        payloads = [each.payload for each in self.inferences.values()]
        keys = [(p.data_storage_key, p.answer_storage_key) for p in payloads]
        return BatchReader(key for pair in keys for key in pair)

    @property
    def deleted(self) -> list[str]:
        """The ids of inferences that were removed since the set was fixed."""
        pairs = zip(self.row_ids, self.names, strict=True)
        return [name for row_id, name in pairs if row_id not in self.inferences]

    def members(self) -> Iterator[Member]:
        """Yield the members that still exist, in their order."""
        for place, row_id in enumerate(self.row_ids):
            if inference := self.inferences.get(row_id):
                yield self._member(self.first_number + place, inference)

    def _member(self, number: int, inference: Inference) -> Member:
        payload, reader = inference.payload, self.reader
        given = payload.metadata.items()
        return Member(
            number=number,
            inference_id=inference.inference_id,
            created_at=inference.created_at,
            updated_at=inference.updated_at,
            inference_action=inference.get_inference_action_display(),
            data_hash=bytes(inference.data_hash),
            data_size=inference.data_size,
            data_source=inference.source.name if inference.source else None,
            latitude=inference.latitude,
            longitude=inference.longitude,
            is_protected=inference.is_protected,
            version=inference.version,
            metadata={key: Value(*value) for key, value in given},
            notes=payload.notes,
            content_type=payload.data_content_type,
            read_input=lambda: open_with(payload.data_storage_key, reader),
            read_answer=lambda: answer_of(inference, reader),
            open_answer=lambda: open_with(payload.answer_storage_key, reader),
            read_embedding=lambda: self.embeddings.get(inference.id),
            said_of=lambda text: deconstructed(self.model, text),
            read_truth=lambda: self.truth_of(inference),
            inference=inference,
        )


def ahead(members: Iterable[Member], tick: Callable[[], None]) -> Iterator[Member]:
    """Yield the members in their order, while the inputs of the next few are being read.

    ``tick`` is called every second while a member is not ready yet.
    """
    waiting: deque[tuple[Member, Future[None]]] = deque()
    with ThreadPoolExecutor(THREADS) as readers:
        try:
            for member in members:
                waiting.append((member, readers.submit(member.fetch)))
                if len(waiting) > AHEAD:
                    yield _read(*waiting.popleft(), tick)
            while waiting:
                yield _read(*waiting.popleft(), tick)
        finally:
            for member, reading in waiting:
                reading.cancel()
                wait([reading])
                member.close()


def _read(member: Member, reading: Future[None], tick: Callable[[], None]) -> Member:
    while not wait([reading], TICK_SECONDS).done:
        tick()
    reading.result()
    return member


def answer_of(inference: Inference, reader: BatchReader) -> str:
    """Return the answer as text, whatever its size; empty if it is not text.

    Raises ``FileNotFoundError``, and what a storage raises.
    """
    payload = inference.payload
    facts = (payload.notes or {}).get("answer") or {}
    if payload.data or not payload.answer_storage_key or facts.get("header_length"):
        return payload.data
    try:
        with open_with(payload.answer_storage_key, reader) as file:
            return file.read().decode()
    except UnicodeDecodeError:
        return ""
