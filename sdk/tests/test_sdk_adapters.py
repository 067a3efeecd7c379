"""Adapters: what each makes of an item, and that bad input is one clear error."""

from __future__ import annotations

import copy
import json
import re

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from inference_store.adapters import (
    AdapterError,
    Drop,
    ExplodeCollections,
    FlattenHierarchy,
    Map,
    Pipeline,
    Rename,
    Select,
    TransformJSON,
    computing,
    create_adapter,
    create_pipeline,
)
from inference_store.adapters.pipelines import KINDS
from inference_store.schema import SchemaAdapter

ITEM = {
    "object": {"id": "abc123", "name": "spam"},
    "list": [1, 2],
    "choices": [
        {"label": "foo", "meta": {"rank": 1}},
        {"label": "bar", "meta": {"rank": 0}},
    ],
    "text": "one two  three",
}


def one(adapter, item=ITEM):
    (made,) = adapter([item])
    return made


def computed(*steps, item=ITEM):
    return one(TransformJSON({"x": {"$compute": list(steps)}}), item)["x"]


def test_transform_json_fills_a_shape_from_the_item():
    adapter = TransformJSON(
        {
            "id": "$.object.id",
            "kind": "ship",
            "children": {"left": "$.list[0]", "right": ["$.list[-1]", None, 3]},
            "$$path": "$$PATH",
            "letters": {
                "$compute": [
                    {"$scalar": "$.object.id"},
                    {"$func": "sub", "pattern": "[0-9]", "repl": ""},
                    {"$func": "list"},
                ]
            },
        }
    )
    assert one(adapter) == {
        "id": "abc123",
        "kind": "ship",
        "children": {"left": 1, "right": [2, None, 3]},
        "$path": "$PATH",
        "letters": ["a", "b", "c"],
    }


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [ITEM]),
        ("$.choices[*].meta.rank", [1, 0]),
        ("$['choices'][0]['label']", ["foo"]),
        ("$.'object'.name", ["spam"]),
        ("$.list[0,1]", [1, 2]),
        ("$.list[:1]", [1]),
        ("$.list[::-1]", [2, 1]),
        ("$.object.*", ["abc123", "spam"]),
        ("$..label", ["foo", "bar"]),
        ("$..rank", [1, 0]),
        ("$.list[7]", []),
        ("$.nothing.at.all", []),
        ("$.text[0]", []),
    ],
)
def test_paths(path, found):
    assert computed({"$list": path}) == found


@pytest.mark.parametrize(
    "path", ["$[", "$..", "$.", "$x", "$.a b", "$[?(@.a)]", "$.a[1:2:0]", "$" * 2000]
)
def test_what_is_no_path_is_refused_when_the_adapter_is_made(path):
    with pytest.raises(AdapterError, match=r"^TransformJSON: "):
        TransformJSON({"x": {"$compute": {"$list": path}}})


def test_a_path_outside_of_compute_finds_exactly_one():
    with pytest.raises(AdapterError, match="finds 2 where one"):
        one(TransformJSON({"x": "$.list[*]"}))
    with pytest.raises(AdapterError, match="finds nothing where one"):
        one(TransformJSON({"x": "$.nothing"}))


TEXT = {"$scalar": "$.text"}


@pytest.mark.parametrize(
    ("steps", "made"),
    [
        ([{"$literal": "$.text"}], "$.text"),
        ([{"$list": [{"$literal": 1}, {"$scalar": "$.list[1]"}]}], [1, 2]),
        ([TEXT, {"$func": "findall", "pattern": "o(.)"}], re.findall("o(.)", ITEM["text"])),
        ([TEXT, {"$func": "findall", "pattern": "T.", "flags": 2}], ["tw", "th"]),
        ([TEXT, {"$func": "split", "pattern": " ", "maxsplit": 1}], ["one", "two  three"]),
        ([TEXT, {"$func": "split", "pattern": " "}, {"$func": "join", "separator": "-"}], "one-two--three"),
        ([TEXT, {"$func": "search", "pattern": "(t)(.)", "group": 2}], "w"),
        ([TEXT, {"$func": "search", "pattern": "x", "default": "-"}], "-"),
        ([TEXT, {"$func": "sub", "pattern": "(o)", "repl": r"<\1>", "count": 1}], "<o>ne two  three"),
        ([{"$list": "$.list[*]"}, {"$func": "reduce"}], 3),
        ([{"$list": "$..label"}, {"$func": "reduce"}], "foobar"),
        ([{"$literal": [[1], [2, 3]]}, {"$func": "reduce"}], [1, 2, 3]),
    ],
)  # fmt: skip
def test_compute(steps, made):
    assert computed(*steps) == made


