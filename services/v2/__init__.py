"""The open inference protocol, version 2: requests and answers as values.

Sources: kserve/open-inference-protocol, ``specification/protocol/inference_rest.md``;
Triton's ``extension_binary_data.md``. Real traffic bends the rules, so what can be read
is read; a ``V2Error`` says why the rest could not.
"""

from services.v2.actions import action_of
from services.v2.bounded_json import V2Error, read_json
from services.v2.elements import element_bytes, sniff
from services.v2.metadata import metadata_items, reserved, strip_metadata
from services.v2.parameters import merged
from services.v2.rows import Form, count_rows
from services.v2.slicing import is_in_parts, slice_response, slices_of
from services.v2.splitting import Part, as_one, count_parts, split
from services.v2.tensors import (
    InferRequest,
    InferResponse,
    Tensor,
    read_request,
    read_response,
    tensor_value,
)

__all__ = [
    "Form",
    "InferRequest",
    "InferResponse",
    "Part",
    "Tensor",
    "V2Error",
    "action_of",
    "as_one",
    "count_parts",
    "count_rows",
    "element_bytes",
    "is_in_parts",
    "merged",
    "metadata_items",
    "read_json",
    "read_request",
    "read_response",
    "reserved",
    "slice_response",
    "slices_of",
    "sniff",
    "split",
    "strip_metadata",
    "tensor_value",
]
