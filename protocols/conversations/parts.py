"""The parts of a message, by the names of OpenAI, Anthropic, Gemini, Ollama and OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from protocols.conversations.conversation import Part, PartKind
from protocols.json_text import TOO_DEEP, as_json
from protocols.streams.merging import whole_text

Value = dict[str, Any]

TEXTS = ("text", "input_text", "output_text", "summary_text", "reasoning_text")
CALLS = (
    *("tool_use", "function_call", "tool_call", "server_tool_use", "mcp_tool_use"),
    *("custom_tool_call", "mcp_call"),
)
RESULTS = (
    *("tool_result", "function_call_output", "tool_call_response", "tool_output"),
    *("custom_tool_call_output", "mcp_tool_result"),
)
REASONS = (
    *("thinking", "redacted_thinking", "reasoning", "reasoning.text"),
    "reasoning.summary",
)
IMAGES = ("image", "image_url", "input_image")
AUDIO = ("audio", "audio_url", "input_audio")
FILES = ("file", "input_file", "document", "video", "video_url", "input_video")
BLOBS = (
    "blob",
    "uri",
)  # OpenTelemetry's parts name their modality in a member of its own
# Members that hold an address or data, or an object with them.
MEMBERS = (
    *("image_url", "input_audio", "audio_url", "video_url", "audio", "image"),
    *("file", "source", "document", "video"),
)
# The first characters of base64, for servers that do not tell the type.
SIGNATURES = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
}
FORMATS = {"mp3": "audio/mpeg", "pcm16": "audio/pcm"}
LEVELS = 8  # of contents within results, of which real ones have one


def read_parts(content: Any, level: int = 0) -> Iterator[Part]:
    """Yield the parts of a message's content: a text, or a list of parts."""
    if isinstance(content, str):
        if content:
            yield Part(PartKind.TEXT, whole_text(content))
    elif isinstance(content, list):
        for each in content:
            yield from _read_part(each, level)
    elif isinstance(content, dict):
        yield from _read_part(content, level)
    elif content is not None:
        yield unknown(content)


def joined(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield the parts, with texts that follow each other as one: Gemini cuts one text into parts."""
    texts: list[str] = []
    for part in parts:
        if part.kind is PartKind.TEXT:
            texts.append(part.text)
            continue
        if texts:
            yield Part(PartKind.TEXT, "".join(texts))
            texts = []
        yield part
    if texts:
        yield Part(PartKind.TEXT, "".join(texts))


def unknown(value: Any) -> Part:
    """Return a part that is kept as its JSON."""
    return Part(PartKind.UNKNOWN, whole_text(as_json(value)))


def word(value: Any) -> str:
    """Return a text as it is, and anything else as an empty one."""
    return whole_text(value) if isinstance(value, str) else ""


def read_call(value: Any) -> Part | None:
    """Return a tool call, by OpenAI's older and newer names, and by those of others."""
    if not isinstance(value, dict):
        return None
    inner = value.get("function", value.get("custom", value))
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        return None
    given = _first(inner, "arguments", "input", "args")
    written = given if isinstance(given, str) else as_json(given)
    identifier = word(_first(value, "call_id", "id", "tool_call_id"))
    return Part(
        PartKind.TOOL_CALL,
        name=word(inner["name"]),
        id=identifier,
        arguments="" if given is None else whole_text(written),
    )


def read_result(content: Any, name: str, identifier: str, level: int) -> Iterator[Part]:
    """Yield the result of a tool: its texts as one part, and then what else it returned."""
    if isinstance(content, list | dict) and level < LEVELS and _is_content(content):
        parts = list(read_parts(content, level + 1))
        texts = [part.text for part in parts if part.kind is PartKind.TEXT]
        text = "\n".join(texts)
        others = [part for part in parts if part.kind is not PartKind.TEXT]
    else:
        plain = isinstance(content, str)
        text = content if plain else "" if content is None else as_json(content)
        others = []
        if text is TOO_DEEP:
            yield Part(PartKind.UNKNOWN, TOO_DEEP)
            return
    yield Part(PartKind.TOOL_RESULT, whole_text(text), name=name, id=identifier)
    yield from others


def read_image(value: Any, media_type: str = "") -> Part:
    """Return a picture: an address, a data URL, base64, or an object with one of them."""
    return _media(PartKind.IMAGE, value, media_type)


def read_audio(value: Any, media_type: str = "") -> Part:
    """Return audio as it is in messages: base64 with its format, and perhaps a transcript."""
    return _media(PartKind.AUDIO, value, media_type)


def read_reasoning(value: Any) -> Iterator[Part]:
    """Yield what a model thought: a text, or objects with texts."""
    if isinstance(value, str):
        if value:
            yield Part(PartKind.REASONING, whole_text(value))
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, str | dict):
                yield from _thought(each)


def _thought(value: Any) -> Iterator[Part]:
    if isinstance(value, str):
        yield from read_reasoning(value)
        return
    for name in ("thinking", "text", "content", "summary"):
        given = value.get(name)
        if isinstance(given, str) and given:
            yield Part(PartKind.REASONING, whole_text(given))
            return
        if isinstance(given, list) and given:
            texts = [
                each.get("text") if isinstance(each, dict) else each for each in given
            ]
            written = "\n\n".join(each for each in texts if isinstance(each, str))
            if written:
                yield Part(PartKind.REASONING, whole_text(written))
                return


