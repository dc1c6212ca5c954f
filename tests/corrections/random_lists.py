"""Lists of operations for both programs that apply them: Python, and the review page in the browser.

python -m tests.corrections.random_lists    # writes tests/data/corrections/random.json again
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diarize.corrections import history
from diarize.corrections.history import Entry
from diarize.corrections.operations import FIELDS, DoesNotFit, Draft
from diarize.corrections.state import EditedSpeaker, EditedTurn, EditedWord, State

FIXTURES = Path(__file__).resolve().parents[1] / "data" / "corrections"
DURATION = 20_000  # ms


class Session:
    """Operations that an author enters one after the other."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.draft = Draft(state)
        self.entries: list[Entry] = []
        self.operations: list[Any] = []
        self.problems: list[str] = []  # why each was refused; "": it was not, and it got a number

    def enter(self, operation: Any) -> None:
        self.operations.append(operation)
        try:
            checked = history.check_entry(operation, self.entries)
            if checked["op"] not in ("undo", "redo"):
                self.draft.apply(checked, len(self.entries) + 1)
        except DoesNotFit as error:
            self.problems.append(str(error))
            return
        self.problems.append("")
        self.entries.append(Entry(len(self.entries) + 1, "2026-05-04T10:00:00+00:00", "anna", "base", checked))
        if checked["op"] in ("undo", "redo"):
            self.draft, _ = history.replay_draft(self._state, self.entries, lambda entry: entry.operation)

    def outcome(self) -> dict[str, Any]:
        """`conflicts`: number -> why it does not fit any more at the end. `expected`: the state at the end."""
        after = history.replay(self._state, self.entries)
        assert after.state == self.draft.freeze()
        conflicts = {str(one.entry.number): one.problem for one in after.entries if one.problem}
        return {"problems": self.problems, "conflicts": conflicts, "expected": after.state.as_dict()}


def replayed(state: State, operations: Sequence[Any]) -> dict[str, Any]:
    """What becomes of `operations` on `state`."""
    session = Session(state)
    for operation in operations:
        session.enter(operation)
    return session.outcome()


def random_state(draw: random.Random) -> State:
    """Some speakers, turns that overlap or touch, words with and without a speaker, some of zero length."""
    speakers = [f"S{i}" for i in range(draw.randrange(1, 5))]
    spans = sorted((start, start + draw.randrange(1, 4000)) for start in draw.sample(range(0, 16_000, 100), 12))
    turns = [(draw.choice(speakers), start, end) for start, end in spans]
    times = sorted(draw.choices(range(0, 19_000, 50), k=30))
    words = [(draw.choice([*speakers, None]), start, start + draw.choice([0, 100, 300, 900])) for start in times]
    words.sort(key=lambda word: word[1:])
    turn_ids, word_ids = _ids("t", [turn[1] for turn in turns]), _ids("w", [word[1] for word in words])
    return State(
        DURATION,
        tuple(EditedSpeaker(id, draw.choice([None, "Anna", "Bea"])) for id in speakers),
        tuple(
            EditedTurn(id, start, end, speaker, confidence=draw.choice([None, 0.5]))
            for id, (speaker, start, end) in zip(turn_ids, turns, strict=True)
        ),
        tuple(
            EditedWord(id, start, end, draw.choice(["yes", "no", "שלום"]), speaker, draw.choice([None, 0.25]))
            for id, (speaker, start, end) in zip(word_ids, words, strict=True)
        ),
    )


def _ids(prefix: str, starts: Sequence[int]) -> list[str]:
    return [
        f"{prefix}{start}" if (n := starts[:i].count(start)) == 0 else f"{prefix}{start}.{n + 1}"
        for i, start in enumerate(starts)
    ]


def random_operation(draw: random.Random, draft: Draft, entries: int) -> dict[str, Any]:
    """An operation on a state: most fit, some do not."""
    name = draw.choice([*FIELDS, "assign", "set_turn", "group", "undo", "undo", "redo"])
    if name in ("undo", "redo"):
        return {"op": name, "number": draw.randrange(0, entries + 2)}
    state = draft.freeze()
    if name == "group":
        return {"op": "group", "operations": [_random_part(draw, state) for _ in range(draw.randrange(0, 4))]}
    return _random_part(draw, state, name)


def _random_part(draw: random.Random, state: State, name: str | None = None) -> dict[str, Any]:
    name = name or draw.choice([name for name in FIELDS if name != "group"])
    speakers = [*(speaker.id for speaker in state.speakers), "S9"]
    start = draw.randrange(0, DURATION, 50)
    values: dict[str, Any] = {
        "speaker": draw.choice(speakers) if name != "add_speaker" else draw.choice(["N1", "N2", "S0", " "]),
        "from": draw.choice(speakers),
        "to": draw.choice([*speakers, None]),
        "into": draw.choice(speakers),
        "name": draw.choice(["Anna", "O'Hara", " ", None]),
        "start": start,
        "end": min(start + draw.randrange(0, 5000, 50), DURATION + 50),
        "turn": draw.choice([turn.id for turn in state.turns] or ["t0"]),
        "word": draw.choice([word.id for word in state.words] or ["w0"]),
        "words": draw.choice(["keep", "delete"]),
        "text": draw.choice(["a", " b\n", "c d", " ", "<i>"]),
        "checked": draw.random() < 0.7,
    }
    if name == "assign" and draw.random() < 0.2:
        values["from"] = None
    if name == "insert_word" and draw.random() < 0.2:
        values["speaker"] = None
    if name == "note" and draw.random() < 0.3:
        values["start"] = values["end"] = None
    return {"op": name, **{key: values[key] for key in FIELDS[name]}}


def random_list(seed: int, length: int = 40) -> dict[str, Any]:
    """A state and a list of operations on it, and what becomes of them."""
    draw = random.Random(seed)
    state = random_state(draw)
    session = Session(state)
    for _ in range(length):
        session.enter(random_operation(draw, session.draft, len(session.entries)))
    return {
        "title": f"random {seed}",
        "state": state.as_dict(),
        "operations": session.operations,
    } | session.outcome()


def main() -> None:
    cases = [random_list(seed) for seed in range(8)]
    text = "[\n" + ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases) + "\n]\n"
    (FIXTURES / "random.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
