"""Fuzzing of what reads bytes of strangers: values, or an error that was meant.

``FUZZ_EXAMPLES`` makes the round long, as in ``test_fuzz_routes``.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferences.ground_truth.file_tasks import count_rows
from inferences.ground_truth.files import rows_of
from ingest.errors import Rejected
from ingest.events import InferenceEvent
from ingest.markers import read_event_of, read_marker
from istore.errors import StoreError
from istore.json_text import read_json as read_json_of_api
from protocols.open_inference import (
    metadata_items,
    read_request,
    read_response,
    reserved,
    slice_response,
    sniff,
    split,
    strip_metadata,
)
from protocols.streams import assemble
from proxy.capture.artifacts import prepare
from proxy.http.encodings import decode, decoded_beginning
from proxy.paths import read_path
from proxy.request_parsing import read_whole
from proxy.spool.entries import Facts, SpoolEntry
from tests.fuzzing.mutations import mutated

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "200")) // 4
SECONDS = 3.0

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(40)
REQUEST = {
    "id": "a",
    "parameters": {
        "action": "detect",
        "metadata": '[{"key": "frame", "type": "int", "value": 3}]',
    },
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4.5]]},
        {"name": "t", "datatype": "BYTES", "shape": [2], "data": ["a", "aGVsbG8="]},
    ],
}
RESPONSE = {
    "model_name": "m",
    "model_version": "1",
    "outputs": [
        {"name": "scores", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]},
        {"name": "labels-0", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
        {"name": "labels-1", "datatype": "BYTES", "shape": [-2], "data": ["a", "b"]},
    ],
}


def binary(datatype: str, raw: bytes, shape: list[int]) -> tuple[bytes, int]:
    """A body with its tensor behind the header, and the length of that."""
    tensor = {
        "name": "x",
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(raw)},
    }
    header = orjson.dumps({"inputs": [tensor], "outputs": [tensor]})
    return header + raw, len(header)


BINARY = [
    binary("FP32", np.arange(4, dtype="<f4").tobytes(), [2, 2]),
    binary("BYTES", struct.pack("<I", 48) + PICTURE + struct.pack("<I", 1) + b"a", [2]),
    binary("BF16", b"\0" * 6, [3]),
    binary("INT64", b"", [2**62, 2**62, -1]),
]
V2 = [orjson.dumps(REQUEST), orjson.dumps(RESPONSE), *(body for body, _ in BINARY)]
LENGTHS = st.sampled_from([None, 0, 1, *(length for _, length in BINARY)])
STREAMS = [
    b'data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":'
    b'{"role":"assistant","content":"A"}}]}\n\ndata: {"choices":[{"index":0,"delta":'
    b'{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{"}}]},'
    b'"finish_reason":"stop"}],"usage":{"total_tokens":3}}\n\ndata: [DONE]\n\n',
    b'{"response":"A","done":false}\n{"response":" ship","done":true}\n',
    b'\x1e{"a": 1}\n\x1e{"a": 2}\n',
    b'event: error\ndata: {"error": {"code": 503, "message": "no"}}\n\n',
]
STREAM_TYPES = [
    "text/event-stream",
    "application/x-ndjson",
    "application/json-seq",
    "x",
]
EVENT = {
    name: "2026-01-01T00:00:00.000000Z" if name.endswith("_at") else "a"
    for name in InferenceEvent.__dataclass_fields__
}
MARKER = {
    "format": 1,
    "event": EVENT,
    "input": {"sha256": "0" * 64, "size": 3},
    "answer": {"sha256": "0" * 64, "size": 3, "text": "{}"},
    "metadata": [],
}
PACKED = {**MARKER, "format": 2}
MARKER_KEYS = ["1/1/2026/01/01/00/x/metadata", "1/1/2026/01/01/00/x.records#4-9"]
FACTS = Facts(
    model_id="m",
    task_type="Object Detection",
    inference_ids=["a"],
    prefixes=["1/1/2026/01/01/00/x"],
    request_received_at=EVENT["request_received_at"],
    request_forwarded_at=EVENT["request_forwarded_at"],
    request_responded_at=EVENT["request_responded_at"],
    status=200,
    request_header_length=None,
    answer_header_length=None,
    answer_content_type="application/json",
)


def parquet() -> bytes:
    made = io.BytesIO()
    columns = {"inference_id": ["a", "b"], "label": ["ship", None], "score": [0.5, 1.0]}
    pq.write_table(pa.table(columns), made)
    return made.getvalue()


TRUTHS = {
    "csv": [b'inference_id,label,boxes\na,ship,"[]"\nb,,\n'],
    "ndjson": [b'{"inference_id": "a", "label": "ship"}\n{"data_hash": ""}\n'],
    "parquet": [parquet()],
}


def bounded(work: Callable[[], Any], *meant: type[Exception]) -> Any:
    """What the work comes to; None for an error that it may raise. In little time."""
    began = time.thread_time()
    try:
        return work()
    except meant:
        return None
    finally:
        assert time.thread_time() - began < SECONDS


fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck)
)


@fuzzed
@given(mutated(V2), LENGTHS)
def test_messages_of_the_protocol(body, length):
    request = bounded(lambda: read_request(body, length), ValueError)
    if request is not None:
        parts = bounded(lambda: split(request))
        for part in parts or ():
            items, _ = metadata_items(part.parameters)
            reserved(items)
    response = bounded(lambda: read_response(body, length), ValueError)
    for count in (1, 2, 3) if response is not None else ():
        for place in range(count):
            value = bounded(lambda: slice_response(response, place, count), ValueError)  # noqa: B023 called at once
            if value is not None:
                orjson.dumps(value[0])
    bounded(lambda: strip_metadata(body, length), ValueError)
    bounded(lambda: read_whole(body, length, "Object Detection"), ValueError)
    bounded(lambda: sniff(body))


@fuzzed
@given(mutated(STREAMS), st.sampled_from(STREAM_TYPES), st.booleans())
def test_streams(stream, content_type, is_whole):
    found = bounded(lambda: assemble(stream, content_type, is_whole=is_whole))
    found.text.encode()


@fuzzed
@given(
    mutated([gzip.compress(V2[0]), zlib.compress(V2[1]), gzip.compress(b"") * 9]),
    st.sampled_from(["gzip", "deflate", "br", ""]),
)
def test_compressed_bodies(body, encoding):
    bounded(lambda: decode(body, encoding, 10_000), ValueError)
    bounded(lambda: decoded_beginning(body, encoding, 10_000))


@fuzzed
@given(mutated(V2), mutated([*V2, *STREAMS]), LENGTHS, LENGTHS, st.integers(1, 3))
def test_entries_of_the_spool_are_prepared(request, answer, length, other, count):
    facts = orjson.loads(orjson.dumps(FACTS))
    facts |= {"request_header_length": length, "answer_header_length": other}
    facts["inference_ids"] = [f"a-{n}" for n in range(count)]
    facts["prefixes"] = [f"1/1/2026/01/01/00/{n}" for n in range(count)]
    payload = b"".join(SpoolEntry(Facts(**facts), request, answer).pieces())
    found = bounded(lambda: list(prepare(SpoolEntry.read(payload))))
    assert len(found) == count
    for each in found:
        orjson.dumps(each.marker)


@fuzzed
@given(mutated([orjson.dumps(each) for each in (EVENT, MARKER, PACKED)]))
def test_events_and_markers(content):
    bounded(lambda: InferenceEvent.from_json(content), ValueError)
    marker = bounded(lambda: read_marker(content), Rejected)
    if marker is not None:
        for key in MARKER_KEYS:
            bounded(lambda key=key: read_event_of(marker, key), Rejected)


@pytest.mark.parametrize("form", TRUTHS)
def test_files_of_actuals(form, model):
    model.task_type = "Image Classification"

    @fuzzed
    @given(mutated(TRUTHS[form]))
    def read(content):
        file = io.BytesIO(content)
        if bounded(lambda: count_rows(file, form), StoreError) is None:
            return
        bounded(lambda: list(rows_of(file, form, model)), StoreError)

    read()


@fuzzed
@given(mutated([b'{"a": [1, 2.5, "x", null, true, {"b": "\\u00e9"}]}']))
def test_bodies_of_the_api(content):
    bounded(lambda: read_json_of_api(content), StoreError)


@fuzzed
@given(mutated([b"/v2/models/a/versions/1/infer", b"/v2/models/a%2Fb/c/infer"]))
def test_paths_of_the_proxy(path):
    bounded(lambda: read_path(path))
