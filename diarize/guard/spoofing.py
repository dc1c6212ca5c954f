"""Scores of a countermeasure: of windows, of a recording, and of each speaker (docs/method/guard.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Any

from diarize import timeline
from diarize.stages import Countermeasure
from diarize.types import Audio, Segment, SpoofScores, SpoofWindow, Turn
from diarize.units import round_time

BEGINNING = "spoofing "  # of the advisory
LEAST = 1.0  # s of speech that is scored; less is repeated too often within a window
MOST = 50  # windows of one speaker, those of the longest turns: 200 s of speech say as much as an hour


def windows_over(segments: Iterable[Segment], seconds: float) -> list[Segment]:
    """Windows of at most `seconds` that cover the segments. Those of a longer segment have this length, and overlap as
    little as covering it allows: none is repeated."""
    windows: list[Segment] = []
    for segment in segments:
        count = max(1, ceil(round(segment.duration / seconds, 6)))
        length = min(seconds, segment.duration)
        step = (segment.duration - length) / max(1, count - 1)
        starts = [segment.start + i * step for i in range(count)]
        windows += [Segment(start, start + length) for start in starts]
    return windows


def score_utterance(audio: Audio, countermeasure: Countermeasure, threshold: float | None = None) -> SpoofScores:
    """The scores of a recording of one person: of all of it, pauses too, as countermeasures are trained on."""
    whole = [Segment(0.0, audio.duration)] if len(audio.samples) else []
    windows = windows_over(whole, countermeasure.seconds)
    return _scores(countermeasure, windows, [None] * len(windows), countermeasure(audio, windows), threshold)


def score_speakers(
    audio: Audio, turns: Sequence[Turn], countermeasure: Countermeasure, threshold: float | None = None
) -> SpoofScores:
    """The scores of the speakers of a recording, of stretches where each talks alone."""
    windows: list[Segment] = []
    speakers: list[str | None] = []
    for speaker in dict.fromkeys(turn.speaker for turn in turns):
        own = timeline.union(turn for turn in turns if turn.speaker == speaker)
        quiet = timeline.gaps([turn for turn in turns if turn.speaker != speaker], audio.duration)
        alone = timeline.intersect(own, quiet)
        long = sorted((s for s in alone if s.duration >= LEAST), key=lambda s: (-s.duration, s.start))
        chosen = sorted(windows_over(long, countermeasure.seconds)[:MOST])
        windows += chosen
        speakers += [speaker] * len(chosen)
    return _scores(countermeasure, windows, speakers, countermeasure(audio, windows), threshold)


def describe(scores: SpoofScores) -> str:
    """The advisory in one sentence, beside the error of the countermeasure."""
    name = scores.model.partition("@")[0]
    speakers = [each for each in dict.fromkeys(window.speaker for window in scores.windows) if each is not None]
    values = [f"{each} {scores.score(each):+.2f}" for each in speakers]
    overall = scores.score()
    if overall is None:
        what = "there is not enough speech for a score"
    elif values:
        what = ", ".join(values)
    else:
        what = f"{overall:+.2f}"
    limit = "an advisory" if scores.threshold is None else f"your threshold is {scores.threshold:g}"
    return f"{BEGINNING}({name}): {what}; above 0 speaks for a live voice; {limit}; {scores.error}"


def as_dict(scores: SpoofScores) -> dict[str, Any]:
    """Plain data, ready for JSON."""
    overall = scores.score()
    return {
        "model": scores.model,
        "error": scores.error,
        "threshold": scores.threshold,
        "score": None if overall is None else round(overall, 4),
        "lowest": min((window.score for window in scores.windows), default=None),
        "suspected": scores.suspects(),
        "windows": [{"start": w.start, "end": w.end, "score": w.score} for w in scores.windows],
    }


def _scores(
    countermeasure: Countermeasure,
    windows: Sequence[Segment],
    speakers: Sequence[str | None],
    values: Iterable[float],
    threshold: float | None,
) -> SpoofScores:
    rows = (
        SpoofWindow(round_time(w.start), max(round_time(w.end), round_time(w.start) + 0.001), round(float(v), 4), s)
        for w, v, s in zip(windows, values, speakers, strict=True)
    )
    return SpoofScores(countermeasure.name, countermeasure.error, tuple(rows), threshold)
