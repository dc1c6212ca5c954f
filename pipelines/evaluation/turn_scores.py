"""Who spoke when, compared: pyannote.metrics counts, this module converts both sides for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from diarize.metrics.counts import Share, jaccard
from diarize.timeline import intersect, total
from diarize.types import Errors, Segment, Turn
from pipelines.evaluation.scores import Rules, Score

if TYPE_CHECKING:
    from pyannote.core import Annotation, Timeline

_SHORTEST = 1e-6  # s; pyannote.core ignores anything shorter


def score_turns(
    reference: Sequence[Turn], hypothesis: Sequence[Turn], scored: Sequence[Segment] | None, rules: Rules
) -> Score:
    """Every measure of turns of one recording.

    `scored` is its UEM; without one it reaches from the first start to the last end of either side, as in dscore. The
    collar and `skip_overlap` are for DER alone. One speaker's turns that overlap count as one (dscore, `merge_turns`).
    """
    from pyannote.metrics.diarization import DiarizationCoverage, DiarizationPurity

    reference, hypothesis = merge_overlapping(reference), merge_overlapping(hypothesis)
    if scored is None:
        scored = extent([*reference, *hypothesis])
    ref, hyp = to_annotation(reference, "r"), to_annotation(hypothesis, "h")
    uem = _timeline(scored)
    inside = ref.crop(uem, mode="intersection"), hyp.crop(uem, mode="intersection")
    purity = DiarizationPurity().compute_components(*inside)
    coverage = DiarizationCoverage().compute_components(*inside)
    hits, in_reference, in_hypothesis = _boundaries(reference, hypothesis, scored, rules.tolerance)
    overlaps = [tuple(Segment(s.start, s.end) for s in side.get_overlap().support()) for side in inside]
    both = total(intersect(*overlaps))
    return Score(
        errors=_errors(ref, hyp, uem, rules),
        jaccard=jaccard(
            inside[0] * inside[1],
            *(np.array([side.label_duration(label) for label in side.labels()]) for side in inside),
        ),
        speakers=((len(inside[0].labels()), len(inside[1].labels())),),
        purity=Share(purity["correct"], purity["total"]),
        coverage=Share(coverage["correct"], coverage["total"]),
        boundary_precision=Share(hits, in_hypothesis),
        boundary_recall=Share(hits, in_reference),
        overlap_precision=Share(both, total(overlaps[1])),
        overlap_recall=Share(both, total(overlaps[0])),
    )


def score_names(
    reference: tuple[Sequence[Turn], Mapping[str, str]],
    hypothesis: tuple[Sequence[Turn], Mapping[str, str]],
    scored: Sequence[Segment] | None,
) -> Score:
    """How much of the speech of named people has their name in the hypothesis, and how much another's.

    Both sides are turns and the names of their speakers; speech of speakers without a name is not scored.
    """
    from pyannote.metrics.identification import IdentificationErrorRate

    ref, hyp = (
        to_annotation(merge_overlapping(_renamed(turns, names)), "") for turns, names in (reference, hypothesis)
    )
    uem = _timeline(extent([*reference[0], *hypothesis[0]]) if scored is None else scored)
    parts = IdentificationErrorRate().compute_components(ref, hyp, uem=uem)
    return Score(named=Share(parts["correct"], parts["total"]), misnamed=Share(parts["confusion"], parts["total"]))


def _renamed(turns: Sequence[Turn], names: Mapping[str, str]) -> list[Turn]:
    return [Turn(t.start, t.end, names[t.speaker]) for t in turns if t.speaker in names]


def merge_overlapping(turns: Iterable[Turn]) -> tuple[Turn, ...]:
    """The same turns by start, one speaker's overlapping ones as one. Turns that only touch stay two."""
    own: dict[str, list[Turn]] = {}
    for turn in sorted(turns, key=lambda t: (t.start, t.end)):
        last = own.setdefault(turn.speaker, [])
        if last and turn.start < last[-1].end:
            last[-1] = Turn(last[-1].start, max(last[-1].end, turn.end), turn.speaker)
        else:
            last.append(Turn(turn.start, turn.end, turn.speaker))
    merged = [turn for turns in own.values() for turn in turns]
    return tuple(sorted(merged, key=lambda t: (t.start, t.end, t.speaker)))


