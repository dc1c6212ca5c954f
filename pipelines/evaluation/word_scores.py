"""Who said what, compared: MeetEval counts, this module brings both sides into the form that it counts in.

Utterances are what ORC-WER may assign to a speaker, and what cpWER joins; words in the order of their times, as finely
as a side has them, are what WER, tcpWER and WDER look at. Words of an utterance without times of their own share its
time by characters (MeetEval's `character_based`).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from diarize.metrics.counts import WordErrors, word_diarization_errors
from diarize.metrics.normalisation import normalised
from diarize.types import Segment
from pipelines.evaluation.files import Said, Side
from pipelines.evaluation.scores import Rules, Score

LONGEST = 10_000  # words, an hour of talk: aligning takes time and memory with their square (some 400 MB here)
MOST_STATES = 20_000_000  # of the exact ORC-WER, whose cost is the product of all speakers' words: some seconds


def score_words(
    reference: Side, hypothesis: Side, scored: Sequence[Segment] | None, rules: Rules
) -> tuple[Score, tuple[str, ...]]:
    """Every measure of words of one recording, and notes on how it was made.

    Text whose middle lies outside `scored` is left out. cpWER, tcpWER and WDER need speakers on both sides.
    """
    told, heard = (_prepared(side.utterances or (), scored, rules) for side in (reference, hypothesis))
    fine_told, fine_heard = (_prepared(side.timed or (), scored, rules) for side in (reference, hypothesis))
    pieces = _pieces(fine_told, fine_heard)
    orc = [_orc(*piece) for piece in _pieces(told, heard)]
    notes = []
    if len(pieces) > 1:
        notes.append(f"{reference.recording}: WER, ORC-WER and WDER in {len(pieces)} pieces, cut in pauses: it is long")
    if not all(exact for _, exact in orc):
        notes.append(f"{reference.recording}: ORC-WER by MeetEval's greedy search, which may come out a little higher")
    score = Score(
        wer=sum((_wer(*piece) for piece in pieces), WordErrors()),
        orcwer=sum((errors for errors, _ in orc), WordErrors()),
    )
    if not (_has_speakers(reference) and _has_speakers(hypothesis)):
        return score, tuple(notes)
    labels = [pair for piece in pieces for pair in _labels(*piece, rules.word_collar)]
    return (
        replace(
            score,
            cpwer=_cp(told, heard),
            tcpwer=_tcp(fine_told, fine_heard, rules.word_collar),
            wder=word_diarization_errors(labels),
        ),
        tuple(notes),
    )


def _has_speakers(side: Side) -> bool:
    """Whether a side labels words at all; a side without words has nobody to label."""
    return not side.timed or any(item.speaker is not None for item in side.timed)


def _prepared(said: Sequence[Said], scored: Sequence[Segment] | None, rules: Rules) -> list[Said]:
    """What lies inside `scored`, normalised, by start; without what is empty then."""
    kept = [
        replace(item, text=normalised(item.text, rules.normalise))
        for item in said
        if scored is None or any(segment.start <= item.middle < segment.end for segment in scored)
    ]
    return sorted((item for item in kept if item.text), key=lambda item: (item.start, item.end))


def _count(said: Sequence[Said]) -> int:
    return sum(len(item.text.split()) for item in said)


def _one_sided(told: Sequence[Said], heard: Sequence[Said]) -> WordErrors | None:
    """The errors where one side says nothing (or both); None where there is something to align."""
    if told and heard:
        return None
    return WordErrors(0, _count(told), _count(heard), _count(told))


def _seglst(said: Sequence[Said]) -> Any:
    """As MeetEval has it. Speakers are numbered: it knows nobody, and no empty name."""
    from meeteval.io import SegLST

    number: dict[str | None, str] = {}
    return SegLST(
        [
            {
                "session_id": "recording",
                "speaker": number.setdefault(item.speaker, f"speaker {len(number)}"),
                "start_time": item.start,
                "end_time": item.end,
                "words": item.text,
                "said_by": item.speaker,
            }
            for item in said
        ]
    )


def _errors(found: Any) -> WordErrors:
    return WordErrors(found.substitutions, found.deletions, found.insertions, found.length)


def _timed_words(said: Sequence[Said]) -> list[str]:
    from meeteval.wer.wer.time_constrained import get_pseudo_word_level_timings

    words = get_pseudo_word_level_timings(_seglst(said), "character_based")
    return [word["words"] for word in sorted(words, key=lambda word: word["start_time"])]


def _wer(told: Sequence[Said], heard: Sequence[Said]) -> WordErrors:
    from meeteval.wer import siso_word_error_rate

    trivial = _one_sided(told, heard)
    return trivial or _errors(siso_word_error_rate(*(" ".join(_timed_words(side)) for side in (told, heard))))


def _cp(told: Sequence[Said], heard: Sequence[Said]) -> WordErrors:
    from meeteval.wer import cp_word_error_rate

    return _one_sided(told, heard) or _errors(cp_word_error_rate(_seglst(told), _seglst(heard)))


def _tcp(told: Sequence[Said], heard: Sequence[Said], collar: float) -> WordErrors:
    from meeteval.wer.wer.time_constrained import tcp_word_error_rate

    with _quiet():
        return _one_sided(told, heard) or _errors(tcp_word_error_rate(_seglst(told), _seglst(heard), collar=collar))


def _orc(told: Sequence[Said], heard: Sequence[Said]) -> tuple[WordErrors, bool]:
    """ORC-WER, and whether it is the exact one."""
    from meeteval.wer import orc_word_error_rate
    from meeteval.wer.wer.orc import greedy_orc_word_error_rate

    if trivial := _one_sided(told, heard):
        return trivial, True
    words: dict[str | None, int] = {}
    for item in heard:
        words[item.speaker] = words.get(item.speaker, 1) + len(item.text.split())
    exact = prod(words.values()) * _count(told) <= MOST_STATES
    measure: Callable[..., Any] = orc_word_error_rate if exact else greedy_orc_word_error_rate
    with _quiet():
        return _errors(measure(_seglst(told), _seglst(heard))), exact


def _labels(told: Sequence[Said], heard: Sequence[Said], collar: float) -> list[tuple[str, str | None]]:
    """(reference speaker, hypothesis speaker) of every word that was recognized, rightly or not."""
    from meeteval.wer.wer.time_constrained import align

    if not (told and heard):
        return []
    with _quiet():
        pairs = align(_seglst(told), _seglst(heard), collar=collar, style="seglst")
    return [(repr(one["said_by"]), two["said_by"]) for one, two in pairs if one is not None and two is not None]


def _pieces(told: Sequence[Said], heard: Sequence[Said]) -> list[tuple[list[Said], list[Said]]]:
    """Both sides cut at the same pauses, so that a piece holds little more than `LONGEST` words of either side."""
    pieces: list[tuple[list[Said], list[Said]]] = [([], [])]
    words, reach = [0, 0], 0.0
    for item, side in sorted(
        [(item, 0) for item in told] + [(item, 1) for item in heard], key=lambda pair: (pair[0].start, pair[0].end)
    ):
        if max(words) >= LONGEST and item.start >= reach:
            pieces.append(([], []))
            words = [0, 0]
        pieces[-1][side].append(item)
        words[side] += len(item.text.split())
        reach = max(reach, item.end)
    return pieces


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MeetEval logs where utterances of one speaker overlap: the files say so themselves, and it changes nothing."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
