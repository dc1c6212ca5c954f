"""Chunks of speech, words out of tokens, and doubts about the result."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize import text, timeline
from diarize.types import Segment, Word
from diarize.words import recognition

RATE = 1_000  # Hz; nothing here depends on it


def sound(seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.full(round(seconds * RATE), 0.5, dtype=np.float32)


def cut(*speech: tuple[float, float], longest: float = 30.0, pause: float = 2.0) -> list[tuple[float, float]]:
    segments = [Segment(*s) for s in speech]
    return [(c.start, c.end) for c in recognition.chunks(sound(200.0), RATE, segments, longest, pause)]


def test_neighbours_share_a_chunk_and_long_pauses_part_them() -> None:
    assert cut((1.0, 4.0), (5.0, 9.0), (11.0, 12.0), (14.1, 15.0)) == [(1.0, 12.0), (14.1, 15.0)]


def test_a_full_chunk_ends_at_its_longest_late_pause() -> None:
    speech = ((0.0, 9.0), (10.5, 16.0), (16.9, 24.0), (24.2, 28.0), (28.3, 40.0))
    assert cut(*speech) == [(0.0, 16.0), (16.9, 40.0)]  # 0.9 s, as the pause of 1.5 s lies in the first half


def test_speech_longer_than_a_chunk_is_cut_where_it_is_quietest() -> None:
    samples = sound(70.0)
    samples[round(22.3 * RATE) : round(22.6 * RATE)] = 0.01
    samples[round(5.0 * RATE) : round(6.0 * RATE)] = 0.0  # quieter, but too early
    chunks = recognition.chunks(samples, RATE, [Segment(0.5, 45.0)], 30.0, 2.0)
    assert len(chunks) == 2
    assert chunks[0].end == chunks[1].start
    assert 22.4 <= chunks[0].end <= 22.5


def test_where_all_is_equally_loud_the_cut_is_as_late_as_it_can_be() -> None:
    (first, *_), *rest = cut((0.0, 100.0)), cut((0.0, 100.0))
    assert 29.8 <= first[1] <= 30.0
    assert len(rest[0]) == 4


def test_speech_beyond_the_sound_is_left_out() -> None:
    assert cut((190.0, 210.0), (220.0, 230.0)) == [(190.0, 200.0)]
    assert recognition.chunks(sound(0.0), RATE, [Segment(0.0, 1.0)], 30.0, 2.0) == ()
    assert cut((1.0, 1.0 + 1e-9)) == []  # no sample at all


def test_chunks_have_a_least_length() -> None:
    with pytest.raises(ValueError, match="longer than"):
        cut((0.0, 1.0), longest=0.4)


milliseconds = st.integers(0, 200_000)


@given(st.lists(st.tuples(milliseconds, st.integers(1, 70_000)), max_size=20), st.sampled_from([1.0, 15.0, 30.0]))
def test_chunks_are_short_enough_disjoint_and_cover_all_speech(spans: list[tuple[int, int]], longest: float) -> None:
    speech = timeline.intersect(
        timeline.union(Segment(start / 1000, (start + length) / 1000) for start, length in spans), [Segment(0.0, 200.0)]
    )
    chunks = recognition.chunks(sound(200.0), RATE, speech, longest, 0.5)
    assert all(chunk.duration <= longest + 1e-9 for chunk in chunks)
    assert all(a.end <= b.start for a, b in itertools.pairwise(chunks))
    assert timeline.total(timeline.intersect(timeline.union(chunks), speech)) == pytest.approx(timeline.total(speech))
    within = [timeline.gaps([Segment(0.0, max(c.start, 1e-9)), *speech], c.end) for c in chunks]
    assert all(gap.duration <= 0.5 + 1e-9 for gaps in within for gap in timeline.intersect(gaps, chunks))


def tokens(*texts: str) -> list[Word]:
    return [Word(i / 10, (i + 1) / 10, text, 0.9) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("heard", "words"),
    [
        ((" Well", "-known", ","), ["Well-known,"]),
        ((" it", "'s", " 3", ".5", " %"), ["it's", "3.5", "%"]),
        (("Hello", " there"), ["Hello", "there"]),
        (("私", "は", " Python", "が", "好", "き", "。"), ["私", "は", "Python", "が", "好", "き", "。"]),
        ((" ก", "ำ", "ล", "ั", "ง"), ["ก", "ำ", "ลั", "ง"]),  # U+0E31 is a mark, U+0E33 counts as a letter
        ((" नमस", "्ते", " दुनिया"), ["नमस्ते", "दुनिया"]),
        ((" שלום", " עולם", "!"), ["שלום", "עולם!"]),
        ((" 안녕", "하세요"), ["안녕하세요"]),
        ((" مرحبا", "،", " يا"), ["مرحبا،", "يا"]),
        ((" e", "\u0301", "te"), ["e\u0301te"]),
        (("", "  ", " a", " "), ["a"]),
    ],
)
def test_fault_42_tokens_to_words_in_many_scripts(heard: tuple[str, ...], words: list[str]) -> None:
    merged = recognition.merge(tokens(*heard))
    assert [w.text for w in merged] == words


def test_fault_42_merged_words_read_as_the_tokens_did() -> None:
    heard = (" 今", "日", "は", " Python", " 3", ".12", "を", "使", "う", "。")
    assert text.join(w.text for w in recognition.merge(tokens(*heard))) == "今日はPython 3.12を使う。"


def test_a_merged_word_spans_its_tokens_and_is_as_likely_as_the_least() -> None:
    heard = [Word(1.0, 1.5, " well", 0.9), Word(1.5, 1.7, "-known", 0.4), Word(1.7, 1.7, ".", 0.8)]
    assert recognition.merge(heard) == (Word(1.0, 1.7, "well-known.", 0.4),)


def said(phrase: str, times: int, start: float = 0.0, step: float = 0.5) -> list[Word]:
    words = phrase.split() * times
    return [Word(start + i * step, start + i * step + step / 2, word) for i, word in enumerate(words)]


def test_fault_44_a_loop_is_found_with_its_phrase_and_count() -> None:
    words = [*said("and so we", 1), *said("Thank you.", 50, 10.0), *said("went on", 1, 80.0)]
    (loop,) = recognition.find_loops(words)
    assert (loop.phrase, loop.times) == ("Thank you.", 50)
    assert (loop.start, loop.end) == (10.0, 59.75)


def test_fault_44_case_and_punctuation_do_not_hide_a_loop() -> None:
    words = [Word(i, i + 0.5, w) for i, w in enumerate(["Thank", "you", "thank", "you,", "THANK", "you!", "-"] * 4)]
    (loop,) = recognition.find_loops(words)
    assert loop.times == 12


def test_fault_44_a_long_phrase_of_characters_is_found() -> None:
    characters = " ".join("ご視聴ありがとうございました")
    (loop,) = recognition.find_loops(said(characters, 6))
    assert (loop.phrase, loop.times) == ("ご視聴ありがとうございました", 6)


def test_fault_44_what_people_say_is_no_loop() -> None:
    assert recognition.find_loops(said("no", 9)) == ()
    assert recognition.find_loops(said("very very big", 4)) == ()
    assert recognition.find_loops(said("the cat and the dog and the bird and the fish and the cow", 1)) == ()
    assert recognition.find_loops([]) == ()
    assert recognition.find_loops([Word(1.0, 2.0, "...")] * 50) == ()


def test_fault_44_two_loops_and_a_loop_at_one_instant() -> None:
    words = [*said("so", 20), *said("a b c", 5, 20.0), *([Word(40.0, 40.0, "x")] * 10)]
    assert [(loop.phrase, loop.times) for loop in recognition.find_loops(words)] == [
        ("so", 20),
        ("a b c", 5),
        ("x", 10),
    ]
    assert recognition.find_loops(words)[-1].end > 40.0


def test_fault_44_remarks_name_the_loop_and_drop_nothing() -> None:
    words = said("thank you", 50, 12.0)
    (remark,) = recognition.describe_doubts(words, [Segment(12.0, 62.0)])
    assert "'thank you' was recognized 50 times in a row from 12.0 s to 61.8 s" in remark
    assert len(words) == 100


def test_fault_22_speech_without_words_is_said() -> None:
    speech = [Segment(0.0, 6.0), Segment(10.0, 15.0), Segment(20.0, 22.0), Segment(30.0, 36.0)]
    words = [Word(14.0, 14.2, "a"), Word(36.0, 36.0, "b")]
    assert recognition.find_wordless(words, speech) == (Segment(0.0, 6.0),)
    assert recognition.describe_doubts(words, speech) == ("No word was recognized in speech at 0.0-6.0 s.",)
    assert recognition.describe_doubts([*words, Word(0.0, 1.0, "c")], speech) == ()
    many = [Segment(10.0 * i, 10.0 * i + 6) for i in range(8)]
    assert recognition.describe_doubts([], many)[0].endswith("40.0-46.0 s and 3 more places.")


def test_uncertain_words_are_reported_if_there_are_enough_of_them() -> None:
    def words(count: int, probability: float) -> list[Word]:
        return [Word(float(i), i + 0.5, f"w{i}", probability) for i in range(count)]

    speech = [Segment(0.0, 40.0)]
    (remark,) = recognition.describe_doubts([*words(20, 0.4), *words(20, 0.7)], speech)
    assert "mean probability 0.55" in remark and "a language that the recognizer does not know" in remark
    assert recognition.describe_doubts(words(19, 0.1), speech) == ()
    assert recognition.describe_doubts(words(40, 0.6), speech) == ()
    assert recognition.describe_doubts(words(40, 1.0), speech) == ()
