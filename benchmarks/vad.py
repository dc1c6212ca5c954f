"""Missed speech and false alarm of the detectors, and the effect of each setting, with and without a segmentation.

    python -m benchmarks.vad [--data DATA] [--more FOLDER ...] [--json FILE]

Speech is the union of the reference's turns. Figures are percentages of it, without collar. `--more` adds folders of
`<name>.flac` and `<name>.rttm`, for example from `benchmarks/simulate.py` and `benchmarks/telephone_lines.py`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diarize.audio import excerpts, reading
from diarize.backends import segmentation_onnx, vad_energy, vad_silero
from diarize.config import VadConfig
from diarize.models.store import Store
from diarize.speech import fusion, vad
from diarize.timeline import gaps, intersect, total, union
from diarize.types import Audio, Segment

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS = ("sim-dev", "ami-excerpts", "phone-sample")
TRIED: dict[str, Sequence[float]] = {
    "threshold": (0.12, 0.15, 0.2, 0.3, 0.4, 0.5),
    "off_threshold": (0.06, 0.08, 0.12, 0.16, 0.2),
    "min_speech": (0.0, 0.1, 0.2, 0.3),
    "min_silence": (0.0, 0.1, 0.2, 0.3, 0.5),
    "pad": (0.0, 0.01, 0.03, 0.06, 0.1),
}
FUSED: dict[str, Sequence[float]] = {
    "threshold": (0.12, 0.2, 0.3),
    "off_threshold": (0.08, 0.12, 0.16, 0.2),
    "min_silence": (0.1, 0.2, 0.3),
    "pad": (0.0, 0.01, 0.03),
}
Counts = tuple[float, float, float]  # s missed, s false alarm, s of speech


def recordings(folders: Sequence[Path]) -> Iterator[tuple[str, Audio, tuple[Segment, ...]]]:
    """(set, audio, reference speech) of every recording that has a reference."""
    for folder in folders:
        for path in sorted(folder.glob("*.flac")):
            rows = [line.split() for line in path.with_suffix(".rttm").read_text(encoding="utf-8").splitlines()]
            spans = [Segment(float(r[3]), float(r[3]) + float(r[4])) for r in rows if r and r[0] == "SPEAKER"]
            yield folder.name, reading.read(path, id=path.stem).audios[0], union(spans)


def count(found: Sequence[Segment], truth: Sequence[Segment], duration: float) -> Counts:
    inside = intersect(truth, [Segment(0.0, duration)])
    missed = total(intersect(inside, gaps(found, duration)))
    return missed, total(intersect(found, gaps(truth, duration))), total(inside)


def row(name: str, counts: Sequence[tuple[str, Counts]]) -> dict[str, Any]:
    found: dict[str, Any] = {"settings": name}
    for part in [*dict.fromkeys(s for s, _ in counts), "all"]:
        missed, alarm, speech = np.sum([c for s, c in counts if part in (s, "all")], axis=0)
        found[part] = {"missed": 100 * missed / speech, "false_alarm": 100 * alarm / speech}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--more", type=Path, nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    detect = vad_silero.load(Store().pull("silero-vad-v6"))
    folders = [options.data / name for name in SETS] + options.more
    listen = segmentation_onnx.load(Store().pull("pyannote-segmentation-3.0-int8"))
    default, step = VadConfig(), vad_silero.FRAME / 16_000
    heard = []
    for s, a, truth in recordings(folders):
        activity = listen(a)
        alone = detect.probabilities(a)
        own = detect.probabilities(a, activity.spoken(vad_silero.LIKELY))
        levels = excerpts.frame_levels(a, activity.step, activity.lag, activity.frames)
        fused, carried = (fusion.fuse(p, step, vad_silero.LAG, levels, activity) for p in (own, alone))
        heard.append((s, a.duration, truth, {"alone": alone, "fused": fused, "carried": carried}, activity))

    def silero(config: VadConfig, lag: float = vad_silero.LAG) -> list[tuple[str, Counts]]:
        return [
            (s, count(vad.segments(values["alone"], step, duration, config, lag), truth, duration))
            for s, duration, truth, values, _ in heard
        ]

    def both(config: VadConfig, values: str = "fused") -> list[tuple[str, Counts]]:
        counts = []
        for s, duration, truth, probabilities, activity in heard:
            lag = activity.step / 2 - activity.lag
            speech = vad.segments(probabilities[values], activity.step, duration, config, lag)
            counts.append((s, count(speech, truth, duration)))
        return counts

    energy = vad_energy.load()
    rows = [
        row("silero alone", silero(default)),
        row("energy", [(s, count(energy(a), truth, a.duration)) for s, a, truth in recordings(folders)]),
    ]
    rows += [row(f"lag={lag}", silero(default, lag)) for lag in (0.0, 0.015, 0.03, 0.045)]
    rows += [row(name, silero(config)) for name, config in _changed(TRIED)]
    rows.append(row("both models", both(default)))
    rows.append(row("state never replaced", both(default, "carried")))
    rows += [row(name, both(config)) for name, config in _changed(FUSED)]
    heard_by = [(s, count(activity.spoken(0.5), truth, duration)) for s, duration, truth, _, activity in heard]
    rows.append(row("segmentation alone", heard_by))
    print(f"{'settings':<24}" + "".join(f"{name:>24}" for name in rows[0] if name != "settings"))
    for r in rows:
        parts = (r[name] for name in r if name != "settings")
        cells = (f"{p['missed']:.1f} + {p['false_alarm']:.1f} = {p['missed'] + p['false_alarm']:.1f}" for p in parts)
        print(f"{r['settings']:<24}" + "".join(f"{cell:>24}" for cell in cells))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


def _changed(tried: dict[str, Sequence[float]]) -> Iterator[tuple[str, VadConfig]]:
    """One setting changed at a time; the lower threshold follows the upper one where that is tried."""
    for key, values in tried.items():
        for value in values:
            lower = {"off_threshold": round(0.7 * value, 3)} if key == "threshold" else {}
            yield f"{key}={value}", VadConfig.model_validate({key: value, **lower})


if __name__ == "__main__":
    main()
