"""Safe ids and what people see."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.formats.naming import NOBODY, encodable, from_token, make_labels, shorten, to_token, visible
from diarize.types import Speaker, Transcript
from tests.formats.samples import HOSTILE, texts


@given(texts)
def test_fault_36_a_token_is_one_field_of_any_line_and_comes_back(name: str) -> None:
    safe = to_token(name)
    assert safe.isascii() and safe.isprintable() and len(safe.split()) == 1 and len(safe) <= 100
    assert not safe.startswith((";", "<", '"', "'", "#")) and safe != NOBODY
    assert safe.casefold() not in ("na", "nan", "null", "none", "-nan")
    assert from_token(safe) == name or "~" in safe


@given(st.lists(texts, unique=True, max_size=8))
def test_tokens_are_distinct(names: list[str]) -> None:
    assert len({to_token(name) for name in names}) == len(names)


def test_hostile_names_have_distinct_tokens() -> None:
    assert len({to_token(name) for name in HOSTILE}) == len(HOSTILE)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("SPEAKER_00", "SPEAKER_00"),
        ("01", "01"),
        ("Anna Maria", "Anna%20Maria"),
        ("NA", "%4EA"),
        ("", "%"),
        ("Zoë", "Zo%C3%AB"),
        ("%41", "%2541"),
    ],
)
def test_a_token_can_be_read_by_people(name: str, safe: str) -> None:
    assert (to_token(name), from_token(safe)) == (safe, name)


def test_long_names_that_begin_alike_differ() -> None:
    assert to_token("x" * 10_000) != to_token("x" * 10_001)
    assert to_token("x" * 10_000).startswith("x" * 80 + "~")


@given(st.text(alphabet=st.characters(codec="ascii", exclude_characters=" \t\r\n"), min_size=1))
def test_tokens_of_other_tools_are_names_themselves_and_distinct(foreign: str) -> None:
    assert to_token(from_token(foreign)) == foreign or from_token(foreign) == foreign


@given(texts)
def test_what_people_see_is_one_line_that_turns_nothing(name: str) -> None:
    line = visible(name)
    assert len(line.splitlines()) <= 1
    assert not set(line) & set(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0x20))))
    assert len(shorten(name)) <= 32
    encodable(name).encode("utf-8")


@given(st.lists(texts, unique=True, max_size=6), st.lists(st.none() | texts, min_size=6, max_size=6))
def test_fault_37_labels_are_distinct(ids: list[str], names: list[str | None]) -> None:
    people = tuple(Speaker(id, name) for id, name in zip(ids, names, strict=False))
    found = make_labels(Transcript("r", 1.0, speakers=people))
    assert found[None] == "?"
    assert len(set(found.values())) == len(people) + 1
    assert all(label and "[" not in label for label in found.values())
