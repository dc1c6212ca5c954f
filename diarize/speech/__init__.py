"""Where somebody speaks, and the windows of speech that get one embedding each.

In order: `vad` (speech probabilities of frames -> speech segments), `windows` (speech segments -> windows).
"""
