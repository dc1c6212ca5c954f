"""Word error rate, word times and speed of a recognizer on simulated meetings, with speech as the pipeline detects it.

    python -m benchmarks.meeting_words [--data DATA] [--asr NAME] [--segmentation NAME] [--json FILE]

The recordings of sim-dev, with one line for each kind (phone, close, room). All words of a meeting, of all speakers,
are compared in the order of their starts, in lower case and without punctuation. So where two people talk at once, even
perfect words can count as errors. Time errors are those of the starts of words that were recognized rightly. Time is
the processor time of recognition for an hour of speech, in one thread.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.recognizers import DATA, plain
from diarize.audio import reading
from diarize.config import parse
from diarize.models.store import Store
from diarize.stages import Recognizer
from diarize.types import Audio, Segment
from pipelines import plan

Timed = tuple[str, float]  # a word and its start, s


@dataclass(frozen=True, slots=True)
class Result:
    kind: str
    words: int  # in the truth
    substitutions: int
    deletions: int
    insertions: int
    time_errors: tuple[float, ...]  # s, of the starts of right words
    speech: float  # s
    cpu: float  # s

    def row(self) -> str:
        wrong = self.substitutions + self.deletions + self.insertions
        late = 1000 * np.abs(self.time_errors)
        return (
            f"{self.kind:6} WER {wrong / self.words:6.1%} (substituted {self.substitutions}, missing {self.deletions}, "
            f"inserted {self.insertions} of {self.words})  starts: median {np.median(late):.0f} ms, 90th percentile "
            f"{np.percentile(late, 90):.0f} ms  {3600 * self.cpu / self.speech:.0f} s per hour of speech"
        )


def align(truth: Sequence[Timed], words: Sequence[Timed]) -> Iterator[tuple[Timed | None, Timed | None]]:
    """Pairs of the Levenshtein alignment, from the last; None: inserted, or missing."""
    costs = np.zeros((len(truth) + 1, len(words) + 1), dtype=np.int64)
    costs[:, 0], costs[0] = np.arange(len(truth) + 1), np.arange(len(words) + 1)
    for i, (text, _) in enumerate(truth, 1):
        for j, (other, _) in enumerate(words, 1):
            replaced = costs[i - 1, j - 1] + (text != other)
            costs[i, j] = min(replaced, costs[i - 1, j] + 1, costs[i, j - 1] + 1)
    i, j = len(truth), len(words)
    while i or j:
        if i and j and costs[i, j] == costs[i - 1, j - 1] + (truth[i - 1][0] != words[j - 1][0]):
            i, j = i - 1, j - 1
            yield truth[i], words[j]
        elif i and costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
            yield truth[i], None
        else:
            j -= 1
            yield None, words[j]


def measure(kind: str, recordings: Sequence[tuple[Audio, Sequence[Segment], Path]], recognizer: Recognizer) -> Result:
    counts = {"words": 0, "substitutions": 0, "deletions": 0, "insertions": 0}
    errors: list[float] = []
    speech = cpu = 0.0
    for audio, segments, reference in recordings:
        began = time.process_time()
        words, _ = recognizer(audio, segments)
        cpu += time.process_time() - began
        speech += sum(segment.duration for segment in segments)
        entries = sorted(json.loads(reference.read_text()), key=lambda entry: entry["start"])
        truth = [(part, entry["start"]) for entry in entries for part in plain(entry["word"])]
        counts["words"] += len(truth)
        pairs = align(truth, [(part, word.start) for word in words for part in plain(word.text)])
        for right, recognized in pairs:
            counts["insertions"] += right is None
            counts["deletions"] += recognized is None
            if right is not None and recognized is not None:
                counts["substitutions"] += right[0] != recognized[0]
                if right[0] == recognized[0]:
                    errors.append(recognized[1] - right[1])
    return Result(kind, **counts, time_errors=tuple(errors), speech=round(speech, 1), cpu=round(cpu, 2))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="words of simulated meetings")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--asr", default="moonshine", help="as of the command process")
    parser.add_argument("--segmentation", default="auto", help="as of the command process")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    sections = {"asr": {"backend": options.asr, "language": "en"}, "segmentation": {"backend": options.segmentation}}
    stages = plan.make(parse(sections, "benchmark"), Store()).build(threads=1)
    if stages.detect is None or stages.recognize is None:
        sys.exit("no recognizer: diarize models pull moonshine-tiny-en")
    by_kind: dict[str, list[tuple[Audio, Sequence[Segment], Path]]] = {}
    for path in sorted((options.data / "sim-dev").glob("*.flac")):
        audio = reading.read(path, id=path.stem).audios[0]
        activity = stages.segment(audio)
        kind = re.sub(r".*-", "", path.stem)
        by_kind.setdefault(kind, []).append((audio, stages.detect(audio, activity), path.with_suffix(".words.json")))
    print(stages.recognize.name)
    results = []
    for kind, recordings in by_kind.items():
        results.append(measure(kind, recordings, stages.recognize))
        print(results[-1].row(), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
