"""Read width and height of a picture from its header: PNG, GIF, BMP, JPEG, WebP."""

from __future__ import annotations

import struct

# JPEG's start-of-frame markers (SOFn), whose segment holds the size.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def picture_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels, or None if the format is not known here."""
    try:
        size = _read(content)
    except (struct.error, IndexError):
        return None
    return size if size and size[0] > 0 and size[1] > 0 else None


def _read(content: bytes) -> tuple[int, int] | None:
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return struct.unpack_from(">II", content, 16)
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return struct.unpack_from("<HH", content, 6)
    if content[:2] == b"BM":
        width, height = struct.unpack_from("<ii", content, 18)
        return width, abs(height)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    return _jpeg(content) if content[:2] == b"\xff\xd8" else None


def _jpeg(content: bytes) -> tuple[int, int] | None:
    place = 2
    while content[place] == 0xFF:
        marker = content[place + 1]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", content, place + 5)
            return width, height
        place += 2 + struct.unpack_from(">H", content, place + 2)[0]
    return None


def _webp(content: bytes) -> tuple[int, int] | None:
    kind = content[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(content[24:27], "little")
        return width + 1, int.from_bytes(content[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
