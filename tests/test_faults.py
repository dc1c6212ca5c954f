"""docs/faults.md names every case, and tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "faults.md").read_text(encoding="utf-8")
CASES = range(1, 69)


def rows() -> dict[int, str]:
    """Case -> what stands in its last column."""
    return {int(n): where for n, where in re.findall(r"^\| (\d+) \| .* \| .* \| (.*) \|$", PAGE, re.MULTILINE)}


def reasons() -> dict[int, str]:
    last = PAGE.partition("## What cannot be tested")[2]
    return {int(n): why for n, why in re.findall(r"^\| (\d+) \| (.*) \|$", last, re.MULTILINE)}


def cases_of(path: Path) -> set[int]:
    """The cases of the tests in a file; one function may bear several: test_fault_57_58_..."""
    found = re.findall(r"def test_fault_((?:\d+_)+)", path.read_text(encoding="utf-8"))
    return {int(n) for numbers in found for n in numbers.split("_") if n}


def test_every_case_has_its_row() -> None:
    assert sorted(rows()) == list(CASES)


def test_every_row_names_tests_of_its_case_or_has_a_reason() -> None:
    for case, where in rows().items():
        named = re.findall(r"`([\w/]+\.py)`", where)
        assert all(case in cases_of(TESTS / name) for name in named), (case, named)
        assert named or len(reasons().get(case, "")) > 50, case


def test_no_test_bears_a_number_that_is_no_case() -> None:
    assert set().union(*(cases_of(path) for path in TESTS.rglob("test_*.py"))) <= set(CASES)
