"""A first inference: register a model, call it through the proxy, and find what was stored.

    ISTORE_URL=… ISTORE_TOKEN=… python first_inference.py http://mock:9000

The model server is the mock of the client (``python -m inference_store.mocks serve object-detection``);
any server of the Open Inference Protocol that serves ``object-detection`` will do.
"""

from __future__ import annotations

import struct
import sys
import zlib

from inference_store import Client, models

MODEL = "object-detection"


def main(upstream: str) -> None:
    """Run it, and print where the inference is."""
    with Client() as client:
        client.register.register_model_for_inference_storage(
            models.NewRegisterModelRequest(
                model_id=MODEL,
                project_id="default",
                task_type=models.TaskType.OBJECT_DETECTION,
                upstream_url=upstream,
                enable_inference_storage=True,
            )
        )
        model = client.get_model(MODEL)
        answer = model.detect(picture(), custom_metadata={"camera": "north"})
        stored = answer.inference(wait=60)
        request = models.NewGetInferencesRequest(query='meta.camera="north"')
        found = client.inference.filter_inferences(MODEL, request)
    assert stored.inference_id in {each.inference_id for each in found}
    print(f"stored and found: {MODEL} {stored.inference_id}")


def picture(width: int = 64, height: int = 48) -> bytes:
    """Return a PNG of one colour."""
    row = b"\0" + b"\x20\x60\xa0" * width
    head = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(row * height)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


if __name__ == "__main__":
    main(sys.argv[1])
