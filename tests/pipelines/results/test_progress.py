"""How far a run is: from the first seconds of the first recording on, by seconds of sound."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from diarize import progress
from diarize.audio.reading import read
from pipelines.results.outcomes import Outcome
from pipelines.results.progress import RunProgress
from tests.cheap import write_tones

STAGES = ("segment", "embed", "recognize")
DONE = Outcome("a", "a.wav", "done", duration=600.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def run(clock: Clock, **sizes: int) -> RunProgress:
    return RunProgress(len(sizes), sizes, STAGES, clock, started=0.0)


def test_a_single_recording_has_an_estimate_as_soon_as_its_length_is_known(clock: Clock) -> None:
    now = run(clock, a=1000)
    now.stage_started("a", "read")
    assert (now.eta, now.share_done) == (None, None)
    now.stage_progressed("a", 0.5, None)
    clock.now = 1.0
    assert now.eta is not None  # by the usual costs, while it is decoded
    clock.now = 2.0
    now.stage_progressed("a", 1.0, 600.0)
    now.stage_started("a", "segment")
    clock.now = 12.0
    now.stage_progressed("a", 0.5, 600.0)
    assert now.stage_share("a") == 0.5
    assert now.facts("a")["audio_done"] == 300.0
    first = now.eta
    assert first is not None and first > 10.0
    assert 0 < now.share("a") < 0.5
    clock.now = 22.0
    now.stage_started("a", "embed")
    clock.now = 72.0
    now.stage_progressed("a", 1.0, 600.0)
    now.stage_started("a", "recognize")
    clock.now = 82.0
    now.stage_progressed("a", 0.25, 600.0)
    assert now.eta == pytest.approx(30.0, rel=0.2)  # three times what the first quarter took
    assert now.speed == pytest.approx(now.share("a") * 600 / 82)
    row = now.as_dict()
    assert row["running"][0]["stage_share"] == 0.25
    clock.now = 112.0
    now.recording_finished(DONE)
    assert (now.eta, now.share_done) == (0.0, 1.0)


def test_the_rest_is_estimated_by_size_and_by_what_the_stages_cost(clock: Clock) -> None:
    now = run(clock, a=100, b=200)
    for stage, at in (("read", 1.0), ("segment", 11.0), ("embed", 31.0), ("recognize", 61.0)):
        now.stage_started("a", stage)
        if stage == "read":
            now.stage_progressed("a", 1.0, 600.0)
        clock.now = at
    now.stage_started("a", "write")
    now.recording_finished(DONE)
    assert now.eta == pytest.approx(122.0, rel=0.05)  # twice as large, so twice as long
    assert now.share_done == pytest.approx(1 / 3)
    now.stage_started("b", "read")
    now.stage_progressed("b", 1.0, 1200.0)
    now.stage_started("b", "segment")
    assert now.eta == pytest.approx(120.0, rel=0.05)


def test_two_at_a_time_take_half_as_long(clock: Clock) -> None:
    now = run(clock, a=100, b=100, c=100, d=100)
    for id in "ab":
        now.stage_started(id, "read")
        now.stage_progressed(id, 1.0, 600.0)
        now.stage_started(id, "segment")
    clock.now = 10.0
    for id in "ab":
        now.stage_progressed(id, 0.5, 600.0)
    alone = now.remaining("a")
    assert alone is not None and now.eta is not None
    assert alone < now.eta < 3 * alone


def test_what_is_done_from_before_is_no_speed_and_no_failure_counts_as_done(clock: Clock) -> None:
    now = run(clock, a=100, b=100, c=100, d=100)
    for id in "abc":
        now.recording_finished(replace(DONE, id=id, reused=True))
    now.recording_finished(Outcome("d", "d.wav", "failed", reused=True))
    assert (now.done, now.reused, now.failed) == (3, 3, 1)
    assert (now.speed if clock.now else 0.0, now.eta, now.share_done) == (0.0, 0.0, 1.0)


def test_a_share_never_goes_back_and_another_try_starts_again(clock: Clock) -> None:
    now = run(clock, a=100)
    now.stage_started("a", "read")
    now.stage_progressed("a", 1.0, 600.0)
    shares = []
    for stage, seconds in (("segment", 1.0), ("embed", 500.0), ("recognize", 1.0)):
        now.stage_started("a", stage)
        for share in (0.2, 0.9):
            clock.now += seconds
            now.stage_progressed("a", share, 600.0)
            shares.append(now.share("a"))
    assert shares == sorted(shares)
    now.stage_started("a", "recognize")  # of the next channel
    assert now.stage_share("a") == 0.9
    now.stage_started("a", "again")
    assert (now.share("a"), now.stage_share("a")) == (0.0, None)


def test_a_run_of_many_recordings_is_cheap_to_ask(clock: Clock) -> None:
    now = RunProgress(50_000, {str(i): 1000 for i in range(50_000)}, STAGES, clock, started=0.0)
    now.stage_started("7", "read")
    now.stage_progressed("7", 1.0, 60.0)
    clock.now = 1.0
    assert now.eta is not None and now.eta > 50_000


def test_backends_report_to_whoever_watches() -> None:
    shares: list[float] = []
    progress.report(1, 2)  # nobody watches
    with progress.watched(shares.append):
        progress.report(1, 4)
        progress.report(5, 4)
        progress.report(1, None)
        progress.report(1, 0)
        assert list(progress.reported(iter("ab"), [3, 4])) == ["a", "b"]
        for _ in progress.in_parts([0, 1]):
            progress.report(1, 2)
        progress.report(1, 1)
    progress.report(1, 2)
    assert shares == [0.25, 1.0, 0.75, 1.0, 0.25, 0.75, 1.0]


def test_decoding_reports_its_share(tmp_path: Path) -> None:
    path = write_tones(tmp_path / "a.wav", [(300, 20.0)])
    shares: list[float] = []
    with progress.watched(shares.append):
        read(path, id="a")
    assert shares == sorted(shares) and shares[-1] > 0.9


def test_a_slow_start_says_nothing_of_the_other_stages(clock: Clock) -> None:
    now = run(clock, a=100)
    now.stage_started("a", "read")
    now.stage_progressed("a", 1.0, 30.0)
    clock.now = 5.0  # the decoder had to start
    now.stage_started("a", "load")
    assert now.eta is not None and now.eta < 20
