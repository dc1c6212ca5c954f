"""Changes of a library brought into finished transcripts, without the recordings (docs/library.md).

A transcript names people by their ids in the library, so a new name, a merge, a removal and the end of a consent need
nothing else. People who were enrolled later are recognised by the voiceprints of the unknown speakers, where a run has
stored them (`process --keep-voices`).

Names, candidates and reasons of speakers change, and nothing else of a transcript: turns, words and ids stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from diarize import formats
from diarize.config import Config
from diarize.config import parse as parse_settings
from diarize.errors import ConfigError, FormatError
from diarize.formats import transcript_json
from diarize.library.database.records import Person
from diarize.library.enrolled import EnrolledPeople, enrolled_people
from diarize.library.store import Library
from diarize.text import counted
from diarize.types import Candidate, Identity, Speaker, Transcript
from pipelines.batch.lock import Lock
from pipelines.inputs import shards
from pipelines.inputs.shards import file_name
from pipelines.results import RUN, journal, outputs, tables, voiceprints

GONE = "the person was removed from the library"
ENDED = "the consent of the person has ended"


@dataclass(frozen=True, slots=True)
class ChangedSpeaker:
    """A speaker of a recording whose name changed; None is unknown."""

    recording: str
    speaker: str
    before: str | None
    after: str | None
    reason: str


@dataclass
class Relabelling:
    """What `relabel` did."""

    recordings: int = 0  # transcripts that were read
    rewritten: tuple[str, ...] = ()  # ids of those that changed
    changes: list[ChangedSpeaker] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)  # id -> why its transcript could not be changed
    unknown: int = 0  # speakers who stay unknown, as no voiceprint of them is stored
    unnamed: int = 0  # transcripts of runs that looked for nobody: without a library, and without --link
    notes: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: 0, 3 where some transcripts could not be changed, 4 where none could."""
        return 0 if not self.problems else 3 if self.recordings > len(self.problems) else 4

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"schema": "diarize-relabelling/1", **asdict(self)}


def relabel(out: Path, library: Library) -> Relabelling:
    """Bring the names of all transcripts of a run up to date with the library; done again, it changes nothing.

    Exports, tables and recorded digests are written again with them. A transcript that cannot be read or written costs
    its own row. Raises ConfigError where `out` is not the folder of a run, OutputError where its tables cannot be
    written, and what reading the library raises.
    """
    reports = [shard for path, shard in shards.find_files(out, RUN) if path.is_file()]
    if not reports:
        cure = f"Name the folder of the run: {out.parent}." if (out / outputs.TRANSCRIPT).exists() else ""
        raise ConfigError("relabel", str(out), f"is not the folder of a run: it has no {RUN}", cure or "Name OUT.")
    result = Relabelling()
    people = _People(library)
    with Lock(out, None, False, lambda reason: None) as lock:
        for path in sorted(out.glob(f"*/{outputs.TRANSCRIPT}")):
            lock.check()
            result.recordings += 1
            try:
                _relabel_recording(path.parent, people, result)
            except (FormatError, ConfigError, OSError) as error:
                result.problems[path.parent.name] = str(error)
        for shard in reports:
            rows = journal.read_json(out / file_name(RUN, shard)).get("recordings", [])
            done = [str(row["id"]) for row in rows if row.get("status") == "done"]
            transcripts = (outputs.read_corrected(out / id) for id in done)
            tables.write(out, transcripts, partial(file_name, shard=shard))
    if result.unknown:
        result.notes.append(
            f"{counted(result.unknown, 'unknown speaker')} without a stored voiceprint: people who were enrolled later "
            "are not recognised there; process the recordings again, or use process --keep-voices next time"
        )
    if result.unnamed:
        result.notes.append(
            f"{counted(result.unnamed, 'transcript')} made without a library: nobody can be named there; process the "
            "recordings again with --library"
        )
    result.notes += people.notes
    return result


