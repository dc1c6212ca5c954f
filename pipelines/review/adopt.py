"""A file that somebody corrected in an editor, as operations: what differs from its export, and nothing else.

The export is written again, in memory, from the transcript with its corrections, and read in the same way as the file.
If later corrections have changed it, the export of an earlier state is nearer to the file, and is compared instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diarize import files, formats
from diarize.corrections import blocks, difference, history, overlay, rewording
from diarize.corrections.difference import Revision, SpeakerNames
from diarize.corrections.operations import Operation
from diarize.corrections.state import State
from diarize.errors import FormatError
from diarize.formats import audacity, docx, eaf, labelstudio, rttm, srt, textgrid, transcript_json, txt, vtt, words
from diarize.formats.naming import encodable, make_labels
from diarize.formats.segments import TextSegment
from diarize.formats.tiers import Label, TierFile, for_xml
from diarize.formats.times import round_transcript
from diarize.text import counted
from diarize.types import Transcript
from diarize.units import to_milliseconds
from pipelines.results.corrections import Corrections

LARGEST = 400_000_000  # bytes of a file
_STATES = 20  # earlier states that are compared with a file, at most
KNOWN = "TextGrid, EAF, Audacity labels, Label Studio, SRT, WebVTT, TXT, DOCX, RTTM, transcript.json"

_Reader = Callable[[Any, str], TierFile]  # (text, or bytes of a binary format; name in messages)


@dataclass(frozen=True, slots=True)
class Adoption:
    """The operation for a file (None: it changes nothing), and what of the file was not taken over."""

    operation: Operation | None
    notes: tuple[str, ...] = ()


def adopt(path: Path, corrections: Corrections) -> Adoption:
    """What somebody changed in `path`, an export of these corrections' recording. Raises FormatError."""
    if path.is_file() and path.stat().st_size > LARGEST:
        raise FormatError(str(path), f"is larger than {LARGEST // 1_000_000} MB")
    data = files.read(path)
    is_text = path.suffix.lower() != ".docx"
    text = words.decode(data, str(path)) if is_text else ""
    format = kind_of(path, text)
    best: tuple[Revision, tuple[str, ...]] | None = None
    for state, entry in _states(corrections):
        transcript = overlay.corrected(corrections.transcript, state)
        result, notes = compare(text if is_text else data, str(path), format, transcript, state)
        if not result.operations:
            return Adoption(None, notes)
        if entry is not None and entry.operation == _as_one(result.operations):
            return Adoption(None, (f"{path.name} has been adopted already: correction {entry.number}",))
        if best is None or len(result.operations) < len(best[0].operations):
            best = result, notes
    assert best is not None  # the current state is one
    result, notes = best
    now = Revision(corrections.history.state)
    for operation in result.operations:
        now.add(operation)
    operations = _as_one(now.operations) if now.operations else None
    return Adoption(operations, (*notes, *dict.fromkeys((*result.problems, *now.problems))))


def compare(
    content: str | bytes, where: str, format: str, transcript: Transcript, state: State
) -> tuple[Revision, tuple[str, ...]]:
    """The operations that make the export of a transcript, whose state is `state`, a file with this content; and notes.

    Raises FormatError, which names `where`.
    """
    loads = _reader(format, tuple(make_labels(transcript).values()))
    after = loads(content, where)
    exports = []
    for options in formats.variants(format):
        data = formats.encode(format, transcript, options)
        exports.append(loads(data if format in formats.BINARY else data.decode(), f"export as {format}"))
    # The one that the file was made of has most of its spans.
    before = max(exports, key=lambda export: len(set(export.turns) & set(after.turns)))
    return _difference(before, after, transcript, state, format), _notes(before, after)


def kind_of(path: Path, text: str) -> str:
    """The name of the format of a file, by its suffix and its first line. Raises FormatError."""
    suffix, head = path.suffix.lower(), text[:2000].lstrip("\ufeff \t\r\n")
    if suffix == ".json":
        return "json" if head.startswith("{") and '"speakers"' in text else "labelstudio"
    if suffix == ".txt":
        return "txt" if head.startswith(("[", "DRAFT: ")) else "audacity"
    kinds = {".textgrid": "textgrid", ".eaf": "eaf", ".srt": "srt", ".vtt": "vtt", ".rttm": "rttm", ".docx": "docx"}
    if suffix not in kinds:
        raise FormatError(str(path), f"a file {suffix or 'without a suffix'} cannot be adopted", f"Known: {KNOWN}.")
    return kinds[suffix]


def _reader(format: str, labels: tuple[str, ...]) -> _Reader:
    """What reads a file; `labels`: names that lines of text may begin with."""
    readers: dict[str, _Reader] = {
        "textgrid": textgrid.loads,
        "eaf": eaf.loads,
        "audacity": audacity.loads,
        "labelstudio": labelstudio.loads,
        "srt": lambda text, where: _cues(srt.loads(text, where)),
        "vtt": lambda text, where: _cues(vtt.loads(text, where)),
        "txt": lambda text, where: txt.loads(text, where, labels),
        "docx": lambda data, where: docx.loads(data, where, labels),
        "rttm": _turns,
        "json": _transcript,
    }
    return readers[format]


