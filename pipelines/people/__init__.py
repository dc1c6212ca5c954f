"""Enrolled people: enrolment, verification, comparison, identification.

In order: `enrolment_audio` and `enrolment_checks` before `enroll`; `speakers` (the library itself); `utterance`
(recording -> voice), `verify`, `compare`, `trials` (lists of trials, calibration), `plots`; `identify` (who speaks
in a recording).
"""
