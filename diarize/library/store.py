"""The library of enrolled speakers: people, their utterances, a voice for each embedding model, a log of it all.

A person's voice is the mean of their utterances' vectors, weighted by seconds of speech and re-normalised; it is kept
beside them and made anew with every change. Each change is one transaction together with its entry of the audit log.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from diarize.errors import LibraryError, PassphraseError, UnknownPerson, printable
from diarize.library import audit
from diarize.library.database import address as addresses
from diarize.library.database import encryption, fingerprint
from diarize.library.database.address import ServerAddress
from diarize.library.database.engine import Engine, Sqlite
from diarize.library.database.postgres import Postgres
from diarize.library.database.records import AuditReport, Enrolled, Enrolment, Matrix, Person
from diarize.library.database.rows import Rows
from diarize.library.search import approximate, exact, index
from diarize.library.search.approximate import IndexFile
from diarize.library.search.index import VoiceIndex, matrix_of
from diarize.types import Candidate, Voice

Clock = Callable[[], datetime]
NewId = Callable[[], str]

_SPARE = 16  # voices that a server may have put in another order by its own rounding
_LIST = "See: diarize speakers list"


def now() -> datetime:
    return datetime.now(UTC)


def random_id() -> str:
    """32 random hex digits: an id that says nothing, and two libraries can be joined."""
    return uuid.uuid4().hex


def open(
    address: str | Path | ServerAddress,
    passphrase: str | None = None,
    create: bool = False,
    read_only: bool = False,
    *,
    clock: Clock = now,
    new_id: NewId = random_id,
) -> Library:
    """The library in a file, or on a server (postgresql://user@host/database).

    `create` makes it where there is none, encrypted if a passphrase is given.

    `clock` tells the time in UTC; `clock` and `new_id` alone make two libraries with the same content differ. Raises
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
    return Library(engine, passphrase, clock, new_id)


class Library:
    """An open library; use it in a `with`. One object belongs to one thread, any number of processes to one file."""

    def __init__(
        self,
        engine: Engine,
        passphrase: str | None,
        clock: Clock = now,
        new_id: NewId = random_id,
    ) -> None:
        self._engine, self._clock, self._new_id = engine, clock, new_id
        self._unswept = False  # something was deleted by the transaction that is still open
        try:
            self._rows = Rows(engine, self._unlocked(passphrase))
            self.index = VoiceIndex(self._rows)
            if engine.writable and self._rows.meta("purge"):  # a removal was cut short after its commit
                with contextlib.suppress(LibraryError):
                    self._sweep()
        except BaseException:
            engine.close()
            raise

    def _unlocked(self, passphrase: str | None) -> encryption.Seal:
        rows = Rows(self._engine, encryption.Plain())
        if rows.meta("seal") is None and self._engine.writable:  # a new library
            with self._engine.writing():
                if rows.meta("seal") is None:
                    made = encryption.create(passphrase, self.place)[1] if passphrase is not None else b"none"
                    rows.set_meta("seal", made)
        record = rows.meta("seal") or b"none"
        if record == b"none" and passphrase is None:
            return encryption.Plain()
        if record == b"none":
            raise PassphraseError(
                self.place,
                "a passphrase was given, and this library is not encrypted",
                "Leave the passphrase out; to encrypt it, export it and import that into a new library with one.",
            )
        if passphrase is None:
            raise PassphraseError(
                self.place, "it is encrypted", "Give its passphrase in DIARIZE_PASSPHRASE or in a file."
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
        """What messages call this library: its path, or its address without the password."""
        return self._engine.place

    @property
    def encrypted(self) -> bool:
        return self._rows.seal.encrypted

    # people ---------------------------------------------------------------------------------------------------------

    def people(self) -> tuple[Person, ...]:
        """Everybody, in the order in which they were enrolled; expired people are among them, and marked."""
        with self._engine.reading():
            return self._rows.people(self._today())

    def counts(self) -> tuple[int, int]:
        """(people, those of them whose consent has expired)."""
        with self._engine.reading():
            return self._rows.counts(self._today())

    def person(self, id: str) -> Person:
        """Raises UnknownPerson."""
        found: tuple[Person, ...] = ()
        if id.isprintable():  # every id is, and not every text can be asked for
            with self._engine.reading():
                found = self._rows.people(self._today(), "WHERE p.id = ?", (id,))
        if not found:
            raise UnknownPerson(self.place, f"nobody has the id {printable(id)}", _LIST)
        return found[0]

    def named(self, name: str) -> tuple[Person, ...]:
        """All who are called `name`, compared after Unicode NFC."""
        with self._engine.reading():
            return self._rows.people(self._today(), "WHERE p.lookup = ?", (self._rows.lookup(name),))

    def find(self, reference: str) -> Person:
        """Who is meant by an id or a name. Raises UnknownPerson where nobody is, or several are."""
        with contextlib.suppress(UnknownPerson):
            return self.person(reference)
        found = self.named(reference)
        if not found:
            raise UnknownPerson(self.place, f"nobody is called {printable(reference)}", _LIST)
        if len(found) > 1:
            problem = f"{len(found)} people are called {printable(reference)}"
            raise UnknownPerson(self.place, problem, f"Name one by id: {', '.join(p.id for p in found)}.")
        return found[0]

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

        Two people may have one name: the new one has an id of their own, and `Person.namesakes` tells. An utterance
        (source, start, end) that the person has already is not added twice; with a vector of another model it gains
        that vector. `consent` and `expires`, where given, replace what is on record. With `created`, somebody
        who is not there yet is made with the id `person`: so an import keeps ids. Raises UnknownPerson, ValueError.
        """
        if name is None and person is None:
            raise ValueError("enrolment needs a name for a new person, or the id of one who is there")
        models = dict.fromkeys(utterance.model for utterance in utterances)
        with self.batch():
            time = self._clock().isoformat(timespec="microseconds")
            there = person is not None and (created is None or self._has(person))
            if there:
                id = self.person(person or "").id
                if consent is not None or expires is not None:
                    self._rows.set_record(id, consent, expires)
            else:
                id = self._new_id() if person is None else person
                if not id or not id.isprintable():
                    raise ValueError(f"{id!r} cannot be an id")
                since = time if created is None else created.isoformat(timespec="microseconds")
                self._rows.insert_person(id, name or "", since, consent, expires)
            for utterance in utterances:
                self._rows.add(id, utterance, self._new_id(), time)
            for model in models:
                self._rows.pool(id, model)
            self._log("extend" if there else "enrol", id, utterances=len(utterances), models=list(models))
            return self.person(id)

    def rename(self, person: str, name: str) -> Person:
        """Raises UnknownPerson."""
        with self.batch():
            self._rows.rename(self.person(person).id, name)
            self._log("rename", person)
            return self.person(person)

    def consent(self, person: str, consent: str | None, expires: date | None) -> Person:
        """Replace what is on record: `consent` in words, and the last day (UTC) on which the voice may be used."""
        with self.batch():
            self._rows.set_record(self.person(person).id, consent, expires)
            self._log("consent", person, expires=expires.isoformat() if expires else None)
            return self.person(person)

    def merge(self, keep: str, gone: str) -> Person:
        """`keep` and `gone` are one person: all utterances go to `keep`, and `gone` is no more.

        Consent and expiry stay those of `keep`. Raises UnknownPerson, ValueError.
        """
        if keep == gone:
            raise ValueError("a person cannot be merged with themselves")
        with self.batch():
            kept, lost = self.person(keep), self.person(gone)
            moved = [enrolment for utterance in self.utterances(gone) for enrolment in self.enrolments(utterance)]
            self._delete(gone)
            time = self._clock().isoformat(timespec="microseconds")
            for enrolment in moved:
                self._rows.add(keep, enrolment, self._new_id(), time)
            for model in lost.seconds:
                self._rows.pool(kept.id, model)
            self._log("merge", keep, gone=gone, utterances=lost.utterances)
            return self.person(keep)

    def remove(self, person: str) -> None:
        """Delete a person with all that was kept of them; the audit log tells that it happened, without a name.

        Deleted rows are overwritten, the file is written anew, index files are deleted. Where that cannot be done at
        once (another process is reading, the disk is full) a LibraryError says so: the person is gone even so, and the
        rest is done when the library is opened next. Raises UnknownPerson.
        """
        with self.batch():
            gone = self.person(person)
            self._delete(gone.id)
            self._log("remove", gone.id, utterances=gone.utterances)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Several changes as one: all of them or none, and one wait for the disk."""
        with self._engine.writing():
            yield
        if self._unswept and not self._engine.depth:
            self._unswept = False
            try:
                self._sweep()
            except LibraryError as error:
                problem = f"the person is deleted, and what they left is not overwritten yet: {error.problem}"
                raise type(error)(self.place, problem, "It is done when the library is opened next.") from error

    # voices ---------------------------------------------------------------------------------------------------------

    def models(self) -> tuple[str, ...]:
        """The identities of the embedding models of which there are vectors, sorted."""
        return self._rows.models()

    def voices(self, model: str) -> tuple[Voice, ...]:
        """One voice a person who has utterances of this model and whose consent has not expired, sorted by id."""
        with self._engine.reading():
            rows = self._rows.voices(model, self._today())
            return tuple(Voice(row.id, row.name, row.vector, model, row.seconds) for row in rows)

    def matrix(self, model: str) -> Matrix:
        """The same voices row by row, memory-mapped from an index file where there are many."""
        return self.index.matrix(model, self._today())

    def search(self, query: NDArray[np.float32], model: str, top: int = 5) -> tuple[Candidate, ...]:
        """The `top` nearest voices of `model`, as `exact.search` over `matrix`; found by a server that has pgvector."""
        with self._engine.reading():
            nearest = self._rows.nearest(model, query, top + _SPARE, self._today())
        matrix = self.matrix(model) if nearest is None else matrix_of(model, len(query), nearest, b"")
        return exact.search(query, matrix, top) if len(matrix) else ()

    def approximate_index(self, model: str) -> IndexFile | None:
        """The approximate index of the voices of a large library, made where it is missing and may be written.

        None: few voices, faiss is not installed, or a library without index files (encrypted, on a server).
        """
        matrix = self.matrix(model)
        if self._engine.writable:
            with contextlib.suppress(OSError):  # no room: searches are exact
                return approximate.update(self.index, matrix)
        return approximate.current(self.index, matrix)

    def update_indexes(self) -> None:
        """Bring the index files of a large library up to date: for whoever reads it next and may not write."""
        with contextlib.suppress(LibraryError):  # the change itself is done
            for model in self.models():
                if self._rows.count(model) >= index.MANY:
                    self.approximate_index(model)

    def digest(self, model: str) -> str:
        """Content identity of the voices of a model: ids, names, seconds and vectors of all who are not expired."""
        with self._engine.reading():
            return fingerprint.digest(model, self._rows.total(model, self._today()))

    def utterances(self, person: str) -> tuple[Enrolled, ...]:
        """What was enrolled of a person, in order of source and time. Raises UnknownPerson."""
        with self._engine.reading():
            return self._rows.utterances(self.person(person).id)

    def holders(self, source: str, start: float, end: float) -> tuple[str, ...]:
        """The ids of all who have the utterance at this place of the recording with the digest `source`."""
        return self._rows.holders(source, start, end)

    def sound(self, utterance: str) -> bytes | None:
        """The kept sound of the utterance with this id, as it was given; None: the user did not choose to keep it."""
        return self._rows.sound(utterance)

    def enrolments(self, utterance: Enrolled) -> tuple[Enrolment, ...]:
        """What `enrol` was given for an utterance, one enrolment a model: to put it elsewhere."""
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
        """Read everything: the log's chain, the database's own checks, every sealed value; each voice is made anew."""
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

    def _delete(self, id: str) -> None:
        self._rows.delete(id)
        self._rows.set_meta("purge", b"1")
        self._unswept = True

    def _sweep(self) -> None:
        """Overwrite what was deleted; until that is done the library remembers that it is due."""
        self.index.delete_unused()
        self._engine.purge()
        with self._engine.writing():
            self._rows.set_meta("purge", None)

    def _log(self, action: str, person: str, **detail: object) -> None:
        time = self._clock().isoformat(timespec="seconds")
        audit.append(self._engine, self._rows.seal.chain, time, action, person, detail)
