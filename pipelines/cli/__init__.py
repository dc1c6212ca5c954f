"""What a person or a program sees of a command.

In order: `command_line` (arguments), `console` (messages, tables), `observers` and `live` (the progress of a run),
`json_log` (the same as JSON lines), `run_report` (lines and tables about a run), `figures` (tables of figures on narrow
terminals), `doctor` (what is installed, and what is missing).
"""
