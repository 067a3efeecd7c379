"""Ground truth: give it to inferences one by one or in files, read it, delete it.

The API calls one ground truth *an actual*, so some names here do, too.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from inference_store.batches import batches
from inference_store.binding import blocking
from inference_store.errors import InferenceStoreError, ValidationError
from inference_store.models import (
    GroundTruth,
    GroundTruthCounts,
    GroundTruthVersion,
    JoinedGroundTruth,
    NewActual,
    NewGroundTruth,
    PendingGroundTruth,
)
from inference_store.pages import Page, page_of
from inference_store.progress import Bar
from inference_store.requests import (
    Call,
    Pause,
    Reader,
    Steps,
    at,
    delete,
    get,
    json_object,
    member_or,
    one,
    put,
)

LINES_LIMIT = 10_000  # ground truths in one request
COMPLETE, FAILED, ENDED = "complete", "failed", ("failed", "stopped")
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds between two polls of a task
KINDS = {
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "coco": "application/json",
    "label_studio": "application/json",
    "yolo": "application/zip",
    "voc": "application/zip",
}
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "ndjson",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@blocking
def put_ground_truth(
    model_id: str, inference_id: str, request_body: NewGroundTruth
) -> Call[GroundTruth | None]:
    """Set the ground truth of an inference. An earlier one is kept in its history.

    Parameters:
        model_id: the model of the inference.
        inference_id: the id of the inference. If it is not stored yet, the ground truth waits
            and is joined when the inference arrives.
        request_body: the ground truth.

    Returns:
        The stored ground truth; its ``state`` is ``joined`` or ``waiting``.

    Raises:
        NotFound: the model is not registered.
        Conflict: ``inference-deleted``, the inference was removed.
        ValidationError: the form of the ground truth does not fit the model's task.
        InferenceStoreError: any other failure.
    """
    return put(
        *_of(model_id, inference_id),
        body=request_body,
        read=one(GroundTruth),
    )


@blocking
def get_ground_truth(model_id: str, inference_id: str) -> Call[GroundTruth | None]:
    """Return the ground truth of an inference.

    Parameters:
        model_id: its model.
        inference_id: its id.

    Returns:
        The ground truth; None if the inference has none.

    Raises:
        InferenceStoreError: any failure.
    """
    return get(*_of(model_id, inference_id), read=one(GroundTruth), may_be_absent=True)


@blocking
def delete_ground_truth(model_id: str, inference_id: str) -> Call[str | None]:
    """Delete the ground truth of an inference, or one that waits for the inference.

    Parameters:
        model_id: the inference's model.
        inference_id: its id.

    Returns:
        The inference's id; None if it had no ground truth.

    Raises:
        InferenceStoreError: any failure.
    """
    return delete(
        *_of(model_id, inference_id),
        read=member_or("inference_id", inference_id),
        may_be_absent=True,
    )


@blocking
def get_ground_truth_history(
    model_id: str, inference_id: str
) -> Call[Page[GroundTruthVersion]]:
    """Return every ground truth that an inference had: the value, by whom, from when until when.

    Parameters:
        model_id: its model.
        inference_id: its id.

    Returns:
        The versions as a list, oldest first, the current one last.

    Raises:
        NotFound: there is no such inference.
        InferenceStoreError: any other failure.
    """
    path = (*_of(model_id, inference_id), "history")
    return get(*path, read=page_of(GroundTruthVersion))


@blocking
def join_ground_truth(
    model_id: str, actuals: Iterable[NewActual], *, progress: bool = False
) -> Steps[JoinedGroundTruth]:
    """Join many ground truths to their inferences, some thousand in each request.

    Parameters:
        model_id: a registered model.
        actuals: each with the id, the hash or the metadata value that it is joined by.
            The iterable is read as it is sent, so it may be a generator.
        progress: whether to show a progress bar (on a terminal).

    Returns:
        The counts and the first refusals. One refused ground truth does not stop the others.

    Raises:
        NotFound: the model is not registered.
        InferenceStoreError: any other failure. Repeating the call is safe.
    """
    total = JoinedGroundTruth()
    with Bar(progress) as bar:
        for lines in batches(actuals, LINES_LIMIT):
            total += yield _join(model_id, b"".join(lines), "ndjson")
            bar.advance(len(lines))
    return total


@blocking
def upload_ground_truth(
    model_id: str,
    file: str | Path,
    form: str | None = None,
    *,
    delimiter: str | None = None,
    missing: str | None = None,
    ignore_unknown: bool = False,
    join_by: str | None = None,
) -> Steps[JoinedGroundTruth]:
    """Join the ground truth of a file to their inferences, and wait until that is done.

    The store joins a small file at once. A worker joins a larger one, and this function
    polls its task until it ends.

    Parameters:
        model_id: a registered model.
        file: CSV or Parquet with a column inference_id, data_hash or metadata.<key> and
            columns named as the fields of ``NewGroundTruth``; NDJSON or a JSON list; any
            of them compressed by gzip; or annotations. A folder of annotations is packed
            as a ZIP.
        form: csv, parquet or ndjson, if the file's name does not say it; coco, yolo, voc
            or label_studio for annotations.
        delimiter: comma, semicolon, tab or bar, if the first line does not show it.
        missing: texts that stand for a missing value in a CSV file.
        ignore_unknown: whether to skip columns and members with unknown names.
        join_by: for annotations, what the names of pictures are: inference_id, data_hash
            or metadata.<key>.

    Returns:
        The counts and the first refusals. One refused ground truth does not stop the others.

    Raises:
        ValueError: neither the name nor ``form`` says what kind of file it is.
        NotFound: the model is not registered.
        ValidationError: the file cannot be read; nothing was changed.
        InferenceStoreError: any other failure. Repeating the call is safe.
    """
    path = Path(file)
    name = path.name.lower().removesuffix(".gz")
    kind = form or SUFFIXES.get(Path(name).suffix)
    if kind not in KINDS:
        forms = ", ".join(KINDS)
        raise ValueError(
            f"The name {path.name} does not show a form: say which of {forms}."
        )
    parameters = {
        "delimiter": delimiter,
        "missing": missing,
        "join_by": join_by,
        "ignore_unknown": ignore_unknown,
    }
    content = _pack(path) if path.is_dir() else path.read_bytes()
    joined = yield _join(model_id, content, kind, _joined_or_task, parameters)
    wait = FIRST_WAIT
    while not isinstance(joined, JoinedGroundTruth):
        if joined["state"] in ENDED:
            failed = joined["state"] == FAILED
            error = ValidationError if failed else InferenceStoreError
            raise error(f"The file was not joined: {joined['reason']}")
        yield Pause(wait)
        wait = min(2 * wait, LONGEST_WAIT)
        task = ("models", model_id, "ground-truth-files", joined["id"])
        joined = yield get(*task, read=_joined_or_task)
    return joined


@blocking
def count_ground_truth(model_id: str) -> Call[GroundTruthCounts | None]:
    """Return how many inferences of a model have a ground truth, and how many ground truths wait.

    Parameters:
        model_id: the model.

    Returns:
        The counts; None if the model is not registered.

    Raises:
        InferenceStoreError: any failure.
    """
    path = ("models", model_id, "ground-truth")
    return get(*path, read=one(GroundTruthCounts), may_be_absent=True)


@blocking
def list_pending_ground_truth(model_id: str) -> Call[list[PendingGroundTruth]]:
    """Return the oldest 1000 of the ground truths that wait for their inference.

    Parameters:
        model_id: the model.

    Returns:
        A list. Each has what it waits for (``awaited``), the ground truth, by whom and when.

    Raises:
        NotFound: the model is not registered.
        InferenceStoreError: any other failure.
    """

    def read(response: httpx2.Response) -> list[PendingGroundTruth]:
        results = json_object(response)["results"]
        return [PendingGroundTruth.model_validate(item) for item in results]

    return get("models", model_id, "ground-truth", "pending", read=read)


def _pack(folder: Path) -> bytes:
    """Return a folder as a ZIP: its label files, and its pictures, which give hash and size."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return made.getvalue()


def _joined_or_task(response: httpx2.Response) -> JoinedGroundTruth | dict[str, Any]:
    body = json_object(response)
    if "state" in body and body["state"] != COMPLETE:
        return body
    return JoinedGroundTruth.model_validate(body["joined"] if "state" in body else body)


def _join(
    model_id: str,
    content: bytes,
    form: str,
    read: Reader[Any] = one(JoinedGroundTruth),  # noqa: B008 a value, made once
    parameters: Mapping[str, Any] | None = None,
) -> Call[Any]:
    return Call(
        "POST",
        at("models", model_id, "ground-truth"),
        read,
        content,
        parameters={"form": form, **(parameters or {})},
        headers={"Content-Type": KINDS[form]},
        may_repeat=True,
        timeout=600.0,
    )


def _of(model_id: str, inference_id: str) -> tuple[str, ...]:
    return ("models", model_id, "inferences", inference_id, "ground-truth")
