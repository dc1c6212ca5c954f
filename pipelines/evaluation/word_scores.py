"""Who said what, compared: MeetEval counts, this module converts both sides for it.

Utterances are what ORC-WER may assign to a speaker, and what cpWER joins; words in the order of their times, as finely
as a side has them, are what WER, tcpWER and WDER look at. Words of an utterance without times of their own share its
time by characters (MeetEval's `character_based`).
"""

from __future__ import annotations

import contextlib
import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from diarize.metrics.counts import WordErrors, word_diarization_errors
from diarize.metrics.normalisation import normalised
from diarize.types import Segment
from pipelines.evaluation.alternatives import resolve
from pipelines.evaluation.files import RecordingAnnotation, TextSpan
from pipelines.evaluation.scores import Rules, Score

LONGEST = 10_000  # words, an hour of talk: aligning takes time and memory with their square (some 400 MB here)
MOST_STATES = 20_000_000  # of the exact ORC-WER, whose cost is the product of all speakers' words: some seconds


def score_words(
    reference: RecordingAnnotation, hypothesis: RecordingAnnotation, scored: Sequence[Segment] | None, rules: Rules
) -> tuple[Score, tuple[str, ...]]:
    """(every measure of words of one recording, notes on how it was computed).

    Text whose middle lies outside `scored` is left out, and so are words in what the reference says is not to be
    scored. cpWER, tcpWER and WDER need speakers on both sides.
    """
    spans = reference.unscored
    hyp, timed_hyp = (
        _prepare(texts or (), scored, spans, rules) for texts in (hypothesis.utterances, hypothesis.timed)
    )
    words = _spread(timed_hyp)
    resolved, absent = _resolve(reference.utterances or (), words, rules)
    ref = _prepare(resolved, scored, spans, rules)
    same = reference.timed is reference.utterances
    timed_ref = ref if same else _prepare(_resolve(reference.timed or (), words, rules)[0], scored, spans, rules)
    pieces = _cut(timed_ref, timed_hyp)
    orc = [_orc(*piece) for piece in _cut(ref, hyp)]
    notes = []
    if len(pieces) > 1:
        notes.append(f"{reference.recording}: WER, ORC-WER and WDER in {len(pieces)} pieces, cut in pauses: it is long")
    if not all(exact for _, exact in orc):
        notes.append(f"{reference.recording}: ORC-WER by MeetEval's greedy search, which may give a little more")
    correct = WordErrors(length=absent)
    score = Score(
        wer=sum((_wer(*piece) for piece in pieces), correct),
        orcwer=sum((errors for errors, _ in orc), correct),
    )
    if not (_has_speakers(reference) and _has_speakers(hypothesis)):
        return score, tuple(notes)
    labels = [pair for piece in pieces for pair in _labels(*piece, rules.word_collar)]
    return (
        replace(
            score,
            cpwer=_cp(ref, hyp) + correct,
            tcpwer=_tcp(timed_ref, timed_hyp, rules.word_collar) + correct,
            wder=word_diarization_errors(labels),
        ),
        tuple(notes),
    )


def _has_speakers(side: RecordingAnnotation) -> bool:
    """Whether words have speakers; true also where there are no words."""
    return not side.timed or any(item.speaker is not None for item in side.timed)


def _prepare(
    texts: Sequence[TextSpan], scored: Sequence[Segment] | None, unscored: Sequence[Segment], rules: Rules
) -> list[TextSpan]:
    """The texts inside `scored`, without words in `unscored`, normalised, by start; without those that are empty."""
    inside = [
        replace(cut, text=normalised(cut.text, rules.normalise), words=())
        for item in texts
        if scored is None or any(segment.start <= item.middle < segment.end for segment in scored)
        if (cut := _cut_out(item, unscored)) is not None
    ]
    return sorted((item for item in inside if item.text), key=lambda item: (item.start, item.end))


def _cut_out(item: TextSpan, unscored: Sequence[Segment]) -> TextSpan | None:
    """The text without the words whose middle is in `unscored`, as sclite does; None where no word remains.

    A text beside all of `unscored` is not changed. Words without times share the time of the text by their characters.
    """
    if not any(span.start <= item.end and item.start <= span.end for span in unscored):
        return item
    words = item.words or _words_of(item)
    rest = [word for word in words if not any(span.start <= word.middle < span.end for span in unscored)]
    if len(rest) == len(words):
        return item
    if not rest:
        return None
    start, end = min(word.start for word in rest), max(word.end for word in rest)
    return replace(item, start=start, end=end, text=" ".join(word.text for word in rest))


def _words_of(item: TextSpan) -> list[TextSpan]:
    """The words of a text, its time divided among them by characters (MeetEval's `character_based`)."""
    texts = item.text.split()
    pace = (item.end - item.start) / max(1, sum(map(len, texts)))
    words, at = [], item.start
    for text in texts:
        words.append(TextSpan(at, at + pace * len(text), item.speaker, text))
        at += pace * len(text)
    return words


