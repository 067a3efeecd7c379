"""Streams of model servers, read after they ended as the response without streaming.

``framing`` finds the events of a stream, ``merging`` adds up their content, and each vendor's
format is one class in ``forms``. What is not understood becomes a warning, and the stream is
then stored as it came.
"""

from protocols.streams.assembly import Assembled, assemble
from protocols.streams.facts import FACTS, facts_of

__all__ = ["FACTS", "Assembled", "assemble", "facts_of"]
