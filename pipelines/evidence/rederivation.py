"""Every digest and figure of a case computed again from its recordings, on this or another machine.

Without models: the log, all files, the recordings and their decoded sound, all measures that need no model, the
likelihood ratios of the recorded scores, the figures of validations, the reports and their signatures. With models also
the speech, the voices and the scores. On the type of processor that made a record, and with the same versions, every
figure must be the same to the bit; elsewhere within a tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isclose
from pathlib import Path
from typing import Any

from diarize.audio import duplicates
from diarize.audio.reading import Recording
from diarize.config import Config
from diarize.errors import DiarizeError, MissingExtra
from diarize.library.scoring import calibration as calibrations
from diarize.library.scoring.calibration import Side
from diarize.models.store import Store
from diarize.types import Segment
from pipelines.evidence import comparison, fitness, folder, items, report, validation
from pipelines.evidence.comparison import CalibrationFile, ItemVoice
from pipelines.evidence.folder import Case, name_of
from pipelines.evidence.items import CaseItem
from pipelines.evidence.log import Act
from pipelines.people.utterance import UtteranceEmbedder, load_embedder
from pipelines.results.integrity import Difference
from pipelines.versions import versions

SCHEMA = "diarize-case-verification/1"
TOLERANCE = 1e-6  # absolute or relative, of figures computed on another type of processor
_FACTS = (
    "size", "container", "codec", "rate", "channels", "channel", "stream", "streams", "declared", "decoded", "lost",
    "notes", "bit_rate",
)  # fmt: skip


@dataclass
class CaseVerification:
    """What was computed again, and what differs."""

    acts: int = 0
    files: int = 0
    recordings: int = 0
    figures: int = 0
    head: str = ""  # hash of the log's last line
    models: bool = True
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: 0 all as recorded, 6 something differs."""
        return 6 if self.differences else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"schema": SCHEMA, "status": self.status, **asdict(self)}

    def add(self, where: str, what: str) -> None:
        self.differences.append(Difference(where, "changed", what))

    def compare(self, where: str, recorded: Any, actual: Any, exact: bool, tolerance: float) -> None:
        """Add what differs between two values of JSON, in which figures are numbers."""
        self.figures += _count(recorded)
        for path, what in differences(recorded, actual, 0.0 if exact else tolerance):
            self.add(where, f"{path}: {what}")


def verify(
    place: Path,
    store: Store,
    recordings: Path | None = None,
    models: bool = True,
    expect: str = "",
    tolerance: float = TOLERANCE,
    offline: bool = True,
    public_key: bytes | None = None,
    trials: Path | None = None,
) -> CaseVerification:
    """Check a case; nothing is written there. `recordings` holds them, where they are not at their recorded places.

    `trials` holds the recordings of the validations: their voices and scores are computed again too, with models.
    `expect` is the hash of a line of the log that was noted earlier: it must still be there. `public_key` (PEM)
    is the one with which every report must be signed. Raises CaseError where there is no case.
    """
    case, problems = folder.examine(place)
    result = CaseVerification(acts=len(case.acts), models=models, differences=problems)
    result.files = sum(len(act.files) for act in case.acts)
    result.head = case.acts[-1].hash if case.acts else ""
    if expect and expect.strip().lower() not in {act.hash for act in case.acts}:
        result.add("log.jsonl", f"no line has the hash {expect.strip()}: the log is another, or was cut")
    voices: dict[str, tuple[CaseItem, Recording]] = {}
    for act in case.acts:
        try:
            if act.action == "add":
                _check_item(case, act, recordings, result, voices, tolerance)
            elif act.action == "validate":
                _check_validation(case, act, result)
        except (DiarizeError, KeyError, TypeError, ValueError) as error:
            result.add(name_of(act), f"cannot be checked: {error or type(error).__name__}")
    compared = [act for act in case.acts if act.action == "compare"]
    for act in compared:
        try:
            _check_ratios(case, act, result)
        except (DiarizeError, KeyError, TypeError, ValueError) as error:
            result.add(name_of(act), f"cannot be checked: {error or type(error).__name__}")
    if models and trials is None and case.of("validate"):
        result.notes.append("scores of validations are those on record; --trials FOLDER computes them again")
    if models and case.acts:
        _check_with_models(case, voices, store, offline, result, tolerance, trials)
    _check_reports(case, result, public_key)
    return result


