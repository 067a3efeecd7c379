"""The formats of archives by the names that the API uses; each is a module of its own."""

from __future__ import annotations

from exports.formats.base import Format, Options
from exports.formats.chariot import Chariot
from exports.formats.chats import CHAT_FORMATS
from exports.formats.coco import Coco
from exports.formats.imagefolder import ImageFolder
from exports.formats.label_studio import LabelStudio
from exports.formats.ndjson import Ndjson
from exports.formats.open_inference.table_format import TABLE_FORMATS
from exports.formats.voc import PascalVoc
from exports.formats.webdataset import WebDataset
from exports.formats.yolo import Yolo

__all__ = ["FORMATS", "Format", "Options"]

# In the order in which people are offered them.
PICTURES = (Chariot, Coco, Yolo, PascalVoc, LabelStudio, ImageFolder, WebDataset)
FORMATS: dict[str, type[Format]] = {
    each.name: each for each in (*PICTURES, *CHAT_FORMATS, Ndjson, *TABLE_FORMATS)
}
