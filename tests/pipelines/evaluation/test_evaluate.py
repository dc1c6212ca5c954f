"""The recipe: hypotheses against a reference, and what is written of it."""

from __future__ import annotations

import csv
import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pyannote.core import Annotation, Timeline
from pyannote.core import Segment as Stretch
from pyannote.metrics.diarization import DiarizationErrorRate

from diarize.errors import ConfigError, FormatError, MissingExtra, OutputError
from diarize.formats import rttm, transcript_json, uem
from diarize.types import Errors, Speaker, Transcript, Turn, Word
from pipelines.evaluation import evaluate as recipe
from pipelines.evaluation import report
from pipelines.evaluation.evaluate import EvaluationRequest, evaluate
from pipelines.evaluation.scores import MEASURES, Rules, Score
from tests.shared import SHARED, needs_shared

Write = Callable[[str, str], Path]


def lines(recording: str, *turns: tuple[float, float, str]) -> str:
    return "".join(f"SPEAKER {recording} 1 {a:.3f} {b - a:.3f} <NA> <NA> {who} <NA> <NA>\n" for a, b, who in turns)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return put


@pytest.fixture
def case(write: Write, tmp_path: Path) -> EvaluationRequest:
    """Two recordings, a good system and a bad one."""
    write("ref/one.rttm", lines("one", (0, 5, "A"), (5, 10, "B")))
    write("ref/two.rttm", lines("two", (0, 10, "A")))
    write("good.rttm", lines("one", (0, 5, "x"), (5, 9, "y")) + lines("two", (0, 10, "x")))
    write("bad.rttm", lines("one", (0, 10, "x")) + lines("two", (0, 5, "x"), (5, 12, "y")))
    return EvaluationRequest(tmp_path / "ref", (tmp_path / "good.rttm", tmp_path / "bad.rttm"))


def test_counts_add_over_recordings_and_the_best_is_marked(case: EvaluationRequest) -> None:
    found = evaluate(case)
    good, bad = found.systems
    assert found.recordings == ("one", "two")
    assert good.pooled.errors == Errors(1, 0, 0, 20) and good.pooled.errors.rate == 0.05
    assert bad.pooled.errors == Errors(0, 2, 10, 20)
    assert bad.scores["two"].errors == Errors(0, 2, 5, 10)
    assert found.best("der") == {"good.rttm"} and found.best("wer") == frozenset()
    assert found.best("missed") == {"bad.rttm"}
    assert good.pooled.count_table() == {(2, 2): 1, (1, 1): 1} and bad.pooled.count_table() == {(2, 1): 1, (1, 2): 1}
    low, high = bad.intervals["der"]
    assert (low, high) == (0.5, 0.7)  # one recording has 0.5, the other 0.7


def test_equal_systems_are_both_best_and_one_alone_is_not(case: EvaluationRequest, write: Write) -> None:
    same = write("same.rttm", (case.hypotheses[0]).read_text())
    found = evaluate(replace(case, hypotheses=(case.hypotheses[0], same)))
    assert found.best("der") == {"good.rttm", "same.rttm"}
    assert evaluate(replace(case, hypotheses=(same,))).best("der") == frozenset()


def test_scores_add_and_rates_do_not() -> None:
    one = Score(errors=Errors(1, 0, 0, 2), speakers=((1, 1),))
    assert sum([one, one]) == Score(errors=Errors(2, 0, 0, 4), speakers=((1, 1), (1, 1)))
    assert one + Score() == one
    with pytest.raises(TypeError, match="a mean of rates is no rate"):
        sum([one.errors.rate, one])  # type: ignore[union-attr, list-item]
    with pytest.raises(TypeError):
        one + 0.5  # type: ignore[operator]


def test_a_uem_limits_what_counts(case: EvaluationRequest, write: Write) -> None:
    marks = write("all.uem", "one 1 0 9\ntwo 1 0 5\n")
    found = evaluate(replace(case, uem=marks))
    assert found.systems[0].pooled.errors == Errors(0, 0, 0, 14)
    assert found.systems[1].pooled.errors == Errors(0, 0, 4, 14)


def test_a_missing_recording_is_an_error_unless_it_is_allowed(case: EvaluationRequest, write: Write) -> None:
    write("good.rttm", lines("one", (0, 5, "x")) + lines("three", (0, 5, "x")))
    with pytest.raises(ConfigError) as caught:
        evaluate(case)
    assert "'two' is missing in good.rttm" in str(caught.value)
    assert "'three' is missing in the reference, bad.rttm" in str(caught.value)
    assert "--allow-missing" in str(caught.value)
    found = evaluate(replace(case, allow_missing=True))
    assert found.recordings == ("one",) and len(found.systems[1].scores) == 1
    assert "not scored: 'two' is missing in good.rttm" in found.notes


