"""A user's own backend: found by module and factory, and refused at once where a call would fail."""

from __future__ import annotations

import pytest

from diarize import backends
from diarize.activity import NO_ACTIVITY, LocalActivity
from diarize.errors import BackendError
from diarize.types import Audio, Segment


def current(**options: object) -> object:
    def detect(audio: Audio, activity: LocalActivity = NO_ACTIVITY) -> tuple[Segment, ...]:
        return ()

    return detect


def outdated(**options: object) -> object:
    return lambda audio: ()


def native(**options: object) -> object:
    return max  # a builtin that tells no arguments


def test_a_detector_that_takes_the_arguments_of_its_stage_is_loaded() -> None:
    assert backends.load("vad", f"{__name__}:current")(None) == ()


def test_a_detector_that_does_not_is_refused_with_the_page_that_helps() -> None:
    with pytest.raises(BackendError, match=r"called with \(audio, activity=\.\.\.\).*docs/architecture\.md"):
        backends.load("vad", f"{__name__}:outdated")


def test_what_tells_no_arguments_is_not_judged() -> None:
    assert backends.load("vad", f"{__name__}:native") is max
