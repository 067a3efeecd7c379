"""Ground truth and quality by the real client and the real command, over HTTP."""

from __future__ import annotations

import asyncio
import sys

import pytest
from inference_store import (
    Client,
    aio,
    cli,
    connection,
    errors,
    ground_truth,
    inference,
    models,
    quality,
    register,
)

from inferences.ground_truth import file_tasks
from inferences.models import TaskType
from inferences.models.ground_truth import TruthFile
from istore.accounts.tokens import create_token
from istore.models import Role

MODEL = "yolo-harbour"


@pytest.fixture
def client(live_server, project):
    """A client that the module functions use."""
    token = create_token("sdk", project, Role.EDITOR)[1]
    connection.current = Client(live_server.url, token)
    connection.current.secret = token
    yield connection.current
    connection.current.close()
    connection.current = None


@pytest.fixture
def ships(model, make_inference):
    model.task_type = TaskType.IMAGE_CLASSIFICATION
    model.save()
    for n in range(4):
        make_inference(
            {"frame": n}, inference_id=f"i{n}", detections=[("ship", 0.5 + n / 10)]
        )


def test_an_actual_is_put_read_changed_and_deleted(client, ships):
    put = ground_truth.put_ground_truth
    assert put(MODEL, "i0", models.NewGroundTruth(label="ship")).agrees is True
    assert put(MODEL, "i0", models.NewGroundTruth(label="tug")).agrees is False
    assert put(MODEL, "late", models.NewGroundTruth(label="tug")).state == "waiting"

    assert ground_truth.get_ground_truth(MODEL, "i0").ground_truth == {
        "labels": ["tug"]
    }
    history = ground_truth.get_ground_truth_history(MODEL, "i0")
    assert [each.ground_truth["labels"] for each in history] == [["ship"], ["tug"]]
    (pending,) = ground_truth.list_pending_ground_truth(MODEL)
    assert pending.awaited == "inference_id=late"
    assert ground_truth.count_ground_truth(MODEL).waiting == 1
    assert ground_truth.delete_ground_truth(MODEL, "i0") == "i0"
    assert ground_truth.get_ground_truth(MODEL, "i0") is None
    assert ground_truth.delete_ground_truth(MODEL, "i0") is None
    with pytest.raises(errors.ValidationError):
        put(MODEL, "i0", models.NewGroundTruth(boxes=[]))


def test_many_actuals_and_files_are_joined_and_measured(client, ships, tmp_path):
    def actuals():
        for n in range(3):
            reference = models.MetadataReference(key="frame", value=n)
            label = "ship" if n else "tug"
            yield models.NewActual(metadata=reference, label=label)

    assert ground_truth.join_ground_truth(MODEL, actuals()).changed == 3
    path = tmp_path / "late.csv"
    path.write_text("inference_id,label\ni3,ship\n,tug\n")
    told = ground_truth.upload_ground_truth(MODEL, path)
    assert (told.changed, told.refused) == (1, 1)
    with pytest.raises(ValueError, match="say which"):
        ground_truth.upload_ground_truth(MODEL, tmp_path / "late.txt")

    found = quality.get_quality(
        MODEL, models.NewQualityRequest(group_by="metadata.frame")
    )
    assert (found.rows, found.figures["accuracy"]) == (4, 0.75)
    assert found.confusion.labels == ["ship", "tug"]
    assert quality.get_quality("none") is None
    alone = models.NewQualityRequest(query="truth:differs")
    assert quality.get_quality(MODEL, alone).figures["accuracy"] == 0


