"""The conventions by which spans tell of language models: one module for each.

Each has ``read(span, draft)``, which adds to the draft what the span says by the convention, and
``OWN``, the names whose content is in the draft then. One that ends with a dot is the beginning of
names.
"""

from __future__ import annotations

from protocols.otlp.conventions import (
    gen_ai,
    indexed_gen_ai,
    langfuse,
    mlflow,
    openinference,
)

# In the order in which they are heard: what is written for people to see comes first.
CONVENTIONS = {
    "Langfuse": langfuse,
    "OpenInference": openinference,
    "OpenTelemetry GenAI": gen_ai,
    "OpenLLMetry": indexed_gen_ai,
    "MLflow": mlflow,
}
_NAMES = [name for each in CONVENTIONS.values() for name in each.OWN]
OWN = frozenset(_NAMES)
OWN_PREFIXES = tuple({name for name in _NAMES if name.endswith(".")})
