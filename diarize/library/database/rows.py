"""Rows of the database <-> records; values are encrypted and decrypted here. Transactions are the caller's."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diarize.errors import LibraryDamaged
from diarize.library.database import fingerprint
from diarize.library.database.encryption import Seal
from diarize.library.database.engine import RESTORE, Engine
from diarize.library.database.records import Enrolled, Enrolment, Person

_EXPIRED = (  # of a model, on a day: few, read by the index of the days
    "FROM people p JOIN voices v ON v.person = p.id JOIN models m ON m.id = v.model WHERE m.name = ? AND p.expires < ?"
)


class VoiceRow(NamedTuple):
    """One person's voice, as index files and matrices hold it."""

    id: str
    name: str
    seconds: float
    vector: NDArray[np.float32]


class NumberedVoice(NamedTuple):
    """One person's voice without the name, and the number of the change that wrote it."""

    number: int
    id: str
    seconds: float
    vector: NDArray[np.float32]


class Rows:
    """The tables of an open library."""

    def __init__(self, engine: Engine, seal: Seal) -> None:
        self.engine, self.seal = engine, seal

    # meta -----------------------------------------------------------------------------------------------------------

    def meta(self, key: str) -> bytes | None:
        rows = self.engine.execute("SELECT value FROM meta WHERE key = ?", (key,))
        return bytes(rows[0][0]) if rows else None

    def set_meta(self, key: str, value: bytes | None) -> None:
        self.engine.execute("DELETE FROM meta WHERE key = ?", (key,))
        if value is not None:
            self.engine.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))

    def changes(self) -> int:
        """How many times any voice was changed; an index file records the last change that is in it."""
        return int(self.meta("changes") or b"0")

    # people ---------------------------------------------------------------------------------------------------------

    def insert_person(self, id: str, name: str, created: str, consent: str | None, expires: date | None) -> None:
        self.engine.execute(
            "INSERT INTO people (id, name, lookup, created, record, expires) VALUES (?, ?, ?, ?, ?, NULL)",
            (id, self.seal.close(_coded(name), f"people/name/{id}"), self.lookup(name), created, b""),
        )
        self.set_record(id, consent, expires)

    def set_record(self, id: str, consent: str | None, expires: date | None) -> None:
        """Consent, and its last day. The day is also stored unencrypted, so that the database can search by it."""
        last = expires.isoformat() if expires else None
        record = json.dumps({"consent": consent, "expires": last}).encode("ascii")
        self.engine.execute(
            "UPDATE people SET record = ?, expires = ? WHERE id = ?",
            (self.seal.close(record, f"people/record/{id}"), last, id),
        )

    def delete(self, id: str) -> None:
        """Delete a person, everything that refers to them, and the index files that contain them."""
        for model in self._models_of(id):
            self._remove_voice(id, model)
            self.engine.execute("DELETE FROM indexes WHERE model = ?", (self._model_id(model),))
        self.engine.execute("DELETE FROM people WHERE id = ?", (id,))
        self.engine.execute("DELETE FROM models WHERE id NOT IN (SELECT model FROM vectors)")

    def lookup(self, name: str) -> bytes:
        """The digest by which a name is found; two spellings of one text (NFC, NFD) are one name."""
        return self.seal.blind(_coded(unicodedata.normalize("NFC", name)))

    def people(self, today: date, where: str = "", parameters: Sequence[Any] = ()) -> tuple[Person, ...]:
        """People in the order in which they were enrolled; `where` selects from the rows p of the table."""
        rows = self.engine.execute(
            "SELECT p.id, p.name, p.lookup, p.created, p.record, p.expires, "
            "(SELECT count(*) FROM utterances u WHERE u.person = p.id) "
            f"FROM people p {where} ORDER BY p.created, p.id",
            parameters,
        )
        seconds: dict[str, dict[str, float]] = {}
        for id, model, length in self.engine.execute(
            "SELECT v.person, m.name, v.seconds FROM voices v JOIN models m ON m.id = v.model "
            f"JOIN people p ON p.id = v.person {where} ORDER BY v.person, m.name",
            parameters,
        ):
            seconds.setdefault(id, {})[model] = length
        shared: dict[bytes, list[str]] = {}
        for lookup, id in self.engine.execute(
            "SELECT o.lookup, o.id FROM people o WHERE o.lookup IN "
            f"(SELECT p.lookup FROM people p {where}) ORDER BY o.created, o.id",
            parameters,
        ):
            shared.setdefault(bytes(lookup), []).append(id)
        people = []
        for id, name, lookup, created, record, expires, count in rows:
            consent, last = self._record(id, record, expires)
            people.append(
                Person(
                    id=id,
                    name=_text(self.seal.open(bytes(name), f"people/name/{id}")),
                    created=datetime.fromisoformat(created),
                    consent=consent,
                    expires=last,
                    expired=last is not None and last < today,
                    utterances=count,
                    seconds=seconds.get(id, {}),
                    namesakes=tuple(other for other in shared[bytes(lookup)] if other != id),
                )
            )
        return tuple(people)

    def counts(self, today: date) -> tuple[int, int]:
        """(people, those of them who are expired on `today`)."""
        everybody = self.engine.execute("SELECT count(*) FROM people")[0][0]
        expired = self.engine.execute("SELECT count(*) FROM people WHERE expires < ?", (today.isoformat(),))[0][0]
        return int(everybody), int(expired)

    def _record(self, id: str, record: bytes, expires: str | None) -> tuple[str | None, date | None]:
        values = json.loads(self.seal.open(bytes(record), f"people/record/{id}"))
        if values["expires"] != expires:  # the unencrypted day may have been changed
            problem = f"the day on which the consent of {id} ends was changed"
            raise LibraryDamaged(self.engine.place, problem, RESTORE)
        return values["consent"], date.fromisoformat(expires) if expires else None

    # utterances -----------------------------------------------------------------------------------------------------

    def add(self, person: str, new: Enrolment, id: str, added: str) -> None:
        """Add an utterance with this `id`. If the person has it already, its audio and vector are added if missing."""
        model = self._add_model(new.model, len(new.vector))
        mark = self._mark(new.source, new.start, new.end)
        present = self.engine.execute(
            "SELECT id, audio IS NULL FROM utterances WHERE person = ? AND mark = ?", (person, mark)
        )
        if present:
            id = present[0][0]
        else:
            facts = {
                "source": new.source,
                "start": float(new.start),
                "end": float(new.end),
                "quality": {key: float(value) for key, value in new.quality.items()},
                "origin": new.origin,
            }
            self.engine.execute(
                "INSERT INTO utterances (id, person, mark, seconds, added, facts) VALUES (?, ?, ?, ?, ?, ?)",
                (id, person, mark, float(new.seconds), added, self._encrypt(facts, f"utterances/facts/{person}/{id}")),
            )
        if new.audio is not None and (not present or present[0][1]):
            audio = self.seal.close(new.audio, f"utterances/audio/{person}/{id}")
            self.engine.execute("UPDATE utterances SET audio = ? WHERE id = ?", (audio, id))
        vector = self.seal.close(_raw(new.vector), f"vectors/vector/{person}/{id}/{new.model}")
        self.engine.execute(
            "INSERT INTO vectors (utterance, model, vector) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (id, model, vector),
        )

    def holders(self, source: str, start: float, end: float) -> tuple[str, ...]:
        rows = self.engine.execute(
            "SELECT person FROM utterances WHERE mark = ? ORDER BY person", (self._mark(source, start, end),)
        )
        return tuple(row[0] for row in rows)

    def utterances(self, person: str) -> tuple[Enrolled, ...]:
        """In order of source and time, so that a voice does not depend on the order of enrolment."""
        vectors: dict[str, dict[str, NDArray[np.float32]]] = {}
        for id, model, vector in self.engine.execute(
            "SELECT x.utterance, m.name, x.vector FROM vectors x JOIN models m ON m.id = x.model "
            "JOIN utterances u ON u.id = x.utterance WHERE u.person = ? ORDER BY m.name",
            (person,),
        ):
            raw = self.seal.open(bytes(vector), f"vectors/vector/{person}/{id}/{model}")
            vectors.setdefault(id, {})[model] = _vector(raw)
        utterances = []
        for id, seconds, added, sealed, audio in self.engine.execute(
            "SELECT id, seconds, added, facts, audio IS NOT NULL FROM utterances WHERE person = ?", (person,)
        ):
            facts = json.loads(self.seal.open(bytes(sealed), f"utterances/facts/{person}/{id}"))
            added = datetime.fromisoformat(added)
            utterances.append(
                Enrolled(id=id, seconds=seconds, added=added, audio=bool(audio), vectors=vectors.get(id, {}), **facts)
            )
        return tuple(sorted(utterances, key=lambda u: (u.source, u.start, u.end)))

    def sound(self, utterance: str) -> bytes | None:
        rows = self.engine.execute("SELECT person, audio FROM utterances WHERE id = ?", (utterance,))
        if not rows or rows[0][1] is None:
            return None
        return self.seal.open(bytes(rows[0][1]), f"utterances/audio/{rows[0][0]}/{utterance}")

    # voices ---------------------------------------------------------------------------------------------------------

    def pool(self, person: str, model: str) -> None:
        """Compute a person's voice again from their utterances."""
        self._remove_voice(person, model)
        if (pooled := voice_of(self.utterances(person), model)) is None:
            return
        seconds, vector = pooled
        number = self._next_change()
        sealed = self.seal.close(_raw(vector), _voice_place(person, model, seconds))
        self.engine.execute(
            "INSERT INTO voices (person, model, seconds, vector, changed) VALUES (?, ?, ?, ?, ?)",
            (person, self._model_id(model), seconds, sealed, number),
        )
        if not self.seal.encrypted:
            self.engine.add_to_search(person, self._model_id(model), vector)
        self._set_total(model, fingerprint.add(self._total(model), self._fingerprint(person, model)))

    def rename(self, person: str, name: str) -> None:
        """The fingerprint of a voice contains the name, so each voice is removed and added again."""
        models = self._models_of(person)
        for model in models:
            self._remove_voice(person, model)
        self.engine.execute(
            "UPDATE people SET name = ?, lookup = ? WHERE id = ?",
            (self.seal.close(_coded(name), f"people/name/{person}"), self.lookup(name), person),
        )
        for model in models:
            self.pool(person, model)

    def voices(self, model: str, today: date, after: int = -1) -> Iterator[VoiceRow]:
        """The voices of people whose consent lasts on `today`, sorted by id; of these only the ones with a later change
        than number `after`.
        """
        yield from self._voices(
            "m.name = ? AND v.changed > ? AND (p.expires IS NULL OR p.expires >= ?)", (model, after, today.isoformat())
        )

    def numbered(self, model: str, numbers: Sequence[int], today: date) -> Iterator[VoiceRow]:
        """The voices that the changes of these numbers wrote, if they are still there and their consent lasts."""
        if numbers:
            where = f"v.changed IN ({', '.join('?' * len(numbers))})"
            where = f"m.name = ? AND {where} AND (p.expires IS NULL OR p.expires >= ?)"
            yield from self._voices(where, (model, *numbers, today.isoformat()))

    def renumber(self, person: str) -> None:
        """Give the voices of a person new numbers: searches in memory read them again."""
        for model in self._models_of(person):
            sql = "UPDATE voices SET changed = ? WHERE person = ? AND model = ?"
            self.engine.execute(sql, (self._next_change(), person, self._model_id(model)))

    def _next_change(self) -> int:
        """The number of a new change of a voice."""
        number = self.changes() + 1
        self.set_meta("changes", b"%d" % number)
        return number

    def numbers(self, model: str, today: date) -> NDArray[np.int64]:
        """The number of the change that wrote each voice of `model` whose consent lasts on `today`, sorted."""
        sql = "SELECT v.changed FROM voices v JOIN models m ON m.id = v.model WHERE m.name = ? ORDER BY v.changed"
        with self.engine.reading():
            every = np.fromiter((row[0] for row in self.engine.stream(sql, (model,))), np.int64)
            expired = self.engine.execute(f"SELECT v.changed {_EXPIRED}", (model, today.isoformat()))
        return np.setdiff1d(every, np.array([row[0] for row in expired], np.int64), assume_unique=True)

    def vectors(self, model: str, today: date, numbers: Sequence[int] = (), after: int = -1) -> Iterator[NumberedVoice]:
        """Voices whose consent lasts on `today`: those in `numbers`, or where there are none of all that
        were written later than `after`; sorted by number. Inside a transaction.
        """
        where = f"IN ({', '.join('?' * len(numbers))})" if numbers else "> ?"
        for number, person, seconds, vector in self.engine.stream(
            "SELECT v.changed, v.person, v.seconds, v.vector FROM voices v JOIN models m ON m.id = v.model "
            f"WHERE m.name = ? AND v.changed {where} "
            "AND v.person NOT IN (SELECT id FROM people WHERE expires < ?) ORDER BY v.changed",
            (model, *(numbers or (after,)), today.isoformat()),
        ):
            raw = self.seal.open(bytes(vector), _voice_place(person, model, seconds))
            yield NumberedVoice(number, person, seconds, _vector(raw))

    def voice(self, person: str, model: str) -> VoiceRow:
        """The voice of a person who has one."""
        return next(self._voices("p.id = ? AND m.name = ?", (person, model)))

    def nearest(self, model: str, query: NDArray[np.float32], count: int, today: date) -> tuple[VoiceRow, ...] | None:
        """The `count` nearest voices, or a few more, if the database itself can search; None otherwise."""
        if self.seal.encrypted or self.dimension(model) != len(query):
            return None
        people = self.engine.nearest(model, query, count, today)
        return None if people is None else tuple(self.voice(person, model) for person in people)

    def total(self, model: str, today: date) -> bytes:
        """The sum (fingerprint.py) of the voices that `voices` returns."""
        total = self._total(model)
        expired = (
            "m.name = ? AND v.person IN (SELECT id FROM people WHERE expires < ?)"  # few: found by their own index
        )
        for row in self._voices(expired, (model, today.isoformat())):
            total = fingerprint.subtract(total, fingerprint.of_voice(*row))
        return total

    def models(self) -> tuple[str, ...]:
        return tuple(row[0] for row in self.engine.execute("SELECT name FROM models ORDER BY name"))

    def dimension(self, model: str) -> int | None:
        rows = self.engine.execute("SELECT dimension FROM models WHERE name = ?", (model,))
        return int(rows[0][0]) if rows else None

    def count(self, model: str) -> int:
        """How many voices there are of `model`, expired ones included."""
        sql = "SELECT count(*) FROM voices v JOIN models m ON m.id = v.model WHERE m.name = ?"
        return int(self.engine.execute(sql, (model,))[0][0])

    def count_lasting(self, model: str, today: date) -> int:
        """How many voices of `model` there are whose consent lasts on `today`."""
        expired = self.engine.execute(f"SELECT count(*) {_EXPIRED}", (model, today.isoformat()))
        return self.count(model) - int(expired[0][0])

    def has_many(self, model: str, count: int) -> bool:
        """Whether there are `count` voices of `model` or more; expired ones count."""
        sql = (
            "SELECT count(*) FROM (SELECT 1 FROM voices WHERE model = (SELECT id FROM models WHERE name = ?) LIMIT ?) s"
        )
        return int(self.engine.execute(sql, (model, count))[0][0]) >= count

    def lapsed(self, model: str, seconds: float, created: str, last: str, person: str | None) -> tuple[str, ...]:
        """The ids of people who were enrolled before `created` and have fewer `seconds` of `model`, and of those whose
        consent ended before the day `last`; `person`: of that one alone.
        """
        one = "" if person is None else "p.id = ? AND "
        rows = self.engine.execute(
            f"SELECT p.id FROM people p WHERE {one}(p.expires < ? OR (p.created < ? AND coalesce((SELECT v.seconds "
            "FROM voices v JOIN models m ON m.id = v.model WHERE v.person = p.id AND m.name = ?), 0) < ?)) "
            "ORDER BY p.id",
            (*(() if person is None else (person,)), last, created, model, seconds),
        )
        return tuple(row[0] for row in rows)

    def problems(self, model: str) -> Iterator[str]:
        """Problems of the voices of a model: each is computed again, and so is the sum of them all."""
        total = fingerprint.EMPTY
        for row in self._voices("m.name = ?", (model,)):
            total = fingerprint.add(total, fingerprint.of_voice(*row))
            computed = voice_of(self.utterances(row.id), model)
            if computed is None or computed[0] != row.seconds or not np.array_equal(computed[1], row.vector):
                yield f"the voice of {row.id} ({model}) is not that of their utterances"
        if total != self._total(model):
            yield f"the voices of {model} are not those that were written"

    def _voices(self, where: str, parameters: Sequence[Any]) -> Iterator[VoiceRow]:
        for id, name, record, expires, model, seconds, vector in self.engine.stream(
            "SELECT p.id, p.name, p.record, p.expires, m.name, v.seconds, v.vector FROM voices v "
            f"JOIN models m ON m.id = v.model JOIN people p ON p.id = v.person WHERE {where} ORDER BY v.person",
            parameters,
        ):
            if self.seal.encrypted:
                self._record(id, record, expires)  # the last day of a consent may have been changed
            yield VoiceRow(
                id,
                _text(self.seal.open(bytes(name), f"people/name/{id}")),
                seconds,
                _vector(self.seal.open(bytes(vector), _voice_place(id, model, seconds))),
            )

    def _fingerprint(self, person: str, model: str) -> bytes:
        return fingerprint.of_voice(*self.voice(person, model))

    def _remove_voice(self, person: str, model: str) -> None:
        if model in self._models_of(person):
            self._set_total(model, fingerprint.subtract(self._total(model), self._fingerprint(person, model)))
            self.engine.execute("DELETE FROM voices WHERE person = ? AND model = ?", (person, self._model_id(model)))

    def _total(self, model: str) -> bytes:
        rows = self.engine.execute("SELECT fingerprint FROM models WHERE name = ?", (model,))
        return self.seal.open(bytes(rows[0][0]), f"models/fingerprint/{model}") if rows else fingerprint.EMPTY

    def _set_total(self, model: str, total: bytes) -> None:
        sealed = self.seal.close(total, f"models/fingerprint/{model}")
        self.engine.execute("UPDATE models SET fingerprint = ? WHERE name = ?", (sealed, model))

    def _models_of(self, person: str) -> tuple[str, ...]:
        sql = "SELECT m.name FROM voices v JOIN models m ON m.id = v.model WHERE v.person = ? ORDER BY m.name"
        return tuple(row[0] for row in self.engine.execute(sql, (person,)))

    def _model_id(self, name: str) -> int:
        return int(self.engine.execute("SELECT id FROM models WHERE name = ?", (name,))[0][0])

    def _add_model(self, name: str, dimension: int) -> int:
        known = self.dimension(name)
        if known is None:
            id = int(self.engine.execute("SELECT coalesce(max(id), 0) + 1 FROM models")[0][0])
            self.engine.execute(
                "INSERT INTO models (id, name, dimension, fingerprint) VALUES (?, ?, ?, ?)",
                (id, name, dimension, self.seal.close(fingerprint.EMPTY, f"models/fingerprint/{name}")),
            )
        elif known != dimension:
            raise ValueError(f"vectors of {name} have {known} numbers in this library, this one has {dimension}")
        return self._model_id(name)

    def _mark(self, source: str, start: float, end: float) -> bytes:
        return self.seal.blind(json.dumps([source, float(start), float(end)]).encode("ascii"))

    def _encrypt(self, facts: dict[str, Any], place: str) -> bytes:
        return self.seal.close(json.dumps(facts).encode("ascii"), place)


