"""Stored conversations for tests of their pages."""

from __future__ import annotations

import base64
import json
from io import BytesIO
from itertools import count

from PIL import Image

from inferences.models import RegisteredModel, TaskType
from istore import blobs

numbers = count(1)


def chat_model(project, model_id: str = "harbour-chat") -> RegisteredModel:
    return RegisteredModel.objects.create(
        model_id=model_id,
        project=project,
        task_type=TaskType.TEXT_GENERATION,
        enable_inference_storage=True,
    )


def store_chat(make_inference, model, request, answer, metadata=None, **fields):
    """Store a request and its answer as the proxy does: one as a blob, one in the row."""
    content = request if isinstance(request, bytes) else json.dumps(request).encode()
    key = f"1/1/2025/chat-{next(numbers)}/input"
    blobs.put(key, content)
    text = answer if isinstance(answer, str) else json.dumps(answer)
    return make_inference(
        metadata,
        to=model,
        data=text,
        data_storage_key=key,
        data_content_type="application/json",
        data_size=len(content),
        **fields,
    )


def said(role: str, content) -> dict:
    return {"role": role, "content": content}


def answer_of(*texts: str, **more) -> dict:
    choices = [
        {"index": n, "message": said("assistant", text), "finish_reason": "stop"}
        for n, text in enumerate(texts)
    ]
    return {"model": "gpt-4o-2024", "choices": choices, **more}


def picture(colour: str = "teal") -> str:
    """A picture as base64."""
    file = BytesIO()
    Image.new("RGB", (64, 32), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def silence() -> str:
    """A tenth of a second of silence as WAV, as base64."""
    samples = bytes(1600)
    head = b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt "
    form = (16).to_bytes(4, "little") + (1).to_bytes(2, "little") * 2
    form += (8000).to_bytes(4, "little") + (16000).to_bytes(4, "little")
    form += (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
    content = head + form + b"data" + len(samples).to_bytes(4, "little") + samples
    return base64.b64encode(content).decode()
