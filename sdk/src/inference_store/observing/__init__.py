"""Record what functions were asked and what they returned, in the background.

    from inference_store.observing import flush, observe

    @observe(kind="agent")
    def answer(question: str) -> str: ...

Calls become spans that a thread sends to the store by OTLP, where each is an inference and nested
calls are one trace. A function never waits for the store and never fails because of it: what does
not fit the bounded queue is dropped and counted, and ``flush`` tells what was not sent.
"""

from inference_store.observing.observe import observe, observing
from inference_store.observing.recorder import Recorder, Unsent, flush, use_recorder
from inference_store.observing.spans import Span, current_span

__all__ = [
    "Recorder",
    "Span",
    "Unsent",
    "current_span",
    "flush",
    "observe",
    "observing",
    "use_recorder",
]
