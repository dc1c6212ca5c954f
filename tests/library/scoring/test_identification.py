"""Who of the enrolled speaks, and who is none of them: cases computed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import pytest

from diarize.config import IdentifyConfig
from diarize.library.database.records import Matrix
from diarize.library.scoring import identification
from diarize.library.scoring.calibration import Calibration
from diarize.library.scoring.identification import OpenSet, assign, pool
from diarize.types import Identity, Vectors

PLAIN = Calibration(  # LLR = 10 score - 5, so that 2.94 is a score of 0.794
    model="made",
    kind="cosine",
    mean=(),
    channels=(),
    weights=(-5.0, 10.0, 0.0),
    channel=0.0,
    seconds=(1.0, 20.0),
    bandwidth=(4000.0, 8000.0),
    bounds=(-4.5, 4.5),
    trials=(100, 100),
    speakers=20,
    data="made",
)
D = 64  # person i is the unit vector e_i; the upper half of the dimensions is nobody's


def library(*people: int, names: Sequence[str] | None = None) -> Matrix:
    vectors = np.eye(D, dtype=np.float32)[list(people)]
    ids = tuple(f"v{person:02}" for person in people)
    return Matrix("made", ids, names or tuple(f"P{p}" for p in people), vectors, np.full(len(people), 10.0), "ab" * 32)


def voice(own: int, **scores: float) -> Vectors:
    """A voice with these scores against people (`p3=0.9`); the rest of it lies in a dimension of its `own`."""
    made = np.zeros(D)
    for person, value in scores.items():
        made[int(person[1:])] = value
    made[D // 2 + own] = np.sqrt(1 - np.square(made).sum())
    return made.astype(np.float32)


def ask(
    known: Matrix,
    *voices: Vectors,
    seconds: Sequence[float] = (),
    bandwidth: float | None = 8000.0,
    calibration: Calibration | None = PLAIN,
    **settings: float,
) -> tuple[Identity, ...]:
    found = OpenSet(known, calibration, IdentifyConfig(**settings))
    vectors = np.array(voices, np.float32).reshape(-1, D)
    return found(vectors, seconds or [10.0] * len(voices), bandwidth)


def who(found: Sequence[Identity]) -> list[str | None]:
    return [one.person.voice if one.person is not None else None for one in found]


def test_a_speaker_is_the_person_whose_ratio_reaches_the_threshold() -> None:
    found = ask(library(0, 1), voice(0, p0=0.9, p1=0.2), voice(1, p1=0.79))
    assert who(found) == ["v00", None]  # 0.79 is an LLR of 2.9, and log(0.95 / 0.05) = 2.94 is needed
    first, second = found
    assert [(c.voice, c.name, c.llr) for c in first.candidates] == [("v00", "P0", 4.0), ("v01", "P1", -3.0)]
    assert [c.score for c in first.candidates] == pytest.approx([0.9, 0.2])
    assert first.reason == "log10 LR 1.74, 1.28 needed, 3.04 ahead of the next"
    assert second.reason == "log10 LR 1.26, 1.28 needed"
    assert second.candidates[0].voice == "v01"
    assert who(ask(library(0, 1), voice(1, p1=0.79), prior=0.1)) == ["v01"]


def test_a_person_is_at_most_one_speaker_and_the_sum_of_ratios_decides() -> None:
    # both are nearest to person 0; speaker 0 is clearly somebody else than speaker 1, and may have person 1
    found = ask(library(0, 1), voice(0, p0=0.68, p1=0.66), voice(1, p0=0.72), prior=0.2, margin=0.1)
    assert who(found) == ["v01", "v00"]


def test_a_second_choice_is_no_name_where_the_two_may_be_one_person() -> None:
    near = voice(0, p0=0.65, p1=0.64)
    alike = voice(0, p0=0.70, p1=0.55)
    found = ask(library(0, 1), near, alike, prior=0.2, margin=0.2)
    assert float(near @ alike) > 0.5  # more likely one voice than two
    assert who(found) == [None, "v00"]
    assert found[0].same is None


def test_the_margin_to_the_next_counts_whom_no_other_speaker_is() -> None:
    assert who(ask(library(0, 1), voice(0, p0=0.7, p1=0.65), prior=0.2)) == [None]
    assert ask(library(0, 1), voice(0, p0=0.7, p1=0.65), prior=0.2)[0].reason == (
        "log10 LR 0.87, 0.60 needed, but only 0.22 ahead of the next, 0.43 needed"
    )
    assert who(ask(library(0, 1), voice(0, p0=0.7, p1=0.6), prior=0.2)) == ["v00"]  # 1 ahead, to the last digit
    assert who(ask(library(0, 1), voice(0, p0=0.7, p1=0.65), voice(1, p1=0.7), prior=0.2)) == ["v00", "v01"]


def test_fault_37_namesakes_are_told_by_their_ids() -> None:
    found = ask(library(0, 1, names=["Kim", "Kim"]), voice(0, p0=0.9), voice(1, p1=0.9))
    assert [(one.person.name, one.person.voice) for one in found if one.person] == [("Kim", "v00"), ("Kim", "v01")]
    twice = Matrix("made", ("a", "b"), ("Kim", "Kim"), np.eye(D, dtype=np.float32)[[0, 0]], np.full(2, 10.0), "")
    assert who(ask(twice, voice(0, p0=0.9))) == [None]  # enrolled twice: neither is ahead
    assert [c.voice for c in ask(twice, voice(0, p0=0.9))[0].candidates] == ["a", "b"]
    assert who(ask(twice, voice(0, p0=0.9), margin=0.0)) == ["a"]


def test_two_speakers_who_are_clearly_one_person_are_merged() -> None:
    found = ask(library(0, 1), voice(0, p0=0.93), voice(1, p1=0.9), voice(2, p0=0.9), seconds=[20, 10, 5])
    assert who(found) == ["v00", "v01", "v00"]
    assert [one.same for one in found] == [None, None, 0]
    assert found[2].candidates == ()
    # the mean of the two, 4 to 1 by seconds, is nearer than either: score = (4 * 0.93 + 0.9) / length
    both = 4 * voice(0, p0=0.93) + voice(2, p0=0.9)
    assert found[0].candidates[0].score == pytest.approx(float(both[0] / np.linalg.norm(both)), abs=1e-6)


def test_two_speakers_of_one_person_who_do_not_sound_alike_are_not_merged() -> None:
    found = ask(library(0, 1), voice(0, p0=0.85), voice(1, p0=0.88))  # 0.748 alike: LLR 2.48
    assert who(found) == [None, "v00"]
    assert [one.same for one in found] == [None, None]
    assert found[0].reason.endswith("another speaker of the recording is that person, and the two do not sound alike")


def test_who_is_no_nearer_than_a_whole_library_stands_out_by_chance_is_unknown() -> None:
    known = library(*range(31))
    # 30 others at an LLR of -4 or -5 by turns: mean -4.5, deviation 0.5; needed is norm.isf(0.03 / 31) = 3.10
    spread = {f"p{person}": 0.1 * (person % 2) for person in range(1, 31)}
    told = ask(known, voice(0, p0=0.8, **spread))[0].reason
    assert told.startswith("log10 LR 1.30, 1.28 needed; 15.00 deviations above the others, 3.10 needed")
    noisy = np.zeros((1, D), np.float32)
    noisy[0, :31] = np.array([0.8, *([0.139, -0.139] * 15)])  # deviation 1.39, so that 8 is 5.76 of them
    noisy[0, :31] /= np.linalg.norm(noisy[0, :31])
    assert who(ask(known, noisy[0], prior=0.1)) == ["v00"]
    assert who(ask(known, noisy[0], prior=0.1, chance=1e-9)) == [None]
    assert who(ask(library(*range(29)), noisy[0], prior=0.1, chance=1e-9)) == ["v00"]  # too few others to say


def test_fault_63_an_empty_library_knows_nobody() -> None:
    empty = Matrix("made", (), (), np.empty((0, 0), np.float32), np.empty(0), "")
    (found,) = ask(empty, voice(0))
    assert (found.person, found.candidates, found.reason) == (None, (), "nobody is enrolled")
    assert OpenSet(empty, PLAIN, lacking="the consent of all has ended")(voice(0)[None], [3.0])[0].reason == (
        "the consent of all has ended"
    )
    assert ask(library(0)) == ()  # a recording in which nobody speaks


def test_without_a_calibration_nobody_is_named_and_the_nearest_are_told() -> None:
    (found,) = ask(library(0, 1), voice(0, p0=0.9, p1=0.3), calibration=None)
    assert found.person is None
    assert [(c.voice, c.llr) for c in found.candidates] == [("v00", None), ("v01", None)]
    assert "no calibration" in found.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seconds": [1.5]}, "1.50 s of speech, 2 needed"),
        ({"bandwidth": 2000.0}, "sound up to 2000 Hz; calibrated for 3750 to 8250 Hz"),
        ({"prior": 0.001}, "log10 LR 1.91, 3.00 needed"),
    ],
)
def test_what_cannot_be_said_is_not_said(changes: dict[str, float], reason: str) -> None:
    (found,) = ask(library(0), voice(0, p0=0.94), **changes)  # type: ignore[arg-type]
    assert (found.person, found.reason) == (None, reason)
    assert found.candidates[0].voice == "v00"


def test_a_ratio_at_its_bound_is_no_more_than_that() -> None:
    (found,) = ask(library(0), voice(0, p0=0.99), prior=0.01)  # 4.9 would reach 4.60, and the data support 4.5
    assert (found.person, found.candidates[0].llr) == (None, 4.5)


def test_too_little_enrolment_is_told() -> None:
    short = replace(library(0), seconds=np.array([0.5]))
    (found,) = ask(short, voice(0, p0=0.95))
    assert (found.person, found.candidates[0].llr, found.reason) == (
        None,
        None,
        "too little was enrolled of the nearest person",
    )


def test_a_library_of_many_blocks_gives_the_same_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((57, D)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = tuple(f"{n * 37 % 57:02}" for n in range(57))
    known = Matrix("made", ids, ids, rows, rng.uniform(2, 20, 57), "")
    heard = rows[[3, 50]] + 0.05 * rng.standard_normal((2, D)).astype(np.float32)
    heard = (heard / np.linalg.norm(heard, axis=1, keepdims=True)).astype(np.float32)
    whole = ask(known, *heard)
    assert who(whole) == [ids[3], ids[50]]
    monkeypatch.setattr(identification, "BLOCK", 5)
    assert ask(known, *heard) == whole


def test_drift_lifts_the_ratios_of_a_recording_through_another_channel() -> None:
    class Drifting(Calibration):
        def drift(self, vectors: Vectors) -> float:
            return 0.5

    lifted = Drifting(**{**asdict(PLAIN), "channel": 4.0})
    (found,) = ask(library(0, 1), voice(0, p0=0.7), calibration=lifted)  # 2 + 4 * 0.25
    assert who([found]) == ["v00"]
    assert found.candidates[0].llr == pytest.approx(3.0)


def test_the_name_tells_the_library_the_calibration_and_the_settings() -> None:
    names = {
        OpenSet(known, calibration, IdentifyConfig(prior=prior)).name
        for known in (library(0), replace(library(0), digest="cd" * 32))
        for calibration in (PLAIN, replace(PLAIN, weights=(-5.0, 11.0, 0.0)), None)
        for prior in (0.05, 0.1)
    }
    assert len(names) == 12
    assert any("library=abababababababab" in name for name in names)


YES = np.ones((2, 2), dtype=np.bool_)


def test_assignment_takes_the_largest_sum_above_the_threshold() -> None:
    strength = np.array([[5.0, 4.0], [4.5, 0.0]])
    allowed = strength >= 1
    assert assign(strength, allowed, YES, 1.0, 0.0) == [1, 0]  # 3 + 3.5 against 4 alone
    assert assign(strength, allowed & [[True, False], [True, True]], YES, 1.0, 0.0) == [0, None]
    assert assign(strength, ~YES, YES, 1.0, 0.0) == [None, None]
    assert assign(np.array([[1.0]]), np.array([[True]]), YES[:1, :1], 1.0, 0.0) == [0]  # at the threshold itself


def test_a_lost_claim_frees_the_person_for_the_comparison_of_others() -> None:
    strength = np.array([[5.0, 3.9, -9.0], [-9.0, 4.5, 4.4]])
    allowed = strength >= 1
    # row 1 is not ahead of column 2; then column 1 is nobody's, and row 0 is no more than 1.1 ahead of it
    assert assign(strength, allowed, YES, 1.0, 1.0) == [0, None]
    assert assign(strength, allowed, YES, 1.0, 1.2) == [None, None]


def test_voices_of_one_person_are_pooled_by_seconds() -> None:
    vectors = np.eye(3, dtype=np.float32)
    pooled, seconds = pool(vectors, [3.0, 5.0, 4.0], [0, 1, 0])
    assert pooled == pytest.approx(np.array([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]]))
    assert seconds == [7.0, 5.0]
