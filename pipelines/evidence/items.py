"""The recordings of a case: by their digests, never moved or changed; and which parts of them are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diarize import files, timeline
from diarize.audio import duplicates, reading
from diarize.audio.reading import Recording
from diarize.errors import AudioError, CaseError, ConfigError, printable
from diarize.formats import rttm, transcript_json
from diarize.types import Audio, Segment, Turn
from diarize.units import round_time
from pipelines.evidence import fitness
from pipelines.evidence.fitness import Overlaps
from pipelines.evidence.folder import Case, as_json
from pipelines.evidence.formats import plots
from pipelines.evidence.formats.plots import Curve
from pipelines.evidence.log import Act
from pipelines.people.utterance import UtteranceEmbedder
from pipelines.processes import decoding
from pipelines.results import outputs
from pipelines.results.fingerprint import sha256_or_empty

SCHEMA = "diarize-case-item/1"
ROLES = {"questioned": "Q", "known": "K"}
COLLAR = 0.25  # s around turns of other speakers that are not compared: turns are not exact
SHORTEST = 0.3  # s of a part


@dataclass(frozen=True, slots=True)
class Selection:
    """The parts of a recording that are compared: all of it, from a time to a time, or a speaker's turns."""

    start: float | None = None  # s
    end: float | None = None
    turns: Path | None = None  # RTTM file
    results: Path | None = None  # folder of a recording's results, as `diarize process` wrote it
    speaker: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """How a recording came to the laboratory, as the examiner states it."""

    sender: str = ""
    date: str = ""
    seal: str = ""  # seal or transfer record: number, who, to whom
    digest: str = ""  # sha256 that the sender stated


@dataclass(frozen=True, slots=True, eq=False)
class CaseItem:
    """A recording of a case as its act recorded it."""

    act: Act
    record: Mapping[str, Any]  # item.json
    measures: Mapping[str, Any]  # measures.json

    @property
    def label(self) -> str:
        return str(self.record["label"])

    @property
    def role(self) -> str:
        return str(self.record["role"])

    @property
    def digest(self) -> str:
        return str(self.record["recording"]["sha256"])

    @property
    def pcm(self) -> str:
        """sha256 of the decoded sound: two channels of one file differ in it."""
        return str(self.record["recording"]["pcm"])

    @property
    def parts(self) -> tuple[Segment, ...]:
        return tuple(Segment(a, b) for a, b in self.record["part"]["segments"])

    @property
    def path(self) -> Path:
        return Path(self.record["recording"]["path"])


@dataclass(frozen=True, slots=True)
class _Part:
    """`segments` are compared; `excluded` are (start, end, reason); `copy` is a file that decided it."""

    how: str
    segments: tuple[Segment, ...]
    speaker: str = ""
    excluded: tuple[tuple[float, float, str], ...] = ()
    channel: str = ""
    track: int | None = None
    copies: Mapping[str, bytes] = field(default_factory=dict)


def items(case: Case) -> list[CaseItem]:
    """All recordings of the case, in order. Raises CaseDamaged where a file was changed."""
    return [
        CaseItem(act, case.read_json(act, "item.json"), case.read_json(act, "measures.json")) for act in case.of("add")
    ]


def add(
    case: Case,
    path: Path,
    role: str,
    embedder: UtteranceEmbedder,
    selection: Selection,
    receipt: Receipt,
    label: str = "",
    operator: str = "",
) -> Case:
    """The case with one more recording, measured. Raises AudioError where it cannot be read, ConfigError, CaseError."""
    others = items(case)
    label = label or f"{ROLES[role]}{sum(item.role == role for item in others) + 1}"
    if label in {item.label for item in others}:
        raise ConfigError("command line", "--label", f"{label} is a recording of the case already")
    turns, channel = _turns(selection)
    track = embedder.config.audio.track
    recording = decoding.read(path, id=path.name, channel=channel or _one_voice(embedder), track=track)
    audio = recording.audios[0]
    if receipt.digest and receipt.digest.strip().lower() != audio.digest:
        problem = f"its sha256 is {audio.digest}, and {receipt.digest} was received"
        raise AudioError(str(path), problem, "Ask the sender for the recording again.")
    _check_results(selection, recording, path)
    part = _select(selection, turns, audio)
    if not part.segments:
        raise AudioError(str(path), f"{printable(selection.speaker)} talks nowhere in it while nobody else does")
    part = _Part(
        part.how, part.segments, part.speaker, part.excluded, channel or _one_voice(embedder), track, part.copies
    )
    record = describe(path, recording, role, label, part) | {"received": asdict(receipt)}
    measures, _ = fitness.measure(audio, part.segments, embedder)
    contents: dict[str, str | bytes] = {
        "item.json": as_json(record),
        "measures.json": as_json(measures),
        "fingerprint.bin": duplicates.pack(duplicates.fingerprint(audio.samples)),
        **draw(audio, measures),
        **part.copies,
    }
    detail = {"label": label, "role": role, "sha256": audio.digest, "pcm": audio.pcm, "name": path.name}
    return case.record("add", detail, contents, operator)