def test_a_recording_that_is_called_after_its_folder_is_told_from_a_missing_one(
    case: EvaluationRequest, write: Write
) -> None:
    write("good.rttm", lines("one", (0, 5, "x")) + lines("meetings--two", (0, 5, "x")))
    with pytest.raises(ConfigError, match="'meetings--two' has the name of a folder in its id"):
        evaluate(case)


def test_a_recording_that_the_uem_lacks_is_missing_too(case: EvaluationRequest, write: Write) -> None:
    with pytest.raises(ConfigError, match="'two' is missing in the UEM"):
        evaluate(replace(case, uem=write("all.uem", "one 1 0 9\n")))


def test_a_uem_may_know_more_recordings(case: EvaluationRequest, write: Write) -> None:
    marks = write("all.uem", "one 1 0 9\ntwo 1 0 5\nthree 1 0 9\n")
    assert evaluate(replace(case, uem=marks)).recordings == ("one", "two")


def test_nothing_in_common_is_nothing_to_score(case: EvaluationRequest, write: Write) -> None:
    write("good.rttm", lines("three", (0, 5, "x")))
    with pytest.raises(FormatError, match="nothing to score"):
        evaluate(replace(case, allow_missing=True))


def test_words_against_turns_is_nothing_to_score(case: EvaluationRequest, write: Write) -> None:
    words = write("words.ctm", "one 1 0 1 hello\ntwo 1 0 1 hello\n")
    with pytest.raises(FormatError, match="nothing to score"):
        evaluate(replace(case, hypotheses=(words,)))


@pytest.mark.parametrize(
    "rules",
    [
        Rules(collar=-0.1),
        Rules(collar=float("nan")),
        Rules(tolerance=float("inf")),
        Rules(word_collar=-1),
        Rules(convention="nist"),  # type: ignore[arg-type]
        Rules(normalise=("lowre",)),
        Rules(resamples=0),
        Rules(level=1.0),
    ],
)
def test_settings_out_of_range_are_refused(case: EvaluationRequest, rules: Rules) -> None:
    with pytest.raises(ConfigError):
        evaluate(replace(case, rules=rules))


def test_without_its_packages_it_says_what_to_install(case: EvaluationRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe, "_PACKAGES", ("no_such_parent.metrics",))
    with pytest.raises(MissingExtra, match=r"diarize-pipeline\[evaluate\]"):
        evaluate(case)


def test_systems_of_one_name_are_told_apart_by_their_paths(case: EvaluationRequest, write: Write) -> None:
    text = case.hypotheses[0].read_text()
    paths = write("a/out.rttm", text), write("b/out.rttm", text)
    assert [s.name for s in evaluate(replace(case, hypotheses=paths)).systems] == [str(path) for path in paths]
    with pytest.raises(ConfigError, match="the same one twice"):
        evaluate(replace(case, hypotheses=(paths[0], paths[0])))
    with pytest.raises(ConfigError, match="at least one"):
        evaluate(replace(case, hypotheses=()))


def transcript(words: bool, name: str | None) -> Transcript:
    return Transcript(
        recording="talk",
        duration=9.0,
        speakers=(Speaker("S1", name), Speaker("S2")),
        turns=(Turn(0, 4, "S1"), Turn(4, 9, "S2")),
        words=(Word(0.5, 1, "Hello", speaker="S1"), Word(4, 5, "yes", speaker="S2")) if words else (),
    )


def test_words_and_names_are_scored_where_both_sides_have_them(write: Write) -> None:
    reference = write("ref.stm", "talk 1 Ada 0 4 hello\ntalk 1 Ben 4 9 yes, well\n")
    hypothesis = write("out/talk/transcript.json", transcript_json.dumps(transcript(True, "Ada"))).parents[1]
    found = evaluate(EvaluationRequest(reference, (hypothesis,))).systems[0].pooled
    assert found.wer is not None and (found.wer.deletions, found.wer.length) == (1, 3)
    assert found.cpwer == found.tcpwer == found.orcwer == found.wer
    assert found.wder is not None and found.wder.rate == 0
    assert found.named is not None and (found.named.part, found.named.whole) == (4, 9)
    assert found.misnamed is not None and found.misnamed.part == 0


