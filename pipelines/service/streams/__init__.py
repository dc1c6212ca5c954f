"""Sound that arrives piece by piece over a WebSocket.

In order: `listening` (samples; what every stream does), `opus` (Opus packets, and their Ogg pages).
"""
