"""All that a person or a program sees of a command.

`console` (progress, messages, tables), `live` (the picture of a run on a terminal), `json_log` (the same as JSON
lines), `figures` (tables of figures on narrow terminals), `models` and `doctor` (facts about models and this
machine).
"""