def differences(recorded: Any, actual: Any, tolerance: float, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, what) of every value that differs; numbers may differ by `tolerance`, absolute or relative."""
    if isinstance(recorded, Mapping) and isinstance(actual, Mapping):
        for key in sorted({*recorded, *actual}):
            yield from differences(recorded.get(key), actual.get(key), tolerance, f"{path}.{key}" if path else str(key))
    elif isinstance(recorded, list | tuple) and isinstance(actual, list | tuple) and len(recorded) == len(actual):
        for i, (a, b) in enumerate(zip(recorded, actual, strict=True)):
            yield from differences(a, b, tolerance, f"{path}[{i}]")
    elif _is_number(recorded) and _is_number(actual):
        if recorded != actual and not isclose(recorded, actual, rel_tol=tolerance, abs_tol=tolerance):
            yield path, f"{recorded!r} is recorded, {actual!r} is computed"
    elif recorded != actual:
        yield path, f"{_short(recorded)} is recorded, {_short(actual)} is computed"


def same_conditions(identity: Mapping[str, Any]) -> bool:
    """Whether a record was made on this type of processor with these versions: bits must agree then."""
    return identity.get("processor") == fitness.processor() and identity.get("versions") == versions()


def _check_item(
    case: Case,
    act: Act,
    recordings: Path | None,
    result: CaseVerification,
    voices: dict[str, tuple[CaseItem, Recording]],
    tolerance: float,
) -> None:
    """The recording: its bytes, decoded sound, part and measures that need no model."""
    item = CaseItem(act, case.read_json(act, "item.json"), case.read_json(act, "measures.json"))
    path = items.locate(item, recordings)
    recording = items.read_again(item, path)
    result.recordings += 1
    audio, recorded = recording.audios[0], item.record["recording"]
    if audio.digest != item.digest:
        result.add(
            f"{item.label} ({path})", f"the recording was changed: sha256 {audio.digest}, {item.digest} was added"
        )
        return
    where = f"{name_of(act)}/item.json"
    exact = same_conditions(item.measures["identity"])
    now = items.describe(path, recording, item.role, item.label, items.stored_part(item))
    if audio.pcm != recorded["pcm"]:
        known = item.measures["identity"]["versions"]
        other = {name for name in ("av", "libavcodec", "libswresample") if known.get(name) != versions().get(name)}
        if other:
            result.notes.append(
                f"{item.label}: decoded sound differs, by another version of {', '.join(sorted(other))}"
            )
        else:
            result.add(where, "the decoded sound is another than recorded")
    facts_ = {key: recorded.get(key) for key in _FACTS}
    result.compare(where, facts_, {key: now["recording"].get(key) for key in _FACTS}, exact, tolerance)
    segments, excluded = items.select_again(case, item, audio)
    part = item.record["part"]
    result.compare(where, [part["segments"], part["excluded"]], [segments, excluded], exact, tolerance)
    speech = [Segment(a, b) for a, b in item.measures["speech"]]
    measures = fitness.describe(audio, item.parts, speech)
    result.compare(
        f"{name_of(act)}/measures.json", {key: item.measures.get(key) for key in measures}, measures, exact, tolerance
    )
    if exact and duplicates.pack(duplicates.fingerprint(audio.samples)) != case.read(act, "fingerprint.bin"):
        result.add(f"{name_of(act)}/fingerprint.bin", "is not the fingerprint of the recording")
    for name, picture in items.draw(audio, item.measures).items() if exact else ():
        if picture != case.read(act, name):
            result.add(f"{name_of(act)}/{name}", "is not the picture of the recording")
    voices[item.label] = (item, recording)


def _check_validation(case: Case, act: Act, result: CaseVerification) -> None:
    record, table = case.read_json(act, "validation.json"), case.read_json(act, "trials.json")
    now = validation.summarise(table)
    where = f"{name_of(act)}/validation.json"
    result.compare(where, {key: record.get(key) for key in now}, now, same_conditions(record["identity"]), TOLERANCE)


def _check_ratios(case: Case, act: Act, result: CaseVerification) -> None:
    """The calibration and the likelihood ratios of the recorded scores, and the limits on the recorded measures."""
    record = case.read_json(act, "comparison.json")
    calibration = comparison.load_calibration(case, record, act)
    where = f"{name_of(act)}/comparison.json"
    if calibration is None:
        return
    if calibration.digest != record["calibration"]["sha256"]:
        result.add(where, "names another calibration than the one beside it")
    supplied = calibrations.shipped(calibration.calibration.model)
    if record["calibration"]["origin"] == "supplied" and supplied != calibration.calibration:
        text = "the calibration supplied with this version is another one; figures are computed with that of the case"
        result.notes.append(f"{name_of(act)}: {text}")
    for i, row in enumerate(record["results"]):
        if row["refusal"] is not None:
            continue
        own = calibration.calibration.for_sides(*map(Side, row["seconds"], row["bandwidth"]))
        unbounded = float(own.unbounded(row["score"], *row["seconds"]))
        llr = float(own.llr(row["score"], *row["seconds"]))
        now = {"llr": llr, "log10": comparison.in_decades(llr), "unbounded": comparison.in_decades(unbounded)}
        now["at_bound"] = llr in own.bounds
        exact = same_conditions(record["identity"])
        result.compare(f"{where}: results[{i}]", {key: row.get(key) for key in now}, now, exact, TOLERANCE)


def _check_with_models(
    case: Case,
    voices: Mapping[str, tuple[CaseItem, Recording]],
    store: Store,
    offline: bool,
    result: CaseVerification,
    tolerance: float,
    trials: Path | None,
) -> None:
    """Speech, voices and scores, with the settings of the record."""
    damaged = {status.entry.name: status.problem for status in store.verify() if status.problem}
    embedders: dict[str, UtteranceEmbedder] = {}

    def embedder_for(identity: Mapping[str, Any]) -> UtteranceEmbedder:
        key = repr(identity["settings"])
        if key not in embedders:
            config = Config.model_validate({**identity["settings"], "run": {"offline": offline}})
            embedders[key] = load_embedder(config, store)
        return embedders[key]

    for name, problem in damaged.items():
        result.notes.append(f"model {name}: {problem}")
    embedded: dict[str, ItemVoice] = {}
    for item, recording in voices.values():
        identity = item.measures["identity"]
        try:
            embedder = embedder_for(identity)
            where = f"{name_of(item.act)}/measures.json"
            _check_models(identity, embedder, where, result)
            audio = recording.audios[0]
            measures, voice = fitness.measure(audio, item.parts, embedder)
        except DiarizeError as error:
            result.add(name_of(item.act), f"cannot be computed again: {error}")
            continue
        exact = same_conditions(identity)
        loose = ("identity",) if exact else ("identity", "vector")
        recorded = {key: value for key, value in item.measures.items() if key not in loose}
        result.compare(where, recorded, {key: measures[key] for key in recorded}, exact, tolerance)
        embedded[item.label] = ItemVoice(item, measures, voice, duplicates.fingerprint(audio.samples))
    for act in case.of("validate"):
        if trials is None:
            break
        try:
            _check_trials(case, act, trials, embedder_for, result, tolerance)
        except (DiarizeError, KeyError, TypeError, ValueError) as error:
            result.add(name_of(act), f"cannot be computed again: {error or type(error).__name__}")
    for act in case.of("compare"):
        try:
            _check_comparison(case, act, embedded, embedder_for, result, tolerance)
        except (DiarizeError, KeyError, TypeError, ValueError) as error:
            result.add(name_of(act), f"cannot be computed again: {error or type(error).__name__}")


def _check_trials(
    case: Case, act: Act, folder: Path, embedder_for: Any, result: CaseVerification, tolerance: float
) -> None:
    """The voices and scores of a validation, from its recordings."""
    identity, table = case.read_json(act, "validation.json")["identity"], case.read_json(act, "trials.json")
    where = f"{name_of(act)}/trials.json"
    embedder = embedder_for(identity)
    _check_models(identity, embedder, where, result)
    calibration = calibrations.parse(case.read(act, "calibration.json"), f"{name_of(act)}/calibration.json")
    now, problems = validation.tabulate_again(table, calibration, folder, embedder)
    result.recordings += len(now["recordings"])
    for name, problem in problems.items():
        result.add(where, f"{name}: {problem}")
    exact = same_conditions(identity)
    result.compare(where, table, now, exact, max(tolerance, TOLERANCE))


def _check_comparison(
    case: Case,
    act: Act,
    embedded: Mapping[str, ItemVoice],
    embedder_for: Any,
    result: CaseVerification,
    tolerance: float,
) -> None:
    record = case.read_json(act, "comparison.json")
    calibration: CalibrationFile | None = comparison.load_calibration(case, record, act)
    embedder = embedder_for(record["identity"])
    where = f"{name_of(act)}/comparison.json"
    _check_models(record["identity"], embedder, where, result)
    before = Case(case.folder, case.acts[: act.number - 1])
    used = [item.label for item in items.items(before)]
    if lacking := [label for label in used if label not in embedded]:
        result.add(where, f"cannot be computed again without {', '.join(lacking)}")
        return
    voices = [embedded[label] for label in used]
    kind = calibration.calibration.kind if calibration is not None else ""
    newest = validation.newest(before, embedder.model, kind)
    now = comparison.evaluate(before, voices, embedder, calibration, record["accepted"], newest)
    exact = same_conditions(record["identity"])
    ignored = ("identity",) if exact else ("identity", "vectors")
    recorded = {key: value for key, value in record.items() if key not in ignored}
    result.compare(where, recorded, {key: now.get(key) for key in recorded}, exact, tolerance)


def _check_models(
    identity: Mapping[str, Any], embedder: UtteranceEmbedder, where: str, result: CaseVerification
) -> None:
    now = fitness.identify(embedder)
    for key in ("embedder", "detector", "models"):
        if identity.get(key) != now[key]:
            result.add(
                where, f"another {key}: {_short(identity.get(key))} is recorded, this store has {_short(now[key])}"
            )
    if identity.get("versions") != now["versions"]:
        known = identity.get("versions") or {}
        names = sorted(name for name in {*known, *now["versions"]} if known.get(name) != now["versions"].get(name))
        note = f"{where}: other versions of {', '.join(names)}: figures may differ by {TOLERANCE:g}"
        if note not in result.notes:
            result.notes.append(note)


def _check_reports(case: Case, result: CaseVerification, public_key: bytes | None) -> None:
    """Reports written again from the case, their manifests and signatures."""
    for act in case.of("report"):
        try:
            differing, notes = report.problems(case, act, public_key)
        except MissingExtra as error:
            result.notes.append(f"{name_of(act)}: {error}")
        except (DiarizeError, KeyError, TypeError, ValueError) as error:
            result.add(name_of(act), f"cannot be checked: {error or type(error).__name__}")
        else:
            for name, what in differing:
                result.add(f"{name_of(act)}/{name}", what)
            result.notes += notes


def _count(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(_count(each) for each in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return sum(_count(each) for each in value)
    return int(_is_number(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
