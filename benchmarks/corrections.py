"""How many corrections of a meeting still apply after it was processed again with other settings.

    python -m benchmarks.corrections [--data DATA] [--out OUT] [--json FILE]

Each recording of DATA (with `.rttm` and `.words.json`) is processed with default settings, and corrected in full:
names, speakers who are one person, turns of another speaker, missed and false speech, words; the operations are made
from the truth. Then it is processed with each of `RERUNS`, and the corrections are applied to the new transcript.
Those that do not fit are listed with their reasons. Also the DER of the new transcript without and with the
corrections (collar 0, overlap scored). Results in OUT are reused.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import run_pipeline
from diarize import files
from diarize.corrections import history, overlay
from diarize.corrections.anchoring import Anchors
from diarize.corrections.difference import Revision
from diarize.corrections.history import Entry
from diarize.corrections.operations import Operation
from diarize.corrections.state import EditedWord, State
from diarize.formats import rttm
from diarize.metrics import normalisation
from diarize.timeline import gaps, intersect, union
from diarize.types import Segment, Transcript, Turn
from pipelines.evaluation.scores import Rules
from pipelines.evaluation.turn_scores import score_turns
from pipelines.results import outputs

DATA = Path("../shared/data/sim-dev")
BEFORE = "before"
RERUNS = {  # folder -> options of `process`
    "two-speakers": ("--num-speakers", "2"),
    "six-speakers": ("--num-speakers", "6"),
    "fast-six-speakers": ("--profile", "fast", "--num-speakers", "6"),
}
LEAST = 0.3  # s of a span whose speaker a person corrects


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the corrections of one recording in one rerun."""

    recording: str
    rerun: str
    corrections: int
    applied: int
    der_machine: float  # of the rerun
    der_corrected: float  # of the rerun with the corrections that apply
    reasons: dict[str, int] = field(default_factory=dict)  # of those that do not, times and names left out


def corrections_of(state: State, turns: Sequence[Turn], words: Sequence[EditedWord]) -> list[Operation]:
    """What a person does to a transcript who knows the truth: its turns, and its words by start."""
    result = Revision(state)
    ids = _name_speakers(result, turns)
    truth = {ids[name]: union(turn for turn in turns if turn.speaker == name) for name in ids}
    duration = state.duration / 1000

    # Turns of another speaker, then speech that was missed, then what is no speech of that speaker.
    for id, true in truth.items():
        for other in [speaker.id for speaker in result.state.speakers if speaker.id != id]:
            wrong = intersect(_turns_of(result, other), gaps(truth.get(other, ()), duration))
            missed = intersect(true, gaps(_turns_of(result, id), duration))
            for span in intersect(missed, wrong):
                if span.duration >= LEAST:
                    result.add({"op": "assign", **_span(span), "from": other, "to": id})
    for id, true in truth.items():
        for span in intersect(true, gaps(_turns_of(result, id), duration)):
            if span.duration >= LEAST:
                result.add({"op": "insert_turn", **_span(span), "speaker": id})
    for speaker in result.state.speakers:
        for span in intersect(_turns_of(result, speaker.id), gaps(truth.get(speaker.id, ()), duration)):
            if span.duration >= LEAST:
                result.add({"op": "assign", **_span(span), "from": speaker.id, "to": None})
    _correct_words(result, words, ids)
    return result.operations


def _name_speakers(result: Revision, turns: Sequence[Turn]) -> dict[str, str]:
    """Name every speaker; those who are one person become one. Name -> id."""
    names = list(dict.fromkeys(turn.speaker for turn in turns))
    own = {name: union(turn for turn in turns if turn.speaker == name) for name in names}
    shared = {
        speaker.id: {
            name: sum(s.duration for s in intersect(_turns_of(result, speaker.id), own[name])) for name in names
        }
        for speaker in result.state.speakers
    }
    ids: dict[str, str] = {}
    for id in sorted(shared, key=lambda id: -max(shared[id].values(), default=0.0)):
        name = max(shared[id], key=lambda name: shared[id][name])
        if name not in ids:
            ids[name] = id
            result.add({"op": "name_speaker", "speaker": id, "name": name})
        else:
            result.add({"op": "merge_speakers", "from": id, "into": ids[name]})
    for name in names:
        if name not in ids:
            ids[name] = f"SPEAKER_{len(shared) + len(ids):02d}+"
            result.add({"op": "add_speaker", "speaker": ids[name], "name": name})
    return ids