def draw(audio: Audio, measures: Mapping[str, Any]) -> dict[str, bytes]:
    """Pictures of a recording as SVG, without words: waveform, spectrogram, mean spectrum of the speech, level."""
    speech = [(float(a), float(b)) for a, b in measures["speech"]]
    samples = np.asarray(audio.samples)
    pictures = {
        "wave.svg": plots.waveform(samples, audio.rate, speech),
        "spectrum.svg": plots.spectrogram(samples, audio.rate),
    }
    times, levels = fitness.level_curve(audio)
    pictures["level.svg"] = plots.line_chart([Curve(times, levels)], ("s", "dBFS"), None, (-90.0, 0.0))
    if speech:
        hertz, power = fitness.mean_spectrum(audio, [Segment(a, b) for a, b in speech])
        pictures["band.svg"] = plots.line_chart([Curve(hertz, power)], ("kHz", "dB"))
    return pictures


def describe(path: Path, recording: Recording, role: str, label: str, part: _Part) -> dict[str, Any]:
    """What `item.json` holds, the receipt apart."""
    source = recording.source
    after = reading.hash_recording(path)  # raises where it changed while it was read
    seconds = max(source.decoded, 1e-3)
    return {
        "schema": SCHEMA,
        "label": label,
        "role": role,
        "recording": {
            "path": str(path.resolve()),
            "name": path.name,
            "sha256": source.digest,
            "sha256_after": after,
            "size": source.size,
            "container": source.container,
            "codec": source.codec,
            "rate": source.rate,
            "channels": source.channels,
            "channel": source.channel,
            "setting": part.channel,
            "track": part.track,
            "stream": source.stream,
            "streams": source.streams,
            "bit_rate": round(source.size * 8 / seconds),
            "declared": source.declared,
            "decoded": source.decoded,
            "pcm": recording.audios[0].pcm,
            "lost": [[span.start, span.end] for span in recording.audios[0].lost],
            "notes": list(source.notes),
        },
        "part": {
            "how": part.how,
            "speaker": part.speaker,
            "segments": [[s.start, s.end] for s in part.segments],
            "excluded": [list(each) for each in part.excluded],
            "files": sorted(part.copies),
        },
    }


def overlaps(case: Case, item: CaseItem) -> list[tuple[CaseItem, Overlaps]]:
    """The other recordings of the case, with how much of their sound is that of `item`."""
    own = duplicates.unpack(case.read(item.act, "fingerprint.bin"))
    rows = []
    for other in items(case):
        if other.label != item.label:
            bits = duplicates.unpack(case.read(other.act, "fingerprint.bin"))
            identical = (other.digest, other.pcm) == (item.digest, item.pcm)
            rows.append((other, Overlaps(identical, None if identical else duplicates.best_overlap(own, bits))))
    return rows


def read_again(item: CaseItem, path: Path) -> Recording:
    """The recording of an item, decoded as it was when it was added. Raises AudioError."""
    source = item.record["recording"]
    return decoding.read(path, id=path.name, channel=str(source["setting"]), track=source["track"])


def locate(item: CaseItem, folder: Path | None = None) -> Path:
    """Where the item's recording is: at its recorded place, or a file of the same digest below `folder`.

    Raises CaseError where there is none; whether the file at the recorded place is unchanged is not checked.
    """
    if folder is not None:
        size = int(item.record["recording"]["size"])
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.stat().st_size == size and sha256_or_empty(path) == item.digest:
                return path
        named = [path for path in sorted(folder.rglob(item.path.name)) if path.is_file()]
        if named:  # of another digest: its name says which recording it was
            return named[0]
    elif item.path.is_file():
        return item.path
    cure = "Name the folder that holds the recordings: --recordings DIR."
    raise CaseError(str(folder or item.path), f"the recording of {item.label} is not there", cure)


def stored_part(item: CaseItem) -> _Part:
    """The part of an item as it was recorded."""
    part, source = item.record["part"], item.record["recording"]
    excluded = tuple((float(a), float(b), str(why)) for a, b, why in part["excluded"])
    copies = dict.fromkeys(part["files"], b"")
    how, speaker = str(part["how"]), str(part["speaker"])
    return _Part(how, item.parts, speaker, excluded, str(source["setting"]), source["track"], copies)


