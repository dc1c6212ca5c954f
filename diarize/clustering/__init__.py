"""Embeddings of windows -> labels: how many speakers, and which window is whose.

In order: `constraints` (known turns), `spectral` (any embedder) or `mixture` (embedders whose covariances are known),
`splitting` (local speakers of one segmentation window are two people), `constrained` (labels that satisfy the
constraints). `similarity` holds the operations on clusters that all of them use.
"""