def _relabel_recording(folder: Path, people: _People, result: Relabelling) -> None:
    transcript, record = outputs.read(folder), outputs.read_provenance(folder)
    new = _recognised(folder, transcript, record, people)
    speakers = tuple(_updated(speaker, people, new) for speaker in transcript.speakers)
    identified = "identify" in transcript.provenance.stages
    result.unnamed += not identified
    result.unknown += sum(identified and speaker.voice is None and speaker.id not in new for speaker in speakers)
    if speakers == transcript.speakers:
        return
    changes = [
        ChangedSpeaker(folder.name, before.id, before.name, after.name, after.reason)
        for before, after in zip(transcript.speakers, speakers, strict=True)
        if before.name != after.name
    ]
    names = [name for name in formats.FORMATS if (folder / f"transcript{formats.suffix(name)}").exists()]
    changed = replace(transcript, speakers=speakers)
    if transcript_json.dumps(transcript).encode() != (folder / outputs.TRANSCRIPT).read_bytes():
        problem = "was written by another version, so it cannot be changed byte for byte"
        raise FormatError(str(folder / outputs.TRANSCRIPT), problem, "Process the recording again.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    earlier = record.get("relabelled", [])
    record = {**record, "relabelled": [*earlier, now]}
    outputs.write(folder, changed, names, record, choices=outputs.read_choices(folder))
    result.rewritten = (*result.rewritten, folder.name)
    result.changes += changes


def _updated(speaker: Speaker, people: _People, new: Mapping[str, Identity]) -> Speaker:
    """The speaker by what the library says now."""
    candidates = tuple(people.current(speaker.candidates))
    if speaker.voice is None:
        identity = new.get(speaker.id)
        if identity is None:
            return replace(speaker, candidates=candidates)
        person = identity.person
        return replace(
            speaker,
            candidates=identity.candidates,
            name=None if person is None else person.name,
            voice=None if person is None else person.voice,
            reason=identity.reason,
            link=speaker.link if person is None else None,
        )
    now = people.find(speaker.voice)
    if isinstance(now, str):
        return replace(speaker, candidates=candidates, name=None, voice=None, reason=now)
    return replace(speaker, candidates=candidates, name=now.name, voice=now.id)


def _recognised(
    folder: Path, transcript: Transcript, record: Mapping[str, Any], people: _People
) -> dict[str, Identity]:
    """Speaker id -> who they are, of the unknown speakers whose voiceprints are stored."""
    strangers = voiceprints.load(folder, str(record.get("strangers", "")))
    unknown = {speaker.id for speaker in transcript.speakers if speaker.voice is None}
    if strangers is None or not unknown & set(strangers.speakers):
        return {}
    identities = people.enrolled(transcript).load()(strangers.vectors, strangers.seconds, strangers.bandwidth)
    return {id: who for id, who in zip(strangers.speakers, identities, strict=True) if id in unknown}


class _People:
    """Who is who in a library now."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._people = {person.id: person for person in library.people()}
        self._merged = {
            str(entry.detail["gone"]): entry.person
            for entry in library.audit().entries
            if entry.action == "merge" and "gone" in entry.detail
        }
        self._enrolled: dict[str, EnrolledPeople] = {}

    @property
    def notes(self) -> Sequence[str]:
        return list(dict.fromkeys(note for people in self._enrolled.values() for note in people.notes))

    def find(self, id: str) -> Person | str:
        """The person whom an id names now, also after merges; or why there is none."""
        seen = set()
        while id not in self._people and id in self._merged and id not in seen:
            seen.add(id)
            id = self._merged[id]
        person = self._people.get(id)
        return GONE if person is None else ENDED if person.expired else person

    def current(self, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
        """Candidates under their present names, without those who are no longer enrolled, each person once."""
        ids = set()
        for candidate in candidates:
            person = self.find(candidate.voice)
            if not isinstance(person, str) and person.id not in ids:
                ids.add(person.id)
                yield replace(candidate, voice=person.id, name=person.name)

    def enrolled(self, transcript: Transcript) -> EnrolledPeople:
        """Whom to look for in a recording, with the settings of its run."""
        settings = dict(transcript.provenance.settings.get("identify", {}))
        model = str(transcript.provenance.stages.get("embed", ""))
        key = f"{model} {sorted(settings.items())!r}"
        if key not in self._enrolled:
            config: Config = parse_settings({"identify": settings}, "the settings of the run")
            self._enrolled[key] = enrolled_people(self._library, model, config)
        return self._enrolled[key]