def _read_part(value: Any, level: int) -> Iterator[Part]:
    if isinstance(value, str):
        yield from read_parts(value)
    elif not isinstance(value, dict):
        yield unknown(value)
    elif isinstance(kind := value.get("type"), str):
        yield from _of_type(kind, value, level)
    else:
        yield from _without_type(value, level)


def _of_type(kind: str, value: Value, level: int) -> Iterator[Part]:
    if kind in TEXTS:
        text = _first(value, "text", "content")
        if not isinstance(text, str):
            yield unknown(value)
        elif text:
            yield Part(PartKind.TEXT, whole_text(text))
    elif kind == "refusal":
        text = _first(value, "refusal", "text")
        yield Part(PartKind.REFUSAL, word(text))
    elif kind in REASONS:
        found = list(_thought(value))
        yield from found or (Part(PartKind.REASONING),)
    elif kind in CALLS:
        yield read_call(value) or unknown(value)
    elif kind in RESULTS or kind.endswith("_tool_result"):
        content = _first(value, "content", "output", "response", "result")
        identifier = word(_first(value, "tool_use_id", "call_id", "id"))
        yield from read_result(content, word(value.get("name")), identifier, level)
    elif kind in IMAGES:
        yield _media(PartKind.IMAGE, value)
    elif kind in AUDIO:
        yield _media(PartKind.AUDIO, value)
    elif kind in FILES:
        yield _media(PartKind.FILE, value)
    elif kind in BLOBS:
        yield _media(_modality(value), value)
    elif isinstance(text := value.get("text"), str):
        yield Part(PartKind.TEXT, whole_text(text))
    else:
        yield unknown(value)


def _without_type(value: Value, level: int) -> Iterator[Part]:
    """Yield a part of Gemini, whose member names tell its kind."""
    if isinstance(text := value.get("text"), str):
        kind = PartKind.REASONING if value.get("thought") else PartKind.TEXT
        if text:
            yield Part(kind, whole_text(text))
        return
    data = _first(value, "inlineData", "inline_data", "fileData", "file_data")
    call = _first(value, "functionCall", "function_call")
    result = _first(value, "functionResponse", "function_response")
    if isinstance(data, dict):
        yield _media(_modality(data), data)
    elif isinstance(call, dict):
        yield read_call(call) or unknown(value)
    elif isinstance(result, dict):
        name, identifier = word(result.get("name")), word(result.get("id"))
        yield from read_result(result.get("response"), name, identifier, LEVELS)
    elif "image_url" in value:
        yield _media(PartKind.IMAGE, value)
    else:
        yield unknown(value)


def _modality(value: Value) -> PartKind:
    given = _first(value, "modality", "mimeType", "mime_type", "media_type")
    kind = word(given).partition("/")[0]
    kinds = {"image": PartKind.IMAGE, "audio": PartKind.AUDIO}
    return kinds.get(kind, PartKind.FILE)


def _media(kind: PartKind, value: Any, media_type: str = "") -> Part:
    """Return a part with an address or data, wherever its protocol has them."""
    outer = value if isinstance(value, dict) else {}
    inner: Any = value
    for _ in range(3):  # as deep as Anthropic's documents and OpenAI's images are
        name = next((n for n in MEMBERS if _has(inner, n)), None)
        if name is None:
            break
        inner = inner[name]
    holders = [each for each in (inner, outer) if isinstance(each, dict)]

    def member(*names: str) -> str:
        return next((found for h in holders if (found := word(_first(h, *names)))), "")

    given = inner if isinstance(inner, str) else ""
    if not given:
        given = member("url", "data", "file_data", "fileUri", "file_uri", "uri")
    if not given and isinstance(value, dict) and value.get("type") == "blob":
        given = member("content")
    media_type = media_type or member("media_type", "mimeType", "mime_type")
    if not media_type and (format_ := member("format")):
        media_type = FORMATS.get(format_, f"audio/{format_}")
    is_text = member("type") == "text" and media_type.startswith("text/")
    if given and not is_text and not _is_address(given):
        media_type = media_type or next(
            (t for start, t in SIGNATURES.items() if given.startswith(start)), ""
        )
        given = f"data:{media_type};base64,{given}"
    elif given.startswith("data:"):
        media_type = media_type or given[5:200].partition(",")[0].partition(";")[0]
    text = given if is_text else member("transcript")
    return Part(
        kind,
        text,
        name=member("filename", "file_name", "title", "name"),
        id=member("file_id", "id"),
        url="" if is_text else given,
        media_type=media_type,
    )


def _has(value: Any, name: str) -> bool:
    return isinstance(value, dict) and isinstance(value.get(name), str | dict)


def _is_address(given: str) -> bool:
    """Return whether this is an address; base64 has neither a colon nor a dot."""
    return ":" in given[:32]


def _is_content(content: Any) -> bool:
    """Return whether a tool returned parts of a message, and not JSON of its own."""
    items = content if isinstance(content, list) else [content]
    return bool(items) and all(
        isinstance(each, dict)
        and isinstance(each.get("type"), str)
        and each["type"] in (*TEXTS, *IMAGES, *AUDIO, *FILES)
        for each in items
    )


def _first(value: Value, *names: str) -> Any:
    """Return the first member that is there and not null."""
    return next((v for n in names if (v := value.get(n)) is not None), None)
