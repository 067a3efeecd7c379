"""Streams of model servers, read after they ended: what the answer would have been whole.

``framing`` finds the events of a stream, ``merging`` adds up what they say, and each vendor's
form is one class in ``forms``. What is not understood is told in the warnings, and whoever
stores the answer then keeps the stream as it came.
"""

from protocols.streams.assembly import Assembled, assemble
from protocols.streams.facts import FACTS, facts_of

__all__ = ["FACTS", "Assembled", "assemble", "facts_of"]
