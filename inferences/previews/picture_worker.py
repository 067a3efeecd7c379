"""A program that measures pictures and makes previews, within limits of memory and time.

It is started as ``python -I picture_worker.py <bytes of memory> <pixels>``. Pictures come
from anyone, and decoders have had security holes: a failure in here ends this process and
no other. It reads jobs from standard input until that ends; it opens no file and writes
none.
"""

from __future__ import annotations

import io
import json
import math
import resource
import struct
import sys
from typing import IO, Any, cast

import pi_heif
from PIL import Image, UnidentifiedImageError

# No format that contains programs or scripts, and no vector format.
FORMATS = (
    "PNG",
    "JPEG",
    "WEBP",
    "GIF",
    "BMP",
    "TIFF",
    "AVIF",
    "JPEG2000",
    "HEIF",
)
UNKNOWN = "It is no picture of a kind that is shown here, such as JPEG, PNG or WebP."
DAMAGED = "The picture is damaged, or ends early."
LENGTHS = struct.Struct(">II")  # the length of the JSON, and of the bytes after it
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SECONDS_A_JOB = 10
SMALL = 192  # pixels a side; a picture up to this size is encoded without loss
WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "F")


def main() -> None:
    """Read jobs until standard input ends, under the limits that are set here."""
    memory, pixels = map(int, sys.argv[1:3])
    Image.MAX_IMAGE_PIXELS = pixels
    for plugin in ("Png", "Jpeg", "WebP", "Gif", "Bmp", "Tiff", "Avif", "Jpeg2K"):
        __import__(f"PIL.{plugin}ImagePlugin")
    pi_heif.register_heif_opener()
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    jobs, answers = sys.stdin.buffer, sys.stdout.buffer
    while (job := read(jobs)) is not None:
        bound_processor_time()
        job_fields, content = job
        try:
            facts, made = work(
                content, job_fields.get("size"), pixels, job_fields.get("crop")
            )
        except Exception as error:  # decoders raise anything, and the next job must run
            facts, made = {"error": sentence_of(error)}, b""
        write(answers, facts, made)


def sentence_of(error: Exception) -> str:
    """Return why there is no picture, without details of the decoder's memory."""
    if isinstance(error, UnidentifiedImageError):
        return UNKNOWN
    if isinstance(error, Image.DecompressionBombError):
        return "The picture has too many pixels."
    return DAMAGED


def bound_processor_time() -> None:
    """Limit the processor time of the next job: RLIMIT_CPU counts from the start of the process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(usage.ru_utime + usage.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + SECONDS_A_JOB, hard))


def work(
    content: bytes,
    size: int | None,
    pixels: int,
    crop: tuple[int, int, int, int] | None = None,
) -> tuple[dict[str, Any], bytes]:
    """Return what the picture is, and its preview if a size was asked for.

    Width and height are those of the decoded pixels. The preview is turned upright; with
    ``crop`` it is of that part alone: left, top, right and bottom in thousandths of the upright
    picture.
    """
    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        width, height = picture.size
        turn = picture.getexif().get(ORIENTATION, 1)
        turn = turn if turn in TURNS else 1
        facts = {
            "width": width,
            "height": height,
            "orientation": turn,
            "format": picture.format,
        }
        if width * height > pixels:
            return {**facts, "error": f"More than {pixels:,} pixels."}, b""
        if size is None:
            return facts, b""
        part = cut(picture, crop, turn, size) if crop else picture
        return facts, preview(part, size, turn)


def cut(
    picture: Image.Image, crop: tuple[int, int, int, int], turn: int, size: int
) -> Image.Image:
    """Return a part of the picture as decoded, which ``preview`` turns upright.

    It has ``size`` pixels a side or more, if the picture has as many there.
    """
    left, top, right, bottom = (each / 1000 for each in crop)
    (x1, y1), (x2, y2) = (
        as_decoded(x, y, turn) for x, y in ((left, top), (right, bottom))
    )
    # A JPEG is decoded at a half, a quarter or an eighth of its size where that is enough: of
    # 12 megapixels that takes a fifth of the time.
    enough = math.ceil(size / abs(x2 - x1)), math.ceil(size / abs(y2 - y1))
    picture.draft(None, enough)
    width, height = picture.size
    x, y = int(min(x1, x2) * width), int(min(y1, y2) * height)
    far_x = max(math.ceil(max(x1, x2) * width), x + 1)
    far_y = max(math.ceil(max(y1, y2) * height), y + 1)
    return picture.crop((x, y, min(far_x, width), min(far_y, height)))


def as_decoded(x: float, y: float, turn: int) -> tuple[float, float]:
    """Return where a place of the upright picture is in the decoded one, both in shares."""
    return {
        2: (1 - x, y),
        3: (1 - x, 1 - y),
        4: (x, 1 - y),
        5: (y, x),
        6: (y, 1 - x),
        7: (1 - y, 1 - x),
        8: (1 - y, x),
    }.get(turn, (x, y))


def preview(picture: Image.Image, size: int, turn: int) -> bytes:
    """Return a WebP picture of at most ``size`` pixels a side, turned upright."""
    is_small = max(picture.size) <= SMALL
    small = picture if picture.mode in ("RGB", "L", "RGBA") else plain(picture)
    small.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
    if turn in TURNS:
        small = small.transpose(TURNS[turn])
    made = io.BytesIO()
    # Copy only the pixels: no EXIF, no colour profile, no text of the sender.
    clean = Image.new(small.mode, small.size)
    clean.paste(small)
    clean.save(made, "WEBP", quality=82, method=3, lossless=is_small)
    return made.getvalue()


def plain(picture: Image.Image) -> Image.Image:
    """Return the picture with eight bits a channel; deeper pictures are scaled to their range."""
    if picture.mode in WIDE_MODES:
        wide = picture.convert("F")
        low, high = cast("tuple[float, float]", wide.getextrema())
        scale = 255 / (high - low) if high > low else 0
        return wide.point(lambda value: value * scale - low * scale).convert("L")
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    return picture.convert("RGBA" if has_alpha else "RGB")


def read(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Return the next job or answer of a stream: its JSON and its bytes. None at the end."""
    header = stream.read(LENGTHS.size)
    if len(header) < LENGTHS.size:
        return None
    length, content = LENGTHS.unpack(header)
    return json.loads(stream.read(length)), stream.read(content)


def write(stream: IO[bytes], facts: dict[str, Any], content: bytes = b"") -> None:
    """Write a job or an answer to a stream: two lengths, the JSON, the bytes."""
    text = json.dumps(facts).encode()
    stream.write(LENGTHS.pack(len(text), len(content)) + text)
    stream.write(content)
    stream.flush()


if __name__ == "__main__":
    main()
