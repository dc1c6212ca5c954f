"""Words that cannot be of their recording are refused with both figures, unless they are forced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diarize.errors import FormatError
from diarize.types import Segment, Word
from diarize.words.recognition import describe_misplaced
from pipelines.inputs.jobs import LATEST_WORD, WordsFromFile


def words_file(folder: Path, *starts: float) -> Path:
    path = folder / "words.json"
    path.write_text(
        json.dumps([{"word": f"w{i}", "start": start, "end": start + 0.2} for i, start in enumerate(starts)])
    )
    return path


def test_words_after_the_end_are_refused_with_both_figures(tmp_path: Path) -> None:
    path = words_file(tmp_path, 2400, 9600)  # milliseconds
    with pytest.raises(FormatError) as caught:
        WordsFromFile(path, duration=14.885)()
    message = str(caught.value)
    assert "2 of 2 words begin after the end of the recording: the last one at 9600.0 s" in message
    assert "the recording lasts 14.9 s" in message and "--force" in message and str(path) in message
    words, _ = WordsFromFile(path)()
    assert [word.start for word in words] == [2400, 9600]


@pytest.mark.parametrize(("start", "refused"), [(14.0, False), (14.88 + LATEST_WORD, False), (17.0, True)])
def test_a_word_may_begin_little_after_the_end(tmp_path: Path, start: float, refused: bool) -> None:
    read = WordsFromFile(words_file(tmp_path, 1, start), duration=14.885)
    if refused:
        with pytest.raises(FormatError, match="1 of 2 words begin after"):
            read()
    else:
        assert len(read()[0]) == 2


def test_a_word_that_only_ends_late_is_no_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:13,000 --> 00:00:30,000\nword\n")
    assert WordsFromFile(path, duration=14.885)()[0] == (Word(13.0, 30.0, "word", None),)


def test_misplaced_words_are_noted() -> None:
    speech = (Segment(0, 10),)
    inside, outside = (
        [Word(i / 2, i / 2 + 0.3, "in") for i in range(12)],
        [Word(11 + i, 11.3 + i, "x") for i in range(13)],
    )
    assert describe_misplaced(inside, speech, 60) == ()
    assert describe_misplaced([*inside, *outside[1:]], speech, 60) == ()
    (note,) = describe_misplaced([*inside, *outside], speech, 60)
    assert note.startswith("13 of 25 words of the file are where no speech was detected")
    (note,) = describe_misplaced(inside, speech, 4)
    assert note.startswith("3 words of the file begin after the end of the recording (4.0 s), the last one at 5.5 s")
    assert describe_misplaced(outside, (), 60)[0].startswith("13 of 13 words")
    assert describe_misplaced((), (), 60) == describe_misplaced(outside[:2], (), 60) == ()
