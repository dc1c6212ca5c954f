"""The nearest enrolled voices of a vector.

In order: `index` (the voices as one matrix), `mapped_matrix` (of a large library: files that are mapped), `exact`
(inner products) or `approximate` (faiss).
"""
