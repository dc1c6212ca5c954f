"""The machine against the people who corrected it: how good it was on these recordings, and where it was not.

The reference is each transcript with its corrections, the hypothesis the same transcript without them. What nobody has
corrected counts as right, so the errors of a recording that was not listened to in full are at least what is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from diarize.corrections.state import State
from diarize.errors import ConfigError
from diarize.formats.naming import make_labels
from diarize.text import counted
from diarize.timeline import total, union
from diarize.types import Transcript
from pipelines.evaluation import files
from pipelines.evaluation.files import RecordingAnnotation
from pipelines.evaluation.scores import Place
from pipelines.evaluation.turn_scores import extent, to_annotation
from pipelines.inputs.recordings import match_key
from pipelines.results import corrections, outputs

MACHINE = "machine"  # name of the hypothesis
KINDS = ("missed speech", "no speech", "another speaker", "another word", "missed word", "no word", "speaker of a word")
_SHORTEST = 0.05  # s of a place; shorter ones are roundings of an end


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Recordings (by `match_key`) with and without corrections, and what was corrected."""

    corrected: Mapping[str, RecordingAnnotation]
    machine: Mapping[str, RecordingAnnotation]
    places: tuple[Place, ...]
    notes: tuple[str, ...]


def read(out: Path) -> Reviewed:
    """The corrected recordings of a run, or of one recording's folder. Raises ConfigError where there is none, and
    FormatError."""
    folders = [out] if corrections.exist(out) else sorted(p.parent for p in out.glob(f"*/{corrections.LOG}"))
    if not folders:
        raise ConfigError("--corrections", str(out), "nobody has corrected anything there", "See `diarize edit`.")
    corrected: dict[str, RecordingAnnotation] = {}
    machine: dict[str, RecordingAnnotation] = {}
    places: list[Place] = []
    notes: list[str] = []
    for folder in folders:
        people = corrections.Corrections(folder)
        before, after = outputs.read(folder), people.corrected()
        key = match_key(before.recording)
        corrected[key], machine[key] = files.of_transcript(after), files.of_transcript(before)
        places += sorted((*_speech(before, after), *_words(before, after, people.history.state)), key=_order)
        notes.append(_describe(before.recording, after))
        if conflicts := people.history.conflicts:
            notes.append(f"{before.recording}: {counted(len(conflicts), 'correction')} that do not fit are left out")
    notes.append("what nobody has corrected counts as right: the machine was at most as good as this says")
    return Reviewed(corrected, machine, tuple(places), tuple(notes))


def _order(place: Place) -> tuple[float, float, str]:
    return place.start, place.end, place.kind


def _describe(recording: str, after: Transcript) -> str:
    speech = total(union(after.turns))
    looked = total(union(turn for turn in after.turns if turn.human))
    share = looked / speech if speech else 0.0
    return f"{recording}: people checked or changed turns of {share:.0%} of the speech ({looked:.1f} of {speech:.1f} s)"


def _speech(before: Transcript, after: Transcript) -> Iterator[Place]:
    """Where another person speaks than the machine says, after its speakers are paired as DER pairs them."""
    from pyannote.core import Segment as Stretch
    from pyannote.core import Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate
    from pyannote.metrics.errors.identification import IdentificationErrorAnalysis

    reference, hypothesis = to_annotation(after.turns, "r"), to_annotation(before.turns, "h")
    uem = Timeline([Stretch(s.start, s.end) for s in extent([*after.turns, *before.turns])])
    pairs = DiarizationErrorRate().optimal_mapping(reference, hypothesis, uem=uem)
    partner = {one: other for other, one in pairs.items()}
    errors = IdentificationErrorAnalysis().difference(reference, hypothesis.rename_labels(mapping=pairs), uem=uem)
    names, labels = make_labels(after), make_labels(before)
    kinds = {"missed detection": KINDS[0], "false alarm": KINDS[1], "confusion": KINDS[2]}
    for segment, _, (kind, true, assigned) in errors.itertracks(yield_label=True):
        if kind in kinds and segment.duration >= _SHORTEST:
            was = "" if assigned is None else labels[partner.get(assigned, assigned)[1:]]
            now = "" if true is None else names[true[1:]]
            yield Place(round(segment.start, 3), round(segment.end, 3), before.recording, kinds[kind], was, now)


def _words(before: Transcript, after: Transcript, state: State) -> Iterator[Place]:
    """Words that people changed, added, removed, or gave to somebody else."""
    old = {word.id: word for word in State.of(before).words}
    new = {word.id: word for word in state.words}
    labels, names = make_labels(before), make_labels(after)
    merged = {turn.id: turn.speaker for turn in state.turns}
    moved = {turn.speaker: merged.get(turn.id, turn.speaker) for turn in State.of(before).turns}
    for id in [*old, *(id for id in new if id not in old)]:
        was, now = old.get(id), new.get(id)
        here = was or now
        assert here is not None
        start, end = here.start / 1000, max(here.end, here.start + 1) / 1000
        if was is None and now is not None:
            yield Place(start, end, before.recording, KINDS[4], "", now.text)
        elif now is None and was is not None:
            yield Place(start, end, before.recording, KINDS[5], was.text, "")
        elif was is not None and now is not None:
            if was.text != now.text:
                yield Place(start, end, before.recording, KINDS[3], was.text, now.text)
            if was.speaker != now.speaker and moved.get(was.speaker or "") != now.speaker:
                yield Place(start, end, before.recording, KINDS[6], labels[was.speaker], names.get(now.speaker, "?"))
