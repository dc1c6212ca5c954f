"""`diarize.Library`: enrolled people from Python, as the commands see them, and what is refused in plain sight."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import diarize
import run_pipeline
from diarize.errors import LibraryMissing, LibraryUnreadable, PassphraseError, UnknownPerson
from diarize.library.database import encryption
from diarize.models.store import Store
from pipelines.api import processing
from tests.cheap import Pitch, write_tones
from tests.library import conftest
from tests.library.scoring.test_identification import PLAIN

LOW, HIGH = 300.0, 2500.0  # Hz
SECRET = "geheim"
BACKENDS: dict[str, Any] = {"vad": "energy", "embedder": "tests.cheap:embedder", "offline": True}
ENROL: dict[str, Any] = {**BACKENDS, "accept": ("clipping", "voices")}  # no tone passes these checks


@pytest.fixture(autouse=True)
def _models(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIARIZE_MODELS", str(store.folder))
    monkeypatch.delenv("DIARIZE_PASSPHRASE", raising=False)
    monkeypatch.setattr(encryption, "COST", 1 << 4, raising=False)
    processing._forget()


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Recordings of a low tone, of a high one, and of both, and a calibration for the scores of tones."""
    made = replace(PLAIN, model=Pitch().name, weights=(-10.0, 20.0, 0.0), bounds=(-8.0, 8.0), bandwidth=(250.0, 8000.0))
    made.save(tmp_path / "tones.json")
    for name, hertz in (("low", LOW), ("high", HIGH), ("short", LOW)):
        write_tones(tmp_path / f"{name}.wav", [(hertz, 12.0 if name != "short" else 0.8)])
    write_tones(tmp_path / "talk.wav", [(LOW, 4.0), (HIGH, 4.0)] * 2)
    return tmp_path


@pytest.fixture(params=["file", "encrypted", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str | None]]:
    """Where a library lies, and its passphrase."""
    if request.param == "server":
        yield from ((where.replace("tester@", f"tester:{SECRET}@"), None) for where in conftest.started("packaged"))
    else:
        yield str(tmp_path / "people.db"), "open sesame" if request.param == "encrypted" else None


def process(sounds: Path, **more: Any) -> diarize.Transcript:
    config = {"identify": {"calibration": str(sounds / "tones.json")}}
    return diarize.process(sounds / "talk.wav", segmentation="none", asr="none", config=config, **BACKENDS, **more)


def test_who_is_enrolled_is_named(sounds: Path, place: tuple[str, str | None]) -> None:
    where, passphrase = place
    with diarize.Library(where, passphrase) as people:
        result = people.enroll(
            "NA <b>", [sounds / "low.wav"], consent="by letter", expires="2999-12-31",
            calibration=sounds / "tones.json", **ENROL,
        )  # fmt: skip
        assert result.complete and result.person is not None and result.status == 0
        (person,) = people.people()
        assert (person.name, person.consent, person.expires) == ("NA <b>", "by letter", date(2999, 12, 31))
        assert repr(people).endswith(": 1 person>") and SECRET not in repr(people)
        transcript = process(sounds, library=people)
        assert [speaker.label for speaker in transcript.speakers] == ["NA <b>", "unknown-1"]
        assert people.rename("NA <b>", "Anna").name == "Anna"
        assert process(sounds, library=people).speakers[0].name == "Anna"  # the library changed, so must the result
        people.remove("Anna")
        assert people.people() == ()
        assert process(sounds, library=people).speakers[0].label == "unknown-1"


