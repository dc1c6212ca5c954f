"""Time and words that a reference leaves out of the scores or open. Expected counts are those of sclite and md-eval."""

from __future__ import annotations

from pathlib import Path

import pytest

from diarize.formats import transcript_json
from diarize.formats.alternatives import OpenChoice
from diarize.metrics.counts import WordErrors
from diarize.types import Errors, Segment, Speaker, Transcript, Turn, Word
from pipelines.evaluation import alternatives
from pipelines.evaluation.evaluate import EvaluationRequest, evaluate
from pipelines.evaluation.scores import Evaluation, Rules


def run(
    folder: Path, reference: tuple[str, str], hypothesis: tuple[str, str], rules: Rules | None = None
) -> Evaluation:
    paths = []
    for side, (name, text) in (("ref", reference), ("hyp", hypothesis)):
        paths.append(folder / side / name)
        paths[-1].parent.mkdir(exist_ok=True)
        paths[-1].write_text(text, encoding="utf-8")
    return evaluate(EvaluationRequest(paths[0], (paths[1],), rules=rules or Rules()))


IGNORED = (
    "rec 1 inter_segment_gap 0 10 <o,,unknown> ignore_time_segment_in_scoring\n"
    "rec 1 SpkA 10 20 <o,f0,male> one two three four\n"
    "rec 1 inter_segment_gap 20 30 <o,,unknown> ignore_time_segment_in_scoring\n"
)


def test_ignored_time_is_not_scored(tmp_path: Path) -> None:
    hypothesis = "rec 1 S1 2 8 intro music words\nrec 1 S1 10 20 one two three four\n"
    evaluation = run(tmp_path, ("a.stm", IGNORED), ("b.stm", hypothesis))
    score = evaluation.systems[0].pooled
    for errors in (score.wer, score.cpwer, score.tcpwer, score.orcwer):
        assert errors == WordErrors(length=4)
    assert score.errors == Errors(total=10) and score.speakers == ((1, 1),)
    assert evaluation.timelines["rec"].scored == (Segment(10, 20),)
    assert [note for note in evaluation.notes if note.startswith("the reference leaves 20.0 s of 1 recording out")]


def test_words_of_an_utterance_that_reaches_into_ignored_time_are_left_out(tmp_path: Path) -> None:
    # Words of 2 s each: the middles of "intro" and "words" are before 10 s, as sclite counts them.
    words = [(6, 8, "intro"), (8, 10, "words"), (10, 12, "one"), (12, 14, "two"), (14, 16, "three"), (16, 18, "four")]
    ctm = "".join(f"rec 1 {start} {end - start} {text}\n" for start, end, text in words)
    evaluation = run(tmp_path, ("a.stm", IGNORED), ("b.ctm", ctm))
    assert evaluation.systems[0].pooled.wer == WordErrors(length=4)
    talk = Transcript(
        "rec", 30, None, (Speaker("S1"),), (Turn(6, 18, "S1"),), tuple(Word(a, b, t, speaker="S1") for a, b, t in words)
    )
    evaluation = run(tmp_path, ("a.stm", IGNORED), ("b.json", transcript_json.dumps(talk)))
    assert evaluation.systems[0].pooled.cpwer == WordErrors(length=4)
    stm = "rec 1 S1 6 18 " + " ".join(text for _, _, text in words) + "\n"
    evaluation = run(tmp_path, ("a.stm", IGNORED), ("b.stm", stm))
    assert evaluation.systems[0].pooled.orcwer == WordErrors(length=4)


@pytest.mark.parametrize("collar", [0.0, 0.25])
def test_noscore_has_the_errors_of_md_eval(tmp_path: Path, collar: float) -> None:
    reference = (
        "SPEAKER r 1 0.0 5.0 <NA> <NA> A <NA> <NA>\n"
        "SPEAKER r 1 5.0 5.0 <NA> <NA> B <NA> <NA>\n"
        "NOSCORE r 1 3.0 4.0 <NA> <NA> <NA> <NA> <NA>\n"
        "SPEAKER r 1 12.0 4.0 <NA> <NA> A <NA> <NA>\n"
    )
    hypothesis = (
        "SPEAKER r 1 0.0 4.0 <NA> <NA> x <NA> <NA>\n"
        "SPEAKER r 1 4.0 6.0 <NA> <NA> x <NA> <NA>\n"
        "SPEAKER r 1 10.5 3.0 <NA> <NA> y <NA> <NA>\n"
    )
    rules = Rules(collar, convention="md-eval")
    errors = run(tmp_path, ("a.rttm", reference), ("b.rttm", hypothesis), rules).systems[0].pooled.errors
    assert errors is not None
    expected = {0.0: (2.5, 1.5, 3.0, 10.0), 0.25: (2.25, 1.25, 2.75, 9.0)}  # md-eval 22 -c COLLAR
    assert (errors.missed, errors.false_alarm, errors.confusion, errors.total) == pytest.approx(expected[collar])


