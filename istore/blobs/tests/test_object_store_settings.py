"""The settings of an object store: each is looked at in the requests that are sent."""

from __future__ import annotations

import hashlib
import io
import json
import os
import ssl
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.files.base import File
from django.core.files.storage import storages
from django.template.loader import render_to_string

from exports.schedules.destinations import Destination
from istore import blobs
from istore.blobs import request_counts, sinks
from istore.blobs.packs import build_inputs
from istore.checks import operations
from istore.telemetry import startup
from istore.tests.s3_relay import BUCKET, Relay, client, options, start_moto
from istore.upstreams import is_own_server
from istore.uuids import uuid7

# Removals of members and moved blobs are noted in the database.
pytestmark = pytest.mark.django_db

KEY = "1/2/2026/03/04/05/x/input"
PACK = "1/2/2026/03/04/05/x.inputs"
PREFIX = "stores/harbour"
LATER = timedelta(hours=1)
MIB = 2**20


@pytest.fixture(scope="module")
def moto():
    server = start_moto()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def relay(moto):
    relay = Relay(moto)
    relay.start()
    held = client(relay.url)
    held.create_bucket(Bucket=BUCKET)
    for each in held.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        held.delete_object(Bucket=BUCKET, Key=each["Key"])
    relay.requests.clear()
    yield relay
    relay.stop()


@pytest.fixture
def use(relay, settings):
    """``use(location="x")`` makes a bucket with these options the default storage."""

    def use(endpoint: str = relay.url, **more: object) -> None:
        storage = {
            "BACKEND": "istore.blobs.s3_storage.S3Storage",
            "OPTIONS": options(endpoint) | more,
        }
        settings.STORAGES = {**settings.STORAGES, "default": storage}

    return use


@pytest.fixture
def small_parts(settings):
    settings.ISTORE_MULTIPART_BYTES = 5 * MIB


def put_all(relay) -> dict[str, bytes]:
    """Put an object, a large one, an archive and a pack; return their contents."""
    contents = {
        KEY: b"picture",
        "1/2/large": os.urandom(6 * MIB),
        "exports/1/a.zip": os.urandom(6 * MIB),
    }
    blobs.put(KEY, contents[KEY])
    content = File(io.BytesIO(contents["1/2/large"]), "large")
    storages["default"].save("1/2/large", content)
    with sinks.storing("exports/1/a.zip") as sink:
        sink.write(contents["exports/1/a.zip"])
    contents[PACK] = build_inputs(PACK, [(bytes(16), b"member")]).body
    blobs.put(PACK, contents[PACK])
    return contents


def keys_in_bucket(relay) -> set[str]:
    found = client(relay.url).list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {each["Key"] for each in found}


# -- the prefix of keys


@pytest.mark.usefixtures("small_parts")
def test_every_key_is_below_the_prefix_and_comes_back_without_it(use, relay):
    use(location=PREFIX)
    client(relay.url).put_object(Bucket=BUCKET, Key=f"{PREFIX}2/{KEY}", Body=b"other")
    relay.requests.clear()

    contents = put_all(relay)

    of_objects = {urlsplit(each.path).path for each in relay.requests}
    below = (f"/{BUCKET}/{PREFIX}/", f"/{BUCKET}/{PREFIX}/probes/")
    assert all(path.startswith(below) for path in of_objects)
    expected = {f"{PREFIX}/{key}" for key in contents}
    assert keys_in_bucket(relay) == {*expected, f"{PREFIX}2/{KEY}"}
    for key, content in contents.items():
        assert blobs.get(key) == content
        assert blobs.size(key) == len(content)
        with blobs.open_blob(key) as file:
            assert file.read() == content
    assert blobs.get(f"{PACK}#4-6") == contents[PACK][4:10]
    assert {each.key for each in blobs.walk()} == contents.keys()
    assert [each.key for each in blobs.walk("exports/")] == ["exports/1/a.zip"]
    assert [each.key for each in blobs.files_in("1/2/")] == ["1/2/large"]
    assert blobs.listed("") == (["1", "exports"], [])
    assert blobs.listed("1/2") == (["2026"], ["large"])
    assert Destination("").holds_anything("exports")
    assert not Destination("").holds_anything("export")

    blobs.delete([*contents, "1/2/absent"])

    assert keys_in_bucket(relay) == {f"{PREFIX}2/{KEY}"}
    assert not blobs.exists(KEY)


