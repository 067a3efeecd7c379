"""Reads every table below a directory as arize-phoenix does; prints what it found.

Each in two ways: ``Inferences.from_open_inference``, which goes by the names of columns
alone, and ``Inferences`` with the ``schema.json`` beside the table. Then Phoenix's model
of both is made and every value of every dimension is read, as its pages do.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import pandas  # noqa: E402
from phoenix.core.model_schema import PRIMARY  # noqa: E402
from phoenix.core.model_schema_adapter import create_model_from_inferences  # noqa: E402
from phoenix.inferences.inferences import Inferences  # noqa: E402
from phoenix.inferences.schema import Schema  # noqa: E402

ALL_ROWS = 5  # that make_tables wrote, flat


def check(folder: Path) -> str:
    table = pandas.read_parquet(folder / "data.parquet")
    by_names = Inferences.from_open_inference(table.copy())
    schema = Schema.from_json((folder / "schema.json").read_text())
    by_schema = Inferences(table.copy(), schema, name="by schema")
    assert len(by_names.dataframe) == len(by_schema.dataframe) == len(table)
    if folder.parent.name == "flat":
        assert len(table) == ALL_ROWS, len(table)
    said = by_names.schema
    assert said.prediction_id_column_name == ":id.id:"
    assert said.timestamp_column_name == ":timestamp.iso_8601:"
    assert str(by_names.dataframe.index.tz) == "UTC"
    assert set(by_names.dataframe["meta.camera"]) == {'north, "1"\n2'}
    assert set(by_names.dataframe["environment"]) == {"production"}
    assert {"age", "town"} <= set(said.feature_column_names)
    if ":prediction.str.label:prediction_label" in table:
        assert said.prediction_label_column_name == "prediction_label"
    if ":actual.str.label:actual_label" in table:
        assert said.actual_label_column_name == "actual_label"
    if "classification" in folder.name:
        assert by_names.dataframe["actual_label"].notna().any()
    vectors = set(said.embedding_feature_column_names or {})
    assert vectors == set(schema.embedding_feature_column_names or {})
    assert vectors, "no embedding"
    read = sum(map(values_of, (by_names, by_schema)))
    return f"{len(table)} rows, {len(table.columns)} columns, {read} values"


def values_of(inferences: Inferences) -> int:
    """How many values Phoenix has of all dimensions, with categories and bounds."""
    model = create_model_from_inferences(inferences)
    read = 0
    for dimension in (*model.scalar_dimensions, *model.embedding_dimensions):
        read += int(dimension[PRIMARY].notna().sum())
    for dimension in model.scalar_dimensions:
        model.dimension_categories_from_all_inferences(dimension.name)
        model.dimension_min_max_from_all_df(dimension.name)
    return read


def main(directory: Path) -> None:
    folders = sorted(path.parent for path in directory.rglob("data.parquet"))
    assert folders, "no tables"
    for folder in folders:
        print(f"{folder.parent.name:9} {folder.name:28} {check(folder)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
