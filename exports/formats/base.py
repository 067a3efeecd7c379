"""What a format is: a class that turns members into the entries of an archive.

A format is made for one archive and used once: ``begin``, ``add_batch`` for each batch of
neighbours (which calls ``add`` for each member), ``finish``. Nothing that grows with the
set may be kept in memory: ``Archive.scratch`` gives files for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from exports.archives import Archive
from exports.members import DELETED, Batch, Member, Skip, ahead
from exports.receipts import Receipt
from inferences.models import RegisteredModel

FLAGS = ("include_inferences_as_annotations", "include_custom_metadata")


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller may choose for any format; ``more`` is for one format alone."""

    include_inferences_as_annotations: bool = False
    include_custom_metadata: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, kept: dict[str, Any]) -> Options:
        """As a task keeps them."""
        flags = {name: kept.get(name, False) for name in FLAGS}
        return cls(**flags, more={n: v for n, v in kept.items() if n not in FLAGS})


class Format:
    """One way to write a set of inferences down."""

    do_not_call_in_templates: ClassVar = True  # pages show the class itself

    name: ClassVar[str]  # the word of the API
    title: ClassVar[str]
    description: ClassVar[str]  # one sentence, for people who choose
    version: ClassVar[int] = 1  # raised when readers have to be told
    # Whether the two flags of the contract change anything here.
    annotations_are_optional: ClassVar[bool] = False
    metadata_is_optional: ClassVar[bool] = False
    # Further options: name to the values that it may have, the first being the default.
    choices: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init__(
        self,
        model: RegisteredModel,
        archive: Archive,
        receipt: Receipt,
        options: Options,
    ) -> None:
        self.model = model
        self.archive = archive
        self.receipt = receipt
        self.options = options

    def option(self, name: str) -> str:
        """The value of one of ``choices``."""
        return self.options.more.get(name, self.choices[name][0])

    def begin(self) -> None:
        """Before the first member."""

    def add_batch(self, batch: Batch) -> None:
        """Add each member; one that raises ``Skip`` is left out and counted."""
        for name in batch.deleted:
            self.receipt.skip(name, DELETED)
        for member in ahead(batch.members(), self.receipt.tick):
            try:
                self.add(member)
            except Skip as why:
                self.receipt.skip(member.inference_id, str(why))
            else:
                self.receipt.written += 1
            finally:
                member.close()
            self.receipt.tick()

    def add(self, member: Member) -> None:
        """Add one member, whole or not at all; raises ``Skip`` if it cannot be."""
        raise NotImplementedError

    def finish(self) -> None:
        """After the last member: files that hold something about all of them."""

    def add_input(self, member: Member, directory: str = "data") -> str:
        """Add the input as ``<directory>/<8 digits>.<ext>``; returns that path."""
        path = f"{directory}/{member.number:08d}.{member.extension}"
        self.archive.add_file(path, member.open())
        if member.content.sha256 != member.data_hash:
            self.receipt.warn("hash-mismatch")
        return path