@pytest.mark.parametrize(
    "step",
    [
        {"$func": "eval"},
        {"$func": "__class__"},
        {"$func": "sub", "pattern": "("},
        {"$func": "sub", "repl": ""},
        {"$func": "search", "pattern": "a", "group": 1},
        {"$func": "search", "pattern": "a", "flags": 4},
        {"$func": "split", "pattern": "a", "maxsplit": "1"},
        {"$func": "list", "of": 1},
        {"$scalar": "$.a", "$list": "$.b"},
        {"$scalar": "text"},
        {},
        "text",
    ],
)
def test_a_step_of_compute_that_is_none_is_refused(step):
    with pytest.raises(AdapterError, match=r"^TransformJSON: "):
        TransformJSON({"x": {"$compute": step}})


@given(
    st.text("ab \n", max_size=12),
    st.sampled_from(["a", "a*", "(a)|b", "^", r"\s+", "(?P<n>a)(b)?", ""]),
)
@settings(max_examples=60, deadline=None)
def test_patterns_find_what_those_of_the_standard_library_find(text, pattern):
    def ours(name, **parameters):
        step = {"$func": name, "pattern": pattern, **parameters}
        return computed({"$literal": text}, step)

    found = re.findall(pattern, text)
    assert ours("findall") == [list(f) if isinstance(f, tuple) else f for f in found]
    assert ours("split", maxsplit=2) == re.split(pattern, text, maxsplit=2)
    assert ours("sub", repl="-") == re.sub(pattern, "-", text)
    match = re.search(pattern, text)
    assert ours("search") == (match and match.group())


def test_a_pattern_that_would_search_for_ever_is_given_up(monkeypatch):
    monkeypatch.setattr(computing, "SECONDS", 0.1)
    with pytest.raises(AdapterError, match=r"takes more than 0\.1 s"):
        computed(
            {"$literal": "a" * 2000},
            {"$func": "search", "pattern": "(.*)(.*)(.*)(.*)(.*)[bc]"},
        )


def test_texts_do_not_grow_without_end():
    grow = {"$func": "sub", "pattern": "", "repl": "a" * 1000}
    with pytest.raises(AdapterError, match="longer than"):
        computed({"$literal": "a"}, grow, grow, grow)


def test_a_path_that_doubles_its_matches_ends():
    nested = []
    for _ in range(40):
        nested = [nested]
    with pytest.raises(AdapterError, match="more than can be looked at"):
        computed({"$list": "$" + "[0,0]" * 30}, item=nested)
    with pytest.raises(AdapterError, match="more than can be looked at"):
        computed({"$list": "$" + "..*" * 12}, item=nested)


def test_rename_select_drop():
    item = {"a": 1, "b": 2, "c": 3}
    assert one(Rename({"a": "b", "b": "a"}), item) == {"b": 1, "a": 2, "c": 3}
    assert list(one(Select({"fields": ["c", "a"]}), item).items()) == [
        ("c", 3),
        ("a", 1),
    ]
    assert one(Drop({"fields": ["a", "x"]}), item) == {"b": 2, "c": 3}


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (Rename({"x": "y"}), "Rename: The item has no field 'x'."),
        (Rename({"a": "b"}), "Rename: The item has a field 'b' already."),
        (Select({"fields": ["x"]}), "Select: The item has no field 'x'."),
        (
            ExplodeCollections({"collections": ["a"]}),
            "ExplodeCollections: The field 'a' is a number, not a list.",
        ),
        (
            ExplodeCollections({"collections": ["b", "c"]}),
            "ExplodeCollections: The lists have different lengths.",
        ),
        (
            ExplodeCollections({"collections": ["b"], "index": {"i": "$.c[*]"}}),
            "ExplodeCollections: The index 'i' has 2 values for 1 elements.",
        ),
        (
            FlattenHierarchy({"addPrefix": False}),
            "FlattenHierarchy: Two values would be called 'a'.",
        ),
        (
            Map({"collections": ["b"], "adapter": Rename({"x": "y"}).description()}),
            "Map > Rename: The item is a number, not an object.",
        ),
    ],
)
def test_an_item_that_does_not_fit_is_an_error_that_names_the_step(adapter, said):
    item = {"a": 1, "b": [1], "c": [1, 2], "d": {"a": 2}}
    with pytest.raises(AdapterError) as raised:
        list(adapter([item]))
    assert str(raised.value) == said


