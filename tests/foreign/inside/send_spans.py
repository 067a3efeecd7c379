"""Call a language model of this script's own, and let a real library send the spans of it.

``python send_spans.py <library> <address of the store> <token>``. It prints what was asked and
answered, as JSON.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIBRARY, STORE, TOKEN = sys.argv[1:4]
ASKED = "Which ships are in the harbour? ⚓"
TOOL_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "gpt-4o-2024-08-06",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {
                            "name": "ships",
                            "arguments": '{"harbour": "Kiel"}',
                        },
                    }
                ],
            },
        }
    ],
    "usage": {"prompt_tokens": 21, "completion_tokens": 9, "total_tokens": 30},
}
ANSWER = {
    **TOOL_ANSWER,
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "The Aurora is in."},
        }
    ],
    "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
}
VECTOR = [0.5, -0.25, 0.125]
EMBEDDING = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": VECTOR}],
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "ships",
            "description": "The ships in a harbour",
            "parameters": {
                "type": "object",
                "properties": {"harbour": {"type": "string"}},
            },
        },
    }
]
MESSAGES = [
    {"role": "system", "content": "You know all ships."},
    {"role": "user", "content": ASKED},
]


class Model(BaseHTTPRequestHandler):
    """A language model that answers as OpenAI's API does."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/embeddings"):
            answer = EMBEDDING
            if asked.get("encoding_format") == "base64":
                import struct

                packed = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
                row = {**EMBEDDING["data"][0], "embedding": packed}
                answer = {**EMBEDDING, "data": [row]}
        elif asked["messages"][-1]["content"] == "fail":
            self.send(500, b'{"error": {"message": "The model is overloaded."}}')
            return
        elif asked.get("stream"):
            self.send(200, stream(), "text/event-stream")
            return
        else:
            answer = TOOL_ANSWER if asked.get("tools") else ANSWER
        self.send(200, json.dumps(answer).encode())

    def send(self, status, body, content_type="application/json"):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def stream() -> bytes:
    head = {
        "id": "chatcmpl-2",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o",
    }
    pieces = [
        {"role": "assistant", "content": ""},
        {"content": "The Aurora "},
        {"content": "is in."},
    ]
    chunks = [{**head, "choices": [{"index": 0, "delta": each}]} for each in pieces]
    chunks.append(
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    )
    chunks.append({**head, "choices": [], "usage": ANSWER["usage"]})
    lines = [f"data: {json.dumps(each)}\n\n" for each in chunks]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=server.serve_forever, daemon=True).start()
MODEL = f"http://127.0.0.1:{server.server_port}/v1"


def provider():
    """A provider of OpenTelemetry that exports to the store, each span at once."""
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    made = TracerProvider(resource=Resource.create({"service.name": "harbour-app"}))
    exporter = OTLPSpanExporter(
        endpoint=f"{STORE}/v1/traces",
        headers={"Authorization": f"Bearer {TOKEN}"},
        compression=Compression.Gzip,
    )
    made.add_span_processor(BatchSpanProcessor(exporter))
    return made


def with_openinference():
    from openai import InternalServerError, OpenAI
    from openinference.instrumentation import using_attributes
    from openinference.instrumentation.openai import OpenAIInstrumentor

    spans = provider()
    OpenAIInstrumentor().instrument(tracer_provider=spans)
    client = OpenAI(base_url=MODEL, api_key="none", max_retries=0)
    tracer = spans.get_tracer("harbour")
    with (
        using_attributes(
            session_id="s-1", user_id="u-1", metadata={"berth": 7}, tags=["live"]
        ),
        tracer.start_as_current_span(
            "answer",
            attributes={"openinference.span.kind": "AGENT", "input.value": ASKED},
        ),
    ):
        client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, tools=TOOLS, temperature=0.5
        )
        whole = client.chat.completions.create(
            model="gpt-4o",
            messages=MESSAGES,
            stream=True,
            stream_options={"include_usage": True},
        )
        "".join(c.choices[0].delta.content or "" for c in whole if c.choices)
        client.embeddings.create(model="text-embedding-3-small", input="Ahoy")
        with contextlib.suppress(InternalServerError):
            client.chat.completions.create(
                model="gpt-4o", messages=[{"role": "user", "content": "fail"}]
            )
    spans.shutdown()


