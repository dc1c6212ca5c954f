"""Words to speakers: by greatest overlap, else the nearest turn within a limit, else nobody (docs/method/labels.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from diarize.config import LabelConfig
from diarize.intervals import SpanIndex
from diarize.types import Turn, Word


def label(words: Iterable[Word], turns: Sequence[Turn], config: LabelConfig | None = None) -> tuple[Word, ...]:
    """The same words in the same order, each with the speaker of its time; a speaker it had before is forgotten.

    `turns` are sorted by start and may overlap. Each word is looked at alone, so that its place in the order and the
    words beside it make no difference:

    1. the speaker whose turns share most time with it. Equal shares, as for any word that lies wholly in the turns of
       two people, go to the one whose turn began last: somebody who cuts in is being heard. A word of zero length
       counts as shared by every turn around its instant.
    2. where no turn overlaps it, the speaker of the nearest turn that is at most `max_distance` seconds away; the
       earlier turn where two are equally near;
    3. else nobody: `speaker=None`.

    O((W + T) log T) where few turns overlap. Raises ValueError when turns are not sorted.
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
        # to the microsecond, as sums of floats hide that two shares are equal
        return max(shared, key=lambda speaker: (round(shared[speaker], 6), began[speaker]))
    if not turns:
        return None
    nearest = index.closest(word)
    return turns[nearest].speaker if index.gap(nearest, word) <= max_distance else None