def test_explode_collections_makes_rows_with_indexes():
    adapter = ExplodeCollections(
        {
            "collections": ["choices"],
            "index": {"place": None, "rank": "$.choices[*].meta.rank"},
        }
    )
    item = {"choices": ITEM["choices"], "scalar": "s"}
    assert list(adapter([item])) == [
        {"choices": ITEM["choices"][0], "scalar": "s", "place": 0, "rank": 1},
        {"choices": ITEM["choices"][1], "scalar": "s", "place": 1, "rank": 0},
    ]
    assert list(adapter([{"choices": []}])) == []


def test_flatten_hierarchy():
    item = {"a": {"b": {"c": 1}, "l": [{"x": 1}]}, "s": 2}
    assert one(FlattenHierarchy(), item) == {"a.b.c": 1, "a.l": [{"x": 1}], "s": 2}
    shallow = FlattenHierarchy({"fields": ["a"], "depth": 1})
    assert one(shallow, item) == {"a.b": {"c": 1}, "a.l": [{"x": 1}], "s": 2}
    named = FlattenHierarchy({"addPrefix": False})
    assert one(named, item) == {"c": 1, "l": [{"x": 1}], "s": 2}


def test_map_puts_elements_through_an_adapter():
    inner = Pipeline(
        [
            FlattenHierarchy(),
            Rename({"meta.rank": "rank"}),
            Select({"fields": ["rank"]}),
        ]
    )
    adapter = Map({"collections": ["choices"], "adapter": inner.description()})
    assert one(adapter)["choices"] == [{"rank": 1}, {"rank": 0}]
    assert one(adapter)["text"] == ITEM["text"]


def test_a_pipeline_runs_its_steps_in_order_and_names_the_one_that_fails():
    pipeline = create_pipeline(
        [
            {"kind": "ExplodeCollections", "configuration": {"collections": ["text"]}},
            SchemaAdapter(kind="Rename", configuration={"text": "said"}),
        ]
    )
    items = [{"text": ["a", "b"], "n": 1}, {"text": []}, {"text": ["c"]}]
    assert list(pipeline(items)) == [{"said": "a", "n": 1}, {"said": "b", "n": 1}, {"said": "c"}]  # fmt: skip
    with pytest.raises(AdapterError) as raised:
        list(pipeline([{"text": ["a"], "said": "b"}]))
    assert raised.value.step == "step 2 (Rename)"
    assert list(create_pipeline(None)([1, 2])) == [1, 2]


@pytest.mark.parametrize(
    ("descriptions", "step"),
    [
        ([{"kind": "Drop", "configuration": {"fields": []}}, {"kind": "os"}], "step 2"),
        ([{"kind": "Drop"}], "step 1 (Drop)"),
        ([{"kind": "Map", "configuration": {"collections": [], "adapter": {"kind": "Drop"}}}], "step 1 (Map) > Drop"),
        ([{"kind": "Pipeline", "configuration": {"adapters": [{"kind": "Select"}]}}], "step 1 (Pipeline) > step 1 (Select)"),
        (["Drop"], "step 1"),
        ("Drop", ""),
        (5, ""),
    ],
)  # fmt: skip
def test_a_description_that_is_none_names_the_step(descriptions, step):
    with pytest.raises(AdapterError) as raised:
        create_pipeline(descriptions)
    assert raised.value.step == step


def test_descriptions_nested_without_end_are_refused():
    inner = {"kind": "Drop", "configuration": {"fields": []}}
    for _ in range(30):
        inner = {"kind": "Pipeline", "configuration": {"adapters": [inner]}}
    with pytest.raises(AdapterError, match="levels at most"):
        create_adapter(inner)
    deep = "x"
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(AdapterError, match="deeper than"):
        TransformJSON({"x": deep})


def test_an_item_does_not_become_items_without_end():
    explode = [
        {"kind": "ExplodeCollections", "configuration": {"collections": [name]}}
        for name in "abc"
    ]
    item = dict.fromkeys("abc", [0] * 100)
    with pytest.raises(AdapterError, match="more than 100000 items"):
        for _ in create_pipeline(explode)([item]):
            pass


