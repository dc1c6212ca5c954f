"""What a score between voices is worth.

In order: `enrolment` (may this utterance count?), `scores` (cosine, centred, s-norm), `calibration` (score -> log-
likelihood ratio), `people` (speakers of a recording -> enrolled people), `identification` (the decision), `linking`
(the same unknown person in several recordings).
"""