def test_open_uploads_are_those_below_the_prefix(use, relay):
    use(location=PREFIX)
    bare = client(relay.url)
    for key in (f"{PREFIX}/exports/1/a.zip", "exports/1/a.zip"):
        bare.create_multipart_upload(Bucket=BUCKET, Key=key)

    ((key, end),) = blobs.open_uploads(datetime.now(UTC) + LATER)

    assert key == "exports/1/a.zip"
    end()
    assert not list(blobs.open_uploads(datetime.now(UTC) + LATER))


def test_links_name_the_object_below_the_prefix(use, relay):
    use(location=PREFIX)
    path = f"/{BUCKET}/{PREFIX}/{KEY}"
    assert urlsplit(blobs.presigned_url(KEY)).path == path
    assert urlsplit(storages["default"].upload_url(KEY, 60)).path == path


# -- encryption


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(
    ("encryption", "kms_key"), [("AES256", None), ("aws:kms", "alias/harbour")]
)
def test_every_put_states_the_encryption(use, relay, encryption, kms_key):
    use(encryption=encryption, kms_key=kms_key)

    contents = put_all(relay)

    bare = client(relay.url)
    for key, content in contents.items():
        head = bare.head_object(Bucket=BUCKET, Key=key)
        assert head["ServerSideEncryption"] == encryption
        assert head.get("SSEKMSKeyId") == kms_key
        assert blobs.get(key) == content


@pytest.mark.usefixtures("small_parts")
def test_a_real_endpoint_encrypts_below_the_prefix(use, s3_endpoint, relay):
    prefix = str(uuid7())
    use(s3_endpoint, location=prefix, encryption="AES256")

    contents = put_all(relay)

    bare = client(s3_endpoint)
    for key, content in contents.items():
        head = bare.head_object(Bucket=BUCKET, Key=f"{prefix}/{key}")
        assert head["ServerSideEncryption"] == "AES256"
        assert blobs.get(key) == content
        assert requests.get(blobs.presigned_url(key)).content == content
    blobs.delete(contents)
    assert not list(blobs.walk())


def other_etags(request, send):
    answer = send(request)
    if request.method in ("PUT", "POST"):
        for name in [n for n in answer.headers if n.lower() == "etag"]:
            answer.headers[name] = f'"{hashlib.md5(os.urandom(8)).hexdigest()}"'
    return answer


def methods(relay) -> list[str]:
    found = [each.method for each in relay.requests]
    relay.requests.clear()
    return found


def test_a_put_under_kms_is_proven_by_its_checksum_in_one_request(use, relay):
    use(encryption="aws:kms", kms_key="k")
    relay.fault = other_etags

    blobs.put(KEY, b"picture")

    assert methods(relay) == ["PUT"]


def test_a_store_without_checksums_is_asked_for_the_size_under_kms(use, relay):
    def without(request, send):
        answer = other_etags(request, send)
        for name in [n for n in answer.headers if "checksum" in n.lower()]:
            del answer.headers[name]
        return answer

    use(encryption="aws:kms", kms_key="k")
    relay.fault = without

    blobs.put(KEY, b"picture")

    assert methods(relay) == ["PUT", "HEAD"]


def test_a_bucket_that_encrypts_by_itself_is_not_read_back(use, relay):
    def encrypts(request, send):
        answer = other_etags(request, send)
        answer.headers["x-amz-server-side-encryption"] = "aws:kms"
        return answer

    use()
    relay.fault = encrypts

    blobs.put(KEY, b"picture")

    assert methods(relay) == ["PUT", "HEAD"]


