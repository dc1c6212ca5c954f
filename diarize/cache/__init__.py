"""Results of stages, cached by content.

In order: `code` (digest of the code that computes a result, part of its key), `codecs` (result <-> bytes, never a
pickle), `store` (bytes under a key, verified when read).
"""
