import pytest

from istore.upstreams import allowed_address, check_upstream_url


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
