import time

import pytest

from services.runners.schemas import TooMuchWork, check_schema, misfit

TEXTS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"text": {"$ref": "#/$defs/text"}},
        "required": ["text"],
    },
    "$defs": {"text": {"type": "string", "pattern": "^(a+)+$"}},
}


def test_what_fits_is_empty_and_what_does_not_says_where():
    assert misfit(TEXTS, [{"text": "aaa"}], 20) == ""
    assert (
        misfit(TEXTS, [{"text": 3}], 20) == "$[0]['text']: 3 is not of type \"string\""
    )
    assert '"text" is a required property' in misfit(TEXTS, [{}], 20)


def test_a_pattern_takes_no_longer_than_its_text():
    began = time.monotonic()
    assert misfit(TEXTS, [{"text": "a" * 5000 + "b"}], 5000)
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"type": "shape"}, "is not valid under any"),
        ({"pattern": "(?=a)b"}, "is not a"),
        ({"$ref": "http://127.0.0.1/x"}, "within the schema"),
        ({"$ref": "file:///etc/passwd"}, "within the schema"),
        ({"$ref": "#/nowhere"}, "leads nowhere"),
        ({"$ref": "#"}, "leads back to itself"),
        ({"properties": {"a": {"$ref": "#/properties"}}}, "leads back to itself"),
        (
            {
                "$ref": "#/$defs/a",
                "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
            },
            "leads back to itself",
        ),
        ({"$dynamicRef": "#x"}, "is not supported"),
        ({"items": {"unevaluatedItems": False}}, "is not supported"),
        ({"items": {"$id": "x"}}, "may have an \\$id"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema, why):
    with pytest.raises(ValueError, match=why):
        check_schema(schema)


def test_a_schema_that_grows_when_written_out_is_refused_at_once():
    defs = {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**defs, "a30": {"type": "string"}}}
    began = time.monotonic()
    with pytest.raises(ValueError, match="more than 20,000 parts"):
        check_schema(schema)
    assert time.monotonic() - began < 1


def test_a_long_chain_of_references_is_refused():
    defs = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(5000)}
    with pytest.raises(ValueError, match="32 levels"):
        check_schema({"$ref": "#/$defs/a0", "$defs": defs})


def test_an_answer_that_is_too_large_is_not_begun_with():
    with pytest.raises(TooMuchWork):
        misfit(TEXTS, [], 100_000_000)


def test_data_in_a_schema_is_no_schema():
    schema = {"enum": [{"$ref": "#/nowhere"}], "default": {"$dynamicRef": "x"}}
    check_schema(schema)
    assert misfit(schema, {"$ref": "#/nowhere"}, 10) == ""
