"""One inference on its way to the model server and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from istore.uuids import uuid7
from proxy import counters, moments
from proxy.answers import Send
from proxy.asking import Asked
from proxy.carrying import Answered, is_stream, pass_on, read_answer
from proxy.connections import Response
from proxy.entries import Facts, SpoolEntry
from proxy.forwarding import Upstreams
from proxy.headers import header_of_ids
from proxy.lost_copies import LostCopies
from proxy.paths import Call
from proxy.receiving import Allowance, Reader
from proxy.streaming import Keep, carry_stream
from proxy.targets import Target


@dataclass(slots=True)
class Exchange:
    """A request that may be forwarded, and when it came, went on and was answered."""

    call: Call
    target: Target
    asked: Asked
    received_at: int
    forwarded_at: int
    responded_at: int
    stream: dict[str, Any] | None = field(default=None, kw_only=True)

    @classmethod
    def begin(
        cls, call: Call, target: Target, asked: Asked, received_at: int
    ) -> Exchange:
        return cls(call, target, asked, received_at, received_at, received_at)

    async def carry(
        self,
        upstreams: Upstreams,
        query: str,
        headers: Sequence[bytes],
        body: bytes,
        allowance: Allowance,
        reader: Reader,
        send: Send,
        keep: Keep,
        lost: LostCopies,
    ) -> Answered | None:
        """The whole answer, to be kept and sent; None when it was passed on already."""
        self.forwarded_at = moments.now()
        async with upstreams.ask(self.target, self.call, query, headers, body) as asked:
            response = asked.response
            if self.target.is_stored and is_stream(response):
                await carry_stream(self, asked, keep, lost, allowance, reader, send)
                return None
            answered = await self._read(response, allowance)
            self.responded_at = moments.now()
            if not answered.told:
                return answered
            told = self.headers(answered.told)
            await pass_on(response, send, told, asked.patience, answered.chunks)
            counters.tell(answered.status, answered.told)
            return None

    async def _read(self, response: Response, allowance: Allowance) -> Answered:
        if not self.target.is_stored:
            return Answered.beginning(response, "off")
        return await read_answer(response, allowance)

    def headers(self, told: str) -> list[tuple[bytes, bytes]]:
        """What we add to the answer: the ids, and what became of our copy."""
        return [
            (b"inference-id", header_of_ids(self.asked.ids)),
            (b"inference-store", told.encode()),
        ]

    def entry(self, answered: Answered) -> SpoolEntry:
        target, asked = self.target, self.asked
        facts = Facts(
            model_id=target.model_id,
            task_type=target.task_type,
            inference_ids=asked.ids,
            prefixes=[self._new_prefix() for _ in asked.ids],
            request_received_at=moments.written(self.received_at),
            request_forwarded_at=moments.written(self.forwarded_at),
            request_responded_at=moments.written(self.responded_at),
            status=answered.status,
            request_header_length=asked.header_length,
            answer_header_length=answered.header_length,
            answer_content_type=answered.content_type,
            answer_encoding=answered.encoding,
            stream=self.stream,
        )
        return SpoolEntry(facts, asked.body, answered.body)

    def _new_prefix(self) -> str:
        target = self.target
        return moments.prefix_for(
            target.project_key, target.model_key, self.received_at, uuid7()
        )
