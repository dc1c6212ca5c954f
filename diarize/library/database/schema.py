"""The tables of a library, their version, and the migrations between versions.

One text serves both databases: `{blob}`, `{real}` and `{big}` are what each calls bytes, a double and a 64-bit integer.
Encrypted columns (encryption.py) are bytes: people.name, people.record, utterances.facts, utterances.audio,
vectors.vector, voices.vector, models.fingerprint, and those of the guards (guard_rows.py). Readable in an encrypted
library: ids, counts, times, seconds, names of models, days of expiry, the audit log.
"""

from __future__ import annotations

VERSION = 1
APPLICATION = (
    0x64696172  # "diar": SQLite's application_id, so that another program's database is not taken for a library
)

TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value {blob} NOT NULL);
CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, dimension INTEGER NOT NULL,
    fingerprint {blob} NOT NULL);
CREATE TABLE people (id TEXT PRIMARY KEY, name {blob} NOT NULL, lookup {blob} NOT NULL, created TEXT NOT NULL,
    record {blob} NOT NULL, expires TEXT);
CREATE INDEX people_by_name ON people (lookup);
CREATE INDEX people_by_expiry ON people (expires) WHERE expires IS NOT NULL;
CREATE TABLE utterances (id TEXT PRIMARY KEY, person TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    mark {blob} NOT NULL, seconds {real} NOT NULL, added TEXT NOT NULL, facts {blob} NOT NULL, audio {blob},
    UNIQUE (person, mark));
CREATE TABLE vectors (utterance TEXT NOT NULL REFERENCES utterances (id) ON DELETE CASCADE,
    model INTEGER NOT NULL REFERENCES models (id), vector {blob} NOT NULL, PRIMARY KEY (utterance, model));
CREATE TABLE voices (person TEXT NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    model INTEGER NOT NULL REFERENCES models (id), seconds {real} NOT NULL, vector {blob} NOT NULL,
    changed {big} NOT NULL, PRIMARY KEY (person, model));
CREATE INDEX voices_by_change ON voices (model, changed);
CREATE TABLE indexes (model INTEGER NOT NULL REFERENCES models (id), kind TEXT NOT NULL, manifest TEXT NOT NULL,
    PRIMARY KEY (model, kind));
CREATE TABLE audit (seq {big} PRIMARY KEY, time TEXT NOT NULL, action TEXT NOT NULL, person TEXT NOT NULL,
    detail TEXT NOT NULL, hash {blob} NOT NULL);
"""


SQLITE_TYPES = {"text": "TEXT", "blob": "BLOB", "real": "REAL", "big": "INTEGER"}
POSTGRES_TYPES = {"text": 'TEXT COLLATE "C"', "blob": "BYTEA", "real": "DOUBLE PRECISION", "big": "BIGINT"}


def typed(statement: str, **types: str) -> str:
    """A statement with the names of types of a database."""
    return statement.replace("TEXT", types["text"]).format(**types)


def _statements(**types: str) -> list[str]:
    return [statement for statement in typed(TABLES, **types).split(";\n") if statement.strip()]


SQLITE = (
    *_statements(**SQLITE_TYPES),
    "CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit log only grows'); END",
    "CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit log only grows'); END",
)

POSTGRES = (
    *_statements(**POSTGRES_TYPES),
    "CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$",
    "CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows()",
)

# where the server has pgvector: the same vector once more, for its own search; empty in an encrypted library
PGVECTOR = ("CREATE EXTENSION IF NOT EXISTS vector", "ALTER TABLE voices ADD COLUMN embedding vector")

# version -> the statements that make the next version of it; run in one transaction, after a copy was made
MIGRATIONS: dict[int, tuple[str, ...]] = {}
