"""Measures: error counts that add up, scores of verification trials, and text made comparable.

`counts` (diarization and words), `verification` (EER, minDCF, Cllr, DET, Tippett), `bootstrap` (their intervals),
`normalisation` (of texts).
"""
