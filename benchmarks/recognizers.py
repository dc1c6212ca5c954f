"""Word error rate and speed of recognizers on read English with reference text.

    python benchmarks/recognizers.py [--data DATA] [--every N] [--whisper FOLDER] [--moonshine FOLDER]
        [--setting KEY=VALUE] [--json FILE]

The utterances of libri-dev (5 readers of LibriSpeech test-other, 10 utterances each), each as one speech segment. Texts
are compared in lower case, without punctuation. `placed` is the share of the reference words that were recognized
within 0.25 s of their place. Time is the CPU time of the process, so that other work on the machine counts less.
`--setting` changes an option of PocketSphinx's decoder for this run.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import soundfile

from diarize.backends import asr_moonshine, asr_pocketsphinx, asr_whisper
from diarize.config import AsrConfig
from diarize.stages import Recognizer
from diarize.types import Audio, Segment, Word

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
NEAR = 0.25  # s


@dataclass(frozen=True, slots=True)
class Result:
    name: str
    utterances: int
    seconds: float  # of audio
    words: int  # in the truth
    errors: int  # substituted, deleted and inserted
    timed: int  # words of the truth whose place is known
    placed: int
    cpu: float  # s

    def row(self) -> str:
        return (
            f"WER {self.errors / self.words:6.1%}  placed {self.placed / max(self.timed, 1):6.1%}  "
            f"RTF {self.cpu / self.seconds:.3f}  {self.utterances} utterances, {self.words} words  {self.name}"
        )


def plain(text: str) -> list[str]:
    """Lower-case words without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def distance(truth: Sequence[str], heard: Sequence[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(truth, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def placed(truth: Sequence[tuple[str, float, float]], words: Sequence[Word]) -> int:
    """Words of the truth that were recognized at their place."""
    return sum(
        any(abs(w.start - start) <= NEAR and plain(w.text) == plain(text) for w in words) for text, start, _ in truth
    )


def measure(recognizer: Recognizer, data: Path, every: int) -> Result:
    texts = json.loads((data / "libri-dev" / "transcripts.json").read_text())
    names = sorted(texts)[::every]
    seconds = cpu = 0.0
    words = errors = timed = right = 0
    for name in names:
        samples, rate = soundfile.read(data / "libri-dev" / f"{name}.flac", dtype="float32")
        audio = Audio(name, np.ascontiguousarray(samples), rate)
        began = time.process_time()
        heard, _ = recognizer(audio, [Segment(0.0, audio.duration)])
        cpu += time.process_time() - began
        truth = plain(texts[name]["text"])
        words += len(truth)
        errors += distance(truth, [part for word in heard for part in plain(word.text)])
        places = texts[name]["words"] or ()
        timed += len(places)
        right += placed(places, heard)
        seconds += audio.duration
    return Result(recognizer.name, len(names), round(seconds, 2), words, errors, timed, right, round(cpu, 2))


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="word error rate and speed of recognizers")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--every", type=int, default=1, help="take every N-th utterance")
    parser.add_argument("--whisper", type=Path, action="append", default=[], help="a faster-whisper folder to measure")
    parser.add_argument("--moonshine", type=Path, action="append", default=[], help="a Moonshine folder to measure")
    parser.add_argument("--setting", action="append", default=[], help="an option of PocketSphinx's decoder")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    changed = {key: int(value) for key, _, value in (setting.partition("=") for setting in options.setting)}
    asr_pocketsphinx.SETTINGS = MappingProxyType({**asr_pocketsphinx.SETTINGS, **changed})
    config = AsrConfig(language="en")
    recognizers: list[Recognizer] = [asr_pocketsphinx.load(config)]
    recognizers += [asr_moonshine.load(folder, config, threads=1) for folder in options.moonshine]
    recognizers += [asr_whisper.load(folder, config, device="cpu") for folder in options.whisper]
    results = []
    for recognizer in recognizers:
        results.append(measure(recognizer, options.data, options.every))
        print(results[-1].row(), flush=True)
    if options.json:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
