"""The library of enrolled speakers: people, their utterances, a voice for each embedding model, an audit log.

A person's voice is the mean of the vectors of their utterances, weighted by seconds of speech and normalised to unit
length; it is stored, and computed again with every change. Each change and its entry of the audit log are one
transaction.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from diarize.errors import LibraryError, PassphraseError, UnknownPerson, printable
from diarize.library import audit
from diarize.library.database import address as addresses
from diarize.library.database import encryption, fingerprint
from diarize.library.database.address import ServerAddress
from diarize.library.database.engine import Engine, Sqlite
from diarize.library.database.guard_rows import GuardRows, StoredPrint
from diarize.library.database.postgres import Postgres
from diarize.library.database.records import AuditReport, Enrolled, Enrolment, Matrix, Person
from diarize.library.database.rows import Rows
from diarize.library.search import approximate, compact, exact, index
from diarize.library.search.approximate import IndexFile
from diarize.library.search.index import VoiceIndex, matrix_of
from diarize.library.search.live import LARGE, Background, LiveSearch
from diarize.types import Candidate, Vectors, Voice

Clock = Callable[[], datetime]
NewId = Callable[[], str]

_SPARE = 16  # voices that a server may have put in another order by its own rounding
_REWRITE_DUE = b"rewrite"  # "purge" in the library: only writing it again overwrites what was deleted
_LIST = "See: diarize speakers list"


def now() -> datetime:
    return datetime.now(UTC)


def random_id() -> str:
    """32 random hex digits: they tell nothing about the person, and two libraries can be joined."""
    return uuid.uuid4().hex


def open(
    address: str | Path | ServerAddress,
    passphrase: str | None = None,
    create: bool = False,
    read_only: bool = False,
    *,
    rewrite: bool = True,
    clock: Clock = now,
    new_id: NewId = random_id,
) -> Library:
    """The library in a file, or on a server (postgresql://user@host/database).

    `create` makes a new one where there is none, encrypted if there is a passphrase. `rewrite`: after a removal, also a
    large library is written again without the free space, which takes about a minute for a million people. Without
    it, a large library on a server keeps deleted data in free space until it is opened with `rewrite`.

    `clock` returns the time in UTC; only `clock` and `new_id` make two libraries with the same content differ. Raises
    LibraryMissing, LibraryUnreadable, LibraryNewer, LibraryLocked, LibraryReadOnly, LibraryFull, LibraryDamaged;
    PassphraseError where the passphrase does not fit; ConfigError for an address of something else; MissingExtra
    where the package for encryption, or for PostgreSQL, is not installed.
    """
    place = addresses.parse(address)
    engine: Engine
    if isinstance(place, ServerAddress):
        engine = Postgres(place, create, read_only)
    else:
        engine = Sqlite(place, create, read_only)
    return Library(engine, passphrase, clock, new_id, rewrite)


class Library:
    """An open library, for use in a `with`. One object belongs to one thread; any number of processes may open it."""

    def __init__(
        self,
        engine: Engine,
        passphrase: str | None,
        clock: Clock = now,
        new_id: NewId = random_id,
        rewrite: bool = True,
    ) -> None:
        self._engine, self._clock, self._new_id, self._rewrite = engine, clock, new_id, rewrite
        self._to_purge = False  # the open transaction has deleted something
        self.live: LiveSearch | None = None  # that `search` uses
        try:
            self._rows = Rows(engine, self._unlocked(passphrase))
            self.index = VoiceIndex(self._rows)
            mark = self._rows.meta("purge") if engine.writable else None  # a removal left deleted data
            if mark is not None and (mark != _REWRITE_DUE or self._rewrites()):
                with contextlib.suppress(LibraryError):
                    self._purge()
        except BaseException:
            engine.close()
            raise

    def _unlocked(self, passphrase: str | None) -> encryption.Seal:
        rows = Rows(self._engine, encryption.Plain())
        if rows.meta("seal") is None and self._engine.writable:  # a new library
            with self._engine.writing():
                if rows.meta("seal") is None:
                    created = encryption.create(passphrase, self.place)[1] if passphrase is not None else b"none"
                    rows.set_meta("seal", created)
        record = rows.meta("seal") or b"none"
        if record == b"none" and passphrase is None:
            return encryption.Plain()
        if record == b"none":
            raise PassphraseError(
                self.place,
                "there is a passphrase, but this library is not encrypted",
                "Leave the passphrase out. To encrypt the library, export it and import it into a new one.",
            )
        if passphrase is None:
            raise PassphraseError(
                self.place, "it is encrypted", "Give its passphrase in DIARIZE_PASSPHRASE or in --passphrase-file."
            )
        return encryption.unlock(passphrase, record, self.place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._engine.close()

    @property
    def place(self) -> str:
        """The library's path, or its address without the password: its name in messages."""
        return self._engine.place

    @property
    def encrypted(self) -> bool:
        return self._rows.seal.encrypted

    @property
    def guard(self) -> GuardRows:
        """Fingerprints of accepted sound and challenges; changes are made inside `batch`."""
        return GuardRows(self._engine, self._rows.seal)

    def keep_print(self, person: str, origin: str, print_: bytes, most: int = 0) -> None:
        """Keep the fingerprint (diarize/guard/fingerprints.py) of a recording of a person that was accepted.

        `most`: as many are kept of the person, of accepted recordings; the oldest are deleted. 0: all. Those of
        enrolled recordings stay and do not count. Raises UnknownPerson.
        """
        with self.batch():
            added, guard = self._clock().isoformat(timespec="microseconds"), self.guard
            guard.add_print(self._new_id(), StoredPrint(self.person(person).id, origin, added, print_))
            if most:
                guard.drop_prints(person, most)
            self._log("fingerprint", person)

    def set_preferences(self, person: str, value: Mapping[str, Any]) -> None:
        """Replace the preferences of a person; empty ones are deleted. Raises UnknownPerson, ValueError."""
        with self.batch():
            self.guard.set_preferences(self.person(person).id, value)
            self._log("preferences", person)

    # people ---------------------------------------------------------------------------------------------------------

    def people(self) -> tuple[Person, ...]:
        """Everybody, in the order in which they were enrolled; people whose consent has ended are marked `expired`."""
        with self._engine.reading():
            return self._rows.people(self._today())

    def page(self, after: str, count: int) -> tuple[Person, ...]:
        """At most `count` people whose ids come after `after` (""; all), sorted by id: the next page of a long list."""
        where = "WHERE p.id IN (SELECT n.id FROM people n WHERE n.id > ? ORDER BY n.id LIMIT ?)"
        with self._engine.reading():
            people = self._rows.people(self._today(), where, (after, count))
        return tuple(sorted(people, key=lambda person: person.id))

    def lapsed(
        self, model: str, seconds: float, created: datetime | None, last: date | None, person: str | None = None
    ) -> tuple[str, ...]:
        """The ids of those who were enrolled before `created` and have fewer `seconds` of speech for `model`, and of
        those whose consent ended before the day `last`. None: nobody is listed for that reason. `person`: only this one
        is looked at.
        """
        since = "" if created is None else created.isoformat(timespec="microseconds")
        with self._engine.reading():
            return self._rows.lapsed(model, seconds, since, "" if last is None else last.isoformat(), person)

    def counts(self) -> tuple[int, int]:
        """(number of people, number of those whose consent has ended)."""
        with self._engine.reading():
            return self._rows.counts(self._today())

    def person(self, id: str) -> Person:
        """Raises UnknownPerson."""
        people: tuple[Person, ...] = ()
        if id.isprintable():  # as every id is; databases do not accept every other text
            with self._engine.reading():
                people = self._rows.people(self._today(), "WHERE p.id = ?", (id,))
        if not people:
            raise UnknownPerson(self.place, f"nobody has the id {printable(id)}", _LIST)
        return people[0]

    def named(self, name: str) -> tuple[Person, ...]:
        """All who are called `name`, compared after Unicode NFC."""
        with self._engine.reading():
            return self._rows.people(self._today(), "WHERE p.lookup = ?", (self._rows.lookup(name),))

    def find(self, reference: str) -> Person:
        """The person with this id or name. Raises UnknownPerson where there is none, or several have the name."""
        with contextlib.suppress(UnknownPerson):
            return self.person(reference)
        people = self.named(reference)
        if not people:
            raise UnknownPerson(self.place, f"nobody is called {printable(reference)}", _LIST)
        if len(people) > 1:
            problem = f"{len(people)} people are called {printable(reference)}"
            raise UnknownPerson(self.place, problem, f"Name one by id: {', '.join(p.id for p in people)}.")
        return people[0]

    def enrol(
        self,
        name: str | None,
        utterances: Sequence[Enrolment],
        consent: str | None = None,
        expires: date | None = None,
        person: str | None = None,
        created: datetime | None = None,
    ) -> Person:
        """Add utterances to a new person called `name`, or to the one with the id `person`, whose name stays.

        Two people may have one name: each has an id, and `Person.namesakes` lists the others. An utterance (source,
        start, end) that the person has already is not added twice; a vector of another model is added to it. `consent`
        and `expires` replace the recorded ones, unless they are None. With `created`, a new person gets the id
        `person`, so that an import keeps ids. Raises UnknownPerson, ValueError.
        """
        if name is None and person is None:
            raise ValueError("enrolment needs a name for a new person, or the id of an enrolled one")
        models = dict.fromkeys(utterance.model for utterance in utterances)
        with self.batch():
            time = self._clock().isoformat(timespec="microseconds")
            exists = person is not None and (created is None or self._has(person))
            if exists:
                known = self.person(person or "")
                id = known.id
                if consent is not None or expires is not None:
                    self._set_record(known, consent, expires)
            else:
                id = self._new_id() if person is None else person
                if not id or not id.isprintable():
                    raise ValueError(f"{id!r} cannot be an id")
                since = time if created is None else created.isoformat(timespec="microseconds")
                self._rows.insert_person(id, name or "", since, consent, expires)
            for utterance in utterances:
                self._rows.add(id, utterance, self._new_id(), time)
                if utterance.print is not None:
                    enrolled = StoredPrint(id, utterance.origin, time, utterance.print)
                    self.guard.add_print(self._new_id(), enrolled, enrolled=True)
            for model in models:
                self._rows.pool(id, model)
            self._log("extend" if exists else "enrol", id, utterances=len(utterances), models=list(models))
            return self.person(id)

    def rename(self, person: str, name: str) -> Person:
        """Raises UnknownPerson."""
        with self.batch():
            self._rows.rename(self.person(person).id, name)
            self._log("rename", person)
            return self.person(person)

    def consent(self, person: str, consent: str | None, expires: date | None) -> Person:
        """Replace the recorded `consent`, in words, and the last day (UTC) on which the voice may be used."""
        with self.batch():
            self._set_record(self.person(person), consent, expires)
            self._log("consent", person, expires=expires.isoformat() if expires else None)
            return self.person(person)

    def merge(self, keep: str, gone: str) -> Person:
        """`keep` and `gone` are one person: `keep` gets all utterances of `gone`, who is deleted.

        Consent and expiry are those of `keep`. Raises UnknownPerson, ValueError.
        """
        if keep == gone:
            raise ValueError("a person cannot be merged with themselves")
        with self.batch():
            self.person(keep)
            other = self.person(gone)
            enrolments = [enrolment for utterance in self.utterances(gone) for enrolment in self.enrolments(utterance)]
            self.guard.move_prints(gone, keep)
            self._delete(gone)
            time = self._clock().isoformat(timespec="microseconds")
            for enrolment in enrolments:
                self._rows.add(keep, enrolment, self._new_id(), time)
            for model in other.seconds:
                self._rows.pool(keep, model)
            self._log("merge", keep, gone=gone, utterances=other.utterances)
            return self.person(keep)

    def remove(self, person: str) -> None:
        """Delete a person and all their data; the audit log gets an entry without a name.

        Deleted rows are overwritten, the file is rewritten, index files are deleted. Where that is not possible at once
        (another process is reading, the disk is full), a LibraryError says so: the person is deleted, and their data
        are overwritten when the library is opened next. A large library on a server that is open without `rewrite` is
        rewritten when it is opened with `rewrite` next. Raises UnknownPerson.
        """
        with self.batch():
            utterances = self.person(person).utterances
            self._delete(person)
            self._log("remove", person, utterances=utterances)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Several changes as one transaction: all or none."""
        with self._engine.writing():
            yield
        if self._to_purge and not self._engine.depth:
            self._to_purge = False
            try:
                self._purge()
            except LibraryError as error:
                problem = f"the person is deleted, but the data are not overwritten yet: {error.problem}"
                raise type(error)(self.place, problem, "This is done when the library is opened next.") from error

    # voices ---------------------------------------------------------------------------------------------------------

    def models(self) -> tuple[str, ...]:
        """The identities of the embedding models that have vectors, sorted."""
        return self._rows.models()

    def voices(self, model: str) -> tuple[Voice, ...]:
        """One voice for each person with utterances of this model whose consent has not ended, sorted by id."""
        with self._engine.reading():
            rows = self._rows.voices(model, self._today())
            return tuple(Voice(row.id, row.name, row.vector, model, row.seconds) for row in rows)

    def voice(self, person: str, model: str) -> Voice | None:
        """The voice of one person; None: their consent has ended, or they have none of this model.

        Raises UnknownPerson.
        """
        with self._engine.reading():
            known = self.person(person)
            if known.expired or model not in known.seconds:
                return None
            row = self._rows.voice(person, model)
        return Voice(row.id, row.name, row.vector, model, row.seconds)

    def matrix(self, model: str) -> Matrix:
        """The same voices as one matrix, which is memory-mapped in a large library."""
        return self.index.matrix(model, self._today())

    def live_search(self, model: str) -> LiveSearch | None:
        """A search that stays in memory, for a process that runs for long; other threads may use it with libraries of
        theirs (`live`). None: there are few voices, or faiss is not installed.
        """
        return LiveSearch(self._rows, model, self._today()) if compact.available() and self.is_large(model) else None

    def is_large(self, model: str) -> bool:
        """Whether there are so many voices of `model` that a search in all of them takes long."""
        return self._rows.has_many(model, LARGE)

    def purge_search(self, search: LiveSearch) -> None:
        """Let a search forget the voices that this library has no longer, and those whose consent has ended."""
        search.purge(self._rows, self._today())

    def candidates(self, search: LiveSearch, queries: Vectors) -> tuple[Matrix, Background]:
        """(voices near the queries (k, d), what stands for all others), of a search in this library."""
        return search.candidates(self._rows, queries, self._today())

    def search(self, query: NDArray[np.float32], model: str, top: int = 5) -> tuple[Candidate, ...]:
        """The `top` nearest voices of `model`, as `exact.search` over `matrix`; a server with pgvector finds them, or
        the search in `live`.
        """
        if self.live is not None and self.live.model == model:
            near = self.candidates(self.live, np.asarray(query)[np.newaxis])[0]
            return exact.search(query, near, top) if len(near) else ()
        with self._engine.reading():
            nearest = self._rows.nearest(model, query, top + _SPARE, self._today())
        matrix = self.matrix(model) if nearest is None else matrix_of(model, len(query), nearest, b"")
        return exact.search(query, matrix, top) if len(matrix) else ()

    def approximate_index(self, model: str) -> IndexFile | None:
        """The file of the approximate index of a very large library, which is made if the library may be written.

        None: there is none, as there are few voices, faiss is not installed, or the library has no index files
        (encrypted, on a server).
        """
        matrix = self.matrix(model)
        if self._engine.writable:
            with contextlib.suppress(OSError):  # no room: searches are exact
                return approximate.update(self.index, matrix)
        return approximate.current(self.index, matrix)

    def update_indexes(self) -> None:
        """Update the index files of a large library, for processes that open it to read only."""
        with contextlib.suppress(LibraryError):  # the change itself is done
            for model in self.models():
                if self._rows.count(model) >= index.MANY:
                    self.approximate_index(model)

    def digest(self, model: str) -> str:
        """Digest of the voices of a model: ids, names, seconds and vectors of all whose consent has not ended."""
        with self._engine.reading():
            return fingerprint.digest(model, self._rows.total(model, self._today()))

    def utterances(self, person: str) -> tuple[Enrolled, ...]:
        """The utterances of a person, in order of source and time. Raises UnknownPerson."""
        with self._engine.reading():
            return self._rows.utterances(self.person(person).id)

    def holders(self, source: str, start: float, end: float) -> tuple[str, ...]:
        """The ids of all people who have this part of the recording with the digest `source` as an utterance."""
        return self._rows.holders(source, start, end)

    def sound(self, utterance: str) -> bytes | None:
        """The stored audio of the utterance with this id; None: it was not stored."""
        return self._rows.sound(utterance)

    def enrolments(self, utterance: Enrolled) -> tuple[Enrolment, ...]:
        """The enrolments of an utterance, one for each model, as for `enrol`."""
        sound = self.sound(utterance.id) if utterance.audio else None
        return tuple(
            Enrolment(
                source=utterance.source,
                seconds=utterance.seconds,
                quality=utterance.quality,
                vector=vector,
                model=model,
                start=utterance.start,
                end=utterance.end,
                audio=sound,
                origin=utterance.origin,
            )
            for model, vector in utterance.vectors.items()
        )

    def audit(self) -> AuditReport:
        """Check everything: the chain of the log, the database, every encrypted value; each voice is computed again."""
        problems: list[str] = []
        with self._engine.reading():
            entries, broken = audit.read(self._engine, self._rows.seal.chain)
            problems += broken
            problems += self._engine.check()
            try:
                for person in self._rows.people(self._today()):
                    for utterance in self._rows.utterances(person.id):
                        self._rows.sound(utterance.id)
                for model in self._rows.models():
                    problems += self._rows.problems(model)
            except LibraryError as error:
                problems.append(error.problem)
            except ValueError as error:
                problems.append(f"a value cannot be read: {error}")
        problems += self.index.problems()
        return AuditReport(entries, tuple(problems))

    # ----------------------------------------------------------------------------------------------------------------

    def _today(self) -> date:
        return self._clock().date()

    def _has(self, id: str) -> bool:
        return bool(self._engine.execute("SELECT 1 FROM people WHERE id = ?", (id,)))

    def _set_record(self, person: Person, consent: str | None, expires: date | None) -> None:
        self._rows.set_record(person.id, consent, expires)
        if person.expired:
            self._rows.renumber(person.id)  # searches in memory left the voices out

    def _delete(self, id: str) -> None:
        self._rows.delete(id)
        self._rows.set_meta("purge", b"1")
        self._to_purge = True

    def _purge(self) -> None:
        """Overwrite deleted data; "purge" in the library says that this is still to be done."""
        self.index.delete_unused()
        rewrite = self._rewrites()
        self._engine.purge(rewrite)
        with self._engine.writing():
            self._rows.set_meta("purge", None if rewrite or self._engine.overwrites else _REWRITE_DUE)

    def _rewrites(self) -> bool:
        return self._rewrite or not any(self.is_large(model) for model in self.models())

    def _log(self, action: str, person: str, **detail: object) -> None:
        time = self._clock().isoformat(timespec="seconds")
        audit.append(self._engine, self._rows.seal.chain, time, action, person, detail)
