"""Comparison with diarization pipelines of other projects: same recordings, same scoring.

    python -m benchmarks.peer_pipelines NAME --python PYTHON [--data DATA ...] [--sets SET ...] [--simulated N]
                                        [--first-seed S] [--seconds S] [--json FILE]

PYTHON is the interpreter of an environment that has the package of `NAME`, a key of `PEERS`:

    python3.11 -m venv .venv-senko && .venv-senko/bin/pip install senko==0.2.2
    python -m benchmarks.peer_pipelines senko --python .venv-senko/bin/python --simulated 60 --json FILE

A pipeline gets each recording as this project decodes it (16 kHz, mono, 16 bit) and runs with its default settings. Its
turns are scored as in benchmarks/accuracy.py: collar 0, overlap scored, within the UEM. Sets are those of
benchmarks/accuracy.py, and simulated conversations with the same seeds. A FILE that exists keeps the figures of the
other pipelines and sets. Times are without loading of models, and include all that the pipeline does: moonshine-voice
also recognizes words.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import simulate
from benchmarks.accuracy import Row, read_rttm, read_uem, references, score, table
from benchmarks.accuracy import sets as sets_of
from diarize.audio import reading
from diarize.types import Audio, Errors
from pipelines.processes.lifetime import LINEAR_ALGEBRA

RUNNER = Path(__file__).with_name("peer_diarizers.py")
RATE = 16_000  # Hz
PEERS = {  # name of peer_diarizers.py -> what it is, with licences
    "senko": "Senko (MIT): silero VAD (MIT), CAM++ (Apache-2.0), spectral or UMAP + HDBSCAN",
    "moonshine": "moonshine-voice (MIT): pyannote community-1 (CC-BY-4.0) in C++, Moonshine tiny (MIT)",
}


def write_wav(path: Path, audio: Audio) -> None:
    """16-bit mono. Raises ValueError at another rate than `RATE`."""
    if audio.rate != RATE:
        raise ValueError(f"{audio.id}: {audio.rate} Hz, not {RATE} Hz.")
    samples = np.rint(np.clip(audio.samples, -1.0, 1.0) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def run(name: str, python: Path, folder: Path, seconds: float) -> dict[str, Any]:
    """What peer_diarizers.py writes to times.json: after `seconds`, of the recordings that it has completed.

    Raises SystemExit where the pipeline fails, or completes no recording.
    """
    command = [str(python.absolute()), str(RUNNER), name, str(folder)]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", *LINEAR_ALGEBRA)}
    try:
        process = subprocess.run(command, cwd=folder, env=environment, timeout=seconds, check=False, stdout=2)
        if process.returncode:
            raise SystemExit(f"{name}: stopped with exit status {process.returncode}.")
    except subprocess.TimeoutExpired:
        print(f"{name}: over {seconds:.0f} s.", flush=True)
    times = folder / "times.json"
    if not times.is_file():
        raise SystemExit(f"{name}: no recording is complete.")
    facts: dict[str, Any] = json.loads(times.read_text(encoding="utf-8"))
    return facts


def prepare(folders: Sequence[tuple[str, Path]], target: Path) -> None:
    """Writes `target/SET/RECORDING.wav` for every recording with a reference."""
    for set_, recordings in folders:
        (target / set_).mkdir()
        for path, _ in references(recordings):
            write_wav(target / set_ / f"{path.stem}.wav", reading.read(path, id=path.stem).audios[0])


def evaluate(set_: str, recordings: Path, target: Path) -> tuple[list[Row], float]:
    """(scores of a set, hours of audio); no scores where a recording of it has no RTTM."""
    rows, seconds = [], 0.0
    for path, reference in references(recordings):
        answer = target / set_ / f"{path.stem}.rttm"
        if not answer.is_file():
            return [], 0.0
        with wave.open(str(answer.with_suffix(".wav")), "rb") as file:
            duration = file.getnframes() / RATE
        scored = read_uem(path.with_suffix(".uem"), duration)
        rows.append(score(set_, path.stem, reference, read_rttm(answer), *scored))
        seconds += duration
    return rows, seconds / 3600


def summary(rows: Sequence[Row], hours: float, times: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """DER and its parts in per cent, right counts of speakers, seconds of time for each hour of audio."""
    errors = sum((row.errors for row in rows), Errors())
    parts = {"missed": errors.missed, "false_alarm": errors.false_alarm, "confusion": errors.confusion}
    wall, processor = (sum(times[f"{row.set}/{row.recording}"][i] for row in rows) / hours for i in (0, 1))
    return {
        "der": round(100 * errors.rate, 1),
        **{part: round(100 * value / errors.total, 1) for part, value in parts.items()},
        "right": sum(row.found == row.speakers for row in rows),
        "within_one": sum(abs(row.found - row.speakers) <= 1 for row in rows),
        "of": len(rows),
        "hours": round(hours, 3),
        "wall_seconds_per_hour": round(wall),
        "processor_seconds_per_hour": round(processor),
        "recordings": {
            row.recording: {
                "der": round(100 * row.errors.rate, 1) if row.errors.total else None,
                "speakers": row.speakers,
                "detected": row.found,
            }
            for row in rows
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--python", type=Path, required=True, help="of the environment that has the package")
    parser.add_argument("--data", type=Path, nargs="+", default=[simulate.DATA])
    parser.add_argument("--sets", nargs="+", help="only these")
    parser.add_argument("--simulated", type=int, default=0, help="how many conversations to simulate")
    parser.add_argument("--first-seed", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=7200.0, help="that the pipeline may take")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        simulated, target = Path(temporary, "simulated"), Path(temporary, "wav")
        folders = [one for data in options.data for one in sets_of(data) if one[0] in (options.sets or [one[0]])]
        if options.simulated:
            simulated.mkdir()
            for scene in simulate.scenes(options.first_seed, options.simulated, exclude=("libri-dev",)):
                simulate.write(simulate.converse(scene, options.data[0]), simulated)
            folders.append(("simulated", simulated))
        target.mkdir()
        prepare(folders, target)
        facts = run(options.name, options.python, target, options.seconds)
        for set_, recordings in folders:
            rows, hours = evaluate(set_, recordings, target)
            if not rows:
                print(f"{set_}: not all recordings are complete; no figures.")
                continue
            figures = summary(rows, hours, facts["recordings"])
            wall, processor = figures["wall_seconds_per_hour"], figures["processor_seconds_per_hour"]
            print(f"{table(rows)}\n{wall} s of wall-clock time, {processor} s of processor time per hour", flush=True)
            if options.json:
                record(options.json, options.name, set_, facts, figures)


def record(path: Path, name: str, set_: str, facts: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Adds a set to the file, or replaces it."""
    report = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    peer = report.setdefault(name, {"sets": {}})
    peer |= {"what": PEERS[name], "version": facts["version"], "loading_seconds": round(facts["loading"], 1)}
    peer["sets"][set_] = dict(figures)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
