"""Corrections by people.

`requests` turns what a person writes on the command line into operations, `adopt` a corrected export; `edit` applies
them to a recording's folder and writes its exports again, `exports` does so in the background. What the page shows:
`document` (transcript, corrections, doubts), `sound` (waveform, Opus), `spectrogram`, `voices` (who speakers may be),
`page_html` (the page around them); `report` puts all of it into one file, and `pipelines.review.server` serves it. The
log itself is `pipelines.results.corrections`.
"""
