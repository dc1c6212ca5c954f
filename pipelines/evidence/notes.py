"""What people add to a case: remarks, marks of quality, a conclusion, a review; and who saw the scores when.

In blind mode scores are shown only after every recording was marked (sequential unmasking: Dror et al. 2015, "Context
management toolbox: a linear sequential unmasking (LSU) approach for minimizing cognitive bias in forensic decision
making").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diarize.errors import CaseError, ConfigError
from pipelines.evidence import facts
from pipelines.evidence.folder import Case, as_json
from pipelines.evidence.items import items
from pipelines.evidence.log import Act

SCHEMA = "diarize-case-note/1"
NoteKind = Literal["remark", "quality", "conclusion", "review", "validation", "separate", "competence", "scale", "edit"]
KINDS: tuple[NoteKind, ...] = (
    "remark", "quality", "conclusion", "review", "validation", "separate", "competence", "scale", "edit",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CaseNote:
    """A text that somebody signs with their name."""

    act: Act
    kind: str
    name: str
    text: str
    label: str  # of the recording that a mark of quality is about


def add(case: Case, kind: str, name: str, text: str, label: str = "", operator: str = "") -> Case:
    """The case with one more note. Raises ConfigError for an unknown kind or recording, or without name or text."""
    if kind not in KINDS:
        raise ConfigError("command line", "--kind", kind, f"Known: {', '.join(KINDS)}.")
    if not name.strip() or not text.strip():
        raise ConfigError("command line", "--name, TEXT", "a note has a text and the name of its author")
    labels = {item.label for item in items(case)}
    if (kind == "quality") != bool(label) or (label and label not in labels):
        known = f"Recordings: {', '.join(sorted(labels)) or 'none'}."
        raise ConfigError("command line", "--item", "a mark of quality names one recording of the case", known)
    values = {"schema": SCHEMA, "kind": kind, "name": name, "text": text, "label": label}
    detail = {"kind": kind, "name": name, "label": label}
    return case.record("note", detail, {"note.json": as_json(values)}, operator or name)


def notes(case: Case, *kinds: str) -> list[CaseNote]:
    """The notes of these kinds, or all, in order."""
    everything = []
    for act in case.of("note"):
        values = case.read_json(act, "note.json")
        everything.append(CaseNote(act, values["kind"], values["name"], values["text"], values["label"]))
    return [note for note in everything if not kinds or note.kind in kinds]


def unmarked(case: Case) -> list[str]:
    """Recordings whose speech and quality nobody has marked."""
    marked = {note.label for note in notes(case, "quality")}
    return [item.label for item in items(case) if item.label not in marked]


def show(case: Case, operator: str = "") -> Case:
    """The case with a line that says who was shown the scores. Raises CaseError where they may not be shown yet."""
    if not case.of("compare"):
        raise CaseError(str(case.folder), "has no comparison", f"Run: diarize case compare {case.folder}")
    check_disclosure(case)
    return case.record("show", {"acts": [act.number for act in case.of("compare")]}, {}, operator)


def check_disclosure(case: Case) -> None:
    """Raises CaseError where scores may not be shown: blind mode, and a recording is not marked."""
    if is_blind(case) and (missing := unmarked(case)):
        cure = f"Mark each: diarize case note {case.folder} --kind quality --item {missing[0]} --name NAME TEXT"
        raise CaseError(str(case.folder), f"is blind, and not marked yet: {', '.join(missing)}", cure)


def is_blind(case: Case) -> bool:
    return facts.of(case.read_json(case.acts[0], "case.json")).blind


def disclosures(case: Case) -> Sequence[Act]:
    """The acts with which scores were shown to somebody."""
    return [act for act in case.acts if act.action == "show" or act.detail.get("shown") is True]