def test_a_put_under_kms_that_kept_half_fails(use, relay):
    def keeps_half(request, send):
        if request.method != "PUT":
            return send(request)
        kept = {"content-md5", "x-amz-content-sha256", "x-amz-checksum-sha256"}
        request.headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in kept
        }
        request.body = request.body[:3]
        return send(request)

    use(encryption="aws:kms", kms_key="k")
    relay.fault = keeps_half

    with pytest.raises(blobs.BlobDamaged):
        blobs.put(KEY, b"picture")


@pytest.mark.usefixtures("small_parts")
def test_a_large_object_under_kms_is_not_read_back(use, relay):
    def etags_of_kms(request, send):
        answer = send(request)
        if request.method == "POST" and "uploadId=" in request.path:
            answer.headers["x-amz-server-side-encryption"] = "aws:kms"
            answer.body = answer.body.replace(b"-2", b"x-2")
        return answer

    use(encryption="aws:kms", kms_key="k")
    relay.fault = etags_of_kms

    with sinks.storing("exports/1/a.zip") as sink:
        sink.write(os.urandom(6 * MIB))

    assert methods(relay) == ["POST", "PUT", "PUT", "POST", "HEAD"]


# -- credentials, certificates, addresses


def test_a_session_token_goes_with_requests_and_links(use, relay):
    use(security_token="of-a-role")

    blobs.put(KEY, b"x")
    assert blobs.trouble() is None

    tokens = {each.headers.get("X-Amz-Security-Token") for each in relay.requests}
    assert tokens == {"of-a-role"}
    for link in (blobs.presigned_url(KEY), storages["default"].upload_url(KEY, 60)):
        query = parse_qs(urlsplit(link).query)
        assert query["X-Amz-Security-Token"] == ["of-a-role"]


