"""Recipes. `recording` is one recording, from decoded audio to its transcript; `plan` chooses the backends.

Each folder is one concern: `inputs` -> `batch` (in `processes`) -> `results`; `people` and `evaluation` are recipes
of their own; `cli` prints. `versions` says what is installed that may change a result.
"""
