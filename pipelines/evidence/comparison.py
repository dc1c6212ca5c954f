"""The comparison of a questioned recording with the known ones: likelihood ratio, how sure it is, or a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from diarize import files
from diarize.audio import duplicates
from diarize.errors import CaseDamaged, CaseError, ConfigError
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring import uncertainty
from diarize.library.scoring.calibration import Calibration, Side, Trials
from diarize.library.scoring.conditions import line_of
from diarize.library.scoring.scores import Cosine, Scorer
from diarize.types import Vectors
from pipelines.evidence import facts, fitness, validation
from pipelines.evidence.fitness import ACCEPTABLE, Finding, Overlaps
from pipelines.evidence.folder import Case, as_json, name_of
from pipelines.evidence.items import CaseItem, items, locate, read_again
from pipelines.evidence.log import Act
from pipelines.people.utterance import EmbeddedSpeech, UtteranceEmbedder

SCHEMA = "diarize-case-comparison/1"
TEN = log(10)


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """A calibration with its bytes, which go into the case."""

    calibration: Calibration
    data: bytes
    origin: str  # supplied, or the name of the user's file

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class ItemVoice:
    """A recording of the case, read and measured again; `embedded` is None without speech."""

    item: CaseItem
    measures: Mapping[str, Any]
    embedded: EmbeddedSpeech | None
    fingerprint: duplicates.Bits


def calibration_for(embedder: UtteranceEmbedder, path: Path | None) -> CalibrationFile | None:
    """The user's calibration, or the one supplied for this embedder; None where there is none.

    Raises FormatError where it cannot be read, CalibrationError where it is for another embedder.
    """
    if path is not None:
        calibration = calibrations.load(path)
        calibration.check_scores(embedder.model, calibration.kind)
        return CalibrationFile(calibration, files.read(path), path.name)
    supplied = calibrations.shipped(embedder.model)
    if supplied is None:
        return None
    return CalibrationFile(supplied, calibrations.SHIPPED[embedder.model.partition("@")[0]].read_bytes(), "supplied")


def compare(
    case: Case,
    embedder: UtteranceEmbedder,
    calibration: CalibrationFile | None,
    accept: Collection[str] = (),
    folder: Path | None = None,
    operator: str = "",
) -> tuple[Case, dict[str, Any]]:
    """(the case with one more comparison, its record): each questioned recording with all known ones together.

    `folder` holds the recordings, where they are not at their places. Raises CaseError where there are no recordings of
    both kinds, CaseDamaged where one was changed, ConfigError for a check that cannot be accepted.
    """
    if unknown := sorted(set(accept) - set(ACCEPTABLE)):
        raise ConfigError("--accept", ", ".join(unknown), "cannot be accepted", f"Known: {', '.join(ACCEPTABLE)}.")
    check_roles(items(case), case.folder)
    voices = read_voices(case, embedder, folder)
    kind = calibration.calibration.kind if calibration is not None else ""
    record = evaluate(
        case, voices, embedder, calibration, sorted(accept), validation.newest(case, embedder.model, kind)
    )
    contents: dict[str, str | bytes] = {"comparison.json": as_json(record)}
    if calibration is not None:
        contents["calibration.json"] = calibration.data
    blind = facts.of(case.read_json(case.acts[0], "case.json")).blind
    detail = {"accepted": sorted(accept), "shown": not blind, "calibration": record["calibration"]["sha256"]}
    return case.record("compare", detail, contents, operator), record


def check_roles(recordings: Sequence[CaseItem], folder: Path) -> None:
    """Raises CaseError where there is no questioned or no known recording."""
    for role in ("questioned", "known"):
        if not any(item.role == role for item in recordings):
            cure = f"Add one: diarize case add {folder} --{role} FILE."
            raise CaseError(str(folder), f"has no {role} recording", cure)


def read_voices(case: Case, embedder: UtteranceEmbedder, folder: Path | None) -> list[ItemVoice]:
    """Every recording of the case, decoded, measured and embedded again. Raises CaseDamaged for another digest."""
    voices = []
    for item in items(case):
        path = locate(item, folder)
        recording = read_again(item, path)
        audio = recording.audios[0]
        if audio.digest != item.digest:
            problem = f"is not the recording {item.label} of the case: its sha256 is {audio.digest}, not {item.digest}"
            raise CaseDamaged(str(path), problem, "Restore the recording from its original.")
        measures, embedded = fitness.measure(audio, item.parts, embedder)
        voices.append(ItemVoice(item, measures, embedded, duplicates.fingerprint(audio.samples)))
    return voices


def evaluate(
    case: Case,
    voices: Sequence[ItemVoice],
    embedder: UtteranceEmbedder,
    calibration: CalibrationFile | None,
    accepted: Sequence[str],
    validated: Trials | None,
) -> dict[str, Any]:
    """What `comparison.json` holds. `validated`: scored trials of the newest validation with this embedder."""
    language = facts.of(case.read_json(case.acts[0], "case.json")).language
    own = calibration.calibration if calibration is not None else None
    findings = {
        voice.item.label: fitness.judge(voice.item, own, [*_overlaps(voice, voices)], language) for voice in voices
    }
    scorer: Scorer = own.scorer() if own is not None else Cosine()
    known = [voice for voice in voices if voice.item.role == "known"]
    results = []
    for voice in voices:
        if voice.item.role != "questioned":
            continue
        reasons = [
            (each.item.label, f) for each in (voice, *known) for f in fitness.unfit(findings[each.item.label], accepted)
        ]
        if own is None or reasons:
            results.append(_refused(voice, known, own, reasons))
        else:
            results.append(_compared(voice, known, own, scorer, validated))
    return {
        "schema": SCHEMA,
        "accepted": list(accepted),
        "calibration": _describe(calibration),
        "scoring": scorer.kind,
        "findings": {label: [asdict(f) for f in each] for label, each in findings.items()},
        "results": results,
        "vectors": {voice.item.label: voice.measures["vector"] for voice in voices},
        "identity": fitness.identify(embedder),
    }


def stored_findings(record: Mapping[str, Any], label: str) -> list[Finding]:
    """The findings on a recording in a `comparison.json`."""
    return [Finding(**values) for values in record["findings"].get(label, [])]


def in_decades(llr: float | None) -> float | None:
    """A natural logarithm as log10."""
    return None if llr is None else llr / TEN


def _describe(calibration: CalibrationFile | None) -> dict[str, Any]:
    if calibration is None:
        return {"sha256": "", "origin": ""}
    c = calibration.calibration
    return {
        "sha256": calibration.digest,
        "origin": calibration.origin,
        "data": c.data,
        "speakers": c.speakers,
        "trials": list(c.trials),
        "seconds": list(c.seconds),
        "bandwidth": list(c.bandwidth),
        "bounds": [in_decades(bound) for bound in c.bounds],
        "model": c.model,
    }


def _refused(
    voice: ItemVoice, known: Sequence[ItemVoice], own: Calibration | None, reasons: Sequence[tuple[str, Finding]]
) -> dict[str, Any]:
    refusal = [{"label": label, "check": f.check, "value": f.value, "limit": f.limit} for label, f in reasons]
    if own is None:
        refusal.insert(0, {"label": "", "check": "calibration", "value": "", "limit": ""})
    return {"questioned": voice.item.label, "known": [each.item.label for each in known], "refusal": refusal}


def _compared(
    voice: ItemVoice, known: Sequence[ItemVoice], supplied: Calibration, scorer: Scorer, validated: Trials | None
) -> dict[str, Any]:
    assert voice.embedded is not None and all(each.embedded is not None for each in known)
    vector, windows, seconds = _together(known)
    q = voice.embedded.voice
    bands = [float(voice.measures["bandwidth"]), min(float(each.measures["bandwidth"]) for each in known)]
    own = supplied.for_sides(Side(q.seconds, bands[0]), Side(seconds, bands[1]))
    score = float(scorer(q.vector[None], vector[None])[0])
    unbounded = float(own.unbounded(score, q.seconds, seconds))
    llr = float(np.clip(unbounded, *own.bounds))

    def ratio(a: Vectors, b: Vectors, a_seconds: Any, b_seconds: Any) -> Any:
        return own.unbounded(scorer(a, b), a_seconds, b_seconds)

    jackknife = uncertainty.leave_one_out(
        voice.embedded.windows.vectors, windows, (q.seconds, seconds), ratio, unbounded
    )
    speakers = None if validated is None else uncertainty.over_speakers(validated, score, (q.seconds, seconds))
    single = []
    for each in known if len(known) > 1 else ():
        assert each.embedded is not None
        k = each.embedded.voice
        value = float(scorer(q.vector[None], k.vector[None])[0])
        alone = float(supplied.for_sides(q.side, k.side).llr(value, q.seconds, k.seconds))
        single.append({"known": each.item.label, "score": value, "log10": in_decades(alone)})
    return {
        "questioned": voice.item.label,
        "known": [each.item.label for each in known],
        "refusal": None,
        "seconds": [q.seconds, round(seconds, 3)],
        "cosine": float(Cosine()(q.vector[None], vector[None])[0]),
        "score": score,
        "llr": llr,
        "log10": in_decades(llr),
        "unbounded": in_decades(unbounded),
        "at_bound": llr in own.bounds,
        "interval_speech": None if jackknife is None else _decades(jackknife.low, jackknife.high, own),
        "parts_left_out": None if jackknife is None else _decades(jackknife.least, jackknife.most, own),
        "interval_speakers": None if speakers is None else _decades(*speakers, own),
        "typicality": None if validated is None else _typicality(validated, score),
        "each_known": single,
        "bandwidth": bands,
        "condition": [line_of(band) for band in bands],
        "calibrated_for": None if own is supplied else _extent(own),
    }


def _extent(own: Calibration) -> dict[str, Any]:
    """What the weights of a condition were fitted to, and their bounds."""
    (same, different), (low, high) = own.trials, map(in_decades, own.bounds)
    return {"same": same, "different": different, "speakers": own.speakers, "low": low, "high": high}


def _typicality(trials: Trials, score: float) -> dict[str, Any]:
    """Where a score lies among those of the validation's trials."""
    same, different = trials.scores[trials.same], trials.scores[~trials.same]
    return {
        "different": len(different),
        "different_as_high": round(float((different >= score).mean()), 6),
        "same": len(same),
        "same_as_low": round(float((same <= score).mean()), 6),
    }


