"""How many keys it takes to put a machine's transcript right in the review page, derived from the truth.

    python -m benchmarks.review_keystrokes TRUTH.words.json OUT/<id>

TRUTH has `{"speaker", "word", "start", "end"}` of each word. Words are aligned (Levenshtein 1966) without regard to
case and punctuation, which the truth does not have. A key with Shift, Ctrl or Alt counts as one, names have five
letters. Nothing is typed by a person: a rule chooses the keys, and their operations are applied and compared with the
truth. To a place take at most two keys: `w` (the word that sounds) and an arrow, fewer if arrows alone are nearer.

The same corrections in a text editor and in ELAN are counted by assumptions that `OTHERS` states; times, which the page
and ELAN keep and an editor does not, and the search for the place in the sound are not counted there.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from diarize.corrections.operations import Draft, Operation
from diarize.corrections.state import EditedWord, State
from pipelines.results import outputs

NAME = 5  # letters of a name
REACH = 2  # keys to a place, at most
OTHERS = {
    "text editor": {
        "name": 1 + 10 + 1 + NAME + 2,  # replace all: Ctrl+H, SPEAKER_01, Tab, the name, Alt+A, Esc
        "whole": REACH + 1 + NAME,  # select the label, write the name
        "part": REACH + 2 * (1 + NAME + 2) + 1,  # Enter, a label, to its end, Enter, the label from before
        "words": REACH,  # and a key for each word that is selected, and the letters
    },
    "ELAN": {
        "name": 3 + NAME + 2,  # a tier for each speaker: menu, name, confirm, close
        "whole": REACH + 5,  # copy, the other tier, paste, back, delete
        "part": REACH + 2 * 5 + 5 + 6,  # split twice (place, menu), to the other tier, divide the text by hand
        "words": REACH + 2,  # open and close the annotation; and as in an editor
    },
}


def plain(text: str) -> str:
    return re.sub(r"[^\w']", "", text.lower())


def align(machine: list[EditedWord], truth: list[dict[str, Any]]) -> list[tuple[int | None, int | None]]:
    """Pairs of positions, by least edits; words that are more than two seconds apart are never paired."""
    n, m = len(machine), len(truth)
    costs = [[float(i + j) if not i * j else 0.0 for j in range(m + 1)] for i in range(n + 1)]

    def change(i: int, j: int) -> float:
        a, b = machine[i], truth[j]
        if abs(a.start - 1000 * b["start"]) > 2000:
            return 9.0
        return 0.0 if plain(a.text) == plain(b["word"]) else 1.0

    for i in range(1, n + 1):
        for j in range(1, m + 1):
            costs[i][j] = min(
                costs[i - 1][j - 1] + change(i - 1, j - 1), costs[i - 1][j] + 1, costs[i][j - 1] + 1
            )  # fmt: skip
    pairs: list[tuple[int | None, int | None]] = []
    i, j = n, m
    while i or j:
        if i and j and costs[i][j] == costs[i - 1][j - 1] + change(i - 1, j - 1):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif i and costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
            pairs.append((i, None))
        else:
            j -= 1
            pairs.append((None, j))
    return pairs[::-1]


def blocks(words: list[EditedWord]) -> list[list[EditedWord]]:
    """Consecutive words of one speaker: the rows of the page, but for overlapped speech."""
    rows: list[list[EditedWord]] = []
    for word in words:
        if rows and rows[-1][0].speaker == word.speaker:
            rows[-1].append(word)
        else:
            rows.append([word])
    return rows


def count(state: State, truth: list[dict[str, Any]]) -> dict[str, Any]:
    keys: Counter[str] = Counter()
    others = {program: Counter[str]() for program in OTHERS}
    draft, number = Draft(state), 0

    def do(operation: Operation) -> None:
        nonlocal number
        number += 1
        draft.apply(operation, number)

    machine = list(state.words)
    pairs = align(machine, truth)
    shared: Counter[tuple[str | None, str]] = Counter()
    for i, j in pairs:
        if i is not None and j is not None:
            shared[machine[i].speaker, truth[j]["speaker"]] += 1

    # Who they are: Alt+1, d, and for each a name and Enter. Speakers whom the machine missed: n, a name, Enter.
    everybody = sorted({word["speaker"] for word in truth})
    people = {speaker.id: max((shared[speaker.id, one], one) for one in everybody)[1] for speaker in state.speakers}
    keys["names"] += 2 + len(people) * (NAME + 1)
    names: dict[str, str] = {}
    for id, person in people.items():
        if person in names:
            do({"op": "merge_speakers", "from": id, "into": names[person]})
            keys["names"] += 1 + REACH
        else:
            do({"op": "name_speaker", "speaker": id, "name": person})
            names[person] = id
        for program, costs in OTHERS.items():
            others[program]["names"] += costs["name"]
    for person in sorted(set(everybody) - set(names)):
        names[person] = f"NEW_{person}"
        do({"op": "add_speaker", "speaker": names[person], "name": person})
        keys["names"] += NAME + 2
        for program, costs in OTHERS.items():
            others[program]["names"] += costs["name"]

    # Turns: runs of words that are another speaker's, in each row.
    wanted = {machine[i].id: names[truth[j]["speaker"]] for i, j in pairs if i is not None and j is not None}
    previous: str | None = None
    for row in blocks(list(draft.freeze().words)):
        goals = [wanted.get(word.id, row[0].speaker) for word in row]
        at = 0
        while at < len(row):
            end = at
            while end + 1 < len(row) and goals[end + 1] == goals[at]:
                end += 1
            if goals[at] != row[at].speaker:
                whole = at == 0 and end == len(row) - 1
                first = at == 0 and goals[at] == previous
                keys["turns"] += min(at, REACH) + 1 + (1 if whole or first else end - at + 1)
                for program, costs in OTHERS.items():
                    others[program]["turns"] += costs["whole" if whole else "part"]
                for word in row[at : end + 1]:
                    middle = (word.start + word.end) // 2
                    span = {"start": middle, "end": middle + 1}
                    do({"op": "assign", **span, "from": word.speaker, "to": goals[at]})
            at = end + 1
        previous = goals[-1]

    # Words: runs of words that are wrong, superfluous or missing.
    run: list[tuple[int | None, int | None]] = []
    for i, j in [*pairs, (None, None)]:
        same = i is not None and j is not None and plain(machine[i].text) == plain(truth[j]["word"])
        if not same and (i, j) != (None, None):
            run.append((i, j))
            continue
        if not run:
            continue
        old = [machine[a] for a, _ in run if a is not None]
        new = [truth[b] for _, b in run if b is not None]
        letters = len(" ".join(word["word"] for word in new))
        select = max(len(old) - 1, 0)
        if not new:
            keys["words"] += REACH + select + 1  # Delete
        else:
            keys["words"] += REACH + select + 1 + (0 if old else 2) + letters + 1  # Enter, (End, blank,) letters, Enter
        for program, costs in OTHERS.items():
            others[program]["words"] += costs["words"] + len(old) + letters
        speakers = [names[word["speaker"]] for word in new]
        for speaker in {one for one, word in zip(speakers, new, strict=True) if not old}:
            keys["words"] += 1 + speakers.count(speaker)  # missing words of somebody else: select, digit
        for a, b in run:
            if a is not None and b is not None:
                do({"op": "edit_word", "word": machine[a].id, "text": truth[b]["word"]})
            elif a is not None:
                do({"op": "delete_word", "word": machine[a].id})
            elif b is not None:
                start, end_ = round(1000 * truth[b]["start"]), min(round(1000 * truth[b]["end"]), state.duration)
                text, speaker = truth[b]["word"], names[truth[b]["speaker"]]
                do({"op": "insert_word", "start": start, "end": end_, "text": text, "speaker": speaker})
        run = []

    after = draft.freeze()
    labels = {speaker.id: speaker.name for speaker in after.speakers}
    is_right = Counter((plain(w.text), labels.get(w.speaker or "")) for w in after.words) == Counter(
        (plain(t["word"]), t["speaker"]) for t in truth
    )
    return {
        "words": len(truth),
        "all_words_and_speakers_as_in_the_truth": is_right,
        "operations": number,
        "review page": dict(keys) | {"all": sum(keys.values())},
        **{program: dict(parts) | {"all": sum(parts.values())} for program, parts in others.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path)
    parser.add_argument("folder", type=Path, metavar="OUT/<id>")
    args = parser.parse_args()
    truth = sorted(json.loads(args.truth.read_text(encoding="utf-8")), key=lambda word: word["start"])
    print(json.dumps(count(State.of(outputs.read(args.folder)), truth), indent=2))


if __name__ == "__main__":
    main()
