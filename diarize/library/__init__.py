"""Enrolled speakers: people, their utterances, and one voice a person for each embedding model.

In order: `store` (opens a library, in a file or on a server; `audit` logs each change), `portable` (export and import),
`enrolled` (what a run takes from a library into its workers). Below: `database`, `search` and `scoring`.
"""
