"""The packages ``anthropic``, ``ollama`` and ``openai``, with nothing but an address and a key.

Prints what each call gave them as JSON, by the id that its record wishes for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import anthropic
import ollama
import openai

PROXY, TOKEN, MODEL = sys.argv[1:]
ASKED = [{"role": "user", "content": "A ship? 🚢 \u05e9\u05dc\u05d5\u05dd"}]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
NAMED = "Inference-Id"


def of_anthropic() -> Iterator[tuple[str, Any]]:
    client = anthropic.Anthropic(
        base_url=f"{PROXY}/models/{MODEL}", api_key=f"{TOKEN}:sk-ant", max_retries=0
    )
    given: Any = {"model": "claude", "max_tokens": 99, "messages": ASKED}
    given["metadata"] = {"user_id": "u-1"}
    tools: Any = [{"name": "find_ship", "description": "d", "input_schema": SCHEMA}]
    made = client.messages.create(**given, extra_headers={NAMED: "anthropic-whole"})
    yield "anthropic-whole", made.model_dump(mode="json", exclude_unset=True)
    with client.messages.stream(
        **given, tools=tools, extra_headers={NAMED: "anthropic-stream"}
    ) as stream:
        final = stream.get_final_message()
    yield "anthropic-stream", final.model_dump(mode="json", exclude_unset=True)
    counted = client.messages.count_tokens(model="claude", messages=ASKED)  # type: ignore[arg-type]
    assert counted.input_tokens == 3
    assert MODEL in [each.id for each in client.models.list()]
    try:
        client.with_options(api_key="ist_wrong").messages.create(**given)
    except anthropic.AuthenticationError as error:
        assert error.body["error"]["type"] == "authentication_error"  # type: ignore[index]
    else:
        raise AssertionError("a wrong token was let in")


def of_ollama() -> Iterator[tuple[str, Any]]:
    def client(name: str) -> ollama.Client:
        headers = {"Authorization": f"Bearer {TOKEN}", NAMED: name}
        return ollama.Client(host=f"{PROXY}/models/{MODEL}", headers=headers)

    whole = client("ollama-whole").chat(model=MODEL, messages=ASKED)
    yield "ollama-whole", whole.model_dump(mode="json", exclude_none=True)
    pieces = [
        each.message.content or ""
        for each in client("ollama-stream").chat(
            model=MODEL, messages=ASKED, stream=True
        )
    ]
    yield "ollama-stream", "".join(pieces)
    generated = client("ollama-generate").generate(model=MODEL, prompt="A ship?")
    yield "ollama-generate", generated.model_dump(mode="json", exclude_none=True)
    assert MODEL in [each.model for each in client("x").list().models]
    try:
        client("x").chat(model="failing", messages=ASKED)
    except ollama.ResponseError as error:
        assert error.status_code == 429


def of_openai() -> Iterator[tuple[str, Any]]:
    base = f"{PROXY}/v1"
    with openai.OpenAI(api_key=TOKEN, base_url=base, max_retries=0) as client:
        tools: Any = [
            {
                "type": "function",
                "function": {"name": "find_ship", "parameters": SCHEMA},
            }
        ]
        with client.chat.completions.stream(
            model=MODEL,
            messages=ASKED,  # type: ignore[arg-type]
            tools=tools,
            extra_headers={NAMED: "openai-stream"},
        ) as stream:
            final = stream.get_final_completion()
        call = final.choices[0].message.tool_calls[0]  # type: ignore[index]
        yield "openai-stream", call.function.model_dump(include={"name", "arguments"})
        with client.responses.stream(
            model=MODEL, input="A ship?", extra_headers={NAMED: "openai-responses"}
        ) as events:
            response = events.get_final_response()
        yield "openai-responses", response.output_text


told = dict(each for calls in (of_anthropic, of_ollama, of_openai) for each in calls())
print(json.dumps(told))
