"""Python and the review page change a state in the same way: fixed examples, and random lists of operations.

`web/tests/operations.test.ts` reads the same examples. `replay.mjs` is built from web/src by `npm run build`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from diarize.corrections.operations import FIELDS
from diarize.corrections.state import State
from tests.corrections.random_lists import FIXTURES, random_list, replayed

RESULTS = ("problems", "conflicts", "expected")
LISTS = 500


def examples() -> list[dict[str, Any]]:
    return [case for path in sorted(FIXTURES.glob("*.json")) for case in json.loads(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("case", examples(), ids=lambda case: str(case["title"]))
def test_examples(case: dict[str, Any]) -> None:
    outcome = json.loads(json.dumps(replayed(State.from_dict(case["state"]), case["operations"])))
    assert outcome == {key: case[key] for key in RESULTS}


def test_every_operation_has_an_example() -> None:
    used: set[str] = set()
    for case in examples():
        for operation, problem in zip(case["operations"], case["problems"], strict=True):
            used |= {operation["op"]} if isinstance(operation, dict) and not problem else set()
    assert used >= {*FIELDS, "undo", "redo"}


def test_the_page_does_the_same_with_random_lists(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the page's operations are compared with Python's there")
    cases = [random_list(1000 + seed) for seed in range(LISTS)]
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(cases), encoding="utf-8")
    done = subprocess.run([node, str(FIXTURES / "replay.mjs"), str(path)], capture_output=True, check=True, timeout=240)
    results = json.loads(done.stdout)
    assert len(results) == LISTS
    for case, result in zip(cases, results, strict=True):
        expected = json.loads(json.dumps({key: case[key] for key in RESULTS}))
        assert result == expected, case["title"]
    assert sum(problem == "" for case in cases for problem in case["problems"]) > 5 * LISTS
