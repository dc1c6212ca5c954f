"""Measures of turns, against pyannote.metrics itself and against counting milliseconds one by one."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyannote.core import Annotation, Timeline
from pyannote.core import Segment as Stretch
from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate
from pyannote.metrics.segmentation import SegmentationPrecision

from diarize.metrics.counts import Jaccard, Share
from diarize.types import Errors, Segment, Turn
from pipelines.evaluation.scores import Rules
from pipelines.evaluation.turn_scores import merge_overlapping, score_names, score_turns

END = 4000  # ms; the length of the random timelines


@st.composite
def timelines(draw: st.DrawFn, speakers: int, prefix: str) -> list[Turn]:
    """Turns to the millisecond, also of one speaker over themselves; often none."""
    spans = st.tuples(st.integers(0, speakers - 1), st.integers(0, END - 1), st.integers(1, 1500))
    found = draw(st.lists(spans, max_size=9))
    return sorted(Turn(at / 1000, min(END, at + long) / 1000, f"{prefix}{who}") for who, at, long in found)


references, hypotheses = timelines(3, "A"), timelines(4, "S")
uems = st.sampled_from([None, ((0, 4000),), ((500, 1700), (2100, 3900)), ((0, 1),)])
rules = st.builds(
    Rules,
    collar=st.sampled_from([0.0, 0.05, 0.25]),
    skip_overlap=st.booleans(),
    convention=st.sampled_from(["pyannote", "md-eval"]),
)


def stretches(uem: tuple[tuple[int, int], ...] | None) -> tuple[Segment, ...] | None:
    return None if uem is None else tuple(Segment(a / 1000, b / 1000) for a, b in uem)


def ms(seconds: float) -> int:
    return round(seconds * 1000)


def active(turns: list[Turn]) -> NDArray[np.bool_]:
    """(speakers, milliseconds): who talks when."""
    names = sorted({turn.speaker for turn in turns})
    found = np.zeros((len(names), END), bool)
    for turn in turns:
        found[names.index(turn.speaker), ms(turn.start) : ms(turn.end)] = True
    return found


def allowed(reference: list[Turn], hypothesis: list[Turn], uem: tuple[tuple[int, int], ...] | None) -> Any:
    """(milliseconds,): what may be scored before collars."""
    everything = [*reference, *hypothesis]
    if uem is None:
        uem = ((ms(min(t.start for t in everything)), ms(max(t.end for t in everything))),) if everything else ()
    found = np.zeros(END, bool)
    for start, end in uem:
        found[start:end] = True
    return found


def best_pairs(told: NDArray[np.bool_], heard: NDArray[np.bool_], where: NDArray[np.bool_]) -> dict[int, int]:
    """Reference speaker -> hypothesis speaker, with the most time together, by trying all."""
    size = max(len(told), len(heard))
    together = np.zeros((size, size), int)
    together[: len(told), : len(heard)] = (told & where).astype(int) @ (heard & where).T.astype(int)
    best = max(permutations(range(size)), key=lambda order: sum(together[r, h] for r, h in enumerate(order)))
    return {r: h for r, h in enumerate(best) if together[r, h]}


def count(reference: list[Turn], hypothesis: list[Turn], uem: tuple[tuple[int, int], ...] | None, rules: Rules) -> Any:
    """(missed, false alarm, confusion, total) in ms as md-eval 22 counts them, one millisecond after another."""
    told, heard = active(reference), active(hypothesis)
    allow = allowed(reference, hypothesis, uem)
    scored = allow.copy()
    collar = ms(rules.collar)
    for turn in reference:
        for edge in (turn.start, turn.end):
            inside = any(o.speaker == turn.speaker and o.start < edge < o.end for o in reference)
            if not inside:
                scored[max(0, ms(edge) - collar) : ms(edge) + collar] = False
    if rules.skip_overlap:
        scored &= told.sum(0) < 2
    pairs = best_pairs(told, heard, allow if rules.convention == "md-eval" else scored)
    n_told, n_heard = told.sum(0), heard.sum(0)
    right = sum(((told[r] & heard[h]).astype(int) for r, h in pairs.items()), np.zeros(END, int))
    return tuple(
        int(kind[scored].sum())
        for kind in (
            np.maximum(n_told - n_heard, 0),
            np.maximum(n_heard - n_told, 0),
            np.minimum(n_told, n_heard) - right,
            n_told,
        )
    )


@settings(max_examples=300, deadline=None)
@given(references, hypotheses, uems, rules)
def test_der_is_what_counting_milliseconds_gives(
    reference: list[Turn], hypothesis: list[Turn], uem: tuple[tuple[int, int], ...] | None, rules: Rules
) -> None:
    errors = score_turns(reference, hypothesis, stretches(uem), rules).errors
    assert errors is not None
    missed, false_alarm, confusion, total = count(reference, hypothesis, uem, rules)
    assert errors.missed + errors.false_alarm + errors.confusion == pytest.approx(
        (missed + false_alarm + confusion) / 1000, abs=1e-6
    )
    assert (errors.missed, errors.false_alarm, errors.total) == pytest.approx(
        (missed / 1000, false_alarm / 1000, total / 1000), abs=1e-6
    )
    if total:
        assert errors.rate == pytest.approx((missed + false_alarm + confusion) / total, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(references, hypotheses, uems, st.sampled_from([0.0, 0.05, 0.25]), st.booleans())
def test_der_is_that_of_pyannote_metrics(
    reference: list[Turn], hypothesis: list[Turn], uem: tuple[tuple[int, int], ...] | None, collar: float, skip: bool
) -> None:
    reference, hypothesis = list(merge_overlapping(reference)), list(merge_overlapping(hypothesis))
    sides = Annotation(), Annotation()
    for side, turns in zip(sides, (reference, hypothesis), strict=True):
        for track, turn in enumerate(turns):
            side[Stretch(turn.start, turn.end), track] = turn.speaker
    where = Timeline([Stretch(s.start, s.end) for s in stretches(uem) or (Segment(0, END / 1000),)])
    theirs = DiarizationErrorRate(collar=2 * collar, skip_overlap=skip)(*sides, uem=where, detailed=True)
    ours = score_turns(reference, hypothesis, stretches(uem), Rules(collar=collar, skip_overlap=skip)).errors
    assert ours is not None
    assert (ours.missed, ours.false_alarm, ours.confusion, ours.total) == pytest.approx(
        tuple(theirs[kind] for kind in ("missed detection", "false alarm", "confusion", "total")), abs=1e-6
    )
    if ours.total:
        assert ours.rate == pytest.approx(theirs["diarization error rate"], abs=1e-6)


@settings(max_examples=80, deadline=None)
@given(references, hypotheses, uems)
def test_jer_is_that_of_dscore(
    reference: list[Turn], hypothesis: list[Turn], uem: tuple[tuple[int, int], ...] | None
) -> None:
    where = allowed(reference, hypothesis, uem)
    told, heard = (side[(side & where).any(1)] & where for side in (active(reference), active(hypothesis)))
    found = score_turns(reference, hypothesis, stretches(uem), Rules(collar=0.25, skip_overlap=True))
    assert found.speakers == ((len(told), len(heard)),)
    assert found.jaccard is not None and found.jaccard.speakers == len(told)
    size = max(len(told), len(heard))
    errors = np.ones((len(told), size))
    for r, one in enumerate(told):
        for h, two in enumerate(heard):
            errors[r, h] = 1 - (one & two).sum() / (one | two).sum()
    best = min(sum(errors[r, h] for r, h in enumerate(order)) for order in permutations(range(size), len(told)))
    assert found.jaccard.errors == pytest.approx(best, abs=1e-6)


def test_jer_is_that_of_pyannote_metrics_where_the_pairs_are_clear() -> None:
    reference = [Turn(0, 4, "A"), Turn(4, 6, "B")]
    hypothesis = [Turn(0, 3.5, "x"), Turn(3.8, 7, "y")]
    sides = Annotation(), Annotation()
    for side, turns in zip(sides, (reference, hypothesis), strict=True):
        for turn in turns:
            side[Stretch(turn.start, turn.end)] = turn.speaker
    found = score_turns(reference, hypothesis, None, Rules()).jaccard
    assert found is not None
    assert found.rate == pytest.approx(JaccardErrorRate()(*sides, uem=Timeline([Stretch(0, 7)])), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(references, hypotheses, uems)
def test_overlap_is_found_where_two_talk(
    reference: list[Turn], hypothesis: list[Turn], uem: tuple[tuple[int, int], ...] | None
) -> None:
    where = allowed(reference, hypothesis, uem)
    told, heard = ((active(side) & where).sum(0) > 1 for side in (reference, hypothesis))
    found = score_turns(reference, hypothesis, stretches(uem), Rules())
    assert found.overlap_precision is not None and found.overlap_recall is not None
    both = (told & heard).sum() / 1000
    assert (found.overlap_precision.part, found.overlap_precision.whole) == pytest.approx(
        (both, heard.sum() / 1000), abs=1e-6
    )
    assert (found.overlap_recall.part, found.overlap_recall.whole) == pytest.approx((both, told.sum() / 1000), abs=1e-6)


def test_the_two_conventions_differ_where_a_collar_changes_who_belongs_to_whom() -> None:
    # Of all, x is with A longest; of what the collar leaves, y is.
    reference = [Turn(0, 1, "A"), Turn(2, 3, "A"), Turn(4, 7, "A")]
    hypothesis = [Turn(0, 1, "x"), Turn(2, 3, "x"), Turn(5.2, 6, "x"), Turn(4, 5.2, "y"), Turn(6, 7, "y")]
    rates = {}
    for convention in ("pyannote", "md-eval"):
        found = score_turns(reference, hypothesis, None, Rules(collar=0.4, convention=convention)).errors
        assert found is not None and found.total == pytest.approx(0.2 + 0.2 + 2.2)
        rates[convention] = found.confusion
    assert rates == {"pyannote": pytest.approx(1.2), "md-eval": pytest.approx(1.4)}


def test_a_collar_is_left_out_on_each_side() -> None:
    reference, hypothesis = [Turn(1, 5, "A")], [Turn(1.2, 5, "x")]
    within = score_turns(reference, hypothesis, None, Rules(collar=0.25)).errors
    without = score_turns(reference, hypothesis, None, Rules()).errors
    assert within == Errors(0, 0, 0, 3.5)
    assert without is not None and without.missed == pytest.approx(0.2) and without.total == 4


def test_identical_sides_have_no_errors() -> None:
    turns = [Turn(0, 2, "A"), Turn(1.5, 4, "B"), Turn(6, 7, "A")]
    found = score_turns(turns, [Turn(t.start, t.end, t.speaker.lower()) for t in turns], None, Rules())
    assert found.errors == Errors(0, 0, 0, 5.5) and found.errors.rate == 0
    assert found.jaccard is not None and found.jaccard.rate == pytest.approx(0)
    assert found.boundary_precision == found.boundary_recall == Share(6, 6)
    assert found.overlap_precision == found.overlap_recall == Share(0.5, 0.5)
    assert found.speakers == ((2, 2),) and found.exact == Share(1, 1)


def test_no_speech_in_the_reference() -> None:
    found = score_turns([], [Turn(1, 3, "x")], None, Rules())
    assert found.errors == Errors(0, 2, 0, 0) and found.errors.rate == float("inf")
    assert found.jaccard == Jaccard(0, 0, 1)
    assert found.coverage == Share(0, 0) and found.purity == Share(0, 2)


def test_no_speech_in_the_hypothesis() -> None:
    found = score_turns([Turn(1, 3, "A")], [], (Segment(0, 2),), Rules())
    assert found.errors == Errors(1, 0, 0, 1) and found.errors.rate == 1
    assert found.jaccard is not None and found.jaccard.rate == 1


@pytest.mark.parametrize("scored", [None, (Segment(0, 5),)])
def test_silence_on_both_sides(scored: tuple[Segment, ...] | None) -> None:
    found = score_turns([], [], scored, Rules(collar=0.25, skip_overlap=True))
    assert found.errors == Errors() and found.errors.rate == 0
    assert found.speakers == ((0, 0),) and found.boundary_recall == Share(0, 0)


def test_a_collar_may_leave_nothing() -> None:
    assert score_turns([Turn(1, 1.4, "A")], [Turn(1, 1.4, "x")], None, Rules(collar=0.25)).errors == Errors()


def test_purity_and_coverage_by_hand() -> None:
    reference = [Turn(0, 4, "A"), Turn(4, 10, "B")]
    found = score_turns(reference, [Turn(0, 6, "x"), Turn(6, 10, "y")], None, Rules())
    assert found.purity == Share(8, 10) and found.coverage == Share(8, 10)
    # only what the UEM allows counts
    assert score_turns(reference, [Turn(0, 6, "x")], (Segment(0, 5),), Rules()).purity == Share(4, 5)


def test_boundaries_by_hand() -> None:
    reference = [Turn(1, 4, "A"), Turn(4, 6, "B")]  # 1, 4, 6
    hypothesis = [Turn(1.25, 4.4, "x"), Turn(4.4, 5.9, "y"), Turn(5.95, 6.05, "x")]  # 1.25, 4.4, 5.9, 5.95, 6.05
    found = score_turns(reference, hypothesis, (Segment(0, 10),), Rules(tolerance=0.25))
    assert found.boundary_precision == Share(2, 5) and found.boundary_recall == Share(2, 3)
    inside = score_turns(reference, hypothesis, (Segment(2, 5.93),), Rules(tolerance=0.25))  # the cuts are none
    assert inside.boundary_recall == Share(0, 1) and inside.boundary_precision == Share(0, 2)


def test_a_turn_taken_up_by_the_same_speaker_has_no_boundary() -> None:
    joined = score_turns([Turn(0, 2, "A"), Turn(2, 4, "A")], [Turn(0, 4, "x")], (Segment(0, 9),), Rules())
    assert joined.boundary_recall == Share(2, 2)


@settings(max_examples=60, deadline=None)
@given(references, hypotheses)
def test_boundaries_are_paired_as_pyannote_metrics_pairs_them_all_at_once(
    reference: list[Turn], hypothesis: list[Turn]
) -> None:
    found = score_turns(reference, hypothesis, (Segment(0, END / 1000 + 1),), Rules(tolerance=0.25))
    changes = []
    for side in (active(reference), active(hypothesis)):
        padded = np.pad(side, ((0, 0), (1, 1)))
        changes.append((np.flatnonzero((np.diff(padded, axis=1) != 0).any(0))) / 1000)
    if all(map(len, changes)):
        edges = [[-1.0, *side, END / 1000 + 9] for side in changes]
        partitions = [Timeline([Stretch(a, b) for a, b in pairwise(e)]) for e in edges]
        theirs = SegmentationPrecision(tolerance=0.2501).compute_components(*partitions)
        assert found.boundary_precision == Share(theirs["number of matches"], theirs["number of boundaries"])


def test_names_by_hand() -> None:
    told = [Turn(0, 10, "a"), Turn(10, 14, "b"), Turn(14, 20, "c")]
    names = {"a": "Ada", "b": "Ben"}  # c is a guest
    heard = [Turn(0, 6, "1"), Turn(6, 9, "2"), Turn(10, 14, "3"), Turn(14, 20, "1")]
    found = score_names((told, names), (heard, {"1": "Ada", "2": "Ben"}), None)
    assert found.named == Share(6, 14) and found.misnamed == Share(3, 14)


def test_a_name_that_the_reference_has_nowhere_is_wrong() -> None:
    told = ([Turn(0, 4, "a"), Turn(4, 10, "b")], {"a": "Ada", "b": "Ben"})
    found = score_names(told, ([Turn(0, 4, "1"), Turn(4, 7, "2"), Turn(7, 10, "3")], {"1": "Ada", "2": "Zoe"}), None)
    assert found.named == Share(4, 10) and found.misnamed == Share(3, 10)


def test_nobody_named_at_all() -> None:
    found = score_names(([Turn(0, 1, "a")], {"a": "Ada"}), ([Turn(0, 1, "1")], {}), None)
    assert found.named == Share(0, 1) and found.misnamed == Share(0, 1)


def test_fault_36_hostile_speaker_names_stay_apart() -> None:
    names = ["", "NA", "A", "rA", "h0", "<script>", "a --> b", "\u202e", "x" * 10_000]
    turns = [Turn(i, i + 1, name) for i, name in enumerate(names)]
    found = score_turns(
        turns, [Turn(t.start, t.end, t.speaker[::-1]) for t in turns], None, Rules(convention="md-eval")
    )
    assert found.errors == Errors(0, 0, 0, len(names)) and found.speakers == ((9, 9),)


def test_fault_43_a_hypothesis_beyond_the_end_is_false_alarm_only_where_that_counts() -> None:
    reference, hypothesis = [Turn(0, 5, "A")], [Turn(0, 5, "x"), Turn(90, 95, "y")]
    assert score_turns(reference, hypothesis, None, Rules()).errors == Errors(0, 5, 0, 5)
    inside = score_turns(reference, hypothesis, (Segment(0, 10),), Rules())
    assert inside.errors == Errors(0, 0, 0, 5) and inside.speakers == ((1, 1),)
