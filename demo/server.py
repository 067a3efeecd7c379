"""A model server over the models of this package: ``python -m demo.server``.

It speaks V2, and for its guide OpenAI's chat completions (``demo.chat``).

Source of the calls: kserve/open-inference-protocol, ``inference_rest.md``.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from demo import chat, models, v2
from demo.models.guide import Guide

NAME, VERSION = "inference-store-demo", "1"
MAX_BODY = 32 * 1024 * 1024
THREADS = 2

MODELS = web.AppKey("models", dict[str, models.Model])
POOL = web.AppKey("pool", ThreadPoolExecutor)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = logging.getLogger(__name__)


def make_app(loaded: dict[str, models.Model]) -> web.Application:
    """The server as an aiohttp application, for ``run_app`` or a test."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[errors_as_json])
    app[MODELS] = loaded
    app[POOL] = ThreadPoolExecutor(THREADS)
    app[chat.GUIDE] = Guide()
    app.on_cleanup.append(_close_pool)
    model = "/v2/models/{model}"
    app.add_routes(
        [
            web.get("/v2", server_metadata),
            web.get("/v2/", server_metadata),
            web.get("/v2/health/live", live),
            web.get("/v2/health/ready", ready),
            web.get("/v1/models", chat.list_models),
            web.post("/v1/chat/completions", chat.complete),
        ]
    )
    for path in (model, model + "/versions/{version}"):
        app.add_routes(
            [
                web.get(path, model_metadata),
                web.get(path + "/ready", model_ready),
                web.post(path + "/infer", infer),
            ]
        )
    return app


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as ``{"error": …}``, the framework's own included."""
    try:
        return await handler(request)
    except v2.V2Error as error:
        return web.json_response({"error": str(error)}, status=400)
    except web.HTTPException as error:
        headers = (
            {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        )
        message = {"error": error.text or error.reason}
        return web.json_response(message, status=error.status, headers=headers)
    except Exception:
        logger.exception("The inference failed.")
        return web.json_response({"error": "The model failed."}, status=500)


async def server_metadata(request: web.Request) -> web.Response:
    extensions = ["binary_tensor_data"]
    return web.json_response(
        {"name": NAME, "version": VERSION, "extensions": extensions}
    )


async def live(request: web.Request) -> web.Response:
    return web.json_response({"live": True})


async def ready(request: web.Request) -> web.Response:
    """Always yes: the models are loaded before the port is opened."""
    return web.json_response({"ready": True})


async def model_ready(request: web.Request) -> web.Response:
    return web.json_response({"name": _model(request).name, "ready": True})


async def model_metadata(request: web.Request) -> web.Response:
    model = _model(request)
    return web.json_response(
        {
            "name": model.name,
            "versions": [VERSION],
            "platform": model.platform,
            "inputs": model.inputs,
            "outputs": model.outputs,
        }
    )


async def infer(request: web.Request) -> web.Response:
    model = _model(request)
    infer_request = v2.read_request(
        await request.read(), request.headers.get(v2.HEADER_LENGTH)
    )
    loop = asyncio.get_running_loop()
    outputs = await loop.run_in_executor(
        request.app[POOL], model.infer, infer_request.inputs
    )
    names = [output.name for output in outputs]
    if unknown := set(infer_request.wanted) - set(names):
        raise v2.V2Error(f"There is no output {unknown.pop()!r}; there is {names}.")
    document = {"model_name": model.name, "model_version": VERSION}
    if (
        request_id := infer_request.id or request.headers.get("Inference-Id")
    ) is not None:
        document["id"] = request_id
    body, header_length = v2.write_message(
        document,
        "outputs",
        [
            (output, infer_request.is_binary(output.name))
            for output in outputs
            if not infer_request.wanted or output.name in infer_request.wanted
        ],
    )
    if header_length is None:
        return web.Response(body=body, content_type="application/json")
    headers = {v2.HEADER_LENGTH: str(header_length)}
    return web.Response(
        body=body, content_type="application/octet-stream", headers=headers
    )


def _model(request: web.Request) -> models.Model:
    name, version = (
        request.match_info["model"],
        request.match_info.get("version", VERSION),
    )
    model = request.app[MODELS].get(name)
    if model is None or version != VERSION:
        raise web.HTTPNotFound(
            text=f"There is no model {name!r} in version {version!r}."
        )
    return model


async def _close_pool(app: web.Application) -> None:
    app[POOL].shutdown(wait=False)


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    host = os.environ.get("DEMO_HOST", "127.0.0.1")
    port = int(os.environ.get("DEMO_PORT", "9000"))
    loaded = models.load()
    app, names = make_app(loaded), list(loaded)
    logger.info("Serving %s on http://%s:%d/v2", ", ".join(names), host, port)
    web.run_app(app, host=host, port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
