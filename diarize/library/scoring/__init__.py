"""From scores between voices to decisions.

In order: `enrolment` (measures and checks of utterances), `scores` (cosine, centred, s-norm), `calibration` (score ->
log-likelihood ratio), `people` (speakers of a recording -> enrolled people), `identification` (the decision), `linking`
(the same unknown person in several recordings).
"""
