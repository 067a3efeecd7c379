"""The stream format of OpenAI's responses.

The last event holds the whole answer. Of a stream that ended before it, the answer is put
together from the events that came: items of output, and their parts and texts.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from typing import Any

from protocols.streams.form import Form, Unknown, Value
from protocols.streams.merging import Pieces, add, finish, join_base64

BEGINS = "response."
CONTENT, SUMMARY = ("content", "content_index"), ("summary", "summary_index")
# Deltas of the text of a part: the list that has the part, and its index in the event; the
# part's type, and the member that is its text.
PARTS = {
    "output_text": (CONTENT, "output_text", "text"),
    "refusal": (CONTENT, "refusal", "refusal"),
    "reasoning_text": (CONTENT, "reasoning_text", "text"),
    "reasoning_summary_text": (SUMMARY, "summary_text", "text"),
}
# Deltas of a text that an item itself has.
MEMBERS = {
    "function_call_arguments": "arguments",
    "mcp_call_arguments": "arguments",
    "custom_tool_call_input": "input",
    "code_interpreter_call_code": "code",
}
SOUND = {"audio": "data", "audio.transcript": "transcript"}
# Whole parts: "added" has an empty one, "done" the one that all its deltas came to.
WHOLE_PARTS = {"content_part": CONTENT, "reasoning_summary_part": SUMMARY}
# What only repeats, or says that something goes on.
IDLE = {f"{name}.done" for name in (*PARTS, *MEMBERS, *SOUND)} | {
    f"{call}.{state}"
    for call in (
        *("code_interpreter_call", "compaction", "file_search_call"),
        *("image_generation_call", "mcp_call", "mcp_list_tools", "web_search_call"),
    )
    for state in (
        *("compacting", "completed", "failed", "generating", "in_progress"),
        *("interpreting", "partial_image", "searching"),
    )
}


class Responses(Form):
    """OpenAI's responses: the last event holds the whole answer, earlier ones its beginning."""

    end_mark = "response.completed"
    ENDS = {"response.completed", "response.incomplete", "response.failed"}

    def __init__(self) -> None:
        super().__init__()
        self._whole: Value = {}
        self._items: dict[int, Value] = {}
        # By the item's index and the name of the list; then by the part's index.
        self._parts: dict[tuple[int, str], dict[int, Value]] = {}
        self._sound: Value = {}
        self._has_unread = False  # events of kinds that are not known

    @classmethod
    def knows(cls, value: Value) -> bool:
        kind = value.get("type")
        return isinstance(kind, str) and kind.startswith(BEGINS)

    def take(self, value: Value) -> bool:
        kind = value.get("type")
        if not isinstance(kind, str) or not kind.startswith(BEGINS):
            raise Unknown
        if isinstance(value.get("response"), dict):
            self._whole = value["response"]
            self.has_ended = kind in self.ENDS
            return False
        subject, _, verb = kind.removeprefix(BEGINS).rpartition(".")
        if verb == "delta":
            return self._take_delta(subject, value)
        if subject == "output_item" and isinstance(item := value.get("item"), dict):
            index = _index(value, "output_index")
            self._items[index] = dict(item)
            if verb == "done":  # its parts are within it
                for name, _ in (CONTENT, SUMMARY):
                    self._parts.pop((index, name), None)
        elif subject in WHOLE_PARTS and isinstance(part := value.get("part"), dict):
            name, place = WHOLE_PARTS[subject]
            self._parts_of(value, name)[_index(value, place)] = dict(part)
        elif subject == "output_text.annotation" and "annotation" in value:
            part = self._part(value, *CONTENT)
            add(part, {"annotations": [value["annotation"]]})
        elif f"{subject}.{verb}" not in IDLE:
            self._has_unread = True
        return False

    def is_whole(self) -> bool:
        """Return whether the last event came, or all that came before it was understood."""
        return self.has_ended or not self._has_unread

    def answer(self) -> Value:
        answer = self._whole
        if not self.has_ended and (self._items or self._parts):
            indexes = self._items.keys() | {index for index, _ in self._parts}
            output = [self._item(index) for index in sorted(indexes)]
            answer = {**answer, "output": output}
        if self._sound:
            sound = dict(self._sound)
            if isinstance(pieces := sound.get("data"), Pieces):
                sound["data"] = join_base64(pieces)
            answer = {**answer, "audio": finish(sound)}
        return answer

    def _take_delta(self, subject: str, value: Value) -> bool:
        delta = value.get("delta")
        known = subject in PARTS or subject in MEMBERS or subject in SOUND
        if not known:
            self._has_unread = True
            return True
        if not isinstance(delta, str):
            raise Unknown
        if subject in PARTS:
            where, type_, member = PARTS[subject]
            part = self._part(value, *where)
            part.setdefault("type", type_)
            add(part, {member: delta})
        elif subject in MEMBERS:
            item = self._items.setdefault(_index(value, "output_index"), {})
            add(item, {MEMBERS[subject]: delta})
        else:
            add(self._sound, {SOUND[subject]: delta})
        return bool(delta)

    def _parts_of(self, value: Value, name: str) -> dict[int, Value]:
        index = _index(value, "output_index")
        return self._parts.setdefault((index, name), {})

    def _part(self, value: Value, name: str, place: str) -> Value:
        """Return the part that an event is about, a new one if none has come."""
        index = _index(value, place)
        return self._parts_of(value, name).setdefault(index, {})

    def _item(self, index: int) -> Value:
        """Return an item of output as far as it came."""
        lists = {
            name: [finish(parts[each]) for each in sorted(parts)]
            for name in ("content", "summary")
            if (parts := self._parts.get((index, name)))
        }
        item = self._items.get(index)
        if item is None:
            is_message = "content" in lists
            item = {"type": "message", "role": "assistant"} if is_message else {}
        return {**finish(item), **lists}


def _index(value: Value, name: str) -> int:
    """Return a place that an event names, the first if it names none. Raises ``Unknown``."""
    index: Any = value.get(name, 0)
    if type(index) is not int:
        raise Unknown
    return index