def with_opentelemetry():
    """By hand, in OpenTelemetry's own conventions: attributes, and the events before them."""
    spans = provider()
    tracer = spans.get_tracer("harbour")
    said = {
        "role": "assistant",
        "parts": [{"type": "text", "content": "The Aurora is in."}],
    }
    with tracer.start_as_current_span("invoke_agent harbour") as agent:
        agent.set_attribute("gen_ai.operation.name", "invoke_agent")
        agent.set_attribute("gen_ai.agent.name", "harbour")
        with tracer.start_as_current_span("chat gpt-4o") as span:
            system = [{"type": "text", "content": "You know all ships."}]
            asked = [{"role": "user", "parts": [{"type": "text", "content": ASKED}]}]
            span.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "gpt-4o",
                    "gen_ai.response.model": "gpt-4o-2024-08-06",
                    "gen_ai.request.temperature": 0.5,
                    "gen_ai.conversation.id": "s-1",
                    "gen_ai.usage.input_tokens": 12,
                    "gen_ai.usage.output_tokens": 5,
                    "gen_ai.system_instructions": json.dumps(system),
                    "gen_ai.input.messages": json.dumps(asked),
                    "gen_ai.output.messages": json.dumps(
                        [{**said, "finish_reason": "stop"}]
                    ),
                    "gen_ai.response.finish_reasons": ["stop"],
                }
            )
        with tracer.start_as_current_span("chat older") as span:
            span.set_attribute("gen_ai.system", "openai")
            span.set_attribute("gen_ai.operation.name", "chat")
            span.set_attribute("gen_ai.request.model", "older")
            span.add_event("gen_ai.user.message", {"content": ASKED})
            said = {"index": 0, "finish_reason": "stop", "message.content": "x"}
            choice = {"role": "assistant", "content": "The Aurora is in."}
            span.add_event("gen_ai.choice", {**said, "message": json.dumps(choice)})
        with tracer.start_as_current_span("execute_tool ships") as span:
            span.set_attributes(
                {
                    "gen_ai.operation.name": "execute_tool",
                    "gen_ai.tool.name": "ships",
                    "gen_ai.tool.call.id": "call_1",
                    "gen_ai.tool.call.arguments": '{"harbour": "Kiel"}',
                    "gen_ai.tool.call.result": '["Aurora"]',
                }
            )
    spans.shutdown()


def with_langfuse():
    os.environ |= {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-harbour",
        "LANGFUSE_SECRET_KEY": TOKEN,
        "LANGFUSE_BASE_URL": STORE,
        "LANGFUSE_HOST": STORE,
    }
    from langfuse import get_client, observe, propagate_attributes
    from langfuse.openai import OpenAI

    client = OpenAI(base_url=MODEL, api_key="none")

    @observe(as_type="tool")
    def ships(harbour: str) -> list[str]:
        return ["Aurora"]

    @observe()
    def answer(question: str) -> str:
        with propagate_attributes(
            session_id="s-1", user_id="u-1", tags=["live"], metadata={"berth": "7"}
        ):
            ships("Kiel")
            found = client.chat.completions.create(
                model="gpt-4o", messages=MESSAGES, temperature=0.5
            )
            return found.choices[0].message.content

    answer(ASKED)
    get_client().flush()
    get_client().shutdown()


def with_mlflow():
    os.environ |= {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{STORE}/v1/traces",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"Authorization=Bearer%20{TOKEN}",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_SERVICE_NAME": "harbour-app",
        # It asks for its own server, and for its database where none is named.
        "MLFLOW_TRACKING_URI": tempfile.mkdtemp(prefix="istore-mlflow-"),
    }
    import mlflow
    import mlflow.openai
    from openai import OpenAI

    mlflow.openai.autolog()
    client = OpenAI(base_url=MODEL, api_key="none")

    @mlflow.trace(span_type="TOOL")
    def ships(harbour: str) -> list[str]:
        return ["Aurora"]

    @mlflow.trace(span_type="CHAIN")
    def answer(question: str) -> str:
        ships("Kiel")
        found = client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, temperature=0.5
        )
        return found.choices[0].message.content

    answer(ASKED)
    mlflow.flush_trace_async_logging()
    from opentelemetry import trace

    for held in (trace.get_tracer_provider(), mlflow.tracing.provider.provider.get()):
        getattr(held, "force_flush", lambda: None)()


def with_litellm():
    os.environ |= {
        "OTEL_EXPORTER": "otlp_http",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_ENDPOINT": STORE,
        "OTEL_EXPORTER_OTLP_ENDPOINT": STORE,
        "OTEL_HEADERS": f"Authorization=Bearer {TOKEN}",
        "OTEL_SERVICE_NAME": "harbour-app",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    import litellm
    from opentelemetry import trace

    litellm.callbacks = ["otel"]
    litellm.completion(
        model="openai/gpt-4o",
        api_base=MODEL,
        api_key="none",
        messages=MESSAGES,
        temperature=0.5,
        user="u-1",
        metadata={"session_id": "s-1"},
    )
    import time

    time.sleep(2)  # it logs in a thread of its own
    trace.get_tracer_provider().force_flush()


{
    "openinference": with_openinference,
    "opentelemetry": with_opentelemetry,
    "langfuse": with_langfuse,
    "mlflow": with_mlflow,
    "litellm": with_litellm,
}[LIBRARY]()
print(json.dumps({"messages": MESSAGES, "answer": ANSWER, "tool_answer": TOOL_ANSWER}))