def extent(turns: Sequence[Turn]) -> tuple[Segment, ...]:
    """From the first start to the last end; () without turns."""
    return (Segment(min(t.start for t in turns), max(t.end for t in turns)),) if turns else ()


def to_annotation(turns: Iterable[Turn], prefix: str) -> Annotation:
    """Turns for pyannote.core. The prefix keeps labels of the two sides different."""
    from pyannote.core import Annotation
    from pyannote.core import Segment as Stretch

    annotation = Annotation()
    for track, turn in enumerate(turns):
        if turn.duration > _SHORTEST:
            annotation[Stretch(turn.start, turn.end), track] = prefix + turn.speaker
    return annotation


def _timeline(segments: Iterable[Segment]) -> Timeline:
    from pyannote.core import Segment as Stretch
    from pyannote.core import Timeline

    return Timeline([Stretch(segment.start, segment.end) for segment in segments])


def _errors(ref: Annotation, hyp: Annotation, uem: Timeline, rules: Rules) -> Errors:
    """DER's seconds. pyannote.metrics counts a collar's whole width, md-eval (and `rules`) each side of a boundary.

    pyannote.metrics pairs speakers on what is scored, md-eval 22 (`score_speaker_diarization`) on all that the UEM
    allows, before collars and overlap are taken out: the two differ where that changes who belongs to whom.
    """
    from pyannote.metrics.diarization import DiarizationErrorRate
    from pyannote.metrics.identification import IdentificationErrorRate

    options: dict[str, Any] = {"collar": 2 * rules.collar, "skip_overlap": rules.skip_overlap}
    if rules.convention == "md-eval":
        pairs = DiarizationErrorRate().optimal_mapping(ref, hyp, uem=uem)
        hyp = hyp.rename_labels(mapping=pairs)
        parts = IdentificationErrorRate(**options).compute_components(ref, hyp, uem=uem)
    else:
        parts = DiarizationErrorRate(**options).compute_components(ref, hyp, uem=uem)
    return Errors(parts["missed detection"], parts["false alarm"], parts["confusion"], parts["total"])


def _boundaries(
    reference: Sequence[Turn], hypothesis: Sequence[Turn], scored: Sequence[Segment], tolerance: float
) -> tuple[float, int, int]:
    """(boundaries that both have, those of the reference, those of the hypothesis).

    A boundary is a time in `scored` at which somebody begins or ends; where a UEM cuts a turn there is none.
    pyannote.metrics pairs them, nearest first; its cost grows with the product of both numbers, so each
    cluster of near boundaries is paired by itself.
    """
    from pyannote.metrics.segmentation import SegmentationRecall

    tolerance += _SHORTEST  # 1.1 - 0.85 is more than 0.25 in floating point
    ref, hyp = (_changes(turns, scored) for turns in (reference, hypothesis))
    metric, hits = SegmentationRecall(tolerance=tolerance), 0.0
    marked = sorted([(time, 0) for time in ref] + [(time, 1) for time in hyp])
    cluster: list[tuple[float, int]] = []
    for time, side in [*marked, (float("inf"), 0)]:
        if cluster and time - cluster[-1][0] > tolerance:
            parts = [[t for t, whose in cluster if whose == side] for side in (0, 1)]
            if all(parts):
                hits += metric.compute_components(*map(_partition, parts))["number of matches"]
            cluster = []
        cluster.append((time, side))
    return hits, len(ref), len(hyp)


def _changes(turns: Iterable[Turn], scored: Sequence[Segment]) -> list[float]:
    """The times in `scored` at which the set of speakers changes."""
    change: dict[float, dict[str, int]] = {}
    for turn in turns:
        for time, step in ((turn.start, 1), (turn.end, -1)):
            at = change.setdefault(time, {})
            at[turn.speaker] = at.get(turn.speaker, 0) + step
    times = sorted(time for time, steps in change.items() if any(steps.values()))
    return [time for time in times if any(s.start <= time <= s.end for s in scored)]


def _partition(boundaries: Sequence[float]) -> Timeline:
    """Segments whose inner borders are the boundaries: what pyannote.metrics compares."""
    from pyannote.core import Segment as Stretch
    from pyannote.core import Timeline

    edges = [boundaries[0] - 1, *boundaries, boundaries[-1] + 1]
    return Timeline([Stretch(a, b) for a, b in pairwise(edges)])
