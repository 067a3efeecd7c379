"""Runs where dyff-audit is installed: its mock behind our platform, its pipelines and ours
on the same items, and its create request read by ours."""

from __future__ import annotations

import copy
import tempfile

from dyff.audit.local import mocks as dyff_mocks
from dyff.schema.adapters import create_pipeline as dyff_pipeline
from dyff.schema.requests import InferenceSessionCreateRequest as DyffRequest
from inference_store import mocks
from inference_store.adapters import create_pipeline
from inference_store.local import LocalPlatform
from inference_store.schema import InferenceInterface, InferenceSessionCreateRequest

ITEMS = [
    {
        "id": "a",
        "text": ["one two", "three"],
        "choices": [
            {"label": "foo", "meta": {"rank": 1, "why": {"deep": [1, {"x": 2}]}}},
            {"label": "bar", "meta": {"rank": 0, "why": {"deep": []}}},
        ],
        "odd name": {"a-b": "A-1, B-22"},
        "n": None,
    }
]
LETTERS = {"$scalar": "$.'odd name'.a-b"}
PIPELINES = [
    [("Rename", {"id": "name"}), ("Drop", {"fields": ["n", "none"]})],
    [("Select", {"fields": ["choices", "id"]})],
    [("ExplodeCollections", {"collections": ["text", "choices"]})],
    [
        (
            "ExplodeCollections",
            {
                "collections": ["choices"],
                "index": {"place": None, "rank": "$.choices[*].meta.rank"},
            },
        ),
        ("FlattenHierarchy", {"fields": ["choices"], "depth": 2, "addPrefix": True}),
    ],
    [("FlattenHierarchy", {"addPrefix": True})],
    [("Select", {"fields": ["odd name"]}), ("FlattenHierarchy", {"addPrefix": False})],
    [
        (
            "Map",
            {
                "collections": ["choices"],
                "adapter": {
                    "kind": "TransformJSON",
                    "configuration": {"l": "$.label", "r": "$.meta.rank"},
                },
            },
        )
    ],
    [
        (
            "TransformJSON",
            {
                "id": "$.id",
                "first": "$.choices[0].label",
                "quoted": "$['odd name']",
                "$$kept": "$$.id",
                "shape": [1, None, {"whole": "$.choices"}],
                "labels": {"$compute": {"$list": "$.choices[*].label"}},
                "ranks": {"$compute": {"$list": "$..rank"}},
                "cut": {"$compute": {"$list": "$.text[0:1]"}},
                "sum": {"$compute": [{"$list": "$..rank"}, {"$func": "reduce"}]},
                "pair": {
                    "$compute": {"$list": [{"$literal": "$.x"}, {"$scalar": "$.id"}]}
                },
                "found": {
                    "$compute": [LETTERS, {"$func": "findall", "pattern": "[0-9]+"}]
                },
                "parts": {
                    "$compute": [
                        LETTERS,
                        {"$func": "split", "pattern": ", *", "maxsplit": 1},
                        {"$func": "join", "separator": "|"},
                    ]
                },
                "one": {
                    "$compute": [
                        LETTERS,
                        {"$func": "search", "pattern": "b-(.)", "flags": 2, "group": 1},
                    ]
                },
                "new": {
                    "$compute": [
                        LETTERS,
                        {
                            "$func": "sub",
                            "pattern": "([A-Z])",
                            "repl": r"<\1>",
                            "count": 1,
                        },
                        {"$func": "list"},
                    ]
                },
            },
        )
    ],
]


@mocks.register
class DyffTextCompletion(mocks.Mock):
    """The mock of dyff-audit, wrapped."""

    name = "dyff-text-completion"
    title = "Text completion of dyff-audit"
    takes = "text"
    interface = InferenceInterface(
        endpoint=dyff_mocks.TextCompletion().interface.endpoint,
        outputSchema=mocks.TextCompletion.interface.outputSchema,
    )

    def answer(self, request):
        return dyff_mocks.TextCompletion().infer(self.interface.endpoint, request)


def calls_its_mock() -> None:
    with tempfile.TemporaryDirectory() as directory:
        platform = LocalPlatform(storage_root=directory, starting_seconds=0)
        service = platform.inferenceservices.create_mock(
            DyffTextCompletion, account="team-a"
        )
        created = platform.inferencesessions.create(
            InferenceSessionCreateRequest(account="team-a", inferenceService=service.id)
        )
        session = created.inferencesession
        client = platform.inferencesessions.client(
            session.id, created.token, interface=session.inferenceService.interface
        )
        answer = client.infer({"text": "A ship enters the harbour and"})
    own = mocks.TextCompletion().infer({"text": "A ship enters the harbour and"})
    assert [each.keys() for each in answer] == [each.keys() for each in own], answer
    assert all(each["text"].startswith("A ship enters") for each in answer), answer
    print(f"its mock answered {len(answer)} texts through our session")


def agrees_with_its_pipelines() -> None:
    for steps in PIPELINES:
        said = [{"kind": kind, "configuration": each} for kind, each in steps]
        theirs = list(dyff_pipeline(copy.deepcopy(said))(copy.deepcopy(ITEMS)))
        ours = list(create_pipeline(said)(copy.deepcopy(ITEMS)))
        assert ours == theirs, f"{said}\nours   {ours}\ntheirs {theirs}"
    print(f"{len(PIPELINES)} pipelines gave what its own give")


def reads_its_request() -> None:
    theirs = DyffRequest(account="team-a", inferenceService="a" * 32, replicas=2)
    names = set(InferenceSessionCreateRequest.model_fields)
    wire = {k: v for k, v in theirs.model_dump(mode="json").items() if k in names}
    assert InferenceSessionCreateRequest.model_validate(wire).replicas == 2
    print("its create request has the names of ours")


calls_its_mock()
agrees_with_its_pipelines()
reads_its_request()
