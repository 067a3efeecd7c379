"""Parse files of annotation tools: COCO, YOLO, Pascal VOC and Label Studio.

Each file is read as a whole, within bounds, into pictures with the shapes and labels drawn on
them. The size of a picture is looked up if units must be converted. Then each picture becomes
ground truth in the form and unit of the model's answers. What was drawn on a picture as EXIF
turns it is turned back to the pixels of the file, unless the model answers upright. A picture is matched to its
inference by what the file says of it (``inference_id``, ``data_hash``), by the hash of a
picture in the same archive, by its file name without the ending, or as ``join_by`` says.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import IO, Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import yaml

from inferences.ground_truth.answers import predictions
from inferences.ground_truth.joining import Actual, Refusal, rows_meant
from inferences.ground_truth.labels import Labels
from inferences.ground_truth.references import HASH, INFERENCE, METADATA, Reference
from inferences.ground_truth.truths import allowed, read_truth
from inferences.models import InferencePayload, RegisteredModel
from inferences.predictions.geometry import is_upright_already
from inferences.predictions.geometry import to_stored_point as stored_point
from inferences.predictions.mask_outlines import trace
from inferences.predictions.model_types import type_of
from inferences.predictions.parsers import Mask, OrientedBox
from inferences.predictions.parsers.run_lengths import complaint
from inferences.previews.picture_pool import Busy, Unreadable, pool
from inferences.previews.pictures import Measure, measure
from istore.errors import BadInput, StoreError, TooLarge
from istore.json_text import read_json

DOCUMENT_MAX_BYTES = 64 * 2**20
DOCUMENT_VALUES = 4_000_000
PART_MAX_BYTES = 2**20  # of one label file in an archive
PICTURE_MAX_BYTES = 64 * 2**20
PARTS_MAX = 100_000
ARCHIVE_MAX_BYTES = 2 * 2**30  # of all files of an archive, unpacked
PIXELS_MAX = 25_000_000  # of a run-length mask
LOOKED_UP = 1000  # references of one query
HEAD = 256 * 1024

Rows = Iterator[Actual | Refusal]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One annotation: a label with a box, a rotated box ``(cx, cy, w, h, r)`` or contours.

    Without a shape the label is of the whole picture.
    """

    label: Any
    box: tuple[float, ...] = ()
    turned: tuple[float, ...] = ()
    contours: Sequence[Sequence[tuple[float, float]]] = ()


@dataclass(slots=True)
class Picture:
    """The annotations of one picture in a file; ``why`` is the reason if it is refused.

    ``in_shares`` says that coordinates are shares of the picture's size, not pixels.
    """

    place: str
    file_name: str = ""
    inference_id: str = ""
    data_hash: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[float, float] | None = None
    in_shares: bool = False
    measured: Measure | None = None  # of the picture beside it in the archive
    drawn: list[Drawn] = field(default_factory=list)
    why: str = ""


def annotated_rows(
    file: IO[bytes], form: str, model: RegisteredModel, labels: Labels, join_by: str
) -> Rows:
    """Yield the ground truth of each picture in a file, or why it is refused.

    The whole file is parsed and all sizes are looked up before the first row is returned.
    Raises ``StoreError`` if the file does not have the form.
    """
    try:
        pictures = FORMS[form](file, labels)
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
        detail = f"The file is not of the form {form}: {str(error)[:200]}"
        raise BadInput("malformed-file", detail) from None
    _fit(form, model, pictures, join_by)
    return iter([_actual(each, model, labels, join_by) for each in pictures])


def _actual(
    picture: Picture, model: RegisteredModel, labels: Labels, join_by: str
) -> Actual | Refusal:
    try:
        if picture.why:
            raise ValueError(picture.why)
        reference = _reference(picture, join_by)
        truth = read_truth(_truth(picture, model), model.task_type, labels)
        return Actual(reference, truth, picture.place)
    except StoreError as error:
        return Refusal(picture.place, str(error))
    except (ValueError, TypeError, OverflowError) as error:
        return Refusal(picture.place, str(error)[:300])


