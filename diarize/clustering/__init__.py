"""Embeddings of windows -> labels: how many speakers, and which window is whose.

In order: `clusterer` (the stage), which uses `mixture` (embedders whose covariances are known) or `spectral` (any other
embedder), and `splitting` (local speakers of one segmentation window are two people); `constraints` (known turns),
`constrained` (labels that satisfy them). `similarity` holds the operations on clusters that all of them use.
"""
