"""Metrics: error counts that add up, scores of verification trials, and normalisation of text.

`counts` (diarization and words), `verification` (EER, minDCF, Cllr, DET, Tippett), `bootstrap` (their intervals),
`normalisation` (of texts).
"""
