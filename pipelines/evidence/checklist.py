"""Which points of two checklists a case fills in, and which it leaves open: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.evidence import notes
from pipelines.evidence.facts import CaseFacts
from pipelines.evidence.folder import Case
from pipelines.evidence.items import CaseItem


@dataclass(frozen=True, slots=True)
class CheckedPoint:
    """A point by its name in `texts/`; `section` is where the report fills it in, "" where it is open."""

    name: str
    section: str


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """What a report is made of."""

    case: Case
    facts: CaseFacts
    items: Sequence[CaseItem]
    comparison: Mapping[str, Any] | None  # newest comparison.json
    validation: Mapping[str, Any] | None  # newest validation.json
    trials: Mapping[str, Any] | None  # its trials.json

    @property
    def results(self) -> list[Mapping[str, Any]]:
        """Pairs that were compared, without those that were refused."""
        return [row for row in (self.comparison or {}).get("results", []) if row["refusal"] is None]

    def beyond_validation(self, row: Mapping[str, Any]) -> bool:
        """Whether an LR is stronger than the trials of the validation support."""
        if self.validation is None or self.validation["measures"] is None:
            return False
        low, high = self.validation["supported"]
        return not low <= row["log10"] <= high


def gather(case: Case, facts: CaseFacts, items: Sequence[CaseItem]) -> Content:
    """The newest comparison and validation of a case. Raises CaseDamaged where a file was changed."""
    compared, validated = case.of("compare"), case.of("validate")
    return Content(
        case,
        facts,
        items,
        case.read_json(compared[-1], "comparison.json") if compared else None,
        case.read_json(validated[-1], "validation.json") if validated else None,
        case.read_json(validated[-1], "trials.json") if validated else None,
    )


def consensus(content: Content) -> list[CheckedPoint]:
    """The points of the consensus on validation (Morrison et al. 2021, Science & Justice 61)."""
    facts, validation = content.facts, content.validation
    statement = notes.notes(content.case, "validation")
    measured = validation is not None and validation["measures"] is not None
    same = measured and content.comparison is not None and _same_system(content)
    compared = content.comparison is not None and bool(content.comparison["calibration"]["sha256"])
    beyond = any(content.beyond_validation(row) for row in content.results)
    states = {
        "population": "hypotheses" if facts.population else "",
        "conditions": "validation" if measured and _conditions_are_covered(content) else "",
        "speakers": "validation" if measured and validation is not None and not validation["few"] else "",
        "separate": "added" if notes.notes(content.case, "separate") else "",  # only people know it
        "lr": "methods" if compared else "",
        "metric": "validation" if measured else "",
        "tippett": "validation" if measured else "",
        "range": "result" if measured and content.results and not beyond else "",
        "same_system": "validation" if same else "",
        "threshold": "added" if statement else "",
        "competence": "added" if notes.notes(content.case, "competence") else "",
    }
    return [CheckedPoint(name, section) for name, section in states.items()]


def holds(content: Content) -> list[CheckedPoint]:
    """The seventeen things that a forensic report holds; open where a part of one is missing."""
    facts, case = content.facts, content.case
    stated = all(
        (facts.examiner, facts.requested_by, facts.question, facts.received, facts.reviewer, facts.independence)
    )
    received = bool(content.items) and all(i.record["received"]["sender"] for i in content.items)
    isolated = bool(content.items) and all(i.record["part"]["how"] != "" for i in content.items)
    measured = content.validation is not None and bool(content.validation["measures"])
    judged = measured and bool(notes.notes(case, "validation"))
    refused = content.comparison is not None and len(content.results) < len(content.comparison["results"])
    compared = content.comparison is not None
    results = content.results
    sure = bool(results) and all(row["interval_speech"] and row["interval_speakers"] for row in results)
    states = {
        "c01": "case" if stated else "",
        "c02": "hypotheses" if facts.population and facts.population_by else "",
        "c03": "custody" if received else "",
        "c04": "methods",
        "c05": "fitness" if content.items else "",
        "c06": "items" if isolated else "",
        "c07": "methods" if compared else "",
        "c08": "validation" if judged else "",
        "c09": "result" if sure else "",
        "c10": "comparison" if results and all(row["parts_left_out"] for row in results) else "",
        "c11": "result" if refused or results else "",
        "c12": "result",
        "c13": "added",
        "c14": "limits",
        "c15": "order" if facts.blind or notes.notes(case, "review") else "",
        "c16": "again",
        "c17": "case" if facts.retain_until and facts.basis else "",
    }
    return [CheckedPoint(name, section) for name, section in states.items()]


def _conditions_are_covered(content: Content) -> bool:
    """Whether the validation has trials in the conditions of every result."""
    assert content.validation is not None
    known = {tuple(row["conditions"]) for row in content.validation["by_condition"] if row["same"] and row["different"]}
    return bool(content.results) and all(tuple(sorted(row["condition"])) in known for row in content.results)


def _same_system(content: Content) -> bool:
    assert content.validation is not None and content.comparison is not None
    used, tested = content.comparison["identity"], content.validation["identity"]
    return bool(
        used["models"] == tested["models"]
        and used["embedder"] == tested["embedder"]
        and content.comparison["scoring"] == content.validation["scoring"]
        and content.comparison["calibration"].get("data") == content.validation["calibration"]
    )