def _decades(low: float, high: float, calibration: Calibration) -> list[float | None]:
    """An interval as log10, within the bounds of the calibration."""
    return [in_decades(float(np.clip(value, *calibration.bounds))) for value in (low, high)]


def _together(known: Sequence[ItemVoice]) -> tuple[Any, Any, float]:
    """(unit vector (d,), windows (n, d), seconds) of all known recordings, each weighted by its seconds of speech."""
    voices = [each.embedded for each in known if each.embedded is not None]
    seconds = sum(each.voice.seconds for each in voices)
    windows = np.concatenate([each.windows.vectors for each in voices])
    if len(voices) == 1:
        return voices[0].voice.vector, windows, seconds
    weighted = sum(each.voice.vector.astype(np.float64) * each.voice.seconds for each in voices)
    return (weighted / np.linalg.norm(weighted)).astype(np.float32), windows, seconds


def _overlaps(voice: ItemVoice, voices: Sequence[ItemVoice]) -> list[tuple[CaseItem, Overlaps]]:
    rows = []
    for other in voices:
        if other is voice:
            continue
        identical = (other.item.digest, other.item.pcm) == (voice.item.digest, voice.item.pcm)
        overlap = None if identical else duplicates.best_overlap(voice.fingerprint, other.fingerprint)
        rows.append((other.item, Overlaps(identical, overlap)))
    return rows


def load_calibration(case: Case, record: Mapping[str, Any], act: Act) -> CalibrationFile | None:
    """The calibration of a comparison, out of the case. Raises CaseDamaged and FormatError."""
    if not record["calibration"]["sha256"]:
        return None
    data = case.read(act, "calibration.json")
    calibration = calibrations.parse(data, f"{name_of(act)}/calibration.json")
    return CalibrationFile(calibration, data, str(record["calibration"]["origin"]))
