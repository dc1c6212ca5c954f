"""Labelled windows -> turns.

In order: `merging` (each instant of speech goes to the speaker its windows name), `overlap` (a second speaker where
two talk), `voices` (one vector a speaker, to compare with enrolled people).
"""