def test_all_of_a_recording_may_be_unscored(tmp_path: Path) -> None:
    reference = "SPEAKER r 1 0 5 <NA> <NA> A <NA> <NA>\nNOSCORE r 1 0 9 <NA> <NA> <NA> <NA> <NA>\n"
    hypothesis = "SPEAKER r 1 1 6 <NA> <NA> x <NA> <NA>\n"
    assert run(tmp_path, ("a.rttm", reference), ("b.rttm", hypothesis)).systems[0].pooled.errors == Errors()
    reference = "SPEAKER q 1 0 5 <NA> <NA> A <NA> <NA>\nNOSCORE r 1 0 9 <NA> <NA> <NA> <NA> <NA>\n"
    hypothesis += "SPEAKER q 1 0 5 <NA> <NA> x <NA> <NA>\n"
    assert run(tmp_path, ("a.rttm", reference), ("b.rttm", hypothesis)).systems[0].pooled.errors == Errors(total=5)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),  # substitutions, deletions, insertions, length: sclite -D
    [
        ("i have { um / uh / @ } as far", "i have as far", (0, 0, 0, 4)),
        ("i have { um / uh / @ } as far", "i have uh as far", (0, 0, 0, 5)),
        ("i have { um / uh / @ } as far", "i have oh as far", (0, 0, 1, 4)),
        ("we { cannot / can not } go", "we can go", (0, 1, 0, 4)),
        ("we { cannot / can not { at all / ever } } go", "we can not ever go", (0, 0, 0, 5)),
        ("i (uh) am here", "i am here", (0, 0, 0, 4)),
        ("i (uh) am here", "i uh am here", (0, 0, 0, 4)),
        ("i (uh) am here", "i oh am here", (1, 0, 0, 4)),
        ("i @ am here", "i am here", (0, 0, 0, 3)),
        ("i @ am here", "i uh am here", (0, 0, 1, 3)),
        ("i {um/uh} am", "i uh am", (0, 0, 0, 3)),
        ("i { (um) / uh } am", "i am", (0, 0, 0, 3)),
        ("i { um } am", "i am", (0, 1, 0, 3)),
    ],
)
def test_alternatives_have_the_errors_of_sclite(
    tmp_path: Path, reference: str, hypothesis: str, counts: tuple[int, int, int, int]
) -> None:
    ctm = "".join(f"r 1 {1 + i / 2} 0.2 {word}\n" for i, word in enumerate(hypothesis.split()))
    evaluation = run(tmp_path, ("a.stm", f"r 1 A 0 10 {reference}\n"), ("b.ctm", ctm))
    score = evaluation.systems[0].pooled
    expected = WordErrors(*counts)
    if "oh" in hypothesis and "(uh)" in reference:  # one insertion, and a word that may be missing, is one error too
        assert score.wer is not None and score.wer.rate == expected.rate
    else:
        assert score.wer == score.orcwer == expected
    stm = f"r 1 x 1 4 {hypothesis}\n"
    score = run(tmp_path, ("a.stm", f"r 1 A 0 10 {reference}\n"), ("b.stm", stm)).systems[0].pooled
    assert score.cpwer is not None and score.cpwer.rate == expected.rate


def test_a_hypothesis_leaves_nothing_open(tmp_path: Path) -> None:
    stm = "r 1 A 0 10 i { um / uh } am\nr 1 B 11 12 ignore_time_segment_in_scoring\n"
    evaluation = run(tmp_path, ("a.stm", "r 1 A 0 10 i uh am\n"), ("b.stm", stm))
    assert evaluation.systems[0].pooled.wer == WordErrors(1, 0, 0, 3)
    assert any(note.startswith("b.stm: only a reference can leave time or words open") for note in evaluation.notes)


def test_an_alignment_that_would_take_too_long_takes_first_options(monkeypatch: pytest.MonkeyPatch) -> None:
    passage = ("a", OpenChoice((("b",), ("c", "d"))), OpenChoice((("uh",), ()), optional=True))
    assert alternatives.resolve(passage, ["a", "c", "d"], ()) == alternatives.Resolved("a c d", 1)
    monkeypatch.setattr(alternatives, "MOST_CELLS", 10)
    assert alternatives.resolve(passage, ["a", "c", "d"], ()).text == "a b uh"


def test_skipped_segments_are_said(tmp_path: Path) -> None:
    evaluation = run(tmp_path, ("a.stm", "r 1 A 0 10 one\nr 1 A 11 11 two\n"), ("b.stm", "r 1 A 0 10 one\n"))
    assert evaluation.systems[0].pooled.wer == WordErrors(length=1)
    assert any(note.endswith("a.stm: 1 segment of length 0 skipped") for note in evaluation.notes)
