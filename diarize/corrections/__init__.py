"""Corrections of a transcript by people: an overlay, never a change of what the machine wrote.

In order: `state` (a transcript with an id for every word and turn), `operations` (one change, a pure function of
a state), `history` (a chained log of changes, with undo and redo), `anchoring` (changes that were made on an earlier
transcript of the same recording), `overlay` (the corrected transcript), `doubts` (where a look is worth its time),
`clearest` (where a speaker is heard best).
"""
