"""The base class of formats. A format turns members into the entries of an archive.

An instance serves one archive: ``begin``, then ``add_batch`` for each batch of neighbours
(which calls ``add`` for each member), then ``finish``. It must not keep anything in memory
that grows with the set; ``Archive.scratch`` gives temporary files for that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from exports.archives import Archive
from exports.export_report import Receipt
from exports.formats import geometry
from exports.formats.labels import LabelNumbers
from exports.members import DELETED, Batch, Member, Skip, ahead, decoding
from inferences.models import LabelName, RegisteredModel
from inferences.predictions.geometry import is_upright_already
from inferences.predictions.parsers import Detection, Mask
from inferences.predictions.parsers.run_lengths import complaint
from inferences.previews.pictures import Measure

log = logging.getLogger(__name__)

FLAGS = ("include_inferences_as_annotations", "include_custom_metadata")


@dataclass(frozen=True, slots=True)
class Options:
    """The options that every format has; ``more`` holds those of one format."""

    include_inferences_as_annotations: bool = False
    include_custom_metadata: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, kept: dict[str, Any]) -> Options:
        """Return the options that a task has stored."""
        flags = {name: kept.get(name, False) for name in FLAGS}
        return cls(**flags, more={n: v for n, v in kept.items() if n not in FLAGS})


@dataclass(frozen=True, slots=True)
class Drawing:
    """The size of a picture and its detections, in one coordinate system."""

    picture: Measure
    detections: list[Detection]


class Format:
    """A file format for a set of inferences."""

    do_not_call_in_templates: ClassVar = True  # templates would instantiate the class

    name: ClassVar[str]  # as in the API
    title: ClassVar[str]
    description: ClassVar[str]  # one sentence, shown to people who choose
    version: ClassVar[int] = 1  # in the manifest; raised when readers must change
    # Whether the two flags of the contract have an effect on this format.
    annotations_are_optional: ClassVar[bool] = False
    metadata_is_optional: ClassVar[bool] = False
    # Whether readers turn pictures as EXIF says, so that shapes must be turned with them.
    is_read_upright: ClassVar[bool] = False
    # Whether boxes are cut at the edge of the picture.
    cuts_at_edges: ClassVar[bool] = False
    # Further options: the allowed values by name; the first is the default.
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
        """Return the value of one of ``choices``; without one, the first is the default."""
        value: str = self.options.more.get(name, self.choices[name][0])
        return value

    def label_numbers(self, first: int = 0) -> LabelNumbers:
        """Return the numbers of labels: the model's classes first, then others as first met.

        The order is that of the whole model and not of the selection, so a class has the same
        number in every archive. Only the model's classes and labels that were met are listed.
        """
        keys = getattr(self.model, "model_keys", None)  # of a dataset's source models
        keys = [self.model.pk] if keys is None else keys
        met = LabelName.objects.filter(registered_model__in=keys).order_by("pk")
        known = [*self.model.class_labels, *met.values_list("name", flat=True)]
        return LabelNumbers(known, self.model.class_labels, first)

    def begin(self) -> None:
        """Prepare the archive; called before the first member."""

    def add_batch(self, batch: Batch) -> None:
        """Add each member. A member whose ``add`` raises ``Skip`` is left out and counted.

        Whatever else ``add`` raises is a fault of the format or of a service, and ends the attempt.
        """
        for name in batch.deleted:
            self.receipt.skip(name, DELETED)
        for member in ahead(batch.members(), self.receipt.tick):
            try:
                self.add(member)
            except Skip as why:
                if why.__cause__:  # content that its decoder did not foresee
                    log.warning(
                        "The member %s could not be decoded",
                        member.inference_id,
                        exc_info=why,
                    )
                self.receipt.skip(member.inference_id, str(why))
            else:
                self.receipt.written += 1
            finally:
                member.close()
            self.receipt.tick()

    def add(self, member: Member) -> None:
        """Add one member, whole or not at all. Raises ``Skip`` if it cannot be added."""
        raise NotImplementedError

    def finish(self) -> None:
        """Add files about the whole set; called after the last member."""

    def drawn(self, member: Member) -> Drawing:
        """Return the picture of a member and its detections, as readers will see them.

        Detections outside the picture or without area are left out. Those that cannot be written as
        they are stored are counted. Raises ``Skip`` if the input is no picture.
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
        with decoding(geometry.ODD_SHAPE):
            is_upright = is_upright_already(shapes, picture)
        if not is_upright:
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
            if box is None or inside is None:
                self.receipt.warn("outside")
                continue
            if not box.is_close_to(inside):
                self.receipt.warn("clipped" if self.cuts_at_edges else "beyond")
            yield one

    def path_of(self, member: Member, directory: str = "data") -> str:
        """Return where the input goes, ``<directory>/<8 digits>.<ext>``. Raises ``Skip`` without one."""
        _ = member.content
        return f"{directory}/{member.number:08d}.{member.extension}"

    def add_input(self, member: Member, path: str) -> None:
        """Add the input. Call it when nothing more can leave the member out: it would stay."""
        self.archive.add_file(path, member.open())
        self.check_input(member)

    def check_input(self, member: Member) -> None:
        """Count an input that differs from its ``data_hash`` or ends early."""
        if member.content.sha256 != member.data_hash:
            self.receipt.warn("hash-mismatch")
        if member.content.ends_early:
            self.receipt.warn("cut-picture")
