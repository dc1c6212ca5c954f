"""What a case is about, as its examiner states it: the first of the seventeen things that a report holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from diarize.errors import ConfigError

SCHEMA = "diarize-case/1"
Scope = Literal["evaluative", "triage"]
SCOPES: tuple[Scope, ...] = ("evaluative", "triage")
LANGUAGES = ("en", "de")  # of reports


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """Empty fields are open: the report shows them as such. Raises ConfigError for a scope that does not exist."""

    number: str
    examiner: str = ""
    requested_by: str = ""
    question: str = ""
    received: str = ""  # date, as written
    reviewer: str = ""
    independence: str = ""  # declaration of the examiner
    scope: str = "evaluative"
    same: str = ""  # hypothesis of the same speaker; "": the words of the report's language
    different: str = ""  # hypothesis of another speaker
    population: str = ""  # sex, language, accent, channel of the speakers of the second hypothesis
    population_by: str = ""  # who chose it
    language: str = ""  # spoken in the recordings, as `en`
    basis: str = ""  # legal basis or consent
    retain_until: str = ""  # date after which voice data are deleted
    blind: bool = False  # scores are shown only after speech and quality of every recording were marked

    def __post_init__(self) -> None:
        if not self.number.strip():
            raise ConfigError("command line", "--number", "a case has a number", "Say: diarize case new DIR --number N")
        if self.scope not in SCOPES:
            raise ConfigError("command line", "--scope", self.scope, f"Known: {', '.join(SCOPES)}.")

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {"schema": SCHEMA, **asdict(self)}


def of(values: dict[str, Any]) -> CaseFacts:
    """The facts in a `case.json`; fields of other versions are ignored."""
    names = {field.name for field in fields(CaseFacts)}
    return CaseFacts(**{key: value for key, value in values.items() if key in names})