def _reference(picture: Picture, join_by: str) -> Reference:
    path = PurePosixPath(picture.file_name.replace("\\", "/"))
    if join_by.startswith(f"{METADATA}."):
        key = join_by.removeprefix(f"{METADATA}.")
        return Reference(METADATA, str(picture.metadata.get(key, path.name)), key)
    if join_by == HASH:
        return Reference(HASH, picture.data_hash or path.stem)
    if join_by == INFERENCE:
        return Reference(INFERENCE, picture.inference_id or path.stem)
    if not picture.inference_id and picture.data_hash:
        return Reference(HASH, picture.data_hash)
    return Reference(INFERENCE, picture.inference_id or path.stem)


# -- units and forms


def _is_share_wanted(model: RegisteredModel) -> bool:
    return "normal" in (model.box_format or "")


def _truth(picture: Picture, model: RegisteredModel) -> dict[str, Any]:
    forms = allowed(model.task_type)
    has_contours = any(each.contours for each in picture.drawn)
    is_turned = type_of(model.task_type).shape is OrientedBox
    if "polygons" in forms and ("boxes" not in forms or has_contours):
        shaped = [each for each in picture.drawn if _outlines(each)]
        return {"polygons": [_polygon(each, picture) for each in shaped]}
    if "boxes" in forms:
        shaped = [each for each in picture.drawn if _outlines(each)]
        if is_turned or any(each.turned for each in shaped):
            return {"boxes": [_turn(each, picture) for each in shaped]}
        wants_share = _is_share_wanted(model)
        return {"boxes": [_box(each, picture, wants_share) for each in shaped]}
    if "labels" not in forms:
        raise ValueError(f"A model of {model.task_type} has no boxes or labels.")
    if not picture.drawn:
        raise ValueError("The picture has no label.")
    return {"labels": [each.label for each in picture.drawn]}


def _outlines(drawn: Drawn) -> list[list[tuple[float, float]]]:
    """Return the corners or contours of an annotation, in the unit of the file."""
    if drawn.contours:
        return [list(each) for each in drawn.contours]
    if drawn.box:
        x1, y1, x2, y2 = drawn.box
        return [[(x1, y1), (x2, y1), (x2, y2), (x1, y2)]]
    if drawn.turned:
        cx, cy, w, h, r = drawn.turned
        cosine, sine = math.cos(r), math.sin(r)
        half = ((-w, -h), (w, -h), (w, h), (-w, h))
        return [
            [
                (cx + (x * cosine - y * sine) / 2, cy + (x * sine + y * cosine) / 2)
                for x, y in half
            ]
        ]
    return []


def _in_pixels(drawn: Drawn, picture: Picture) -> list[list[tuple[float, float]]]:
    """Return the contours of an annotation in pixels. Raises ValueError without a size."""
    outlines = _outlines(drawn)
    if not picture.in_shares:
        return outlines
    width, height = _size(picture)
    return [[(x * width, y * height) for x, y in each] for each in outlines]


def _size(picture: Picture) -> tuple[float, float]:
    if picture.size is None:
        raise ValueError(
            "The size of the picture is not known, and the file and the model's answers "
            "are in different units: the inference with its input has to be here first."
        )
    return picture.size


def _polygon(drawn: Drawn, picture: Picture) -> dict[str, Any]:
    contours = [[list(point) for point in c] for c in _in_pixels(drawn, picture)]
    return {"label": drawn.label, "contours": contours}


def _box(drawn: Drawn, picture: Picture, wants_share: bool) -> dict[str, Any]:
    points = [point for contour in _outlines(drawn) for point in contour]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    across = down = 1.0
    if picture.in_shares != wants_share:
        width, height = _size(picture)
        across, down = (width, height) if picture.in_shares else (1 / width, 1 / height)
    return {
        "label": drawn.label,
        "xmin": min(xs) * across,
        "ymin": min(ys) * down,
        "xmax": max(xs) * across,
        "ymax": max(ys) * down,
    }


def _turn(drawn: Drawn, picture: Picture) -> dict[str, Any]:
    """Return a rotated box in shares of the picture, as answers are; the angle is that of pixels."""
    width, height = _size(picture)
    (outline, *_) = _in_pixels(drawn, picture)
    if len(outline) == 5 and outline[0] == outline[-1]:
        outline = outline[:4]
    if len(outline) != 4:
        raise ValueError("A turned box has four corners.")
    (x1, y1), (x2, y2), (x3, y3), _ = outline
    return {
        "label": drawn.label,
        "cx": sum(x for x, _ in outline) / 4 / width,
        "cy": sum(y for _, y in outline) / 4 / height,
        "w": math.hypot(x2 - x1, y2 - y1) / width,
        "h": math.hypot(x3 - x2, y3 - y2) / height,
        "r": math.atan2(y2 - y1, x2 - x1),
    }


