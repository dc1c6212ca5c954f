"""The database under a library of speakers.

In order: `address` (a file or a server), `records` (what a library holds), `rows` (records <-> rows), `encryption`
(of values, by a passphrase), `engine` (SQLite) or `postgres`, their `schema`; `fingerprint` (content identity),
`sound` (stored enrolment audio).
"""
