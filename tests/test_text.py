"""Words to text and back, in scripts with and without spaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diarize.text import counted, join, split

LINES = [
    ("Hello, world!", ["Hello,", "world!"]),
    ("你好,世界。", ["你", "好,", "世", "界。"]),
    ("「東京」へ行く", ["「東", "京」", "へ", "行", "く"]),
    ("我用Python写代码", ["我", "用", "Python", "写", "代", "码"]),
    ("שלום עולם", ["שלום", "עולם"]),
    ("مرحبا، كيف حالك؟", ["مرحبا،", "كيف", "حالك؟"]),
    ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया।"]),
    ("한국어 문장", ["한국어", "문장"]),
    ("เก่งมาก", ["เก่", "ง", "มา", "ก"]),
    ("カード", ["カー", "ド"]),
    ("𠮷野家", ["𠮷", "野", "家"]),
]


@pytest.mark.parametrize(("line", "words"), LINES)
def test_fault_42_text_is_split_where_its_script_parts_words(line: str, words: list[str]) -> None:
    assert split(line) == words
    assert join(words) == line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["Yes", ",", "of", "course", "."], "Yes, of course."),
        (["这是", "GPU", "加速"], "这是GPU加速"),
        (["I", "said", "你好", "twice"], "I said你好twice"),
        (["नमस्ते", "।"], "नमस्ते।"),
        (["a\nb", "\t", "c"], "a b c"),
        (["", " "], ""),
    ],
)
def test_fault_42_words_are_joined_as_their_script_is_written(words: list[str], line: str) -> None:
    assert join(words) == line


@given(st.text())
def test_splitting_loses_nothing_but_white_space(text: str) -> None:
    words = split(text)
    assert "".join(words) == "".join(text.split())
    assert all(word and not word.isspace() for word in words)


@given(st.lists(st.text()))
def test_joined_text_is_one_line_without_double_spaces(words: list[str]) -> None:
    line = join(words)
    assert len(line.splitlines()) <= 1 and "  " not in line and line == line.strip()
    line.encode("utf-8")


def test_one_is_one_and_others_are_several() -> None:
    told = [counted(number, noun) for noun in ("turn", "person", "entry", "other file") for number in (0, 1, 2)]
    assert told == [
        *("0 turns", "1 turn", "2 turns"),
        *("0 people", "1 person", "2 people"),
        *("0 entries", "1 entry", "2 entries"),
        *("0 other files", "1 other file", "2 other files"),
    ]