# -- stored pictures


def _fit(
    form: str, model: RegisteredModel, pictures: list[Picture], join_by: str
) -> None:
    """Measure pictures where their size is needed and not said, and turn back what was
    drawn over them as they are looked at."""
    is_turned = type_of(model.task_type).shape is OrientedBox
    wants_share = _is_share_wanted(model) or is_turned
    is_read_upright = form in READ_UPRIGHT
    if not {"boxes", "polygons"} & set(allowed(model.task_type)):
        return
    wanted: list[tuple[Picture, Reference]] = []
    for each in pictures:
        is_size_wanted = each.in_shares or wants_share
        if not each.drawn or each.why or not (is_read_upright or is_size_wanted):
            continue
        found = each.measured
        if each.size is None and found is not None:
            each.size = (
                found.upright if is_read_upright else (found.width, found.height)
            )
        try:
            reference = _reference(each, join_by)
        except ValueError:
            continue
        # Of the same bytes it is known already that nothing turns them.
        is_same = reference.by == HASH and reference.text == each.data_hash
        is_plain = found is not None and found.orientation == 1 and is_same
        if each.size is None or (is_read_upright and not is_plain):
            wanted.append((each, reference))
    for start in range(0, len(wanted), LOOKED_UP):
        some = wanted[start : start + LOOKED_UP]
        rows = rows_meant(model, [reference for _, reference in some])
        stored = _measures(model, set(rows.values()))
        upright = _upright_already(model, stored) if is_read_upright else set()
        for number, (each, _) in enumerate(some):
            row_id = rows.get(number)
            measured = stored.get(row_id) if row_id is not None else None
            measured = measured or each.measured
            if isinstance(measured, Busy):
                each.why = "Its picture could not be measured in time: send it again."
            elif measured is not None:
                _fit_one(each, measured, is_read_upright, row_id in upright)


def _fit_one(
    picture: Picture, measured: Measure, is_read_upright: bool, stays: bool
) -> None:
    as_stored = measured.width, measured.height
    if picture.size is None:
        picture.size = measured.upright if is_read_upright else as_stored
    # A tool that says the size of the file before its turn did not turn it.
    was_not_turned = picture.size == as_stored != measured.upright
    if not is_read_upright or stays or was_not_turned or measured.orientation == 1:
        return
    unit = Measure(1, 1, measured.orientation)  # of shares, as these forms have them
    picture.drawn = [_back(each, unit) for each in picture.drawn]
    if measured.orientation >= 5:
        width, height = picture.size
        picture.size = height, width


def _back(drawn: Drawn, unit: Measure) -> Drawn:
    contours = [[stored_point(x, y, unit) for x, y in c] for c in drawn.contours]
    box = drawn.box
    if box:
        (x1, y1) = stored_point(box[0], box[1], unit)
        (x2, y2) = stored_point(box[2], box[3], unit)
        box = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    return replace(drawn, contours=contours, box=box)


def _measures(model: RegisteredModel, row_ids: set[int]) -> dict[int, Measure | Busy]:
    """Those of stored inputs that are pictures, and which were not measured in time."""
    rows = InferencePayload.objects.filter(registered_model=model, id__in=row_ids)
    found: dict[int, Measure | Busy] = {}
    for row_id, key in rows.values_list("id", "data_storage_key"):
        try:
            if key:
                found[row_id] = measure(key)
        except Busy as error:
            found[row_id] = error
        except (Unreadable, FileNotFoundError):
            continue
    return found


def _upright_already(
    model: RegisteredModel, stored: Mapping[int, Measure | Busy]
) -> set[int]:
    """The rows whose answers lie over the picture as EXIF turns it."""
    asked = {
        row_id: measured
        for row_id, measured in stored.items()
        if isinstance(measured, Measure) and measured.orientation >= 5
    }
    said = predictions(model, {row_id: {} for row_id in asked}) if asked else {}
    return {
        row_id
        for row_id, each in said.items()
        if is_upright_already([d.shape for d in each.said.detections], asked[row_id])
    }