def _cues(segments: tuple[TextSegment, ...]) -> TierFile:
    """Subtitles as blocks of text."""
    labels = (
        Label(to_milliseconds(s.start), to_milliseconds(s.end), s.speaker, " ".join(s.text.split())) for s in segments
    )
    return TierFile(tuple(labels), has_turns=False)


def _turns(text: str, where: str) -> TierFile:
    recordings = rttm.loads(text, where)
    if len(recordings) > 1:
        raise FormatError(where, f"turns of {len(recordings)} recordings", "Adopt the file of one recording.")
    turns = [turn for own in recordings.values() for turn in own]
    labels = (Label(to_milliseconds(t.start), to_milliseconds(t.end), t.speaker, "") for t in turns)
    return TierFile(tuple(labels), has_text=False)


def _transcript(text: str, where: str) -> TierFile:
    transcript = round_transcript(transcript_json.loads(text, where))
    labels = make_labels(transcript)
    labels[None] = ""
    turns = [Label(to_milliseconds(t.start), to_milliseconds(t.end), labels[t.speaker], "") for t in transcript.turns]
    own = [
        Label(to_milliseconds(w.start), to_milliseconds(w.end), labels[w.speaker] or None, w.text)
        for w in sorted(transcript.words, key=lambda w: (w.start, w.end))
    ]
    return TierFile(tuple(turns), tuple(own), has_text=False)


def _states(corrections: Corrections) -> list[tuple[State, history.Entry | None]]:
    """The state now and the latest ones before it, each with the correction that followed; None: none did."""
    states: list[tuple[State, history.Entry | None]] = [(corrections.history.state, None)]
    undone = history.undone_numbers(corrections.entries)
    machine = State.of(corrections.transcript)
    changes = [entry for entry in corrections.entries if entry.operation["op"] not in ("undo", "redo")]
    changes = [entry for entry in changes if entry.number not in undone and entry.base == corrections.base]
    for n in reversed(range(max(0, len(changes) - _STATES), len(changes))):
        states.append((history.replay(machine, changes[:n]).state, changes[n]))
    return states


def _difference(before: TierFile, after: TierFile, transcript: Transcript, state: State, format: str) -> Revision:
    """The operations that make the export of `state` the file."""
    result = Revision(state)
    if before == after:
        return result
    speakers = SpeakerNames({} if format == "rttm" else _names(transcript), state)
    speakers.resolve((*before.turns, *(before.words or ())), (*after.turns, *(after.words or ())), result)

    def by_id(labels: tuple[Label, ...] | None) -> list[Label]:
        return [replace(label, speaker=speakers.id_of(label.speaker)) for label in labels or ()]

    old, new = by_id(before.turns), by_id(after.turns)
    if before.has_turns:
        difference.turn_operations(old, new, result)
    if after.words is not None and before.words is not None and (after.words or not before.words):
        old_words = by_id(before.words)
        new_words = rewording.split_labels(by_id(after.words), old_words)
        rewording.word_operations(rewording.place(state.words, old_words), new_words, new, result)
        if before.has_text:
            pairs = _only_text_changed(old, new, old_words, new_words)
            for one, other in pairs:
                blocks.text_operations([one], [other], state, result)
    elif before.has_text:
        blocks.text_operations(old, new, state, result)
    return result


def _names(transcript: Transcript) -> dict[str, str]:
    """A speaker's name, as each format writes it -> id."""
    names: dict[str, str] = {}
    for id, label in make_labels(transcript).items():
        if id is not None:
            for name in (label, " ".join(label.split()), encodable(label), for_xml(label), label.translate(srt.INERT)):
                names.setdefault(name, id)
    return names


def _only_text_changed(
    old: list[Label], new: list[Label], old_words: list[Label], new_words: list[Label]
) -> list[tuple[Label, Label]]:
    """Turns with the same speaker and ends, and another text, whose words nobody has changed."""
    was = {(one.start, one.end, one.speaker): one for one in old}
    changed = set(old_words) ^ set(new_words)
    pairs = []
    for label in new:
        one = was.get((label.start, label.end, label.speaker))
        if one is not None and one.text != label.text and label.text:
            touched = (w for w in changed if w.speaker == label.speaker and w.start < label.end and label.start < w.end)
            if not any(touched):
                pairs.append((one, label))
    return pairs


def _notes(before: TierFile, after: TierFile) -> tuple[str, ...]:
    notes = [note for note in after.notes if note not in before.notes]
    if not after.has_turns:
        spans = {(label.start, label.end) for label in before.turns}
        moved = sum((label.start, label.end) not in spans for label in after.turns)
        if moved:
            notes.append(f"{counted(moved, 'span')} of time not in the export: only texts and speakers are read here")
    return tuple(notes)


def _as_one(operations: list[Operation]) -> Operation:
    return operations[0] if len(operations) == 1 else {"op": "group", "operations": operations}
