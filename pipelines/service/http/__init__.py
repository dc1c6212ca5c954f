"""HTTP and WebSocket in front of the service (docs/service.md).

In order: `connections` (sockets that say nothing are closed), `frame` (request ids, limits on bodies, log, metrics),
`problems` (RFC 9457), `callers` (keys and scopes), `bodies` (audio out of a request), `schemas`, and the routes:
`speaker_routes`, `decision_routes`, `recording_routes`, `stream_routes`, `compat_routes`, `operation_routes`.
"""
