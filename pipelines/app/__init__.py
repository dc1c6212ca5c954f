"""An app in the browser: compare two recordings, enrol and identify people, process one recording (`diarize app`).

In order: `answers` (what the app does, as sentences; no web code), `interface` (the tabs, with Gradio).
`examples/` has three clips of the synthetic conversation in the project's `examples/`.
"""
