"""Errors cross process borders whole, carry their values and name the cure."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from diarize import errors
from diarize.errors import DiarizeError

EVERY = [
    errors.ConfigError("run.toml", "vad.pad", "must be positive (got -1)", "See: diarize config show"),
    errors.UnknownBackend("vad", "silro", ("silero", "energy")),
    errors.MissingExtra("whisper", "whisper"),
    errors.ModelMissing("ge2e", "/models"),
    errors.ModelDamaged("ge2e", "/models/ge2e", "aa", "bb"),
    errors.ModelUnavailable("ge2e", "offline", "Run it with a network"),
    errors.ModelRefused("talk", "a checkpoint holds more than weights", "Use another model."),
    errors.AudioError("a.wav", "is empty", "Leave it out."),
    errors.FormatError("a.json:3", "no such key"),
    errors.OutputError("out", "cannot be written: No space left on device", "Free some room."),
    errors.CalibrationError("two trials are too few", "Give more."),
    errors.CaseDamaged("case", "was changed", "Restore it."),
    errors.LibraryError("speakers.db", "two people are one"),
    errors.PassphraseError("speakers.db", "the passphrase is wrong", "Give the right one."),
    errors.StageError("a", "detect", "boom"),
    errors.SourceDamaged("ge2e", "the wheel of resemblyzer==0.1.4", "aa", "bb"),
]


def subclasses(kind: type[DiarizeError]) -> set[type[DiarizeError]]:
    return {kind}.union(*(subclasses(below) for below in kind.__subclasses__()))


@pytest.mark.parametrize("error", EVERY, ids=lambda e: type(e).__name__)
def test_errors_survive_pickling(error: DiarizeError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {word for line in (errors.__doc__ or "").splitlines() for word in line.replace("│", " ").split()[:2]}
    assert {kind.__name__ for kind in subclasses(DiarizeError) if kind.__module__ == "diarize.errors"} <= drawn


def test_errors_carry_their_values_and_the_cure() -> None:
    assert "Did you mean 'silero'?" in str(EVERY[1])
    assert "pip install 'diarize-pipeline[whisper]'" in str(EVERY[2])
    assert "diarize models pull ge2e" in str(EVERY[3])
    assert str(EVERY[7]) == "a.wav: is empty. Leave it out."


def test_fault_38_a_hostile_file_name_cannot_disturb_a_terminal() -> None:
    text = str(errors.AudioError("a\x1b[31m\nb\udcff\u202e.wav", "is empty"))
    assert text.isprintable()
    assert "\\x1b" in text


def boom() -> None:
    raise errors.StageError("a.wav", "vad", "boom")


def test_errors_cross_a_pool() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(errors.StageError, match=r"a\.wav: vad failed: boom"),
    ):
        pool.submit(boom).result(timeout=60)
