"""Members of packs over HTTP: ranges, validators, types, large ones, and those that are gone."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from django.urls import reverse

from exports.tests.conftest import png
from inferences.store import pack_rewriting, removal
from istore import blobs
from istore.blobs import packs

pytestmark = pytest.mark.django_db
ADDRESS = "/api/v1/models/yolo-harbour/inferences"
TEXT = b"0123456789"
LARGE = os.urandom(700_000)  # of more than one block
INPUTS = {"text": TEXT, "large": LARGE, "picture": png(), "empty": b"", "last": b"z"}
TYPES = {"picture": "image/png", "text": "text/plain; charset=utf-8"}


@pytest.fixture(params=["disk", "bucket"])
def packed(request, make_inference, model):
    """An inference for each input, all of one pack, on disk or in a bucket."""
    kind = {"disk": "blob_directory", "bucket": "s3_prefix"}[request.param]
    request.getfixturevalue(kind)
    hour = blobs.prefix_for(
        model.project_id, model.pk, datetime(2025, 6, 1, tzinfo=UTC), ""
    )
    key = packs.new_key(hour.removesuffix("/"), packs.INPUTS)
    pack = packs.build_inputs(key, [(os.urandom(16), each) for each in INPUTS.values()])
    blobs.put(pack.key, pack.body)
    for (name, content), member in zip(INPUTS.items(), pack.members, strict=True):
        make_inference(
            inference_id=name,
            data_storage_key=member.content_key(key),
            data_size=len(content),
            data_content_type=TYPES.get(name, ""),
        )
    return pack


@pytest.fixture
def get(api, packed):
    def ask(name: str, method: str = "get", **headers: str) -> SimpleNamespace:
        ask_ = getattr(api, method)
        answer = ask_(f"{ADDRESS}/{name}/input", headers=headers)
        return SimpleNamespace(
            status=answer.status_code, headers=answer.headers, body=answer.getvalue()
        )

    return ask


@pytest.mark.parametrize("name", INPUTS)
def test_a_member_is_served_whole(get, name):
    answer = get(name)
    assert (answer.status, answer.body) == (200, INPUTS[name])
    assert answer.headers["Content-Length"] == str(len(INPUTS[name]))
    expected = TYPES.get(name, "application/octet-stream")
    assert answer.headers["Content-Type"] == expected
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "first", "end"),
    [
        ("0-0", 0, 1),
        ("3-5", 3, 6),
        ("690000-", 690_000, 700_000),
        ("-7", 699_993, 700_000),
        ("262143-262144", 262_143, 262_145),
        ("5-9999999", 5, 700_000),
    ],
)
def test_ranges_are_of_the_member_and_not_of_its_pack(get, asked, first, end):
    answer = get("large", Range=f"bytes={asked}")
    assert (answer.status, answer.body) == (206, LARGE[first:end])
    assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{len(LARGE)}"
    assert answer.headers["Content-Length"] == str(end - first)


@pytest.mark.parametrize(
    ("name", "asked"), [("text", "10-11"), ("text", "-0"), ("empty", "0-0")]
)
def test_no_range_reaches_beyond_the_member(get, name, asked):
    answer = get(name, Range=f"bytes={asked}")
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{len(INPUTS[name])}"


def test_a_head_tells_the_size_without_the_bytes(get):
    answer = get("large", "head")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(LARGE))


def test_a_range_of_what_was_there_before_is_the_whole_of_what_is_there(get):
    tag = get("text").headers["ETag"]
    other = get("last").headers["ETag"]
    part = get("text", Range="bytes=2-3", **{"If-Range": tag})
    assert (part.status, part.body) == (206, b"23")
    for stale in (other, "Mon, 30 Nov 2026 12:00:00 GMT", f"W/{tag}"):
        whole = get("text", Range="bytes=2-3", **{"If-Range": stale})
        assert (whole.status, whole.body) == (200, TEXT)


def test_what_the_browser_has_is_not_sent_again(get):
    tag = get("text").headers["ETag"]
    again = get("text", **{"If-None-Match": f'"other", {tag}'})
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert get("text", **{"If-None-Match": '"other"'}).status == 200


def test_what_was_removed_is_a_404_and_the_rest_is_served(get, packed, model):
    tag = get("text").headers["ETag"]
    key = packed.members[0].content_key(packed.key)
    assert removal.remove_one("test", model, "text")
    assert get("text").status == 404
    assert get("text", **{"If-None-Match": tag}).status == 404
    assert get("large").body == LARGE
    pack_rewriting.rewrite_all()
    assert get("large").body == LARGE
    assert get("large", Range="bytes=-2").body == LARGE[-2:]
    with pytest.raises(FileNotFoundError):
        blobs.get(key)


def test_a_link_stays_when_its_pack_is_rewritten(get, api, client, model, settings):
    url = api.get(f"{ADDRESS}/large?presign=true").json()["presigned_url"]
    gone = api.get(f"{ADDRESS}/text?presign=true").json()["presigned_url"]
    assert url.startswith(settings.ISTORE_URL)
    removal.remove_one("test", model, "text")
    for _ in range(2):
        part = client.get(
            url.removeprefix(settings.ISTORE_URL), headers={"Range": "bytes=1-4"}
        )
        assert (part.status_code, part.getvalue()) == (206, LARGE[1:5])
        assert client.get(gone.removeprefix(settings.ISTORE_URL)).status_code == 404
        pack_rewriting.rewrite_all()


def test_a_picture_in_a_pack_has_a_preview(get, packed, person):
    address = reverse("inferences:media", args=["yolo-harbour", "picture", "preview"])
    made = person().get(address, {"size": "320"})
    assert made.status_code == 200, made.content[:200]
    assert made["Content-Type"] == "image/webp"
