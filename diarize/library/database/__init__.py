"""The database under a library of speakers.

In order: `records` (what a library holds), `rows` (records <-> rows), `encryption` (values sealed under a
passphrase), `engine` (SQLite) or `postgres`, their `schema`; `fingerprint` (content identity), `sound` (kept
enrolment audio).
"""
