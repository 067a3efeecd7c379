"""The wheels of server and client: what is in them, and that a store runs out of them."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import threading
import tomllib
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest
from inference_store import mocks
from inference_store.local.serving import serve

from istore.tests.running_store import free_ports

ROOT = Path(__file__).parents[2]
HOUSE = "inference_store_server"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """The wheels by distribution, built as an index of packages would get them."""
    folder = tmp_path_factory.mktemp("wheels")
    for part in (ROOT, ROOT / "sdk"):
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
        subprocess.run(
            [*build, "--outdir", folder, part], check=True, capture_output=True
        )
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


def test_the_wheel_of_the_server_holds_what_runs_and_nothing_else(wheels):
    with ZipFile(wheels[HOUSE]) as wheel:
        names = wheel.namelist()
        (about,) = (name for name in names if name.endswith("/METADATA"))
        metadata = Parser().parsestr(wheel.read(about).decode())
    inside = {
        name.removeprefix(f"{HOUSE}/") for name in names if name.startswith(HOUSE)
    }
    listed = subprocess.run(
        ["git", "ls-files", *apps(), "static", "templates"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    wanted = {name for name in listed if "/tests/" not in name}
    wanted.discard("demo/screenshots.py")
    assert sorted(wanted - inside) == []
    assert {"manage.py", "README.md", "docs/deployment.md"} <= inside
    assert [name for name in names if "/tests/" in name or "conftest" in name] == []

    client = tomllib.loads((ROOT / "sdk/pyproject.toml").read_text())["project"]
    assert metadata["Version"] == client["version"]
    needed = metadata.get_all("Requires-Dist")
    assert f"inference-store=={client['version']}" in needed
    assert not [line for line in needed if line.startswith(("-", "hatchling"))]


def apps() -> list[str]:
    """The packages of the server: whose imports are checked, without the client."""
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    packages = contracts["importlinter"]["root_packages"].split()
    return ["demo", *(name for name in packages if name != "inference_store")]


@pytest.fixture(scope="module")
def installed(wheels, tmp_path_factory) -> Path:
    """The programs of an environment with nothing but the two wheels and what they need."""
    home = tmp_path_factory.mktemp("installed")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run(
        [*uv, "venv", "--quiet", "--python", sys.executable, home], check=True
    )
    install = [*uv, "pip", "install", "--quiet", "--python", home / "bin" / "python"]
    # The versions that were tested, as the lock names them.
    locked = ["--constraint", ROOT / "requirements.lock"]
    client = f"{wheels['inference_store']}[cli]"
    subprocess.run([*install, *locked, wheels[HOUSE], client], check=True, timeout=900)
    return home / "bin"


def test_an_installed_server_stores_and_an_installed_client_finds(installed, tmp_path):
    port, proxy_port = free_ports(2)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("ISTORE_")},
        "ISTORE_HOME": str(tmp_path / "home"),
        "ISTORE_PORT": str(port),
        "ISTORE_PROXY_PORT": str(proxy_port),
    }

    def run(program: str, *arguments: str, **more: str) -> str:
        done = subprocess.run(
            [installed / program, *arguments],
            cwd=tmp_path,  # not the checkout
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    mock = serve(mocks.create("object-detection", {}))
    threading.Thread(target=mock.serve_forever, args=(0.01,), daemon=True).start()
    try:
        said = run("istore-server", "up", "--detach")
        token = said.partition("token for project default: ")[2].split()[0]
        run("istore-probe", "web", "--ready")
        client = {"ISTORE_URL": f"http://127.0.0.1:{port}", "ISTORE_TOKEN": token}
        script = str(ROOT / "deploy" / "first_inference.py")
        assert "stored and found" in run("python", script, mock.url, **client)
        listed = run("istore", "find", "object-detection", "--since", "1h", **client)
        assert len(listed.splitlines()) >= 1
    finally:
        mock.shutdown()
        mock.server_close()
        stopped = run("istore-server", "up", "--stop")
    assert stopped.strip() == "Stopped."
