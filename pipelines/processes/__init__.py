"""Processes: decoding in a child that may do nothing else; signals; what ends with its parent.

`decoding` (our side) and `decoder` (the child), confined by `sandbox`; `lifetime` (process groups, processor time),
`stall` (is a worker getting anywhere?), `interrupt` (Ctrl-C, SIGTERM, SIGHUP), `standard_streams`.
"""