# -- COCO


def _document(file: IO[bytes]) -> Any:
    content = file.read(DOCUMENT_MAX_BYTES + 1)
    if len(content) > DOCUMENT_MAX_BYTES:
        detail = f"A document has at most {DOCUMENT_MAX_BYTES} bytes: split it."
        raise TooLarge("body-too-large", detail)
    content = content.removeprefix(b"\xef\xbb\xbf")
    return read_json(content, nan_is_null=True, values=DOCUMENT_VALUES)


def _coco(file: IO[bytes], labels: Labels) -> list[Picture]:
    said = _document(file)
    names = {each["id"]: each["name"] for each in said.get("categories") or ()}
    pictures = {}
    for each in said["images"]:
        size = each.get("width"), each.get("height")
        pictures[each["id"]] = Picture(
            f"image {each['id']}",
            str(each.get("file_name") or each["id"]),
            str(each.get("inference_id") or ""),
            str(each.get("data_hash") or ""),
            each.get("metadata") or {},
            size if _is_size(*size) else None,
        )
    for each in said.get("annotations") or ():
        picture = pictures.get(each.get("image_id"))
        if picture is None:
            name = f"annotation {each.get('id')}"
            pictures[name] = Picture(name, why="There is no such image.")
            continue
        try:
            picture.drawn.append(_of_coco(each, names))
        except (ValueError, TypeError, KeyError, IndexError) as error:
            picture.why = f"annotation {each.get('id')}: {error}"
    return list(pictures.values())


def _is_size(width: Any, height: Any) -> bool:
    return all(type(n) in (int, float) and 0 < n < 2**31 for n in (width, height))


def _of_coco(each: Mapping[str, Any], names: Mapping[Any, Any]) -> Drawn:
    number = each["category_id"]
    if number not in names:
        raise ValueError(f"There is no category {number}.")
    label, segments = names[number], each.get("segmentation")
    if isinstance(segments, Mapping):
        return Drawn(label, contours=_contours_of_runs(segments))
    # In our own exports the segmentation of a box is its four corners.
    outlines = [_points(flat) for flat in segments or () if len(flat) >= 6]
    box = _box_of_coco(each.get("bbox"))
    if outlines and not (box and _is_upright(outlines)):
        return Drawn(label, contours=outlines)
    return Drawn(label, box=box)


def _box_of_coco(given: Any) -> tuple[float, ...]:
    if not given:
        return ()
    x, y, width, height = map(float, given)
    return x, y, x + width, y + height


def _is_upright(outlines: list[list[tuple[float, float]]]) -> bool:
    """Return whether the contours are one rectangle with sides parallel to the axes."""
    (first, *rest) = outlines
    xs, ys = {x for x, _ in first}, {y for _, y in first}
    return not rest and len(first) in (4, 5) and len(xs) == len(ys) == 2


def _points(flat: Sequence[float]) -> list[tuple[float, float]]:
    values = [float(value) for value in flat]
    return list(zip(values[::2], values[1::2], strict=True))


def _contours_of_runs(segment: Mapping[str, Any]) -> list[list[tuple[float, float]]]:
    """Return the contours of a COCO run-length mask. Raises ValueError if it is not valid."""
    height, width = segment["size"]
    if not _is_size(width, height) or width * height > PIXELS_MAX:
        raise ValueError("The size of its mask is none.")
    counts = segment["counts"]
    if not isinstance(counts, str):
        counts = tuple(int(count) for count in counts)
    if isinstance(counts, str):
        if not counts.isascii():
            raise ValueError("Its mask is malformed. Its counts cannot be decoded.")
    elif counts and min(counts) < 0:
        raise ValueError("Its mask is malformed. One of its counts is negative.")
    mask = Mask(counts, int(height), int(width))
    if why := complaint(mask):
        raise ValueError(f"Its mask is malformed. {why}")
    found = trace(mask, Measure(width, height))
    if not found:
        raise ValueError("Its mask is empty.")
    return found


# -- archives of small files