def _correct_words(result: Revision, words: Sequence[EditedWord], ids: dict[str, str]) -> None:
    """Words that differ: as many as there are become the true ones, the others are added or removed."""
    machine = result.state.words
    old_texts, new_texts = ([_normal(word.text) for word in side] for side in (machine, words))
    for kind, i, j, k, m in SequenceMatcher(None, old_texts, new_texts, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        pairs = min(j - i, m - k)
        for old, new in zip(machine[i : i + pairs], words[k : k + pairs], strict=True):
            result.add({"op": "edit_word", "word": old.id, "text": new.text})
        for old in machine[i + pairs : j]:
            result.add({"op": "delete_word", "word": old.id})
        for new in words[k + pairs : m]:
            speaker = ids.get(new.speaker or "")
            result.add({"op": "insert_word", "start": new.start, "end": new.end, "text": new.text, "speaker": speaker})


def _normal(text: str) -> str:
    return normalisation.normalised(text, normalisation.DEFAULT)


def _turns_of(result: Revision, id: str) -> tuple[Segment, ...]:
    return union(Segment(t.start / 1000, t.end / 1000) for t in result.state.turns if t.speaker == id)


def _span(span: Segment) -> dict[str, int]:
    return {"start": round(span.start * 1000), "end": round(span.end * 1000)}


def compare(
    before: Transcript, after: Transcript, turns: Sequence[Turn], words: Sequence[EditedWord], rerun: str
) -> Outcome:
    """Correct `before` in full, and apply the corrections to `after`, another transcript of the same recording."""
    old, new = State.of(before), State.of(after)
    operations = corrections_of(old, turns, words)
    entries = [Entry(number, "", "", "", operation) for number, operation in enumerate(operations, 1)]
    anchors = Anchors(old, new)
    replayed = history.replay(new, entries, lambda entry: anchors.translate(entry.operation))
    problems = Counter(_without_details(each.problem) for each in replayed.conflicts)
    return Outcome(
        before.recording,
        rerun,
        len(operations),
        len(operations) - len(replayed.conflicts),
        _der(turns, after.turns),
        _der(turns, overlay.corrected(after, replayed.state).turns),
        dict(problems.most_common()),
    )


def _without_details(problem: str) -> str:
    return re.sub(r"'[^']*'|\"[^\"]*\"", "...", re.sub(r"SPEAKER_\d+\+?|[tw]@?\d+(\.\d+)?|\d+\.\d+", "N", problem))


def _der(reference: Sequence[Turn], hypothesis: Sequence[Turn]) -> float:
    errors = score_turns(tuple(reference), tuple(hypothesis), None, Rules()).errors
    assert errors is not None
    return round(errors.rate, 4)


def read_truth(recording: Path) -> tuple[tuple[Turn, ...], tuple[EditedWord, ...]]:
    """The turns and words beside a recording."""
    (turns,) = rttm.loads(files.read_text(recording.with_suffix(".rttm")), recording.name).values()
    rows = json.loads(recording.with_suffix(".words.json").read_text(encoding="utf-8"))
    words = [
        EditedWord("", round(1000 * row["start"]), round(1000 * row["end"]), row["word"], row["speaker"])
        for row in sorted(rows, key=lambda row: row["start"])
    ]
    return turns, tuple(words)


def run(data: Path, out: Path) -> list[Outcome]:
    """Process and compare all recordings."""
    for name, options in {BEFORE: (), **RERUNS}.items():
        status = run_pipeline.main(
            ["process", str(data), "--match", "*.flac", "--out", str(out / name), *options, "-q"]
        )
        if status:
            raise SystemExit(status)
    outcomes = []
    for recording in sorted(data.glob("*.flac")):
        turns, words = read_truth(recording)
        before = outputs.read(out / BEFORE / recording.stem)
        for name in RERUNS:
            outcomes.append(compare(before, outputs.read(out / name / recording.stem), turns, words, name))
    return outcomes


def as_table(outcomes: Sequence[Outcome]) -> str:
    lines = [
        "| recording | processed again with | corrections | still apply | DER | with them |",
        "|---|---|---|---|---|---|",
    ]
    for each in outcomes:
        share = each.applied / max(each.corrections, 1)
        lines.append(
            f"| {each.recording} | {each.rerun} | {each.corrections} | {each.applied} ({share:.0%}) | "
            f"{each.der_machine:.1%} | {each.der_corrected:.1%} |"
        )
    applied, total = sum(each.applied for each in outcomes), sum(each.corrections for each in outcomes)
    lines.append(f"| all | | {total} | {applied} ({applied / max(total, 1):.1%}) | | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        outcomes = run(args.data, args.out or Path(scratch))
    print(as_table(outcomes))
    reasons: Counter[str] = Counter()
    for each in outcomes:
        reasons.update(each.reasons)
    for reason, count in reasons.most_common():
        print(f"{count:>5}  {reason}")
    if args.json is not None:
        content: dict[str, Any] = {"outcomes": [asdict(each) for each in outcomes]}
        args.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