def test_names_of_which_none_is_in_the_reference_are_said(write: Write) -> None:
    reference = write("ref.stm", "talk 1 Ada 0 4 hello\ntalk 1 Ben 4 9 yes, well\n")
    folders = [
        write(f"{name}/talk/transcript.json", transcript_json.dumps(transcript(True, name))).parents[1]
        for name in ("Ada", "Reader Ada")
    ]
    found = evaluate(EvaluationRequest(reference, tuple(folders)))
    assert [note for note in found.notes if "exactly the same" in note] == [
        "Reader Ada: none of its names is in the reference (here 'Reader Ada', there 'Ada'): a name is right only if "
        "it is exactly the same"
    ]


def test_a_run_without_a_recognizer_is_not_blamed_for_words(write: Write) -> None:
    reference = write("ref.stm", "talk 1 Ada 0 4 hello\ntalk 1 Ben 4 9 yes\n")
    hypothesis = write("out/transcript.json", transcript_json.dumps(transcript(False, None)))
    found = evaluate(EvaluationRequest(reference, (hypothesis,)))
    assert found.systems[0].pooled.wer is None and found.systems[0].pooled.named is None
    assert found.notes == ("transcript.json: no words in any recording, so that measures of words are left out",)


def test_a_silent_recording_is_scored(write: Write, tmp_path: Path) -> None:
    write("ref/quiet.rttm", "")
    write("hyp/quiet.rttm", lines("quiet", (1, 3, "x")))
    found = evaluate(EvaluationRequest(tmp_path / "ref", (tmp_path / "hyp",)))
    assert found.systems[0].pooled.errors == Errors(0, 2, 0, 0)
    assert MEASURES["der"].rate(found.systems[0].pooled) == float("inf")
    shown = report.tables(found)[0]
    assert ("DER", "∞") in shown.rows and ("JER", "100.00 %") in shown.rows
    written = json.loads(json.dumps(report.as_json(found, {}), allow_nan=False))
    assert written["systems"][0]["pooled"]["der"] == {
        "part": 2.0,
        "whole": 0.0,
        "rate": None,
        "interval": None,
        "best": False,
    }


def test_tables_show_the_systems_side_by_side(case: EvaluationRequest) -> None:
    found = evaluate(case)
    pooled, by_recording, differences, *counts = report.tables(found)
    assert pooled.columns == ("measure", "good.rttm", "bad.rttm")
    assert pooled.rows[0] == ("DER", "5.00 % [0.00, 10.00] *", "60.00 % [50.00, 70.00]")
    assert all(len(row) == 3 for row in pooled.rows)
    assert by_recording.columns[:3] == ("recording", "system", "DER") and len(by_recording.rows) == 4
    assert by_recording.rows[1][:3] == ("one", "bad.rttm", "50.00 %") and by_recording.rows[1][-1] == "1 of 2"
    assert differences.title == "Difference from good.rttm" and differences.columns[1:] == ("bad.rttm",)
    assert counts[1].columns == ("speakers", "found 1", "found 2")
    assert counts[1].rows == (("there were 1", "", "1"), ("there were 2", "1", ""))
    said = "\n".join(report.describe_rules(found))
    assert "collar 0 s on each side" in said and "nfkc, lower, apostrophes, punctuation, unspaced" in said


