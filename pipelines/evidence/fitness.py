"""May a recording be compared? Measures of its compared parts, and limits on them (docs/method/evidence.md)."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from diarize.audio import duplicates, edits
from diarize.guard import spoofing
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring import enrolment
from diarize.library.scoring.calibration import Calibration, Side
from diarize.timeline import intersect, total, union
from diarize.types import Audio, Segment
from diarize.units import round_time, to_samples
from pipelines.people.enrolment_checks import DOUBTFUL, LEAST_SNR, MOST_CLIPPED, NOISY
from pipelines.people.utterance import EmbeddedSpeech, UtteranceEmbedder, add_margins
from pipelines.versions import versions

if TYPE_CHECKING:
    from pipelines.evidence.items import CaseItem

SCHEMA = "diarize-case-measures/1"
Fitness = Literal["fit", "caution", "unfit", "open"]
FindingCheck = Literal[
    "speech", "noise", "clipping", "band", "level", "lost", "voices", "edits", "codec", "same", "language", "spoof"
]
ACCEPTABLE: tuple[FindingCheck, ...] = ("noise", "clipping", "voices")  # that an examiner may accept; it is logged
ENOUGH_SPEECH = 12.0  # s; more gains little (docs/method/enrolment.md)
QUIET = -50.0  # dBFS of the speech, below which 16-bit samples lose detail
LOSSLESS = ("pcm_", "flac", "alac", "wavpack", "ape", "tta", "mlp", "truehd")  # beginnings of names of codecs
_PLACES = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What a limit says of a measure. The words are in `texts/`, under the names of check and outcome."""

    check: FindingCheck
    outcome: Fitness
    value: str = ""
    limit: str = ""

    @property
    def acceptable(self) -> bool:
        return self.check in ACCEPTABLE


def measure(
    audio: Audio, parts: Sequence[Segment], embedder: UtteranceEmbedder
) -> tuple[dict[str, Any], EmbeddedSpeech | None]:
    """(what `measures.json` holds, the voice): speech of the parts, its quality, and with what it was measured."""
    speech, embedded = embed_parts(audio, parts, embedder)
    identity = identify(embedder)
    values = describe(audio, parts, speech)
    if embedded is None:
        return {**values, "voices": None, "spoof": None, "vector": "", "identity": identity}, None
    halves = enrolment.halves(embedded.windows.vectors, calibrations.shipped(embedder.model))
    voices: dict[str, Any] | None = None
    if halves is not None:
        second = union(s for s, label in zip(embedded.windows.segments, halves.labels, strict=True) if label == 1)
        voices = {
            "similarity": round(halves.similarity, 4),
            "threshold": halves.threshold,
            "second": [[round_time(s.start), round_time(s.end)] for s in second[:_PLACES]],
        }
    vector = hashlib.sha256(np.ascontiguousarray(embedded.voice.vector, "<f4").tobytes()).hexdigest()
    spoof = _spoof(audio, parts, embedder)
    return {**values, "voices": voices, "spoof": spoof, "vector": vector, "identity": identity}, embedded


def _spoof(audio: Audio, parts: Sequence[Segment], embedder: UtteranceEmbedder) -> dict[str, Any] | None:
    """The scores of a countermeasure for the compared parts, pauses too; None where none was asked."""
    scores = embedder.score_spoofing(Audio(audio.id, np.concatenate([_piece(audio, part) for part in parts])))
    if scores is None:
        return None
    return {key: value for key, value in spoofing.as_dict(scores).items() if key != "windows"}


def describe(audio: Audio, parts: Sequence[Segment], speech: Sequence[Segment]) -> dict[str, Any]:
    """The measures that need no model, once the speech is known."""
    from diarize.audio.bandwidth import bandwidth

    signs = edits.signs(audio)
    missing = intersect(union(audio.lost), union(parts))
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "speech": [[s.start, s.end] for s in speech],
        "seconds": round(total(speech), 3),
        "selected": round(total(parts), 3),
        "lost": round(total(missing), 3),
        "edits": [asdict(sign) for sign in signs[: edits.MOST]],
        "edits_in_all": len(signs),
        "snr": None,
        "clipped": None,
        "bandwidth": None,
        "level": None,
        "peak": None,
    }
    if speech:
        samples = np.concatenate([_piece(audio, segment) for segment in speech]).astype(np.float64)
        rms = max(float(np.sqrt(np.mean(samples**2))) if len(samples) else 0.0, 1e-6)
        peak = max(float(np.abs(samples).max(initial=0.0)), 1e-6)
        values |= {
            "snr": round(enrolment.snr(audio, speech), 2),
            "clipped": round(enrolment.clipped(audio, speech), 4),
            "bandwidth": bandwidth(audio, speech),
            "level": round(20 * float(np.log10(rms)), 2),
            "peak": round(20 * float(np.log10(peak)), 2),
        }
    return values


