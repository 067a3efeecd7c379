"""What is taken out of the environment of the image."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import uvloop

SCRIPT = Path(__file__).parents[2] / "scripts" / "trim_environment.py"


def script():
    spec = importlib.util.spec_from_file_location("trim_environment", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_stripped_library_is_smaller_and_loads(tmp_path):
    package = shutil.copytree(Path(uvloop.__file__).parent, tmp_path / "uvloop")
    (library,) = package.glob("loop*.so")
    before = library.stat().st_size
    script().strip(library)
    assert library.stat().st_size < before
    code = "import asyncio, uvloop; print(uvloop.__file__, uvloop.run(asyncio.sleep(0, 7)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(package / "__init__.py"), "7"], done.stderr


def test_what_is_no_library_stays_as_it_is(tmp_path):
    for content in (b"", b"GROUP ( libc.so.6 )", b"\x7fELF\x01\x01" + bytes(80)):
        path = tmp_path / "lib.so"
        path.write_bytes(content)
        script().strip(path)
        assert path.read_bytes() == content


def test_headers_services_and_translations_go_and_code_stays(tmp_path):
    gone = ("numpy/a.pyi", "a/tests/b.py", "a/x.h", "botocore/data/ec2/s.json.gz")
    gone += ("django/conf/locale/de/formats.py",)
    kept = ("a/b.py", "botocore/data/s3/s.json.gz", "botocore/data/endpoints.json")
    kept += ("django/conf/locale/__init__.py", "django/conf/locale/en/formats.py")
    kept += ("inference_store_server/a/tests.pyi",)
    for name in gone + kept:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for path in script().list_unneeded(tmp_path):
        script().remove(path)
    assert [name for name in gone if (tmp_path / name).exists()] == []
    assert [name for name in kept if not (tmp_path / name).exists()] == []


def test_imports_within_functions_are_found(tmp_path):
    path = tmp_path / "a.py"
    path.write_text(
        "import a.b\ndef f():\n    from c.d import e\n    from . import g\n"
    )
    assert [*script().imports_of(path)] == ["a.b", "c.d"]