def test_a_later_change_of_the_description_does_not_reach_the_adapter():
    configuration = {"fields": ["a"]}
    adapter = Drop(configuration)
    configuration["fields"].append("b")
    adapter.description()["configuration"]["fields"].append("c")
    assert adapter.description() == {"kind": "Drop", "configuration": {"fields": ["a"]}}


def test_a_literal_belongs_to_the_item_alone():
    adapter = TransformJSON({"x": {"$compute": {"$literal": []}}})
    first, second = adapter([1, 2])
    first["x"].append(1)
    assert second["x"] == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab$.", max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)
NAMES = st.lists(st.sampled_from(["a", "b", "c"]), max_size=3)
PATHS = st.text("$.ab*[0]'\":,- ", max_size=10).map("$".__add__)
SOURCES = st.one_of(
    st.builds(lambda v: {"$literal": v}, VALUES),
    st.builds(lambda p: {"$scalar": p}, PATHS),
    st.builds(lambda p: {"$list": p}, PATHS),
    st.builds(
        lambda name, rest: {"$func": name, **rest},
        st.sampled_from(
            ["findall", "join", "list", "reduce", "search", "split", "sub", "eval"]
        ),
        st.dictionaries(
            st.sampled_from(
                ["pattern", "repl", "flags", "group", "count", "separator"]
            ),
            st.text("ab()*+\\1", max_size=4) | st.integers(-2, 300),
            max_size=3,
        ),
    ),
)
SHAPES = st.recursive(
    VALUES
    | PATHS
    | st.builds(lambda s: {"$compute": s}, st.lists(SOURCES, max_size=3)),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)


def described(kind, configuration):
    return st.builds(
        lambda c: {"kind": kind, "configuration": c}, configuration | VALUES
    )


ADAPTERS = st.recursive(
    st.one_of(
        described("Drop", st.fixed_dictionaries({"fields": NAMES})),
        described("Select", st.fixed_dictionaries({"fields": NAMES})),
        described("Rename", st.dictionaries(st.sampled_from("abc"), st.sampled_from("abcd"))),
        described("ExplodeCollections", st.fixed_dictionaries({"collections": NAMES}, optional={"index": st.dictionaries(st.sampled_from("ad"), st.none() | PATHS)})),
        described("FlattenHierarchy", st.fixed_dictionaries({}, optional={"fields": NAMES, "depth": st.integers(-1, 3), "addPrefix": st.booleans()})),
        described("TransformJSON", st.dictionaries(st.sampled_from("ab"), SHAPES, max_size=2)),
        VALUES,
    ),
    lambda inner: described("Map", st.fixed_dictionaries({"collections": NAMES, "adapter": inner}))
    | described("Pipeline", st.fixed_dictionaries({"adapters": st.lists(inner, max_size=3)})),
    max_leaves=4,
)  # fmt: skip
ITEMS = st.lists(
    VALUES | st.dictionaries(st.sampled_from("abc"), VALUES | st.lists(VALUES)),
    max_size=3,
)


@given(ADAPTERS, ITEMS)
@settings(max_examples=300, deadline=None)
def test_nothing_but_an_adapter_error_comes_of_any_description_and_item(said, items):
    before = copy.deepcopy(items)
    try:
        adapter = create_adapter(said)
        list(adapter(items))
    except AdapterError as error:
        assert str(error)
    assert repr(items) == repr(before)  # NaN is not equal to itself


@given(st.lists(ADAPTERS, max_size=4), ITEMS)
@settings(max_examples=200, deadline=None)
def test_a_description_makes_an_adapter_of_the_same_description(said, items):
    try:
        adapter = create_pipeline(said)
    except AdapterError:
        reject()
    description = json.loads(json.dumps(adapter.description()))
    again = create_adapter(description)
    assert again == adapter
    assert again.description() == description
    assert outcome(again, items) == outcome(adapter, items)


def outcome(adapter, items):
    try:
        return repr(list(adapter(items)))
    except AdapterError as error:
        return str(error)


def test_every_kind_is_described_by_its_name():
    assert sorted(KINDS) == [
        "Drop", "ExplodeCollections", "FlattenHierarchy", "Map", "Pipeline", "Rename",
        "Select", "TransformJSON",
    ]  # fmt: skip
    assert all(adapter.__name__ == kind for kind, adapter in KINDS.items())
