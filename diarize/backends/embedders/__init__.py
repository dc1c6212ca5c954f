"""Embedders whose authors compare whole recordings: excerpts -> unit vectors.

`x_vectors` runs models of transformers; `speechidentity` builds its network from the published weights. The other
embedders (`embedder_*` above) embed windows of speech.
"""
