"""Labelled windows -> turns.

In order: `votes` (of windows, at each instant), `merging` (each instant of speech gets the cluster with most votes),
`overlap` (a second one where a segmentation model has two speakers), `pinning` (known turns), `voices` (one vector a
speaker, to compare with enrolled people).
"""
