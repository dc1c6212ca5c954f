"""Paths and settings of a user -> jobs.

In order: `settings` (command line, file, environment, default), `recordings` (files and folders -> recordings with
ids), `shards` (the part of one machine), `counts` and `annotations` (speaker counts, words, speech and turns that
are known), `jobs` (a recording with all that was provided for it).
"""
