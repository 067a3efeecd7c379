import os
import socket
import subprocess
import sys
from datetime import timedelta

import pytest

from inferences.models import RegisteredModel
from istore.accounts.tokens import create_token
from istore.db.clock import now
from istore.models import Role
from istore.upstreams import allowed_address, check_upstream_url, is_this_machine
from proxy.http.upstream_pool import Server
from proxy.targets import find_target
from services.models import InferenceService, InferenceSession, Replica, Runner


@pytest.fixture(autouse=True)
def nothing_allowed(settings):
    """As where the store listens beyond its own machine."""
    settings.ISTORE_UPSTREAM_ALLOW = []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "https://models.example.org:8443/base/path",
        "http://93.184.216.34:9000",
        "http://[2606:2800:220:1::1]/",
    ],
)
def test_public_servers_may_be_used(url):
    check_upstream_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "file:///etc/passwd",
        "gopher://example.org",
        "http://",
        "http://user@example.org",
        "http://example.org/#here",
        "http://example.org/?a=b",
        "http://example.org/../v2",
        "http://exa mple.org",
        "http://example.org\\@10.0.0.1",
        "http://example.org:99999",
        "http://[::1",
        "http://localhost:9000",
        "http://sub.localhost.",
    ],
)
def test_what_is_no_url_of_a_server_is_refused(url):
    with pytest.raises(ValueError):
        check_upstream_url(url)


PRIVATE = [
    "127.0.0.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::1",
    "::",
    "::127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:a00:1::",
    "2001:0:1::",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "fd00::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_that_are_not_public_are_refused(address):
    assert not allowed_address(address, "example.org", 80)


@pytest.mark.parametrize(
    ("entry", "host", "address", "port", "allowed"),
    [
        ("models.internal", "models.internal", "10.0.0.1", 80, True),
        ("models.internal", "other.internal", "10.0.0.1", 80, False),
        ("models.internal:9000", "MODELS.internal", "10.0.0.1", 9000, True),
        ("models.internal:9000", "models.internal", "10.0.0.1", 9001, False),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1", 1, True),
        ("127.0.0.1:9000", "any.name", "127.0.0.1", 9000, True),
        ("127.0.0.1:9000", "any.name", "127.0.0.1", 80, False),
        ("127.0.0.1", "x", "::ffff:127.0.0.1", 80, False),
        ("10.0.0.0/8", "x", "10.200.0.1", 80, True),
        ("10.0.0.0/8", "x", "11.0.0.1", 80, True),
        ("::1", "x", "::1", 80, True),
        ("[::1]:9000", "x", "::1", 9000, True),
        ("[::1]:9000", "x", "::1", 9001, False),
        ("localhost", "localhost", "127.0.0.1", 80, True),
    ],
)
def test_the_list_opens_what_it_names(settings, entry, host, address, port, allowed):
    settings.ISTORE_UPSTREAM_ALLOW = [entry]
    assert allowed_address(address, host, port) is allowed


LOOPBACK = [
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "127.0.0.1",
    "127.0.0.53",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "0",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:0:0:1]",
]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("port", ["ISTORE_PORT", "ISTORE_PROXY_PORT"])
def test_the_stores_own_ports_are_never_an_upstream(settings, host, port):
    settings.ISTORE_UPSTREAM_ALLOW = ["0.0.0.0/0", "::/0", "localhost"]

    with pytest.raises(ValueError, match="store itself"):
        check_upstream_url(f"http://{host}:{getattr(settings, port)}/v2")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"]
)
def test_a_name_that_resolves_to_the_store_is_refused_at_connect(settings, address):
    settings.ISTORE_UPSTREAM_ALLOW = ["0.0.0.0/0", "::/0"]

    for port in (settings.ISTORE_PORT, settings.ISTORE_PROXY_PORT):
        assert not allowed_address(address, "model.example", port)
    assert allowed_address("127.0.0.1", "model.example", 9000)


def test_addresses_of_the_machines_interfaces_are_its_own():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.connect(("192.0.2.1", 9))  # sends nothing; the kernel chooses an address
        own = found.getsockname()[0]

    assert is_this_machine(own)
    assert not is_this_machine("192.0.2.1")
    assert not is_this_machine("2001:db8::1")


