"""What no view should meet: NULs, charsets that are none, bodies cut short."""

from __future__ import annotations

import io

import pytest
from django.contrib.auth.models import User
from django.test import Client

from istore.models import Membership, Role
from istore.wsgi import application

JSON = "application/json"


@pytest.fixture
def person(client, project) -> Client:
    user = User.objects.create_user("maria", password="anchor-42")
    Membership.objects.create(user=user, project=project, role=Role.ADMINISTRATOR)
    client.force_login(user)
    return client


@pytest.mark.parametrize(
    "path",
    [
        "/models/a%00b",
        "/models/a%00b/inferences/c",
        "/api/v1/models/a%00b",
        "/api/v1/models/yolo-harbour/inferences/%00",
        "/%00",
        "/admin/%00",
    ],
)
def test_an_address_with_a_nul_is_of_nothing(person, model, path):
    assert person.get(path).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/?q=%00",
        "/models/yolo-harbour?q=a%00b",
        "/models/yolo-harbour?%00=1",
        "/login?next=%00",
    ],
)
def test_a_query_with_a_nul_is_refused(person, model, path):
    assert person.get(path).status_code == 400


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/api/v1/models/yolo-harbour/inferences?source=%00", "/source"),
        ("/api/v1/models?%00", "/"),
    ],
)
def test_the_api_names_the_parameter_with_a_nul(person, model, path, pointer):
    answer = person.get(path)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid-encoding"
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_a_form_with_a_nul_is_refused(person, model):
    answer = person.post("/theme", {"theme": "dark\0", "next": "/"})
    assert answer.status_code == 400


def test_a_cookie_with_a_nul_is_none(client, db):
    client.cookies.load('sessionid="abcdefgh\\000ijk"')
    assert client.get("/health/live").status_code == 200
    assert client.get("/").status_code == 302


CHARSETS = ["zlib", "bz2", "hex", "rot13", "punycode", "idna", "nope", "\0", "utf-16"]


def served(method: str, address: str, body: bytes = b"", **environ) -> int:
    """The status of a request, made as the server makes it."""
    path, _, query = address.partition("?")
    environ |= {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query}
    environ |= {"SERVER_NAME": "localhost", "SERVER_PORT": "80"}
    environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    said: list[str] = []
    answer = application(environ, lambda status, headers: said.append(status))
    answer.close()
    return int(said[0][:3])


@pytest.mark.parametrize("charset", CHARSETS)
@pytest.mark.parametrize("path", ["/?x=1", "/health/live?x=1", "/api/v1/models?x=1"])
def test_a_charset_that_is_none_of_text_does_no_harm(db, charset, path):
    for kind in (f"text/plain; charset={charset}", f"a/b; x*={charset}''%20y"):
        assert served("GET", path, CONTENT_TYPE=kind) < 500
        assert served("POST", path, b"{}", CONTENT_TYPE=kind) < 500


def test_a_body_that_is_said_to_be_no_utf_8_is_refused(api, model):
    path = "/api/v1/models/yolo-harbour/inferences/count"
    for charset, status in (("utf-8", 200), ("UTF8", 200), ("latin-1", 415)):
        kind = f"application/json; charset={charset}"
        assert api.generic("POST", path, b"{}", kind).status_code == status


def test_many_parameters_are_refused(person):
    query = "&".join(f"a{n}=1" for n in range(100_000))
    assert person.get(f"/?{query}").status_code == 400
    answer = person.get(f"/api/v1/models?{query}")
    assert answer.status_code == 400
    assert answer.json()["code"] == "validation-error"


class Cut(io.RawIOBase):
    """An input of a server whose client went away: it ends, and says no more."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int = -1) -> bytes:
        found, self.content = self.content, b""
        return found


def cut(client: Client, path: str, content: bytes, kind: str = JSON, **headers):
    environ = {
        "wsgi.input": Cut(content),
        "CONTENT_LENGTH": str(len(content) + 5),
        "CONTENT_TYPE": kind,
    }
    return client.post(path, **environ, **headers)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("export-tasks", JSON),
        ("inferences/delete", JSON),
        ("inferences/batch", "application/x-ndjson"),
        ("ground-truth", "text/csv"),
        ("ground-truth?form=ndjson", "text/plain"),
        ("retention-tasks", JSON),
    ],
)
def test_a_body_that_breaks_off_is_a_400_on_every_route(api, model, path, kind):
    answer = cut(api, f"/api/v1/models/yolo-harbour/{path}", b"", kind)
    assert (answer.status_code, answer.json()["code"]) == (400, "incomplete-body")


def test_a_file_that_breaks_off_changes_nothing(api, model, make_inference):
    make_inference(inference_id="a")
    content = b"inference_id,label\na,42"
    answer = cut(api, "/api/v1/models/yolo-harbour/ground-truth", content, "text/csv")
    assert (answer.status_code, answer.json()["code"]) == (400, "incomplete-body")
    found = api.get("/api/v1/models/yolo-harbour/inferences/a/ground-truth")
    assert found.status_code == 404


def test_a_form_that_breaks_off_is_a_400(person):
    kind = "application/x-www-form-urlencoded"
    assert cut(person, "/theme", b"theme=dark", kind).status_code == 400


def test_a_body_without_a_length_is_refused_where_nobody_knows_its_end(api, model):
    answer = api.post(
        "/api/v1/models/yolo-harbour/export-tasks",
        HTTP_TRANSFER_ENCODING="chunked",
        CONTENT_LENGTH="",
    )
    assert (answer.status_code, answer.json()["code"]) == (411, "length-required")


def test_a_browser_session_may_repeat_with_an_idempotency_key(person, model):
    def post():
        return person.post(
            "/api/v1/models/yolo-harbour/inferences/count",
            "{}",
            content_type=JSON,
            HTTP_IDEMPOTENCY_KEY="once",
        )

    first = post()
    assert first.status_code == 200
    assert post().json() == first.json()


def test_a_compressed_body_is_refused_rather_than_misread(api, model):
    path = "/api/v1/models/yolo-harbour/inferences/count"
    for encoding, status in (("gzip", 415), ("br", 415), ("identity", 200)):
        answer = api.generic("POST", path, b"{}", JSON, HTTP_CONTENT_ENCODING=encoding)
        assert answer.status_code == status