def voice_of(utterances: Sequence[Enrolled], model: str) -> tuple[float, NDArray[np.float32]] | None:
    """(seconds, unit vector): the mean of the vectors of `model`, weighted by seconds; None: there is no such vector.

    Raises ValueError where the vectors cancel each other out: they are not of one person.
    """
    used = [u for u in utterances if model in u.vectors]
    if not used:
        return None
    weights = np.array([u.seconds for u in used])
    mean = weights @ np.stack([u.vectors[model] for u in used]).astype(np.float64)
    length = np.linalg.norm(mean)
    if length < 1e-6 * weights.sum():
        raise ValueError("these utterances cancel each other out: they are not of one person")
    return float(weights.sum()), (mean / length).astype(np.float32)


def _voice_place(person: str, model: str, seconds: float) -> str:
    return f"voices/vector/{person}/{model}/{seconds!r}"


def _coded(name: str) -> bytes:
    """Names are stored as bytes, as databases do not store every text (a zero, half a surrogate pair)."""
    return name.encode("utf-8", "surrogatepass")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogatepass")


def _raw(vector: NDArray[np.float32]) -> bytes:
    return np.ascontiguousarray(vector, dtype="<f4").tobytes()


def _vector(raw: bytes) -> NDArray[np.float32]:
    return np.frombuffer(raw, dtype="<f4").astype(np.float32)
