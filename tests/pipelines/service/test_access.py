"""Keys, tenants, addresses, limits."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import run_pipeline
from diarize.errors import ConfigError
from diarize.library.database.address import ServerAddress
from pipelines.service.access import binding
from pipelines.service.access.binding import Binding
from pipelines.service.access.keys import Keys
from pipelines.service.access.ledger import Ledger
from pipelines.service.access.limits import Buckets, Quotas, retry_after
from pipelines.service.access.tenants import Tenants


class _Clock:
    def __init__(self) -> None:
        self.time = datetime(2031, 5, 2, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    own = Ledger(tmp_path / "service.db")
    yield own
    own.close()


def test_a_key_is_known_by_its_text_alone_and_stored_as_a_digest(ledger: Ledger) -> None:
    keys = Keys(ledger)
    key, text = keys.add("acme", ["verify", "enrol"], "till")
    assert keys.check(text) == key
    assert key.scopes == ("enrol", "verify")
    assert text.rpartition("_")[2] not in Path(ledger.place).read_bytes().decode("latin-1")
    assert [keys.check(wrong) for wrong in (text[:-1], text[:-1] + "~", "", f"dz_{key.id}_", text.upper())] == [
        None
    ] * 5


def test_the_file_of_keys_is_its_owners_alone(ledger: Ledger) -> None:
    assert Path(ledger.place).stat().st_mode & 0o777 == 0o600


def test_keys_expire_are_revoked_and_rotated(ledger: Ledger) -> None:
    clock = _Clock()
    keys = Keys(ledger, clock)
    _, short = keys.add("acme", ["read"], expires=clock.time + timedelta(days=1))
    clock.time += timedelta(seconds=1)
    lasting, old = keys.add("acme", ["read"])
    clock.time += timedelta(days=2)
    assert keys.check(short) is None
    rotated, new = keys.rotate(lasting.id, timedelta(hours=1))
    assert (rotated.tenant, rotated.scopes) == (lasting.tenant, lasting.scopes)
    assert keys.check(old) is not None and keys.check(new) is not None
    clock.time += timedelta(hours=2)
    assert keys.check(old) is None and keys.check(new) is not None
    keys.revoke(rotated.id)
    assert keys.check(new) is None
    assert [key.state(clock.time) for key in keys.all()] == ["expired", "revoked", "revoked"]


@pytest.mark.parametrize("scopes", [[], ["write"], ["read", "root"]])
def test_scopes_that_do_not_exist_are_refused(ledger: Ledger, scopes: list[str]) -> None:
    with pytest.raises(ConfigError, match="scope"):
        Keys(ledger).add("acme", scopes)


@pytest.mark.parametrize("name", ["", "../x", "a/b", "A", "a b", "a;drop", "x" * 41, "é", "_a", "a\n"])
def test_a_tenants_name_cannot_leave_its_place(ledger: Ledger, tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        Keys(ledger).add(name, ["read"])
    with pytest.raises(ConfigError):
        Tenants(tmp_path).place(name)


def test_each_tenant_has_a_library_of_its_own(tmp_path: Path) -> None:
    server = ServerAddress("postgresql://anna@host/db")
    assert Tenants(tmp_path).place("acme") == tmp_path / "tenants" / "acme.db"
    assert Tenants(tmp_path, server).place("acme") == ServerAddress(server.secret, "diarize_t_acme")
    assert Tenants(tmp_path, server, only=server).place("default") == server
    with Tenants(tmp_path).open("acme") as library:
        library.enrol("Anna", [])
    with Tenants(tmp_path).open("other") as library:
        assert library.people() == ()


@pytest.mark.parametrize(
    ("options", "keys", "fault"),
    [
        ({"host": "0.0.0.0"}, False, "there are no keys"),
        ({"host": "192.0.2.7"}, False, "there are no keys"),
        ({"host": "::"}, False, "there are no keys"),
        ({"proxies": ("127.0.0.1",)}, False, "there are no keys"),
        ({"host": "0.0.0.0"}, True, ""),
        ({}, False, ""),
        ({"host": "::1"}, False, ""),
        ({"host": "localhost"}, False, ""),
    ],
)
def test_other_machines_are_served_only_with_keys(options: dict[str, object], keys: bool, fault: str) -> None:
    own = Binding(**options)  # type: ignore[arg-type]
    if fault:
        with pytest.raises(ConfigError, match=fault):
            own.check(keys)
    else:
        own.check(keys)


@pytest.mark.parametrize(
    "options",
    [
        {"host": "example.org"},
        {"port": 70_000},
        {"proxies": ("all",)},
        {"certificate": Path("/nowhere.pem")},
        {"certificate": Path("/nowhere.pem"), "private_key": Path("/nowhere.pem")},
    ],
)
def test_addresses_and_files_that_cannot_be_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Binding(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "origin", "forwarded", "local"),
    [
        ("127.0.0.1:8750", None, (), True),
        ("localhost", None, ("", ""), True),
        ("[::1]:80", None, (), True),
        ("127.0.0.1:8750", "http://127.0.0.1:8750", (), True),
        ("127.0.0.1:8750", "http://evil.example", (), False),
        ("127.0.0.1:8750", "null", (), False),
        ("evil.example:8750", None, (), False),
        ("127.0.0.1.evil.example", None, (), False),
        ("", None, (), False),
        ("127.0.0.1", None, ("203.0.113.9",), False),
    ],
)
def test_without_keys_only_programs_of_this_machine_are_served(
    host: str, origin: str | None, forwarded: tuple[str, ...], local: bool
) -> None:
    assert binding.is_local_request(host, origin, forwarded) is local


def test_a_bucket_refills_and_says_how_long_to_wait() -> None:
    time = [0.0]
    buckets = Buckets(2.0, 3.0, clock=lambda: time[0])
    assert [buckets.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert buckets.take("b") == 0.0
    time[0] = 0.5
    assert [buckets.take("a"), buckets.take("a")] == [0.0, 0.5]
    assert [retry_after(wait) for wait in (0.0, 0.2, 1.0, 1.1)] == ["1", "1", "1", "2"]


def test_quotas_count_by_tenant_and_day(ledger: Ledger) -> None:
    quotas = Quotas(ledger, hours=0.5)
    quotas.count("acme", 1000.0)
    assert not quotas.exhausted("acme")
    quotas.count("acme", 900.0)
    assert quotas.exhausted("acme")
    assert quotas.used("acme") == (2, 1900.0)
    assert not quotas.exhausted("other")


def test_the_ledger_works_on_a_server_and_tables_are_made_once(address: str) -> None:
    import psycopg

    place = ServerAddress(address)
    ledgers = [Ledger(place), Ledger(place)]
    try:
        key, text = Keys(ledgers[0]).add("acme", ["read"])
        assert Keys(ledgers[1]).check(text) == key
        quotas = Quotas(ledgers[0], hours=1)
        quotas.count("acme", 5.0)
        quotas.count("acme", 5.5)
        assert Quotas(ledgers[1]).used("acme") == (2, 10.5)
    finally:
        for ledger in ledgers:
            ledger.close()
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("DROP SCHEMA diarize_service CASCADE")


def test_keys_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--data", str(tmp_path / "data")]

    def run(*words: str) -> str:
        assert run_pipeline.main(["serve", "keys", *words, *place]) == 0
        return capsys.readouterr().out

    text = run("add", "--tenant", "acme", "--scopes", "enrol,verify", "--name", "till 4").strip()
    (row,) = json.loads(run("list", "--json"))
    assert (row["tenant"], row["scopes"], row["state"]) == ("acme", ["enrol", "verify"], "valid")
    assert text.startswith(f"dz_{row['id']}_")
    assert text not in run("list")
    new = run("rotate", row["id"], "--hours", "0").strip()
    assert new != text
    states = {each["id"]: each["state"] for each in json.loads(run("list", "--json"))}
    assert states == {row["id"]: "revoked", new.split("_")[1]: "valid"}
    run("revoke", new.split("_")[1])
    assert {each["state"] for each in json.loads(run("list", "--json"))} == {"revoked"}
    assert run_pipeline.main(["serve", "keys", "revoke", "ffffffffffff", *place]) == 2
    assert run_pipeline.main(["serve", "keys", "add", "--scopes", "all", *place]) == 2


def test_a_service_for_others_does_not_start_without_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run_pipeline.main(["serve", "--data", str(tmp_path), "--host", "0.0.0.0", "--port", "0"])
    assert status == 2
    assert "there are no keys" in capsys.readouterr().err


def test_a_damaged_ledger_is_said(tmp_path: Path) -> None:
    (tmp_path / "service.db").write_bytes(b"no database" * 100)
    with pytest.raises((sqlite3.DatabaseError, Exception), match=r"service\.db"):
        Ledger(tmp_path / "service.db")