class _Archive:
    """A ZIP archive within bounds; its members are read by name."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self.zip = zipfile.ZipFile(file)
        except zipfile.BadZipFile:
            raise BadInput("malformed-file", "The file is not a ZIP.") from None
        self.parts = {i.filename: i for i in self.zip.infolist() if not i.is_dir()}
        if len(self.parts) > PARTS_MAX:
            detail = f"An archive has at most {PARTS_MAX} files."
            raise TooLarge("too-many-rows", detail)
        if sum(part.file_size for part in self.parts.values()) > ARCHIVE_MAX_BYTES:
            detail = f"Unpacked, an archive has at most {ARCHIVE_MAX_BYTES} bytes."
            raise TooLarge("body-too-large", detail)
        self.pictures = {
            PurePosixPath(name).stem: name
            for name in self.parts
            if not name.endswith((".txt", ".xml", ".yaml", ".yml", ".json"))
        }

    def read(self, name: str, most: int = PART_MAX_BYTES) -> bytes:
        """Return a member, at most ``most`` bytes. Raises ValueError."""
        try:
            with self.zip.open(self.parts[name]) as part:
                content = part.read(most + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:  # fmt: skip
            raise ValueError(f"It cannot be unpacked: {error}") from None
        if len(content) > most:
            raise ValueError(f"It has more than {most} bytes.")
        return content

    def look_at(self, picture: Picture, stem: str) -> None:
        """Set the hash and the measure of the picture of this name, if it is in the archive."""
        name = self.pictures.get(stem)
        if name is None:
            return
        content = self.read(name, PICTURE_MAX_BYTES)
        picture.data_hash = hashlib.sha256(content).hexdigest()
        with suppress(Unreadable, Busy):
            told, _ = pool.ask(content)
            picture.measured = Measure(
                told["width"], told["height"], told["orientation"]
            )


def _yolo(file: IO[bytes], labels: Labels) -> list[Picture]:
    archive = _Archive(file)
    names = _class_names(archive) or dict(enumerate(labels.classes))
    found = [name for name in archive.parts if name.endswith(".txt")]
    under = [name for name in found if "labels" in PurePosixPath(name).parts[:-1]]
    notes = ("classes.txt", "train.txt", "val.txt", "test.txt", "readme.txt")
    pictures = []
    for name in under or found:
        path = PurePosixPath(name)
        if path.name.lower() in notes:
            continue
        picture = Picture(name, path.name, in_shares=True)
        try:
            archive.look_at(picture, path.stem)
            lines = archive.read(name).decode().splitlines()
            picture.drawn = [_of_yolo(line, names) for line in lines if line.strip()]
        except ValueError as error:
            picture.why = str(error)
        pictures.append(picture)
    return pictures


def _class_names(archive: _Archive) -> dict[int, str]:
    for name in sorted(archive.parts, key=len):
        last = PurePosixPath(name).name
        if last.endswith((".yaml", ".yml")):
            try:
                said = yaml.safe_load(archive.read(name))
            except yaml.YAMLError:
                raise ValueError(f"{name} is not YAML.") from None
            names = said.get("names") if isinstance(said, Mapping) else None
            if isinstance(names, list):
                names = dict(enumerate(names))
            if names is not None:
                return {int(number): str(label) for number, label in names.items()}
        if last == "classes.txt":
            return dict(enumerate(archive.read(name).decode().splitlines()))
    return {}


def _of_yolo(line: str, names: Mapping[int, str]) -> Drawn:
    first, *rest = line.split()
    number, values = int(float(first)), [float(value) for value in rest]
    if number not in names:
        raise ValueError(f"Class {number} has no name in data.yaml or the model.")
    label = names[number]
    if not values:
        return Drawn(label)
    if len(values) in (4, 5):  # a fifth is a score
        cx, cy, w, h = values[:4]
        return Drawn(label, (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"A line has {len(values)} numbers.")
    return Drawn(label, contours=[_points(values)])


# -- Pascal VOC


def _voc(file: IO[bytes], labels: Labels) -> list[Picture]:
    archive = _Archive(file)
    pictures = []
    for name in archive.parts:
        if not name.lower().endswith(".xml"):
            continue
        picture = Picture(name, PurePosixPath(name).name)
        try:
            _read_voc(picture, _parsed_xml(archive.read(name)))
            stem = PurePosixPath(picture.file_name).stem
            archive.look_at(picture, stem)
        except (ValueError, expat.ExpatError) as error:
            picture.why = str(error)
        pictures.append(picture)
    return pictures


def _read_voc(picture: Picture, root: Element) -> None:
    picture.file_name = root.findtext("filename") or picture.file_name
    picture.inference_id = root.findtext("source/inference_id") or ""
    size = [float(root.findtext(f"size/{n}") or 0) for n in ("width", "height")]
    picture.size = (size[0], size[1]) if _is_size(*size) else None
    for each in root.iter("object"):
        names = ("xmin", "ymin", "xmax", "ymax")
        corners = [each.findtext(f"bndbox/{name}") for name in names]
        if None in corners:
            raise ValueError("An object has no bndbox.")
        box = tuple(float(corner or "") for corner in corners)
        picture.drawn.append(Drawn(each.findtext("name") or "", box))


def _parsed_xml(content: bytes) -> Element:
    """Parse XML, refusing a document type, so that there are no entities to expand."""
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def refuse(*_: Any) -> None:
        raise ValueError("A document type is not read.")

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.buffer_text = True
    parser.Parse(content, True)
    return builder.close()


# -- Label Studio


def _label_studio(file: IO[bytes], labels: Labels) -> list[Picture]:
    said = _document(file)
    pictures = []
    for number, task in enumerate(said if isinstance(said, list) else [said], 1):
        data = task.get("data") or {}
        texts = [v for v in data.values() if isinstance(v, str) and "." in v]
        name = data.get("path") or data.get("image") or next(iter(texts), "")
        metadata = {**data, **(data.get("metadata") or {})}
        picture = Picture(
            f"task {task.get('id', number)}",
            str(name).partition("?d=")[2] or str(name),
            str(data.get("inference_id") or ""),
            str(data.get("data_hash") or ""),
            metadata,
            in_shares=True,
        )
        done = [a for a in task.get("annotations") or () if not a.get("was_cancelled")]
        if not done:
            picture.why = "The task has no annotation."
        else:
            try:
                for result in done[-1].get("result") or ():
                    _read_result(picture, result)
            except (ValueError, TypeError, KeyError) as error:
                picture.why = f"result {result.get('id')}: {error}"
        pictures.append(picture)
    return pictures


def _read_result(picture: Picture, result: Mapping[str, Any]) -> None:
    kind, value = result.get("type"), result.get("value") or {}
    width: Any = result.get("original_width")
    height: Any = result.get("original_height")
    if _is_size(width, height):
        picture.size = (width, height)
    if kind == "choices":
        picture.drawn += [Drawn(label) for label in value["choices"]]
    elif kind == "rectanglelabels":
        picture.drawn += [_rectangle(picture, value, x) for x in value[kind]]
    elif kind == "polygonlabels":
        points = [(x / 100, y / 100) for x, y in value["points"]]
        picture.drawn += [Drawn(x, contours=[points]) for x in value[kind]]
    else:
        raise ValueError(f"Results of type {json.dumps(kind)} are not read.")


def _rectangle(picture: Picture, value: Mapping[str, Any], label: Any) -> Drawn:
    x, y, w, h = (float(value[name]) / 100 for name in ("x", "y", "width", "height"))
    angle = math.radians(value.get("rotation") or 0)
    if not angle:
        return Drawn(label, (x, y, x + w, y + h))
    # Label Studio rotates a rectangle about its upper left corner, in pixels.
    width, height = _size(picture)
    across = (w * width * math.cos(angle) / width, w * width * math.sin(angle) / height)
    down = (
        -h * height * math.sin(angle) / width,
        h * height * math.cos(angle) / height,
    )
    corners = [
        (x, y),
        (x + across[0], y + across[1]),
        (x + across[0] + down[0], y + across[1] + down[1]),
        (x + down[0], y + down[1]),
    ]
    return Drawn(label, contours=[corners])


FORMS: dict[str, Callable[[IO[bytes], Labels], list[Picture]]] = {
    "coco": _coco,
    "yolo": _yolo,
    "voc": _voc,
    "label_studio": _label_studio,
}
ARCHIVES = ("yolo", "voc")
READ_UPRIGHT = ("yolo", "label_studio")  # by tools that turn pictures as EXIF says
