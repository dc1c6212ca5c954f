"""Guards of a speaker system: what speaks against a live person, and what a decision about one is made of.

In order: `spoofing` (windows, scores of a countermeasure), `signs` (silence, band limits), `fingerprints` (the same
audio again), `challenge` (a phrase that must be said), `decision` (one answer, with its reason), `fusion` (with the
score of another modality), `preferences` (of the person who was identified).
"""
