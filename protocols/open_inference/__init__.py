"""The open inference protocol, version 2: requests and responses as values.

Sources: kserve/open-inference-protocol, ``specification/protocol/inference_rest.md``; Triton's
``extension_binary_data.md``. Real traffic bends the rules, so whatever can be parsed is parsed;
a ``V2Error`` says why something could not.
"""

from protocols.open_inference.actions import action_of
from protocols.open_inference.bounded_json import V2Error, read_json
from protocols.open_inference.elements import element_bytes, sniff
from protocols.open_inference.metadata import metadata_items, reserved, strip_metadata
from protocols.open_inference.parameters import merge
from protocols.open_inference.rows import Form, count_rows
from protocols.open_inference.slicing import is_in_parts, slice_response, slices_of
from protocols.open_inference.splitting import Part, as_one, count_parts, split
from protocols.open_inference.tensors import (
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
    "merge",
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