def _spread(texts: Sequence[TextSpan]) -> list[TextSpan]:
    """The single words of texts, by their middle."""
    return sorted((word for item in texts for word in _words_of(item)), key=lambda word: word.middle)


def _resolve(texts: Sequence[TextSpan], words: Sequence[TextSpan], rules: Rules) -> tuple[list[TextSpan], int]:
    """(the texts, with what they leave open decided by the words of the hypothesis in their time, words that may be
    missing and are).
    """
    middles = [word.middle for word in words]
    resolved, absent = [], 0
    for item in texts:
        if item.passage is not None:
            near = words[bisect_left(middles, item.start) : bisect_left(middles, item.end)]
            decided = resolve(item.passage, [word.text for word in near], rules.normalise)
            absent += decided.absent
            item = replace(item, text=decided.text, passage=None)
        resolved.append(item)
    return resolved, absent


def _count(texts: Sequence[TextSpan]) -> int:
    return sum(len(item.text.split()) for item in texts)


def _one_sided(ref: Sequence[TextSpan], hyp: Sequence[TextSpan]) -> WordErrors | None:
    """The errors where a side has no words; None where there is something to align."""
    if ref and hyp:
        return None
    return WordErrors(0, _count(ref), _count(hyp), _count(ref))


def _seglst(texts: Sequence[TextSpan]) -> Any:
    """For MeetEval. Speakers are numbered, as it accepts neither None nor an empty name."""
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
            for item in texts
        ]
    )


def _errors(rate: Any) -> WordErrors:
    """From MeetEval's error rate."""
    return WordErrors(rate.substitutions, rate.deletions, rate.insertions, rate.length)


def _timed_words(texts: Sequence[TextSpan]) -> list[str]:
    from meeteval.wer.wer.time_constrained import get_pseudo_word_level_timings

    words = get_pseudo_word_level_timings(_seglst(texts), "character_based")
    return [word["words"] for word in sorted(words, key=lambda word: word["start_time"])]


def _wer(ref: Sequence[TextSpan], hyp: Sequence[TextSpan]) -> WordErrors:
    from meeteval.wer import siso_word_error_rate

    trivial = _one_sided(ref, hyp)
    return trivial or _errors(siso_word_error_rate(*(" ".join(_timed_words(side)) for side in (ref, hyp))))


def _cp(ref: Sequence[TextSpan], hyp: Sequence[TextSpan]) -> WordErrors:
    from meeteval.wer import cp_word_error_rate

    return _one_sided(ref, hyp) or _errors(cp_word_error_rate(_seglst(ref), _seglst(hyp)))


def _tcp(ref: Sequence[TextSpan], hyp: Sequence[TextSpan], collar: float) -> WordErrors:
    from meeteval.wer.wer.time_constrained import tcp_word_error_rate

    with _quiet():
        return _one_sided(ref, hyp) or _errors(tcp_word_error_rate(_seglst(ref), _seglst(hyp), collar=collar))


def _orc(ref: Sequence[TextSpan], hyp: Sequence[TextSpan]) -> tuple[WordErrors, bool]:
    """ORC-WER, and whether it is the exact one."""
    from meeteval.wer import orc_word_error_rate
    from meeteval.wer.wer.orc import greedy_orc_word_error_rate

    if trivial := _one_sided(ref, hyp):
        return trivial, True
    words: dict[str | None, int] = {}
    for item in hyp:
        words[item.speaker] = words.get(item.speaker, 1) + len(item.text.split())
    exact = prod(words.values()) * _count(ref) <= MOST_STATES
    measure: Callable[..., Any] = orc_word_error_rate if exact else greedy_orc_word_error_rate
    with _quiet():
        return _errors(measure(_seglst(ref), _seglst(hyp))), exact


def _labels(ref: Sequence[TextSpan], hyp: Sequence[TextSpan], collar: float) -> list[tuple[str, str | None]]:
    """(reference speaker, hypothesis speaker) of every correct or substituted word."""
    from meeteval.wer.wer.time_constrained import align

    if not (ref and hyp):
        return []
    with _quiet():
        pairs = align(_seglst(ref), _seglst(hyp), collar=collar, style="seglst")
    return [(repr(one["said_by"]), two["said_by"]) for one, two in pairs if one is not None and two is not None]


def _cut(ref: Sequence[TextSpan], hyp: Sequence[TextSpan]) -> list[tuple[list[TextSpan], list[TextSpan]]]:
    """Both sides cut at the same pauses, into pieces of little more than `LONGEST` words of either side."""
    pieces: list[tuple[list[TextSpan], list[TextSpan]]] = [([], [])]
    words, reach = [0, 0], 0.0
    for item, side in sorted(
        [(item, 0) for item in ref] + [(item, 1) for item in hyp], key=lambda pair: (pair[0].start, pair[0].end)
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
    """Without MeetEval's warnings about overlapping utterances of one speaker, which do not change the result."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