def test_it_is_the_library_of_the_commands(sounds: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with diarize.Library(sounds / "people.db") as people:
        people.enroll("Anna", str(sounds / "low.wav"), **ENROL)
        people.enroll("Ben", [sounds / "high.wav"], start=0, end=5, **ENROL)
        mine = [(person.name, person.seconds) for person in people.people()]
    options = ["--vad", "energy", "--embedder", "tests.cheap:embedder", "--offline", "--accept", "clipping,voices"]
    for name, file, *times in (("Anna", "low.wav"), ("Ben", "high.wav", "--start", "0", "--end", "5")):
        command = ["enroll", name, str(sounds / file), *times, *options, "--library", str(sounds / "theirs.db")]
        assert run_pipeline.main(command) == 0
    capfd.readouterr()
    for name in ("theirs.db", "people.db"):
        assert run_pipeline.main(["speakers", "list", "--json", "--library", str(sounds / name)]) == 0
        assert [(row["name"], row["seconds"]) for row in json.loads(capfd.readouterr().out)] == mine
    assert stat.S_IMODE((sounds / "people.db").stat().st_mode) == 0o600
    for library in (sounds / "people.db", str(sounds / "theirs.db")):
        assert [speaker.name for speaker in process(sounds, library=library).speakers] == ["Anna", "Ben"]


def test_what_is_refused_is_seen(sounds: Path) -> None:
    with diarize.Library(sounds / "people.db") as people:
        with pytest.warns(
            UserWarning, match=r"^Anna: short\.wav was refused: 0\.8 s of speech; an utterance needs 1\.5 s"
        ) as all:
            result = people.enroll("Anna", [sounds / "low.wav", sounds / "short.wav"], **ENROL)
        assert [warning.filename for warning in all] == [__file__]
        assert result.status == 3
        lines = repr(result).splitlines()
        assert lines[0].startswith("<EnrolmentResult: Anna (") and lines[0].endswith("s of speech, complete")
        assert lines[1:] == ["  low.wav: counted", "  short.wav: refused: 0.8 s of speech; an utterance needs 1.5 s>"]
        with pytest.raises(diarize.errors.ConfigError, match=r"nowhere\.wav: there is no such file"):
            people.enroll("Ben", ["nowhere.wav"], **ENROL)
        assert [person.name for person in people.people()] == ["Anna"]


def test_nothing_of_a_voice_is_shown(sounds: Path) -> None:
    with diarize.Library(sounds / "people.db", "secret words") as people:
        result = people.enroll("Anna", sounds / "low.wav", **ENROL)
        shown = repr(people) + repr(result) + repr(people.people())
    assert "array" not in shown and "vector" not in shown and "secret words" not in shown


def test_a_library_that_cannot_be_opened_says_why(sounds: Path) -> None:
    (sounds / "text.db").write_text("no library")
    with pytest.raises(LibraryUnreadable):
        diarize.Library(sounds / "text.db")
    diarize.Library(sounds / "plain.db").close()
    with pytest.raises(PassphraseError, match="is not encrypted"):
        diarize.Library(sounds / "plain.db", "words")
    with pytest.raises(LibraryMissing):
        process(sounds, library="nowhere.db")
    assert not Path("nowhere.db").exists()
    with pytest.raises(diarize.LibraryError):
        diarize.Library(sounds)
    with pytest.raises(diarize.ConfigError) as caught:
        diarize.Library(f"mysql://anna:{SECRET}@host/db")
    assert SECRET not in str(caught.value) and "--" not in str(caught.value)
    with pytest.raises(TypeError, match="Library: a path or an address is needed, as a str or a Path, not NoneType"):
        diarize.Library(None)  # type: ignore[arg-type]


def test_a_closed_library_says_so(sounds: Path) -> None:
    people = diarize.Library(sounds / "people.db")
    people.close()
    people.close()
    assert repr(people).endswith(": closed>")
    for use in (people.people, lambda: process(sounds, library=people), lambda: people.remove("Anna")):
        with pytest.raises(diarize.LibraryError, match="this library is closed"):
            use()


def test_mistakes_are_told_in_the_words_of_python(sounds: Path) -> None:
    def refused(message: str, kind: type[Exception] = diarize.ConfigError, **wrong: Any) -> None:
        arguments = {"name": "Anna", "files": [sounds / "low.wav"], **ENROL, **wrong}
        with pytest.raises(kind) as caught:
            people.enroll(**arguments)
        assert str(caught.value).startswith(message) and "--" not in str(caught.value)

    with diarize.Library(sounds / "people.db") as people:
        refused("enroll: name: a person needs a name.", name=" ")
        refused("enroll: files: no recording was named.", files=[])
        known = "noise, clipping, voices, agreement, spoofing, replay"
        refused(f"accept: noises: no such check. Known: {known}.", accept=["noises"])
        refused("accept: noises: no such check.", accept="noises")
        refused("name is a str, not int", TypeError, name=3)
        refused("expires: tomorrow: is no day. Write it as 2030-12-31.", expires="tomorrow")
        refused("enroll: expires: 2001-01-01 is in the past.", expires=date(2001, 1, 1))
        refused("enroll: start, end: ", start=99)
        refused(
            "enroll() got an unexpected keyword argument 'concent'. Did you mean 'consent'?", TypeError, concent="x"
        )
        refused("files: the path of a file is needed, as a str or a Path, not int", TypeError, files=3)
        with pytest.raises(UnknownPerson, match="nobody is called Ben"):
            people.rename("Ben", "Anna")
        assert people.people() == ()


def test_another_thread_is_told(sounds: Path) -> None:
    caught: list[BaseException] = []

    def use() -> None:
        try:
            people.people()
        except diarize.LibraryError as error:
            caught.append(error)

    with diarize.Library(sounds / "people.db") as people:
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    assert "thread" in str(caught[0])