def write_certificate(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a certificate of 127.0.0.1 that signs itself, and its key beside it."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - LATER)
        .not_valid_after(now + LATER)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    path.write_bytes(certificate.public_bytes(pem))
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.with_name("key.pem").write_bytes(key.private_bytes(pem, *plain))


def test_an_endpoint_with_a_certificate_of_ones_own(use, moto, tmp_path):
    bundle = tmp_path / "certificate.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    write_certificate(bundle, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle, tmp_path / "key.pem")
    relay = Relay(moto)
    relay.start(context)
    try:
        use(relay.url)
        assert blobs.trouble() == f"The bucket '{BUCKET}' does not answer: SSLError."
        use(relay.url, verify=str(bundle))
        assert blobs.trouble() is None
        blobs.put(KEY, b"x")
        assert blobs.get(KEY) == b"x"
    finally:
        relay.stop()


def test_virtual_addressing_puts_the_bucket_into_the_host(use, relay, monkeypatch):
    use("http://objects.example.org", addressing_style="virtual")
    link = urlsplit(blobs.presigned_url(KEY))
    assert (link.hostname, link.path) == (f"{BUCKET}.objects.example.org", f"/{KEY}")
    use("http://objects.example.org")
    link = urlsplit(blobs.presigned_url(KEY))
    assert (link.hostname, link.path) == ("objects.example.org", f"/{BUCKET}/{KEY}")


def test_links_name_the_public_endpoint_and_requests_the_other(use, relay):
    use(public_endpoint_url="https://objects.example.org")

    blobs.put(KEY, b"x")

    assert len(relay.requests) == 1
    for link in (blobs.presigned_url(KEY), storages["default"].upload_url(KEY, 60)):
        assert link.startswith(f"https://objects.example.org/{BUCKET}/{KEY}?")
    assert not is_own_server("93.184.216.34", "example.org", 443)
    assert is_own_server("93.184.216.34", "objects.example.org", 443)
    assert is_own_server("93.184.216.34", f"{BUCKET}.objects.example.org", 443)


def test_a_link_of_the_public_endpoint_opens_and_takes_the_object(use, relay, moto):
    public = Relay(moto)
    public.start()
    try:
        use(public_endpoint_url=public.url, location=PREFIX)
        link = storages["default"].upload_url(KEY, 60)
        assert requests.put(link, data=b"sent").status_code == 200
        assert requests.get(blobs.presigned_url(KEY)).content == b"sent"
        assert [each.method for each in public.requests] == ["PUT", "GET"]
        assert blobs.get(KEY) == b"sent"
    finally:
        public.stop()


# -- counts of requests


@pytest.fixture
def counts(monkeypatch):
    """The counts of this test alone."""
    request_counts.tell()
    monkeypatch.setattr(request_counts, "KEY", f"{request_counts.KEY}:{uuid7()}")
    monkeypatch.setattr(request_counts, "_teller", threading.current_thread())


def test_requests_are_counted_by_operation(use, relay, counts):
    use()
    for _ in range(3):
        blobs.put(KEY, b"x")
    list(blobs.walk())

    request_counts.tell()

    assert request_counts.totals() == {"ListObjects": 1, "PutObject": 3}


def test_counts_wait_while_valkey_is_away(use, relay, counts, settings):
    use()
    with_valkey, settings.ISTORE_REDIS_URL = (
        settings.ISTORE_REDIS_URL,
        "unix:///absent.sock",
    )
    blobs.put(KEY, b"x")
    request_counts.tell()
    assert request_counts.totals() == {}
    settings.ISTORE_REDIS_URL = with_valkey

    request_counts.tell()

    assert request_counts.totals() == {"PutObject": 1}


def test_metrics_and_the_operator_page_show_the_counts(use, relay, counts):
    use()
    blobs.put(KEY, b"x")
    request_counts.tell()

    line = 'istore_object_store_requests_total{operation="PutObject"} 1.0'
    assert line in startup.process.render("proxy").decode()
    assert operations.object_store_requests() == {"requests": {"PutObject": 1}}
    page = render_to_string(
        "operations/_object_store.html", {"panel": operations.object_store_requests()}
    )
    assert "PutObject" in page


# -- variables


def read_settings(home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """The options of the default storage, as a process reads them from its environment."""
    code = (
        "import json; from istore import settings; "
        "print(json.dumps(settings.STORAGES['default']['OPTIONS']))"
    )
    environment = {"PATH": os.environ["PATH"], "ISTORE_HOME": str(home)}
    environment |= {f"ISTORE_S3_{name}": value for name, value in variables.items()}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )


def test_each_setting_has_a_variable(tmp_path):
    bundle = tmp_path / "authority.pem"
    bundle.touch()
    read = read_settings(
        tmp_path / "home",
        BUCKET="b",
        PREFIX="/stores/harbour/",
        ACCESS_KEY="a",
        SESSION_TOKEN="t",
        ENCRYPTION="aws:kms",
        KMS_KEY="k",
        CA_BUNDLE=str(bundle),
        ADDRESSING="virtual",
        PUBLIC_ENDPOINT="https://objects.example.org",
    )

    expected = {
        "location": PREFIX,
        "security_token": "t",
        "encryption": "aws:kms",
        "kms_key": "k",
        "verify": str(bundle),
        "addressing_style": "virtual",
        "public_endpoint_url": "https://objects.example.org",
    }
    assert expected.items() <= json.loads(read.stdout).items()


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"KMS_KEY": "k"}, "KMS_KEY"),
        ({"KMS_KEY": "k", "ENCRYPTION": "AES256"}, "KMS_KEY"),
        ({"ENCRYPTION": "rot13"}, "ENCRYPTION"),
        ({"SESSION_TOKEN": "t"}, "SESSION_TOKEN"),
        ({"ADDRESSING": "auto"}, "ADDRESSING"),
        ({"CA_BUNDLE": "/absent.pem"}, "CA_BUNDLE"),
        ({"PREFIX": "../x"}, "PREFIX"),
        ({"ENDPOINT": "minio.internal:9000"}, "ENDPOINT"),
        ({"PUBLIC_ENDPOINT": "//blobs.example.org"}, "PUBLIC_ENDPOINT"),
    ],
)
def test_settings_that_do_not_fit_stop_the_start(tmp_path, variables, name):
    read = read_settings(tmp_path / "home", BUCKET="b", **variables)
    assert read.returncode == 1
    assert read.stderr.startswith(f"ISTORE_S3_{name}: ")
