"""Enrolled speakers: the store of people and their voices, search over them, and what is made of the scores.

`store.open` opens a library; nothing else in this project writes voiceprints.
"""
