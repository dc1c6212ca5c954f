"""Where somebody speaks, and the windows of speech that get one embedding each.

In order: `fusion` (speech probabilities of two models -> one), `vad` (speech probabilities of frames -> speech
segments), `windows` (speech segments -> windows).
"""
