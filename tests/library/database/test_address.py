"""What is a file and what a server, and which parts of an address are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarize.errors import ConfigError
from diarize.library.database import address
from diarize.library.database.address import ServerAddress


@pytest.mark.parametrize("text", ["people.db", "/a/b.db", "a:b", "postgresql", "c:/people.db", "notes:/x", "a//b"])
def test_files(text: str) -> None:
    assert address.parse(text) == address.parse(Path(text)) == Path(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://anna@host/db", "postgresql://anna@host/db"),
        ("postgres://anna:geheim@host:5433/db", "postgresql://anna@host:5433/db"),
        ("postgresql://anna:ge:heim@[::1]/db", "postgresql://anna@[::1]/db"),
        ("postgresql://:geheim@host", "postgresql://host"),
        ("postgresql://anna:%40geheim@a:1,b:2/db?sslmode=require", "postgresql://anna@a:1,b:2/db?sslmode=require"),
        ("postgresql:///db?host=/tmp/s&password=geheim&user=anna", "postgresql:///db?host=/tmp/s&user=anna"),
        ("postgresql:///db?p%61ssword=geheim", "postgresql:///db"),
        ("postgresql:///db?sslkey=k&sslpassword=geheim", "postgresql:///db?sslkey=k"),
    ],
)
def test_an_address_is_shown_without_its_password(text: str, shown: str) -> None:
    found = address.parse(text)
    assert isinstance(found, ServerAddress)
    assert (str(found), found.secret) == (shown, text)
    assert "geheim" not in repr(found)
    assert address.parse(found) is found
    assert address.parse(shown) == ServerAddress(shown)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://anna:ge@heim@host/db",  # libpq would look for the host heim@host
        "postgresql://anna:ge/heim@host/db",  # and here for port ge of the host anna
        "postgresql://anna:ge?heim@host/db",
        "postgresql://anna:ge#heim@host/db",
        "postgresql://anna:ge heim@host/db",
        "postgresql://anna:ge%heim@host/db",
        "postgresql://anna:ge%00heim@host/db",
        "postgresql:/anna:geheim@host/db",  # one slash
        "mysql://anna:geheim@host/db",
        "sqlite:///geheim.db",
        Path("postgresql://anna:geheim@host/db"),  # a Path keeps one slash of two
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(text: str | Path) -> None:
    with pytest.raises(ConfigError) as caught:
        address.parse(text, "DIARIZE_LIBRARY")
    assert str(caught.value).startswith(f"DIARIZE_LIBRARY: {str(text).partition(':')[0]}:...: ")
    assert not [piece for piece in ("anna", "ge", "heim", "host:") if piece in str(caught.value).partition("Write")[0]]


def test_the_environment_may_name_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_LIBRARY", "postgresql://anna@host/db")
    assert address.default() == ServerAddress("postgresql://anna@host/db")
    monkeypatch.setenv("DIARIZE_LIBRARY", "http://anna:geheim@host/db")
    with pytest.raises(ConfigError, match=r"DIARIZE_LIBRARY: http:\.\.\.: is neither a file nor the address"):
        address.default()
