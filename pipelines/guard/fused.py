"""A verification together with the scores of other modalities that the caller gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diarize.errors import ConfigError
from diarize.guard import fusion
from diarize.guard.fusion import FusedScore, LogisticFusion
from pipelines.people.verify import Verification

VOICE = "voice"  # the modality of our own: the natural log-likelihood ratio of a verification


@dataclass(frozen=True, slots=True)
class FusedVerification:
    """A fused log-likelihood ratio; `is_same` None: no decision was asked for."""

    fused: FusedScore
    is_same: bool | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {**self.fused.as_dict(), "is_same": self.is_same}


def parse_scores(texts: Iterable[str]) -> dict[str, float | None]:
    """NAME=NUMBER, or NAME= for a missing score. Raises ConfigError."""
    scores: dict[str, float | None] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        try:
            if not name or not sign or name == VOICE or name in scores:
                raise ValueError
            scores[name] = float(value) if value else None
        except ValueError:
            raise ConfigError("--with", text, "write NAME=NUMBER, once for each modality, as face=0.83") from None
    return scores


def fuse(verification: Verification, others: Mapping[str, float | None], fitted: LogisticFusion) -> FusedVerification:
    """Fuse a verification with the scores of `others`. Raises ConfigError where nothing can be fused."""
    if VOICE not in fitted.modalities:
        problem = f"it has no modality `{VOICE}`, but {', '.join(fitted.modalities)}"
        raise ConfigError("--fusion", "modalities", problem, f"Name the column of our ratios `{VOICE}`.")
    fused = fitted.fuse({VOICE: verification.llr, **others})
    prior = verification.prior
    return FusedVerification(fused, None if prior is None else fusion.is_same(fused.value, prior))


def fit_file(trials: Path, target: Path) -> LogisticFusion:
    """Fit a fusion on a table of scores (`fusion.read_trials`), and save it. Raises FormatError, CalibrationError."""
    scores, same = fusion.read_trials(trials)
    fitted = fusion.fit(scores, same, trials.name)
    fitted.save(target)
    return fitted
