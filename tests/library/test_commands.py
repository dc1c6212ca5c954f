"""Every command that takes a library, on a file and on real PostgreSQL servers, encrypted or not: the same answers."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import run_pipeline
from diarize.library import store
from diarize.library.database import address, encryption
from diarize.library.search import approximate
from tests.cheap import SETTINGS, Pitch, write_tones
from tests.library import conftest
from tests.library.scoring.test_identification import PLAIN
from tests.library.voices import MODEL, enrolment, voice

LOW, ALIKE, HIGH, MIDDLE = 300.0, 301.0, 2500.0, 900.0  # Hz
SECRET = "geheim"  # the password in the address of the server
Command = Callable[..., str]


@pytest.fixture(scope="module", params=["file", "debian", "packaged"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where libraries lie: a file, or one server and the other."""
    if request.param == "file":
        yield str(tmp_path_factory.mktemp("place") / "people.db")
    else:
        for address in conftest.started(request.param):
            yield address.replace("tester@", f"tester:{SECRET}@")  # this server asks for no password


@pytest.fixture
def library(place: str) -> Iterator[str]:
    """The same place, without a library at the beginning."""
    yield place
    if "://" in place:
        conftest.emptied(place)
    else:
        shutil.rmtree(Path(place).parent)
        Path(place).parent.mkdir()


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones to enrol, a recording of a low and a high tone, and a calibration for the scores of tones."""
    folder = tmp_path_factory.mktemp("sounds")
    made = replace(PLAIN, model=Pitch().name, weights=(-10.0, 20.0, 0.0), bounds=(-8.0, 8.0), bandwidth=(250.0, 8000.0))
    made.save(folder / "tones.json")
    (folder / "settings.toml").write_text(f'[identify]\ncalibration = "{folder / "tones.json"}"\n')
    for hertz in (LOW, ALIKE, MIDDLE):
        write_tones(folder / f"{hertz:.0f}.wav", [(hertz, 12.0)])
    write_tones(folder / "in" / "talk.wav", [(LOW, 4.0), (HIGH, 4.0)] * 2)
    return folder


@pytest.fixture
def run(library: str, sounds: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs a command on the library; what it prints."""

    def command(*arguments: object, status: int = 0) -> str:
        words = [*map(str, arguments), "--library", library]
        if words[0] in ("process", "identify", "enroll", "verify"):
            silent = ("--asr", "--segmentation") if words[0] != "process" else ("--none",)
            words += ["--config", str(sounds / "settings.toml"), *(s for s in SETTINGS if not s.startswith(silent))]
        assert run_pipeline.main(words) == status, capfd.readouterr().err
        printed = capfd.readouterr()
        assert SECRET not in printed.out + printed.err
        return printed.out

    return command


def enroll(run: Command, sounds: Path, name: str, hertz: float) -> dict[str, Any]:
    options = ["--calibration", sounds / "tones.json", "--accept", "clipping,voices", "--keep-audio", "--json"]
    made: dict[str, Any] = json.loads(run("enroll", name, sounds / f"{hertz:.0f}.wav", *options))
    return made


