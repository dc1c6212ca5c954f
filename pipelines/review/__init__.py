"""Corrections by people.

`requests` turns what a person writes on the command line into operations; `edit` applies them to a recording's folder
and writes its exports again. The log itself is `pipelines.results.corrections`.
"""
