"""The nouns keep their invariants, and derive what they promise."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.types import (
    Audio,
    Embeddings,
    Errors,
    Provenance,
    Segment,
    Source,
    Speaker,
    Transcript,
    Turn,
    Utterance,
    Voice,
    Word,
    speakers_of,
)

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(("start", "end"), [(5, 1), (1, 1), (-1, 1), (0, NAN), (NAN, 1), (0, INF)])
def test_bad_segments_cannot_exist(start: float, end: float) -> None:
    with pytest.raises(ValueError, match="0 <= start < end"):
        Segment(start, end)
    with pytest.raises(ValueError, match="0 <= start < end"):
        Turn(start, end, "A")


def test_segments_measure_overlap_and_distance() -> None:
    a, b = Segment(0, 2), Segment(1.5, 4)
    assert a.overlap(b) == b.overlap(a) == 0.5
    assert a.distance(b) == 0
    assert Segment(0, 1).distance(Segment(3, 4)) == Segment(3, 4).distance(Segment(0, 1)) == 2
    assert Segment(0, 1).overlap(Segment(1, 2)) == 0


@pytest.mark.parametrize("confidence", [-0.1, 1.1, NAN])
def test_a_turns_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        Turn(0, 1, "A", confidence)


def test_a_word_may_have_no_length_but_not_a_negative_one() -> None:
    assert Word(1, 1, "uh").duration == 0
    with pytest.raises(ValueError, match="start <= end"):
        Word(2, 1, "uh")
    with pytest.raises(ValueError, match="probability"):
        Word(1, 2, "uh", NAN)


def test_values_do_not_change() -> None:
    with pytest.raises((FrozenInstanceError, AttributeError)):
        Segment(0, 1).start = 5  # type: ignore[misc]
    audio = Audio("a", np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        audio.samples[0] = 1
    vectors = Embeddings((Segment(0, 1),), np.eye(1, 4, dtype=np.float32), "m").vectors
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 2


def test_arrays_have_the_right_shape_and_kind() -> None:
    with pytest.raises(ValueError, match="float32"):
        Audio("a", np.zeros(4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="float32"):
        Audio("a", np.zeros((2, 4), np.float32))
    with pytest.raises(ValueError, match="1 segments"):
        Embeddings((Segment(0, 1),), np.eye(2, dtype=np.float32), "m")
    with pytest.raises(ValueError, match="unit length"):
        Embeddings((Segment(0, 1),), np.full((1, 4), 0.9, np.float32), "m")
    with pytest.raises(ValueError, match="unit length"):
        Voice("1", "Anna", np.full(4, NAN, np.float32), "m", 10)
    assert Voice("1", "Anna", np.eye(1, 4, dtype=np.float32)[0], "m", 10).name == "Anna"


def test_no_embeddings_at_all_are_fine() -> None:
    assert Embeddings((), np.zeros((0, 4), np.float32), "m").vectors.shape == (0, 4)


def transcript(*words: Word, turns: tuple[Turn, ...] = ()) -> Transcript:
    ids = dict.fromkeys([*(t.speaker for t in turns), *(w.speaker for w in words if w.speaker is not None)])
    return Transcript("r", 60, "en", tuple(map(Speaker, ids)), turns, words)


def test_a_transcript_knows_all_of_its_speakers() -> None:
    with pytest.raises(ValueError, match="not listed"):
        Transcript("r", 1, turns=(Turn(0, 1, "A"),))
    with pytest.raises(ValueError, match="share an id"):
        Transcript("r", 1, speakers=(Speaker("A"), Speaker("A")))
    with pytest.raises(ValueError, match="sorted"):
        Transcript("r", 9, speakers=(Speaker("A"),), turns=(Turn(3, 4, "A"), Turn(0, 1, "A")))
    with pytest.raises(ValueError, match="duration"):
        Transcript("r", NAN)


def test_a_speaker_is_shown_by_name_where_there_is_one() -> None:
    named = Transcript("r", 1, speakers=(Speaker("SPEAKER_01", "Anna"), Speaker("SPEAKER_02")))
    assert [named.label("SPEAKER_01"), named.label("SPEAKER_02"), named.label(None)] == ["Anna", "SPEAKER_02", ""]


def test_utterances_end_where_the_speaker_changes_or_pauses() -> None:
    said = transcript(
        Word(0, 1, "good", speaker="A"),
        Word(1, 2, "morning", speaker="A"),
        Word(2, 3, "hi", speaker="B"),
        Word(3, 4, "all", speaker="A"),
        Word(4.9, 5, "well", speaker="A"),
        Word(6, 7, "so", speaker="A"),
        Word(7, 8, "hm"),
    )
    blocks = said.utterances(pause=1.0)
    assert [(u.speaker, u.text) for u in blocks] == [
        ("A", "good morning"),
        ("B", "hi"),
        ("A", "all well"),
        ("A", "so"),
        (None, "hm"),
    ]


def test_people_who_talk_at_once_are_not_cut_word_by_word() -> None:
    said = transcript(
        Word(0.0, 1.0, "we", speaker="A"),
        Word(0.9, 1.4, "no", speaker="B"),
        Word(1.2, 2.0, "should", speaker="A"),
        Word(1.8, 2.2, "wait", speaker="B"),
        Word(2.1, 2.5, "go", speaker="A"),
        Word(2.6, 2.8, "why", speaker="B"),
        Word(2.9, 3.1, "because", speaker="A"),
    )
    assert [(u.speaker, u.text) for u in said.utterances()] == [
        ("A", "we should go"),
        ("B", "no wait why"),
        ("A", "because"),
    ]


def test_many_words_at_one_instant_take_no_time() -> None:
    said = transcript(*(Word(1, 1, "uh", speaker="AB"[i % 2]) for i in range(100_000)))
    assert sum(len(u.words) for u in said.utterances()) == 100_000


def test_fault_43_utterances_of_words_out_of_order_and_without_length() -> None:
    said = transcript(Word(5, 5, "b", speaker="A"), Word(4, 4.5, "a", speaker="A"), Word(9, 9, "c", speaker="A"))
    assert [(u.start, u.end, u.text) for u in said.utterances()] == [(4, 5, "a b"), (9, 9.001, "c")]
    assert said.words[0].text == "b"  # the words themselves stay in their order


def test_text_of_turns_loses_no_labelled_word() -> None:
    turns = (Turn(0, 2, "A"), Turn(1, 3, "B"), Turn(4, 6, "A"))
    said = transcript(
        Word(0, 1, "one", speaker="A"),
        Word(1, 2, "two", speaker="B"),
        Word(3.2, 3.4, "three", speaker="A"),
        Word(5, 5, "four", speaker="A"),
        Word(50, 51, "five", speaker="B"),
        turns=turns,
    )
    assert [text for _, text in said.spoken()] == ["one", "two five", "three four"]


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 3), st.sampled_from("ABC")), max_size=20))
def test_every_word_is_in_exactly_one_utterance_and_one_turn(drawn: list[tuple[float, float, str]]) -> None:
    words = tuple(Word(start, start + length, str(i), speaker=who) for i, (start, length, who) in enumerate(drawn))
    turns = tuple(Turn(10.0 * i, 10.0 * i + 12, who) for i, who in enumerate("ABCAB"))
    said = transcript(*words, turns=turns)
    assert sorted(w.text for u in said.utterances() for w in u.words) == sorted(w.text for w in words)
    assert sorted(" ".join(text for _, text in said.spoken()).split()) == sorted(w.text for w in words)


def test_an_utterance_joins_its_words() -> None:
    assert Utterance(0, 1, "A", (Word(0, 0.5, "你好"), Word(0.5, 1, "世界"))).text == "你好世界"


def test_error_counts_add_and_rates_do_not() -> None:
    a, b = Errors(1, 0, 0, 10), Errors(0, 2, 3, 90)
    assert sum([a, b]) == a + b == Errors(1, 2, 3, 100)
    assert (a + b).rate == pytest.approx(0.06)
    assert Errors().rate == 0
    assert Errors(false_alarm=1).rate == INF
    for wrong in (0.1, 1):
        with pytest.raises(TypeError, match="Errors can only be added to Errors"):
            a + wrong  # type: ignore[operator]
        with pytest.raises(TypeError, match="Errors can only be added to Errors"):
            wrong + a  # type: ignore[operator]
    with pytest.raises(ValueError, match="seconds"):
        Errors(-1)


def test_provenance_is_read_only_and_crosses_processes() -> None:
    provenance = Provenance("p 1", Source("a.wav", "0" * 64, 3), {"detect": "x"}, {"vad": {"pad": 0.1}}, ("a note",))
    provenance = replace(
        provenance, models={"a": "b"}, seeds={"cluster": 0}, versions={"numpy": "2"}, licences={"a": "MIT"}
    )
    with pytest.raises(TypeError):
        provenance.stages["detect"] = "y"  # type: ignore[index]
    assert pickle.loads(pickle.dumps(provenance)) == provenance


def test_speakers_are_listed_by_first_appearance() -> None:
    assert [s.id for s in speakers_of([Turn(0, 1, "B"), Turn(1, 2, "A"), Turn(2, 3, "B")])] == ["B", "A"]