@pytest.mark.parametrize(
    ("setting", "value", "url"),
    [
        ("ISTORE_URL", "https://store.example.org", "https://STORE.example.org/"),
        ("ISTORE_PROXY_URL", "https://m.example.org:444", "https://m.example.org:444"),
        ("ISTORE_REDIS_URL", "redis://:x@10.1.1.1/0", "http://10.1.1.1:6379"),
        ("ISTORE_REDIS_URL", "redis://cache.internal:7000", "http://127.1:7000"),
        ("ISTORE_REDIS_URL", "redis://localhost:7000/0", "http://127.1:7000"),
    ],
)
def test_servers_that_the_settings_name_are_the_stores_own(
    settings, setting, value, url
):
    settings.ISTORE_UPSTREAM_ALLOW = ["0.0.0.0/0", "localhost"]
    setattr(settings, setting, value)

    if "cache.internal" in value:  # elsewhere: this port of this machine is free to use
        check_upstream_url(url)
    else:
        with pytest.raises(ValueError, match="store itself"):
            check_upstream_url(url)


@pytest.mark.parametrize(
    "url", ["http://db.internal:6543", "http://127.1:6543", "http://[::1]:6543"]
)
def test_the_database_is_never_an_upstream(settings, monkeypatch, url):
    settings.ISTORE_UPSTREAM_ALLOW = ["0.0.0.0/0", "::/0", "db.internal"]
    monkeypatch.setitem(settings.DATABASES["default"], "HOST", "db.internal")
    monkeypatch.setitem(settings.DATABASES["default"], "PORT", 6543)

    with pytest.raises(ValueError, match="store itself"):
        check_upstream_url(url)


def defaults(**variables):
    """What the settings allow in a process of its own with these variables."""
    code = "from istore import settings as s; print(s.ISTORE_UPSTREAM_ALLOW)"
    outside = {k: v for k, v in os.environ.items() if not k.startswith("ISTORE_")}
    env = {**outside, "ISTORE_HOME": os.environ["ISTORE_HOME"], **variables}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_loopback_is_allowed_by_default_where_nobody_comes_from_elsewhere():
    assert "127.0.0.1" in defaults()
    assert "127.0.0.1" in defaults(ISTORE_PUBLIC_URL="http://localhost:8000")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ISTORE_PUBLIC_URL", "https://store.example.org"),
        ("ISTORE_PUBLIC_PROXY_URL", "https://models.example.org"),
        ("ISTORE_BEHIND_TLS_PROXY", "true"),
        ("ISTORE_TRUSTED_PROXIES", "127.0.0.1"),
        ("ISTORE_ALLOWED_HOSTS", "localhost,store.example.org"),
        ("ISTORE_ALLOWED_HOSTS", "*"),
        ("ISTORE_HOST", "0.0.0.0"),
    ],
)
def test_behind_another_server_nothing_private_is_allowed_by_default(variable, value):
    assert defaults(**{variable: value}) == "[]"
    assert defaults(**{variable: value, "ISTORE_UPSTREAM_ALLOW": "::1"}) == "['::1']"


async def test_a_process_of_a_session_is_no_upstream_of_a_model(settings):
    settings.ISTORE_UPSTREAM_ALLOW = ["127.0.0.1", "10.0.0.0/8"]
    theirs = Server("http://rebound.example:41000", is_elsewhere=True)

    assert not theirs._may_ask("127.0.0.1")
    assert theirs._may_ask("10.0.0.9")
    assert Server("http://127.0.0.1:41000", is_ours=True)._may_ask("127.0.0.1")


def test_a_target_says_that_its_port_is_a_sessions(settings, model, tmp_path):
    settings.ISTORE_PROCESSES_FILE = tmp_path / "commands.toml"
    service = InferenceService.objects.create(
        project=model.project, name="s", runner=Runner.PROCESS, endpoint="infer"
    )
    session = InferenceSession.objects.create(
        service=service, expires_at=now() + timedelta(hours=1)
    )
    Replica.objects.create(session=session, number=0, port=41000)
    _, secret = create_token("t", model.project, Role.EDITOR)

    def looked_up(url):
        RegisteredModel.objects.filter(pk=model.pk).update(upstream_url=url)
        return find_target(secret, (model.model_id,)).found

    assert looked_up("http://model.example:41000").is_elsewhere
    assert not looked_up("http://model.example:41001").is_elsewhere
