"""mlserver with a scikit-learn model behind our proxy, tritonclient before it.

``python -m tests.foreign.mlserver_iris`` from the root of the project, in its own
environment, which has tritonclient.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tests.foreign.environments import interpreter, run_inside, versions

PACKAGES = ("mlserver==1.7.1", "mlserver-sklearn==1.7.1")
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]
LABELS = ["setosa", "versicolor", "virginica"]


def check() -> str:
    """Raises AssertionError unless answers are passed on and kept; says what was seen."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "istore.settings")
    from istore.tests.running_store import RunningStore, free_ports

    python = interpreter("mlserver", PACKAGES)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        http, grpc, metrics = free_ports(3)
        run_inside(
            python, "train_iris.py", directory, str(http), str(grpc), str(metrics)
        )
        store = RunningStore(home / "store")
        store.env["ISTORE_UPSTREAM_ALLOW"] = f"127.0.0.1:{http}"
        try:
            with _served(python, home, http), store.up() as running:
                token = running.wait_for("token for project default: ").split()[-1]
                seen = _ask(store.port, store.proxy_port, http, token)
        finally:
            store.command("up", "--stop")
    told = versions(python, "mlserver", "mlserver-sklearn", "scikit-learn")
    return f"{told}, tritonclient {version('tritonclient')}\n{seen}"


@contextmanager
def _served(python: Path, home: Path, port: int) -> Iterator[None]:
    with (home / "mlserver.log").open("w") as log:
        server = subprocess.Popen(
            [python.parent / "mlserver", "start", home],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "MLSERVER_DEBUG": "false"},
        )
        try:
            _wait_for(lambda: _triton(port).is_model_ready("iris"), server)
            yield
        except BaseException:
            print((home / "mlserver.log").read_text()[-2000:])
            raise
        finally:
            server.terminate()
            server.wait(30)


def _ask(port: int, proxy_port: int, http: int, token: str) -> str:
    from inference_store import Client, models

    client = Client(f"http://127.0.0.1:{port}", token)
    client.register.register_model_for_inference_storage(
        models.NewRegisterModelRequest(
            model_id="iris",
            project_id="default",
            task_type=models.TaskType.IMAGE_CLASSIFICATION,
        )
    )
    client.get_model("iris").set_inference_server_settings(
        {
            "upstream_url": f"http://127.0.0.1:{http}",
            "enable_inference_storage": True,
            "class_labels": LABELS,
        }
    )
    direct, behind = _triton(http), _triton(proxy_port)
    bearer = {"Authorization": f"Bearer {token}"}
    kept = []
    for output in ("predict", "predict_proba"):
        for number, row in enumerate(ROWS):
            name = f"{output}-{number}"
            theirs = _infer(direct, row, output, name, {})
            ours = _infer(behind, row, output, name, bearer)
            assert np.array_equal(ours, theirs), (ours, theirs)
            kept.append((name, theirs))
    assert behind.is_server_live(headers=bearer)
    assert behind.is_model_ready("iris", headers=bearer)

    every = models.NewGetInferencesRequest()
    _wait_for(lambda: client.inference.count_inferences("iris", every) == len(kept))
    for name, theirs in kept:
        found = client.inference.get_inference("iris", name)
        assert found is not None, name
        (output,) = json.loads(found.data)["outputs"]
        assert np.array_equal(theirs.ravel(), output["data"]), (theirs, output)
    sure = models.BaseInferenceFilter(
        deconstructed_inference_filter=models.DeconstructedInferenceFilter(
            labels=["virginica"], minimum_score=0.8
        )
    )
    request = models.NewGetInferencesRequest(filters=sure)
    found = [e.inference_id for e in client.inference.iter_inferences("iris", request)]
    assert found == ["predict_proba-1"], found
    return f"{len(kept)} answers passed on as they were, kept, and found by label and score"


def _triton(port: int):
    from tritonclient.http import InferenceServerClient

    return InferenceServerClient(f"127.0.0.1:{port}", network_timeout=60)


def _infer(client, row, output: str, name: str, headers: dict[str, str]):
    from tritonclient.http import InferInput, InferRequestedOutput

    tensor = InferInput("predict", [1, 4], "FP32")
    # mlserver reads JSON alone.
    tensor.set_data_from_numpy(np.array([row], dtype=np.float32), binary_data=False)
    asked = [InferRequestedOutput(output, binary_data=False)]
    answer = client.infer(
        "iris", [tensor], outputs=asked, request_id=name, headers=headers
    )
    return answer.as_numpy(output)


def _wait_for(
    happens: Callable[[], bool],
    process: subprocess.Popen | None = None,
    seconds: float = 120,
) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if happens():
                return
        except OSError:  # it does not listen yet
            pass
        assert process is None or process.poll() is None, "it ended"
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.2)


if __name__ == "__main__":
    print(check())
