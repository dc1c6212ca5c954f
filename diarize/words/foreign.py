"""Speakers that come with words from a file: turns made of them, or how far they agree with a recording's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from diarize import timeline
from diarize.config import LabelConfig
from diarize.text import counted
from diarize.types import Segment, Turn, Word
from diarize.units import round_time
from diarize.words import labelling

_SHOWN = 5  # speakers that a note lists
_SHORTEST = 0.001  # s, of a turn: words may have no length


def turns_of(words: Sequence[Word], duration: float, gap: float) -> tuple[Turn, ...]:
    """The turns of the speakers of words, within a recording of `duration` s; sorted.

    Words of one speaker that are at most `gap` s apart are one turn. Words without a speaker are in no turn.
    """
    spans: dict[str, list[Segment]] = {}
    for word in words:
        start, end = round_time(word.start), round_time(min(max(word.end, word.start + _SHORTEST), duration))
        if word.speaker and start < end:
            spans.setdefault(word.speaker, []).append(Segment(start, end))
    turns = [Turn(s.start, s.end, speaker) for speaker, own in spans.items() for s in timeline.union(own, gap)]
    return tuple(sorted(turns, key=lambda turn: (turn.start, turn.end, turn.speaker)))


def label(words: Sequence[Word], turns: Sequence[Turn], config: LabelConfig) -> tuple[Word, ...]:
    """The words with their own speakers; those without one get theirs from the turns (`labelling.label`)."""
    speakers = {turn.speaker for turn in turns}
    by_turns = labelling.label(words, turns, config)
    return tuple(word if word.speaker in speakers else labelled for word, labelled in zip(words, by_turns, strict=True))


def describe(words: Sequence[Word], labelled: Sequence[Word], config: LabelConfig) -> tuple[str, ...]:
    """A note on the speakers of a file of words, and what was done with them; none without speakers.

    `words` as in the file, `labelled` the same ones with the speakers of the transcript.
    """
    names = list(dict.fromkeys(word.speaker for word in words if word.speaker))
    if config.speakers_from != "recording" and not names:
        return ("words: the file has no speakers: those of the recording are used",)
    if not names:
        return ()
    listed = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    of_file = f"words: the file has {counted(len(names), 'speaker')} ({listed})"
    if config.speakers_from == "transcript":
        without = sum(not word.speaker for word in words)
        rest = f"; {counted(without, 'word')} without a speaker in the file, labelled by the turns" if without else ""
        return (f"{of_file}: turns and speakers are those of the file{rest}",)
    if config.speakers_from == "compare":
        return (f"{of_file}: compared with those of the recording, which are used: {_compare(words, labelled)}",)
    return (
        f"{of_file}: not used, the speakers are those of the recording; --speakers-from transcript takes those of the "
        "file, --speakers-from compare compares both",
    )


def _compare(words: Sequence[Word], labelled: Sequence[Word]) -> str:
    """How many words have the same speaker in the file and in the recording, under the best mapping one to one."""
    from scipy.optimize import linear_sum_assignment

    pairs = Counter(
        (a.speaker, b.speaker) for a, b in zip(words, labelled, strict=True) if a.speaker and b.speaker is not None
    )
    if not pairs:
        return "no word has a speaker in both"
    left, right = (sorted({str(pair[side]) for pair in pairs}) for side in (0, 1))
    counts = np.array([[pairs[a, b] for b in right] for a in left])
    rows, columns = linear_sum_assignment(-counts)
    mapping = [(left[a], right[b]) for a, b in zip(rows, columns, strict=True) if counts[a, b]]
    same, total = int(counts[rows, columns].sum()), int(counts.sum())
    shown = ", ".join(f"{a} = {b}" for a, b in mapping[:_SHOWN]) + (", ..." if len(mapping) > _SHOWN else "")
    return f"{100 * same / total:.1f} % of {counted(total, 'word')} have the same one ({shown})"
