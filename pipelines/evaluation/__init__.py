"""Results against references.

In order: `files` (both sides, by recording), `turn_scores` (DER, JER), `word_scores` (WER, cpWER), `scores` (what an
evaluation is), `evaluate` (the recipe), `report` and `picture`.
"""
