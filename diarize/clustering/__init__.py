"""Embeddings of windows -> labels: how many speakers, and whose window is whose.

In order: `constraints` (what a user knows), `mixture` (embedders whose covariances are known) or `spectral` (all
others), `splitting` (local speakers who talk at once are two people), `constrained` (labels and turns that obey the
constraints). `similarity` holds the measures that all of them use.
"""
