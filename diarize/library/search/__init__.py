"""The nearest enrolled voices of a vector.

In order: `index` (the voices as one matrix), `mapped_matrix` (its files, in a large library), `exact` (inner products
with all voices), `approximate` (faiss proposes some of very many, from a file), `live` (from memory, for a process that
runs for long, by the codes of `compact`).
"""
