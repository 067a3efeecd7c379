"""Read the body of a request of spans, decompressed within bounds.

A body is decompressed piece by piece and given up at the bound, so that a small body which would
become a huge one costs no more than the bound.
"""

from __future__ import annotations

import zlib
from typing import IO

from istore.api.problems import Problem
from istore.errors import BadInput, TooLarge

PIECE = 64 * 1024
GZIP = 16 + zlib.MAX_WBITS
ENCODINGS = {"gzip": GZIP, "x-gzip": GZIP, "deflate": zlib.MAX_WBITS}


def read_body(file: IO[bytes], encoding: str, most: int) -> bytes:
    """Return the decompressed body, of at most so many bytes.

    Raises ``TooLarge``, ``BadInput``, or the ``Problem`` of an unknown encoding.
    """
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        body = file.read(most + 1)
        if len(body) > most:
            raise _too_large(most)
        return body
    bits = ENCODINGS.get(encoding)
    if bits is None:
        detail = f"The content encoding {encoding!r:.40} is not understood."
        raise Problem(415, "unsupported-encoding", detail)
    return _decompress(file, bits, most)


def _decompress(file: IO[bytes], bits: int, most: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    unpack = zlib.decompressobj(bits)
    try:
        while packed := file.read(PIECE):
            if bits == zlib.MAX_WBITS and not size and packed[0] & 0x0F != 8:
                unpack = zlib.decompressobj(-bits)  # some leave the header of zlib out
                bits = -bits
            while packed:
                piece = unpack.decompress(packed, most + 1 - size)
                size += len(piece)
                pieces.append(piece)
                if size > most:
                    raise _too_large(most)
                packed = unpack.unconsumed_tail
                if unpack.eof:
                    packed = unpack.unused_data
                    if packed:  # gzip may have several members
                        unpack = zlib.decompressobj(bits)
    except zlib.error as error:
        message = f"The body cannot be decompressed: {error!s:.100}"
        raise BadInput("malformed-body", message) from None
    if not unpack.eof:
        raise BadInput("malformed-body", "The compressed body breaks off.")
    return b"".join(pieces)


def _too_large(most: int) -> TooLarge:
    return TooLarge("body-too-large", f"The body has more than {most} bytes.")