def level_curve(audio: Audio) -> tuple[list[float], list[float]]:
    """(middles in s, levels in dBFS) of at most 300 parts of a recording."""
    edges = np.linspace(0, len(audio.samples), min(300, max(1, len(audio.samples) // 160)) + 1).astype(int)
    powers = [np.mean(np.square(audio.samples[a:b], dtype=np.float64)) for a, b in pairwise(edges.tolist())]
    times = ((edges[:-1] + edges[1:]) / 2 / audio.rate).tolist()
    return times, np.round(10 * np.log10(np.maximum(powers, 1e-9)), 2).tolist()


def mean_spectrum(audio: Audio, speech: Sequence[Segment]) -> tuple[list[float], list[float]]:
    """(kHz, dB below the highest) of the mean power spectrum of the speech, in 257 bands."""
    power, hann = np.zeros(257), np.hanning(512).astype(np.float32)
    for segment in speech:
        samples = _piece(audio, segment)
        frames = samples[: len(samples) // 512 * 512].reshape(-1, 512)
        power += np.square(np.abs(np.fft.rfft(frames * hann, axis=1)), dtype=np.float64).sum(axis=0)
    levels = 10 * np.log10(np.maximum(power, 1e-12 * max(power.max(), 1e-12)))
    hertz = np.fft.rfftfreq(512, 1 / audio.rate) / 1000
    return hertz.tolist(), np.round(levels - levels.max(), 2).tolist()


def embed_parts(
    audio: Audio, parts: Sequence[Segment], embedder: UtteranceEmbedder
) -> tuple[tuple[Segment, ...], EmbeddedSpeech | None]:
    """(speech of the parts, its voice; None without speech). Sound outside the parts has no influence on the voice."""
    speech = tuple(
        Segment(round_time(s.start), round_time(s.end))
        for s in intersect(union(embedder.detector(audio)), union(parts))
        if round_time(s.end) > round_time(s.start)
    )
    if not speech:
        return (), None
    wide = intersect(add_margins(speech, audio.duration), union(parts))
    return speech, embedder.embed_speech(audio, speech, wide)


def identify(embedder: UtteranceEmbedder) -> dict[str, Any]:
    """All that decides a measure: models, settings, versions, processor."""
    exclude = {"run", "asr", "output", "cluster", "words"}
    return {
        "embedder": embedder.model,
        "detector": embedder.detector.name,
        "models": dict(embedder.models),
        "settings": embedder.config.model_dump(mode="json", exclude=exclude),
        "versions": versions(),
        "processor": processor(),
    }


@cache
def processor() -> str:
    """The type of processor: results are the same to the bit on one type, and nearly so on others."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"{platform.machine()} {line.partition(':')[2].strip()}"
    except OSError:
        pass
    return platform.machine() or "unknown"


def judge(
    item: CaseItem, calibration: Calibration | None, others: Sequence[tuple[CaseItem, Overlaps]], language: str = ""
) -> list[Finding]:
    """What the limits say of a recording. `others`: the other recordings of the case, with how they overlap.

    `calibration` is that of the comparison; `language` of the case, where it is stated.
    """
    m, source = item.measures, item.record["recording"]
    findings = [_speech(m, calibration)]
    if m["snr"] is not None:
        snr = float(m["snr"])
        limit = LEAST_SNR if snr < LEAST_SNR else NOISY
        noise: Fitness = "unfit" if snr < LEAST_SNR else "caution" if snr < NOISY else "fit"
        findings.append(Finding("noise", noise, f"{snr:.1f} dB", f"{limit:.0f} dB"))
        share = float(m["clipped"])
        clipping: Fitness = "unfit" if share > MOST_CLIPPED else "fit"
        findings.append(Finding("clipping", clipping, f"{share:.1%}", f"{MOST_CLIPPED:.0%}"))
        findings.append(_band(m, calibration))
        level: Fitness = "caution" if float(m["level"]) < QUIET else "fit"
        findings.append(Finding("level", level, f"{m['level']:.1f} dBFS", f"{QUIET:.0f} dBFS"))
    findings.append(Finding("lost", "caution" if m["lost"] else "fit", f"{m['lost']:.2f} s", "0 s"))
    findings.append(_voices(m))
    count = int(m["edits_in_all"])
    findings.append(Finding("edits", "caution" if count else "fit", str(count), "0"))
    lossless = str(source["codec"]).startswith(LOSSLESS)
    findings.append(Finding("codec", "fit" if lossless else "caution", f"{source['codec']}", ""))
    findings += _same(item, others)
    if language or calibration is not None:
        english = language.lower().partition("-")[0] == "en"
        supplied = calibration is not None and calibration == calibrations.shipped(calibration.model)
        spoken: Fitness = "open" if not language or not supplied else "fit" if english else "caution"
        findings.append(Finding("language", spoken, language or "?", "en" if supplied else "?"))
    return [*findings, _suspicion(m.get("spoof"))]


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Whether two recordings are the same bytes, and how much of their sound is the same."""

    identical: bool
    overlap: duplicates.Overlap | None


def unfit(findings: Sequence[Finding], accepted: Collection[str] = ()) -> list[Finding]:
    """The findings that forbid a comparison."""
    return [f for f in findings if f.outcome == "unfit" and not (f.acceptable and f.check in accepted)]


def _speech(measures: Mapping[str, Any], calibration: Calibration | None) -> Finding:
    seconds = float(measures["seconds"])
    least = 1.0 if calibration is None else calibration.seconds[0]
    short = calibration is not None and calibration.refusal(*[Side(max(seconds, 1e-3), None)] * 2) is not None
    if short or seconds < least:
        return Finding("speech", "unfit", f"{seconds:.2f} s", f"{least:.2f} s")
    outcome: Fitness = "caution" if seconds < ENOUGH_SPEECH else "fit"
    return Finding("speech", outcome, f"{seconds:.1f} s", f"{ENOUGH_SPEECH:.0f} s")


def _band(measures: Mapping[str, Any], calibration: Calibration | None) -> Finding:
    band = float(measures["bandwidth"])
    if calibration is None:
        return Finding("band", "open", f"{band:.0f} Hz", "?")
    low, high = calibration.widest_bands
    outcome: Fitness = "fit" if low <= band <= high else "unfit"
    return Finding("band", outcome, f"{band:.0f} Hz", f"{low:.0f}-{high:.0f} Hz")


def _voices(measures: Mapping[str, Any]) -> Finding:
    voices = measures["voices"]
    if voices is None:
        return Finding("voices", "open")
    similarity, threshold = float(voices["similarity"]), float(voices["threshold"])
    places = ", ".join(f"{a:.1f}-{b:.1f} s" for a, b in voices["second"])
    if similarity < threshold:
        return Finding("voices", "unfit", f"{similarity:.2f}: {places}", f"{threshold:.2f}")
    if similarity < threshold + DOUBTFUL:
        return Finding("voices", "caution", f"{similarity:.2f}: {places}", f"{threshold:.2f}")
    return Finding("voices", "fit", f"{similarity:.2f}", f"{threshold:.2f}")


def _suspicion(spoof: Mapping[str, Any] | None) -> Finding:
    """What a countermeasure says: a caution at most, as it is often wrong about people."""
    if spoof is None or spoof["score"] is None:
        return Finding("spoof", "open")
    limit = 0.0 if spoof["threshold"] is None else float(spoof["threshold"])
    score, model = float(spoof["score"]), str(spoof["model"]).partition("@")[0]
    return Finding("spoof", "caution" if score < limit else "fit", f"{score:+.2f} ({model})", f"{limit:g}")


def _same(item: CaseItem, others: Sequence[tuple[CaseItem, Overlaps]]) -> list[Finding]:
    findings = []
    for other, overlaps in others:
        apart = overlaps.identical and not intersect(union(item.parts), union(other.parts))
        outcome: Fitness = "unfit" if other.role != item.role and not apart else "caution"
        if overlaps.identical:
            findings.append(Finding("same", outcome, f"{other.label}: sha256", ""))
        elif overlaps.overlap is not None and overlaps.overlap.same:
            shared = overlaps.overlap
            value = f"{other.label}: {shared.seconds:.0f} s, {shared.error:.0%}"
            findings.append(Finding("same", outcome, value, f"{duplicates.SAME:.0%}"))
    return findings or [Finding("same", "fit")]


def _piece(audio: Audio, segment: Segment) -> Any:
    return audio.samples[to_samples(segment.start, audio.rate) : to_samples(segment.end, audio.rate)]
