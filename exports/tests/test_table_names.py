"""Names of columns and folders of OpenInference tables."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exports.formats.open_inference import names
from exports.formats.open_inference.names import ColumnName
from exports.formats.open_inference.table_format import safe

pytestmark = pytest.mark.django_db(transaction=True)


def test_names_are_read_back_as_they_were_written():
    for text in (
        ":id.id:",
        ":timestamp.iso_8601:",
        ":feature.[float].embedding:face",
        ":prediction.float.score:prediction_score",
        ":tag.str:meta.a:b.c",
    ):
        assert str(ColumnName.parse(text)) == text


@given(st.text(min_size=1))
@settings(max_examples=200, deadline=None)
def test_any_key_is_a_name_on_one_line(key):
    name = str(ColumnName("tag", "str", "", f"meta.{key}"))

    assert "\n" not in name and "\x00" not in name
    assert ColumnName.parse(name).name == f"meta.{key}"


@pytest.mark.parametrize(
    "columns",
    [
        [":id.id"],
        ["id"],
        [":score.float:x"],
        [":tag.str.unknown:x"],
        [":tag.[[float]]:x"],
        [":tag.str:x", ":feature.str:x"],
        [":tag.str:x", ":tag.str:x"],
        [":feature.text:prompt"],
        [":tag.str:"],
    ],
)
def test_what_no_reader_takes_is_refused(columns):
    with pytest.raises(ValueError, match=r".+"):
        names.check(columns)


def test_an_embedding_shares_its_name_with_what_it_is_of():
    names.check(
        [
            ":id.id:",
            ":feature.[float].embedding:face",
            ":feature.text.raw_data:face",
            ":feature.url.link_to_data:face",
        ]
    )


def test_names_of_folders_are_safe():
    assert safe("a/b\\c:d") == "a%2Fb%5Cc%3Ad"
    assert safe("..") == "%2E%2E"
