"""Results of stages, kept by content.

In order: `code` (digest of the code that makes a result, part of its key), `codecs` (result <-> bytes, never a
pickle), `store` (bytes under a key, verified when read).
"""
