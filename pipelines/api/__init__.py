"""The Python API that `import diarize` exports: the main job on one file, in this process (docs/python.md).

In order: `keywords` (keyword arguments -> settings) and `library` (enrolled people) come in, `processing` transcribes
one file, `transcript` is its result with its exports, `conversions` makes one from a file or another tool's objects.
"""
