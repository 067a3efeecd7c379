"""Pascal VOC: an XML file of boxes for each picture, under ``Annotations/``.

Corners are whole pixels from 0, cut at the edge of the picture. Oriented boxes and segments
are written as the upright box around them. All pictures are under ``JPEGImages/``, whatever
their kind, because readers of VOC look there.
"""

from __future__ import annotations

from typing import IO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from exports.formats import geometry
from exports.formats.base import Format
from exports.members import Member
from inferences.predictions.parsers import Detection
from inferences.previews.pictures import Measure

WITHOUT_SPLIT = "all"


class PascalVoc(Format):
    name = "voc"
    title = "Pascal VOC"
    description = "Pictures with one XML file of upright boxes each."

    cuts_at_edges = True

    def begin(self) -> None:
        self.lists: dict[str, IO[bytes]] = {}

    def add(self, member: Member) -> None:
        drawing = self.drawn(member)
        picture = drawing.picture
        path = self.path_of(member, "JPEGImages")
        name = path.rpartition("/")[2]
        stem = name.rpartition(".")[0]
        root = Element("annotation")
        _text(root, "folder", "JPEGImages")
        _text(root, "filename", name)
        source = SubElement(root, "source")
        _text(source, "database", self.model.model_id)
        _text(source, "inference_id", member.inference_id)
        size = SubElement(root, "size")
        _text(size, "width", str(picture.width))
        _text(size, "height", str(picture.height))
        _text(size, "depth", "3")
        _text(root, "segmented", "0")
        for found in drawing.detections:
            self._add_object(root, found, picture)
        content = ElementTree.tostring(root, "utf-8", xml_declaration=True)
        self.add_input(member, path)
        self.archive.add(f"Annotations/{stem}.xml", content)
        self._list(member.split or WITHOUT_SPLIT).write(f"{stem}\n".encode())

    def _add_object(self, root: Element, found: Detection, picture: Measure) -> None:
        box = geometry.bounds(found.shape, picture) if found.shape else None
        inside = box and box.within(picture)
        if not box or not inside:
            self.receipt.warn("no-shape")
            return
        each = SubElement(root, "object")
        _text(each, "name", found.label)
        if found.score is not None:
            _text(each, "score", repr(found.score))
        _text(each, "pose", "Unspecified")
        _text(each, "truncated", str(int(inside != box)))
        _text(each, "difficult", "0")
        corners = SubElement(each, "bndbox")
        for name, value in zip(box._fields, inside, strict=True):
            _text(corners, name, str(round(value)))

    def _list(self, name: str) -> IO[bytes]:
        if name not in self.lists:
            self.lists[name] = self.archive.scratch()
        return self.lists[name]

    def finish(self) -> None:
        for name, file in self.lists.items():
            self.archive.add_file(f"ImageSets/Main/{name}.txt", file)


def _text(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = storable(text)


def storable(text: str) -> str:
    """Return the text with the characters that XML 1.0 cannot hold replaced by U+FFFD."""
    return "".join(
        c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else "\ufffd"
        for c in text
    )
