"""Addresses to listen at."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flashlink.errors import RequestError
from flashlink.site.config import Site
from flashlink.site.listen import Listen, parse


@pytest.mark.parametrize(
    ("text", "expected", "public", "endpoint"),
    [
        ("127.0.0.1:4000", Listen("127.0.0.1", 4000), False, "http://127.0.0.1:4000"),
        ("127.8.8.8:0", Listen("127.8.8.8", 0), False, "http://127.8.8.8:0"),
        ("localhost:4000", Listen("localhost", 4000), False, "http://localhost:4000"),
        ("[::1]:65535", Listen("::1", 65535), False, "http://[::1]:65535"),
        ("0.0.0.0:4000", Listen("0.0.0.0", 4000), True, "http://0.0.0.0:4000"),
        ("[::]:4000", Listen("::", 4000), True, "http://[::]:4000"),
        ("farm.example:80", Listen("farm.example", 80), True, "http://farm.example:80"),
        ("unix:/run/a b.sock", Listen(path=Path("/run/a b.sock")), False, "unix:/run/a b.sock"),
        ("unix:///run/a.sock", Listen(path=Path("/run/a.sock")), False, "unix:/run/a.sock"),
    ],
)
def test_the_three_forms(text: str, expected: Listen, public: bool, endpoint: str) -> None:
    address = parse(text)
    assert address == expected
    assert address.public is public
    assert address.endpoint == endpoint
    assert parse(endpoint.removeprefix("http://")) == address


def test_a_relative_socket_is_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse("unix:p.sock").path == tmp_path / "p.sock"


@pytest.mark.parametrize(
    "text",
    [
        *("", ":4000", "4000", "host", "host:", "host:65536", "host:-1", "a b:1", "h:1\n"),
        *("::1:4000", "[127.0.0.1]:1", "[x]:1", "unix:", "unix://", "unix:/" + "x" * 107),
    ],
)
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"^site\.toml: listen: .* is not (HOST:PORT|unix:PATH)"):
        parse(text, "site.toml: listen")


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_one_line(text: str) -> None:
    try:
        address = parse(text)
    except RequestError as error:
        assert str(error).startswith("listen: ")  # noqa: PT017
    else:
        assert address.path is not None or 0 <= address.port <= 65535


def test_the_default_address_is_of_this_machine_alone() -> None:
    assert not parse(Site().listen).public
    assert not Site().reports.listen
