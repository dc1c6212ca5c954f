"""Phrases: drawn, said, taken once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diarize.errors import ConfigError
from diarize.guard import challenge
from diarize.guard.challenge import MemoryChallenges, match_phrase

NOW = datetime(2031, 5, 2, 10, tzinfo=UTC)


@pytest.mark.parametrize("language", challenge.languages())
def test_phrases_are_of_different_words_and_seldom_twice(language: str) -> None:
    drawn = [challenge.draw(NOW, language) for _ in range(200)]
    assert len({each.phrase for each in drawn}) == len({each.id for each in drawn}) == 200
    assert all(len(set(each.phrase.split())) == challenge.WORDS for each in drawn)
    assert match_phrase(drawn[0].phrase, drawn[0].phrase.upper() + ".").errors == 0
    assert len(challenge._lists()[language]) >= 120  # six of them: more than 2^41 phrases


def test_a_challenge_expires_and_is_carried_as_json() -> None:
    drawn = challenge.draw(NOW, person="a" * 32, seconds=30)
    assert not drawn.is_expired(NOW + timedelta(seconds=29.9)) and drawn.is_expired(NOW + timedelta(seconds=30))
    assert challenge.read(drawn.as_json()) == drawn


def test_a_phrase_of_ones_own() -> None:
    own = challenge.of_text("Zwölf, dreizehn!", NOW)
    assert own.phrase == "Zwölf, dreizehn!" and own.language == challenge.OPEN_PHRASE
    assert own.bound == challenge.OWN_BOUND < challenge.draw(NOW).bound  # of four digits two are soon guessed
    for text in ("", " ... "):
        with pytest.raises(ConfigError, match="no words"):
            challenge.of_text(text, NOW)


def test_impossible_challenges_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"no words for 'xx'"):
        challenge.draw(NOW, "xx")
    with pytest.raises(ConfigError, match="3 to 20 words"):
        challenge.draw(NOW, words=2)
    with pytest.raises(ConfigError, match="1 s to a day"):
        challenge.draw(NOW, seconds=0)


def test_a_challenge_is_taken_once_whoever_asks() -> None:
    store = MemoryChallenges()
    drawn = challenge.draw(NOW)
    store.put(drawn)
    taken: list[object] = []
    threads = [threading.Thread(target=lambda: taken.append(store.take(drawn.id, NOW))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each is None for each in taken) == [False] + [True] * 15
    assert store.take("unknown", NOW) is None


def test_the_memory_of_challenges_is_bounded() -> None:
    store = MemoryChallenges(most=3)
    drawn = [challenge.draw(NOW, seconds=60) for _ in range(5)]
    for each in drawn:
        store.put(each)
    assert [store.take(each.id, NOW) is None for each in drawn] == [True, True, False, False, False]
    store.put(drawn[0])
    store.put(challenge.draw(NOW + timedelta(minutes=2)))
    assert store.take(drawn[0].id, NOW) is None  # it expired, and was cleared away


PHRASE = "anchor bakery candle dolphin engine forest"


@pytest.mark.parametrize(
    ("spoken", "errors"),
    [
        (PHRASE, 0),
        ("Anchor, bakery! Candle dolphin. ENGINE forest", 0),
        ("good morning, anchor bakery candle dolphin engine forest thank you", 0),
        ("anchor bakery handle dolphin engine forest", 1),
        ("anchor bakery dolphin engine forest", 1),
        ("anchor handle candle often engine fountain", 3),
        ("anchor handle candle often end fountain", 4),
        ("anchor big bakery candle dolphin engine forest", 1),
        ("forest engine dolphin candle bakery anchor", 5),
        ("something else entirely was said here", 6),
        ("", 6),
    ],
)
def test_errors_are_counted(spoken: str, errors: int) -> None:
    match = match_phrase(PHRASE, spoken)
    assert match.errors == pytest.approx(errors / 6) and match.is_said == (errors <= 3)
    assert [word.expected for word in match.words if word.expected is not None] == PHRASE.split()


@pytest.mark.parametrize(
    ("spoken", "wrong"),
    [
        ("anchor candle dolphin engine forest", ("bakery", None)),
        ("anchor bakery handle dolphin engine forest", ("candle", "handle")),
        ("anchor bakery candle dolphin fast engine forest", (None, "fast")),
    ],
)
def test_the_alignment_shows_the_words(spoken: str, wrong: tuple[str | None, str | None]) -> None:
    words = match_phrase(PHRASE, spoken).words
    assert [(word.expected, word.recognized) for word in words if not word.is_right] == [wrong]


def test_marks_do_not_count() -> None:
    assert match_phrase("café élève ñandú", "cafe eleve nandu").errors == 0


def test_reading_out_a_list_is_no_answer() -> None:
    everything = " ".join(challenge._lists()["en"])
    drawn = challenge.draw(NOW)
    assert not match_phrase(drawn.phrase, everything).is_said


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from("abcd"), max_size=9), st.lists(st.sampled_from("abcd"), min_size=1, max_size=6))
def test_errors_are_never_more_than_saying_nothing_and_each_word_is_shown(spoken: list[str], phrase: list[str]) -> None:
    match = match_phrase(" ".join(phrase), " ".join(spoken))
    assert [w.expected for w in match.words if w.expected is not None] == phrase
    assert 0 <= match.errors <= 1 + len(spoken) / len(phrase)
    shown = [w.recognized for w in match.words if w.recognized is not None]
    rest = iter(spoken)
    assert all(word in rest for word in shown)  # in their order