@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_all_commands(
    passphrase: str | None, run: Command, library: str, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if passphrase is not None:
        pytest.importorskip("cryptography", reason="the extra `encrypt` is not installed")
        monkeypatch.setattr(encryption, "COST", 2**4)
        monkeypatch.setenv("DIARIZE_PASSPHRASE", passphrase)
    cache = Path(os.environ["DIARIZE_RUN_CACHE"])
    shown = str(address.parse(library))
    made = enroll(run, sounds, "Lo Wagner", LOW)
    assert made["library"] == shown
    assert made["person"]["utterances"] == 1
    assert "sounds like Lo Wagner" in " ".join(enroll(run, sounds, "Lo again", ALIKE)["notes"])
    enroll(run, sounds, "Mi", MIDDLE)
    assert f"{shown}{', encrypted' if passphrase else ''}\n" in run("speakers", "list")
    assert [p["name"] for p in json.loads(run("speakers", "list", "--json"))] == ["Lo Wagner", "Lo again", "Mi"]

    run("speakers", "merge", "Lo Wagner", "Lo again")
    run("speakers", "rename", "Mi", "Mi Dupont")
    person = json.loads(run("speakers", "show", "Mi Dupont", "--json"))
    assert [(u["models"], u["audio"]) for u in person["of"]] == [([Pitch().name], True)]
    assert run("speakers", "audit") == "5 entries: in order\n"

    def names() -> list[str | None]:
        text = (tmp_path / "out" / "talk" / "transcript.json").read_text(encoding="utf-8")
        return [speaker["name"] for speaker in json.loads(text)["speakers"]]

    job = ("process", sounds / "in", "--out", tmp_path / "out", "--log-json", tmp_path / "log", "-v")
    assert "done earlier" not in run(*job)
    assert names() == ["Lo Wagner", None]
    assert "done earlier" in run(*job)  # the library holds the same
    run("speakers", "rename", "Lo Wagner", "Lo W.")
    assert "done earlier" not in run(*job)
    assert names() == ["Lo W.", None]
    (talk,) = json.loads(run("identify", sounds / "in", "--json"))["recordings"]
    assert [speaker["name"] for speaker in talk["speakers"]] == names()
    for name, decision in (("Lo W.", "same"), ("Mi Dupont", "different")):
        claim = ("verify", "--claim", name, sounds / f"{LOW:.0f}.wav", "--calibration", sounds / "tones.json", "--json")
        assert json.loads(run(*claim, "--prior", "0.5"))["decision"] == decision

    run("speakers", "export", tmp_path / "people.zip")
    run("speakers", "remove", "Lo W.")
    assert [p["name"] for p in json.loads(run("speakers", "list", "--json"))] == ["Mi Dupont"]
    run(*job)
    assert names() == [None, None]
    assert run("speakers", "import", tmp_path / "people.zip").startswith("2 people from")
    assert [p["name"] for p in json.loads(run("speakers", "list", "--json"))] == ["Lo W.", "Mi Dupont"]
    run("enroll", "--re-embed")
    assert "in order" in run("speakers", "audit")
    if passphrase is not None:
        monkeypatch.setenv("DIARIZE_PASSPHRASE", "another")
        run("speakers", "list", status=2)
    written = [path.read_bytes() for folder in (tmp_path, cache) for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert not any(SECRET.encode() in content for content in written)


@pytest.mark.parametrize("place", ["file"], indirect=True)
def test_a_very_large_library_has_an_index(
    run: Command, library: str, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    monkeypatch.setattr("diarize.library.search.index.MANY", 10)
    monkeypatch.setattr(approximate, "LARGE", 50)
    monkeypatch.setattr(approximate, "TRAINING", 5)
    with store.open(library, create=True) as opened, opened.batch():
        for seed in range(60):
            opened.enrol(f"person {seed}", [enrolment(seed, model=Pitch().name, vector=voice(seed, 32))])
    enroll(run, sounds, "Lo Wagner", LOW)
    assert len(list(Path(f"{library}.index").glob("*.faiss"))) == 1

    def names_and_notes(*options: str) -> tuple[list[str | None], str]:
        run("process", sounds / "in", "--out", tmp_path / "out", "--force", *options)
        transcript = json.loads((tmp_path / "out" / "talk" / "transcript.json").read_text(encoding="utf-8"))
        notes = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["notes"]
        return [speaker["name"] for speaker in transcript["speakers"]], " ".join(notes)

    names, notes = names_and_notes()
    assert "approximate search in 61 voices" in notes
    assert (names, "") == names_and_notes("--exact")
    assert names == ["Lo Wagner", None]
    run("speakers", "remove", "person 7")  # their voice leaves the index, which is made again
    assert "approximate search in 60 voices" in names_and_notes()[1]


def test_a_library_that_is_not_there(run: Command, tmp_path: Path, sounds: Path) -> None:
    for command in (("speakers", "list"), ("process", sounds / "in", "--out", tmp_path / "out"), ("identify", sounds)):
        run(*command, status=2)
    assert not (tmp_path / "out").exists()


def test_a_server_that_cannot_be_reached_and_a_password_that_is_misplaced(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = f"postgresql://tester:{SECRET}@127.0.0.1:1/postgres"
    for words in (
        ["speakers", "list", "--library", wrong],
        ["speakers", "list", "--library", wrong.replace(SECRET, f"a@{SECRET}")],
        ["speakers", "list", "--library", wrong.replace("postgresql", "mysql")],
        ["process", "nothing.wav", "--out", "nowhere", "--library", wrong.replace("://", ":/")],
    ):
        assert run_pipeline.main(words) == 2
        printed = capfd.readouterr()
        assert SECRET not in printed.out + printed.err
    for words in (["speakers", "list", wrong], ["speakers", "list", "--libary", wrong], [wrong]):
        with pytest.raises(SystemExit):
            run_pipeline.main(words)
        assert SECRET not in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "psycopg", None)
    assert run_pipeline.main(["speakers", "list", "--library", wrong]) == 2
    assert "pip install 'diarize-pipeline[postgres]'" in capfd.readouterr().err


def enrol_many(library: str, start: int) -> None:
    with store.open(library, create=True) as opened:
        for seed in range(start, start + 10):
            opened.enrol(f"person {seed}", [enrolment(seed)])


def test_four_processes_enrol_at_once_and_lose_nobody(library: str) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=enrol_many, args=(library, start)) for start in (0, 100, 200, 300)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    with store.open(library, read_only=True) as opened:
        expected = {f"person {start + i}" for start in (0, 100, 200, 300) for i in range(10)}
        assert {person.name for person in opened.people()} == set(opened.matrix(MODEL).names) == expected
        assert opened.audit().problems == ()
        assert len(opened.audit().entries) == 40
