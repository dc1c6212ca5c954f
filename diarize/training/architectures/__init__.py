"""Networks: filter banks (N, T, bins) -> embeddings (N, d), not normalised. `build` makes one by name.

xvector, ecapa, resnet34, redimnet, autospeech, speechidentity; pooling: what they share
"""