def select_again(case: Case, item: CaseItem, audio: Audio) -> tuple[list[list[float]], list[list[Any]]]:
    """(segments, excluded spans) that the turns in the case give; those recorded, where times or nothing selected them.

    Raises CaseDamaged and FormatError.
    """
    part = item.record["part"]
    if part["how"] not in ("turns", "speaker"):
        length = round_time(audio.duration)
        segments = [[max(0.0, a), min(b, length)] for a, b in part["segments"]]
        gaps = timeline.gaps([Segment(a, b) for a, b in segments], length)
        return segments, [[s.start, s.end, "not selected"] for s in gaps]
    if part["how"] == "turns":
        text = files.text_of(case.read(item.act, "turns.rttm"), "turns.rttm")
        turns = tuple(turn for each in rttm.loads(text, "turns.rttm").values() for turn in each)
    else:
        text = files.text_of(case.read(item.act, outputs.TRANSCRIPT), outputs.TRANSCRIPT)
        turns = transcript_json.loads(text, outputs.TRANSCRIPT).turns
    limits = [each for each in part["excluded"] if each[2] == "not selected"]
    window = timeline.gaps([Segment(a, b) for a, b, _ in limits], round_time(audio.duration))[0]
    segments_, excluded = _alone(turns, str(part["speaker"]), (window,), round_time(audio.duration))
    return [[s.start, s.end] for s in segments_], [*limits, *(list(each) for each in excluded)]


def _one_voice(embedder: UtteranceEmbedder) -> str:
    return embedder.config.audio.channel


def _turns(selection: Selection) -> tuple[tuple[Turn, ...], str]:
    """(turns that decide the part, channel to read, as the results have it). Raises ConfigError and FormatError."""
    if selection.turns is None and selection.results is None:
        if selection.speaker:
            raise ConfigError("command line", "--speaker", "needs turns", "Give them with --turns or --from.")
        return (), ""
    if selection.turns is not None and selection.results is not None:
        raise ConfigError("command line", "--turns, --from", "only one of them selects the part")
    if selection.turns is not None:
        by_recording = rttm.loads(files.read_text(selection.turns), str(selection.turns))
        if len(by_recording) > 1:
            problem = f"holds turns of {len(by_recording)} recordings, and one is added"
            raise ConfigError("--turns", str(selection.turns), problem, "Give a file with the turns of this recording.")
        return tuple(turn for turns in by_recording.values() for turn in turns), ""
    assert selection.results is not None
    transcript = outputs.read(selection.results)
    channel = str(transcript.provenance.settings.get("audio", {}).get("channel", "auto"))
    return transcript.turns, selection.speaker.removeprefix("CHANNEL_") if channel == "per-channel" else channel


def _check_results(selection: Selection, recording: Recording, path: Path) -> None:
    """Raises AudioError where the results are of another recording."""
    if selection.results is None:
        return
    source = outputs.read(selection.results).provenance.source
    if source is None or source.digest != recording.source.digest:
        problem = f"is not the recording of {selection.results}: its sha256 is {recording.source.digest}"
        raise AudioError(str(path), problem, "Give the recording of which the transcript was made.")


def _select(selection: Selection, turns: Sequence[Turn], audio: Audio) -> _Part:
    """The part of the recording that is compared. Raises ConfigError."""
    length = round_time(audio.duration)
    start, end = selection.start or 0.0, length if selection.end is None else min(selection.end, length)
    if not 0 <= start < end:
        problem = f"{start} to {end} s is not a part of a recording of {length} s"
        raise ConfigError("command line", "--start, --end", problem)
    window = (Segment(round_time(start), round_time(end)),)
    outside = tuple((s.start, s.end, "not selected") for s in timeline.gaps(window, length))
    if selection.turns is None and selection.results is None:
        return _Part("whole" if window[0] == Segment(0.0, length) else "times", window, "", outside)

    known = sorted({turn.speaker for turn in turns})
    if selection.speaker not in known:
        problem = f"{printable(selection.speaker) or 'nobody'} has no turns"
        raise ConfigError("command line", "--speaker", problem, f"Speakers: {', '.join(known) or 'none'}.")
    segments, overlapped = _alone(turns, selection.speaker, window, length)
    copies: dict[str, bytes] = {}
    if selection.turns is not None:
        copies["turns.rttm"] = files.read(selection.turns)
    elif selection.results is not None:
        copies[outputs.TRANSCRIPT] = files.read(selection.results / outputs.TRANSCRIPT)
    how = "turns" if selection.turns is not None else "speaker"
    return _Part(how, segments, selection.speaker, (*outside, *overlapped), copies=copies)


def _alone(
    turns: Sequence[Turn], speaker: str, window: tuple[Segment, ...], length: float
) -> tuple[tuple[Segment, ...], tuple[tuple[float, float, str], ...]]:
    """(where only this speaker talks, some distance from the turns of others; spans of theirs that are left out)."""
    own = timeline.union(turn for turn in turns if turn.speaker == speaker)
    others = timeline.union(Segment(max(0.0, t.start - COLLAR), t.end + COLLAR) for t in turns if t.speaker != speaker)
    alone = timeline.intersect(timeline.intersect(own, timeline.gaps(others, length)), window)
    segments = tuple(Segment(round_time(s.start), round_time(s.end)) for s in alone if s.duration >= SHORTEST)
    overlapped = ((round_time(s.start), round_time(s.end), "overlap") for s in timeline.intersect(own, others))
    return segments, tuple(overlapped)
