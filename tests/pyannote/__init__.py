"""Tests that need the environment of the extra `pyannote` (make test-pyannote)."""