def test_a_model_of_a_further_type_is_registered_stored_and_measured(client, project):
    register.register_model_for_inference_storage(
        models.NewRegisterModelRequest(
            model_id="prices",
            project_id="harbour",
            task_type=models.TaskType.TABULAR_REGRESSION,
        )
    )
    standard = models.NewStandardMetadataRequest(
        data_hash="00" * 32,
        data_size=1,
        task_type=models.TaskType.TABULAR_REGRESSION,
        inference_action=models.InferenceAction.PREDICT,
    )
    collection = models.NewInferenceAndMetadataCollection(
        regression={"value": 42.5},
        shap_values={"age": 0.5},
        embeddings={"user": [0.1, 0.2]},
        inputs={"age": 44},
        metadata=models.NewMetadataCollectionRequest(standard_metadata=standard),
    )
    inference.create_inference(
        "prices",
        models.NewInferenceStorageRequest(
            model_id="prices", inference_id="a", data=collection
        ),
    )
    ground_truth.put_ground_truth("prices", "a", models.NewGroundTruth(value=43))

    asked = models.NewGetInferencesRequest(query="meta.prediction>42.0 truth:agrees")
    assert inference.count_inferences("prices", asked) == 1
    assert quality.get_quality("prices").figures["mae"] == 0.5


@pytest.mark.django_db(transaction=True)
def test_it_can_be_awaited(client, live_server, ships):
    async def told():
        async with aio.AsyncClient(live_server.url, client.secret) as awaited:
            given = models.NewGroundTruth(label="ship")
            await awaited.ground_truth.put_ground_truth(MODEL, "i1", given)
            return await awaited.quality.get_quality(MODEL)

    assert asyncio.run(told()).rows == 1


def test_the_command_joins_and_measures(
    client, live_server, ships, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("ISTORE_URL", live_server.url)
    monkeypatch.setenv("ISTORE_TOKEN", client.secret)
    path = tmp_path / "truth.csv"
    path.write_text("metadata.frame,label\n0,ship\n1,tug\n7,tug\n")

    def istore(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["istore", *arguments])
        try:
            cli.main()
        except SystemExit as end:
            assert not end.code
        return capsys.readouterr().out

    told = istore("truth", MODEL, str(path))
    assert told.startswith(
        "3 ground truths: 2 joined to inferences (2 changed), 1 waiting"
    )
    told = istore("quality", MODEL, "--by", "metadata.frame")
    assert "accuracy\t0.5" in told
    assert "\n0\t1\t1" in told


@pytest.fixture
def worker_at_hand(monkeypatch, settings):
    """A file of more than two rows is for a worker, which comes when it is called."""
    settings.ISTORE_TRUTHS_AT_ONCE = 2
    waits: list[float] = []

    def work(seconds: float) -> None:
        waits.append(seconds)
        for task in TruthFile.objects.filter(state__in=["pending", "scheduled"]):
            file_tasks.carry_out(task)

    monkeypatch.setattr(connection.current, "_sleep", work)
    return waits


def test_a_large_file_is_waited_for(client, ships, worker_at_hand, tmp_path):
    path = tmp_path / "actuals.csv"
    path.write_text("inference_id,label\ni0,ship\ni1,tug\nnobody,ship\n")
    told = ground_truth.upload_ground_truth(MODEL, path)
    assert (told.actuals, told.joined, told.waiting) == (3, 2, 1)
    assert worker_at_hand
    path.write_text('inference_id,label\ni0,ship\ni1,tug\nnobody,"ship\n')
    with pytest.raises(errors.ValidationError, match="Line"):
        ground_truth.upload_ground_truth(MODEL, path)


def test_tables_and_folders_are_read_as_they_are_told(
    client, ships, model, make_inference, tmp_path, capsys
):
    table = tmp_path / "late.tsv"
    table.write_text("Inference ID\tlabel\tnote\ni3\tship\tx\n")
    with pytest.raises(errors.ValidationError, match="ignore_unknown"):
        ground_truth.upload_ground_truth(MODEL, table)
    told = ground_truth.upload_ground_truth(MODEL, table, ignore_unknown=True)
    assert told.changed == 1

    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "i2.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (folder / "classes.txt").write_text("tug\n")
    told = ground_truth.upload_ground_truth(MODEL, folder, "yolo")
    assert (told.changed, told.refused) == (1, 0)
    assert ground_truth.get_ground_truth(MODEL, "i2").ground_truth == {
        "labels": ["tug"]
    }
