"""Words to speakers: by greatest overlap, else the nearest turn within a limit, else nobody (docs/method/labels.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from diarize.config import LabelConfig
from diarize.intervals import SpanIndex
from diarize.types import Turn, Word


def label(words: Iterable[Word], turns: Sequence[Turn], config: LabelConfig | None = None) -> tuple[Word, ...]:
    """The same words in the same order, each with a new speaker.

    `turns` are sorted by start and may overlap. Each word is labelled alone; its position and its neighbours do not
    matter:

    1. the speaker whose turns share most time with it. If shares are equal, as for a word inside the turns of two
       speakers, the one whose turn began last: usually the one who interrupts. A word of zero length is shared by all
       turns around it;
    2. if no turn overlaps it, the speaker of the nearest turn up to `max_distance` seconds away; of two equally near
       turns, the earlier one;
    3. else nobody: `speaker=None`.

    O((W + T) log T) if few turns overlap. Raises ValueError if turns are not sorted.
    """
    config = config or LabelConfig()
    index = SpanIndex(turns)
    return tuple(replace(word, speaker=_speaker(word, turns, index, config.max_distance)) for word in words)


def _speaker(word: Word, turns: Sequence[Turn], index: SpanIndex, max_distance: float) -> str | None:
    shared: dict[str, float] = {}
    began: dict[str, float] = {}
    for i in index.overlapping(word):
        turn = turns[i]
        shared[turn.speaker] = shared.get(turn.speaker, 0.0) + word.overlap(turn)
        began[turn.speaker] = turn.start  # turns are sorted, so this is the latest
    if shared:
        # Rounded to microseconds, as equal shares may differ as sums of floats.
        return max(shared, key=lambda speaker: (round(shared[speaker], 6), began[speaker]))
    if not turns:
        return None
    nearest = index.closest(word)
    return turns[nearest].speaker if index.gap(nearest, word) <= max_distance else None
