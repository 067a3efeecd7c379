"""What a format is: a class that turns members into the entries of an archive.

A format is made for one archive and used once: ``begin``, ``add_batch`` for each batch of
neighbours (which calls ``add`` for each member), ``finish``. Nothing that grows with the
set may be kept in memory: ``Archive.scratch`` gives files for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from exports.archives import Archive
from exports.export_report import Receipt
from exports.formats import geometry
from exports.formats.labels import LabelNumbers
from exports.members import DELETED, Batch, Member, Skip, ahead
from inferences.models import LabelName, RegisteredModel
from inferences.predictions.geometry import is_upright_already
from inferences.predictions.parsers import Detection, Mask
from inferences.predictions.parsers.run_lengths import complaint
from inferences.previews.pictures import Measure

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


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture's size and the detections over it, in one frame."""

    picture: Measure
    detections: list[Detection]


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
    # Whether those who open it turn pictures as EXIF says, so that shapes must be turned.
    is_read_upright: ClassVar[bool] = False
    # Whether boxes are cut at the edge of the picture.
    cuts_at_edges: ClassVar[bool] = False
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

    def label_numbers(self, first: int = 0) -> LabelNumbers:
        """Numbers for the labels that it is registered with, then as they were met.

        The order is that of the whole model, not of what was selected, so that the number
        of a class is the same in every archive. Listed are the classes of the model and
        what is met.
        """
        keys = getattr(self.model, "model_keys", None)  # of a dataset: its sources'
        keys = [self.model.pk] if keys is None else keys
        met = LabelName.objects.filter(registered_model__in=keys).order_by("pk")
        known = [*self.model.class_labels, *met.values_list("name", flat=True)]
        return LabelNumbers(known, self.model.class_labels, first)

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

    def drawn(self, member: Member) -> Drawing:
        """The picture of a member and what was found in it, as readers will see them.

        What lies outside the picture or has no area is left out, and what cannot be
        written as it is stored is counted. Raises ``Skip`` when it is no picture.
        """
        picture = member.picture
        detections = member.detections
        if not member.is_deconstructed:
            self.receipt.warn("no-annotations")
        for one in detections:
            if isinstance(one.shape, Mask) and complaint(one.shape):
                self.receipt.warn("malformed-mask")
        if picture.orientation != 1 and any(one.shape for one in detections):
            if self.is_read_upright:
                return self._turned(picture, detections)
            self.receipt.warn("turned")
        return Drawing(picture, list(self._within(picture, detections)))

    def _turned(self, picture: Measure, detections: list[Detection]) -> Drawing:
        upright = Measure(*picture.upright)
        shapes = [one.shape for one in detections]
        if not is_upright_already(shapes, picture):
            detections = [
                replace(one, shape=one.shape and geometry.turn(one.shape, picture))
                for one in detections
            ]
        return Drawing(upright, list(self._within(upright, detections)))

    def _within(
        self, picture: Measure, detections: list[Detection]
    ) -> Iterator[Detection]:
        for one in detections:
            if one.shape is None:
                yield one
                continue
            box = geometry.bounds(one.shape, picture)
            inside = box and box.within(picture)
            if inside is None:
                self.receipt.warn("outside")
                continue
            if not box.is_close_to(inside):
                self.receipt.warn("clipped" if self.cuts_at_edges else "beyond")
            yield one

    def add_input(self, member: Member, directory: str = "data") -> str:
        """Add the input as ``<directory>/<8 digits>.<ext>``; returns that path."""
        path = f"{directory}/{member.number:08d}.{member.extension}"
        self.archive.add_file(path, member.open())
        self.check_input(member)
        return path

    def check_input(self, member: Member) -> None:
        """Count an input that is not what it should be."""
        if member.content.sha256 != member.data_hash:
            self.receipt.warn("hash-mismatch")
        if member.content.ends_early:
            self.receipt.warn("cut-picture")
