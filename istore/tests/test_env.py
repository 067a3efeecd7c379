import pytest

from istore import env


@pytest.fixture
def given(monkeypatch):
    def give(value):
        monkeypatch.setenv("ISTORE_X", value)

    return give


def stops(read, *arguments, **options):
    """The line with which reading the setting ends the process."""
    with pytest.raises(SystemExit) as ended:
        read("ISTORE_X", *arguments, **options)
    line = str(ended.value)
    assert line.startswith("ISTORE_X: ")
    assert "\n" not in line
    return line


@pytest.mark.parametrize("blank", ["", "  "])
def test_a_blank_setting_is_its_default(given, blank):
    given(blank)
    assert env.text("ISTORE_X", "default") == "default"
    assert env.number("ISTORE_X", 7) == 7
    assert env.size("ISTORE_X", 7) == 7
    assert env.flag("ISTORE_X", default=True) is True
    assert env.listed("ISTORE_X", "a,b") == ["a", "b"]
    assert env.choice("ISTORE_X", "a", ("a", "b")) == "a"


@pytest.mark.parametrize("value", ["7", " 7 ", "007"])
def test_a_number_is_read(given, value):
    given(value)
    assert env.number("ISTORE_X", 1) == 7


@pytest.mark.parametrize(
    "value", ["seven", "7.0", "7e2", "0x7", "\u0667", "1_000", "7" * 20]
)
def test_what_is_not_a_whole_number_stops_the_start(given, value):
    given(value)
    assert "is not a whole number" in stops(env.number, 1)


def test_a_number_out_of_bounds_stops_the_start(given):
    given("65536")
    assert "is not between 1 and 65535" in stops(env.number, 1, least=1, most=65535)


@pytest.mark.parametrize(
    ("value", "size"),
    [("100", 100), ("4k", 4096), ("64M", 64 * 2**20), ("2GiB", 2**31), ("2 gb", 2**31)],
)
def test_a_size_is_read_with_its_unit(given, value, size):
    given(value)
    assert env.size("ISTORE_X", 1) == size


@pytest.mark.parametrize("value", ["-1", "1.5G", "12 parsecs", "M", "1TB"])
def test_what_is_not_a_size_stops_the_start(given, value):
    given(value)
    assert "is not a number of bytes" in stops(env.size, 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("True", True), ("on", True), ("no", False), ("FALSE", False)],
)
def test_a_flag_is_read(given, value, expected):
    given(value)
    assert env.flag("ISTORE_X", default=not expected) is expected


def test_a_flag_that_is_neither_stops_the_start(given):
    given("maybe")
    assert "is neither true nor false" in stops(env.flag, default=False)


def test_a_list_leaves_out_what_is_empty(given):
    given(" a, ,b,")
    assert env.listed("ISTORE_X") == ["a", "b"]


def test_a_choice_that_is_not_offered_stops_the_start(given):
    given("LOUD")
    assert "is not one of INFO, ERROR" in stops(env.choice, "INFO", ("INFO", "ERROR"))


@pytest.mark.parametrize("value", ["stores/harbour", "/stores//harbour/"])
def test_a_prefix_of_keys_has_no_slashes_at_its_ends(given, value):
    given(value)
    assert env.key_prefix("ISTORE_X") == "stores/harbour"


@pytest.mark.parametrize("value", ["../x", "a/./b", "a b", "a#b"])
def test_what_is_no_prefix_of_keys_stops_the_start(given, value):
    given(value)
    assert "is not letters, digits" in stops(env.key_prefix)


@pytest.mark.parametrize("value", ["localhost:9", "http://", "ftp://a", "http://a:b"])
def test_what_is_no_url_stops_the_start(given, value):
    given(value)
    assert "is no URL" in stops(env.endpoint)
    given("http://localhost:9")
    assert env.endpoint("ISTORE_X") == "http://localhost:9"


def test_a_file_that_cannot_be_read_stops_the_start(given, tmp_path):
    given(str(tmp_path))
    assert "is no file that can be read" in stops(env.file)
    (tmp_path / "x.pem").touch()
    given(str(tmp_path / "x.pem"))
    assert env.file("ISTORE_X") == str(tmp_path / "x.pem")


def test_a_setting_may_come_from_a_file(monkeypatch, tmp_path):
    path = tmp_path / "value"
    path.write_text(" secret\n")
    monkeypatch.setenv("ISTORE_X_FILE", str(path))
    assert env.text("ISTORE_X") == "secret"
    path.write_text("64\n")
    assert env.number("ISTORE_X", 1) == 64
    path.write_text("\n")
    assert env.text("ISTORE_X", "default") == "default"


def test_a_file_and_a_value_are_one_too_many(given, monkeypatch, tmp_path):
    (tmp_path / "value").write_text("b")
    given("a")
    monkeypatch.setenv("ISTORE_X_FILE", str(tmp_path / "value"))
    with pytest.raises(SystemExit, match=r"^ISTORE_X_FILE: ISTORE_X is given, too"):
        env.text("ISTORE_X")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "no such file or directory"),
        (b"\xff\xfe", "is no text"),
        (b"a\0b", "holds no single value"),
        (b"x" * 100_000, "holds no single value"),
    ],
)
def test_a_file_that_holds_no_value_stops_the_start(
    monkeypatch, tmp_path, content, why
):
    path = tmp_path / "value"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("ISTORE_X_FILE", str(path))
    with pytest.raises(SystemExit, match=rf"^ISTORE_X_FILE: .*{why}\.$"):
        env.text("ISTORE_X")


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://host:6379/0", "redis://:p%40%2F%3A@host:6379/0"),
        ("rediss://user@host/1", "rediss://user:p%40%2F%3A@host/1"),
        ("redis://user:old@[::1]:6379", "redis://user:p%40%2F%3A@[::1]:6379"),
    ],
)
def test_a_password_goes_into_a_url(url, wanted):
    assert env.with_password(url, "p@/:") == wanted
