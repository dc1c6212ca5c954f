"""Processes: decoding in a child that may do nothing else, signals, lifetime of workers.

In order: `decoding` (parent) asks `decoder` (child) through `confined` (requests to a child without rights) and
`sandbox` (limits, filter of system calls); `lifetime` (process groups, exit codes, processor time), `stall` (is a
worker hung?), `interrupt` (Ctrl-C, SIGTERM, SIGHUP), `standard_streams`.
"""