def test_everything_is_written_and_the_same_each_time(case: EvaluationRequest, tmp_path: Path) -> None:
    found = evaluate(case)
    written = report.write(tmp_path / "out", found)
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "pictures/001-one.png",
        "pictures/002-two.png",
        "evaluation.csv",
        "evaluation.md",
        "evaluation.json",
    ]
    first = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in report.write(tmp_path / "out", evaluate(case))] == first
    with (tmp_path / "out/evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    der = next(row for row in rows if row["system"] == "bad.rttm" and not row["recording"] and row["measure"] == "der")
    assert (der["part"], der["whole"], der["rate"], der["low"], der["best"]) == (
        "12.000000",
        "20.000000",
        "0.600000",
        "0.500000",
        "",
    )
    values = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert values["systems"][0]["pooled"]["der"] == {
        "part": 1.0,
        "whole": 20.0,
        "rate": 0.05,
        "interval": [0.0, 0.1],
        "best": True,
    }
    assert values["systems"][1]["recordings"]["two"]["confusion"]["part"] == 5.0
    assert values["pictures"] == {"one": "pictures/001-one.png", "two": "pictures/002-two.png"}
    text = (tmp_path / "out/evaluation.md").read_text()
    assert "| DER | 5.00 % \\[0.00, 10.00\\] \\* | 60.00 % \\[50.00, 70.00\\] |" in text
    assert "- [one](pictures/001-one.png)" in text


def test_pictures_are_drawn_and_can_be_left_out(case: EvaluationRequest, tmp_path: Path) -> None:
    found = evaluate(case)
    written = report.write(tmp_path / "out", found)
    data = written[0].read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert data.startswith(b"\x89PNG") and width >= 900 and height > 150
    assert not any(p.suffix == ".png" for p in report.write(tmp_path / "bare", found, pictures=False))
    assert not (tmp_path / "bare/pictures").exists()


def test_a_place_that_cannot_be_written(case: EvaluationRequest, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        report.write(tmp_path / "file", evaluate(case))


def test_fault_36_hostile_names_are_inert_everywhere(write: Write, tmp_path: Path) -> None:
    names = ["=cmd()", "$x_1^{$", "a | b", "<script>alert(1)</script>", "\u202eturned", "名前", "x" * 10_000, ""]
    recording = "=HYPERLINK(1) | <b> $a$\n../../etc"
    turns = tuple(Turn(i, i + 1, name) for i, name in enumerate(names))
    talk = Transcript(recording, 9.0, speakers=tuple(Speaker(n, n or None) for n in names), turns=turns)
    reference = write("ref/transcript.json", transcript_json.dumps(talk))
    hypothesis = write("=sum|.rttm", rttm.dumps(talk))
    found = evaluate(EvaluationRequest(reference, (hypothesis, reference.parent)))
    written = report.write(tmp_path / "out", found)
    assert all(path.parent in (tmp_path / "out", tmp_path / "out/pictures") for path in written)
    with (tmp_path / "out/evaluation.csv").open(newline="") as file:
        for row in csv.reader(file):
            assert not any(cell.startswith(("=", "+", "@")) for cell in row)
    text = (tmp_path / "out/evaluation.md").read_text()
    assert "<b>" not in text.replace("\\<b\\>", "") and "\u202e" not in text
    columns = {line.replace("\\|", "").count("|") for line in text.splitlines() if line.startswith("| ")}
    assert len(columns) <= 3  # the three tables, each with rows of one width
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["recordings"] == [recording]


@needs_shared
@pytest.mark.parametrize(("collar", "skip"), [(0.0, False), (0.25, True)])
def test_real_diarization_has_the_der_of_pyannote_metrics(collar: float, skip: bool) -> None:
    folder = SHARED / "data" / "xvectors"
    request = EvaluationRequest(
        folder / "ES2005a.rttm", (folder / "ES2005a.vbx-output.rttm",), rules=Rules(collar=collar, skip_overlap=skip)
    )
    ours = evaluate(request).systems[0].pooled.errors
    sides = []
    for name in ("ES2005a.rttm", "ES2005a.vbx-output.rttm"):
        side = Annotation()
        for track, turn in enumerate(rttm.loads((folder / name).read_text(), name)["ES2005a"]):
            side[Stretch(turn.start, turn.end), track] = turn.speaker
        sides.append(side)
    ends = [stretch for side in sides for stretch in side.itersegments()]
    where = Timeline([Stretch(min(s.start for s in ends), max(s.end for s in ends))])
    theirs = DiarizationErrorRate(collar=2 * collar, skip_overlap=skip)(*sides, uem=where)
    assert ours is not None and ours.rate == pytest.approx(theirs, abs=1e-6)
    if not collar:
        assert ours.rate == pytest.approx(0.263, abs=5e-4)  # what the data's page says of it


@needs_shared
def test_two_references_of_real_meetings_in_one_folder() -> None:
    folder = SHARED / "data" / "ami-excerpts"
    with pytest.raises(ConfigError, match=r"dev00\.old\.rttm and .*dev00\.rttm"):
        evaluate(EvaluationRequest(folder, (folder / "dev00.old.rttm",)))
    found = evaluate(
        EvaluationRequest(folder, (folder / "dev00.old.rttm",), ignore=("*.old.rttm",), allow_missing=True)
    )
    assert found.recordings == ("dev00",)
    assert found.systems[0].pooled.errors is not None and 0 < found.systems[0].pooled.errors.rate < 1


@needs_shared
def test_a_folder_of_references_with_its_uems(tmp_path: Path) -> None:
    folder = SHARED / "data" / "sim-dev"
    found = evaluate(EvaluationRequest(folder, (folder,), uem=folder))
    assert found.recordings == ("dev2-phone", "dev3-close", "dev4-room", "dev5-close")
    assert found.systems[0].pooled.errors is not None and found.systems[0].pooled.errors.rate == 0
    marks = uem.loads((folder / "dev2-phone.uem").read_text(), "dev2-phone.uem")
    assert found.timelines["dev2-phone"].scored == marks["dev2-phone"]
