"""Mirrors diarize/training/ and pipelines/training/."""
