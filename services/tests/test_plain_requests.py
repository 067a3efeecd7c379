import base64
import io

import orjson
import pytest
from PIL import Image

from services.plain_requests import input_of


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_the_picture_of_a_request_is_its_input(prefix):
    said = prefix + base64.b64encode(picture()).decode()
    body = orjson.dumps({"width": 8, "image": said})
    assert input_of(body) == (picture(), "image/png")


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": "A ship"}',
        b'{"image": "no picture"}',
        b'{"image": "QQ=="}',
        b'{"image": ""}',
        b'{"image": 3}',
        b'{"image": null}',
        b'["image"]',
        b'"image"',
        b'{"image"',
        b"",
    ],
)
def test_any_other_request_is_kept_as_it_came(body):
    assert input_of(body)[0] == body
