"""The texts of a language, and numbers as they are written in it. One file a language: `texts/`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from diarize.errors import ConfigError
from pipelines.evidence.facts import LANGUAGES
from pipelines.people.wording import significant

FOLDER = Path(__file__).with_name("texts")


@dataclass(frozen=True, slots=True)
class Wording:
    """Wording by dotted names."""

    language: str
    values: dict[str, Any] = field(repr=False)

    def __call__(self, key: str, **values: object) -> str:
        """The text of this name, `{name}` replaced. Raises KeyError for an unknown name."""
        text = self.section(key)
        if not isinstance(text, str):
            raise KeyError(key)
        return text.format(**values) if values else text

    def section(self, key: str) -> Any:
        """The text or the table of this dotted name."""
        value: Any = self.values
        for name in key.split("."):
            value = value[name]
        return value

    def number(self, value: float, digits: int = 2) -> str:
        """A number with the decimal sign of the language."""
        return self.localise(f"{value:.{digits}f}")

    def localise(self, text: str) -> str:
        """The decimal points in a measured value as the language writes them."""
        return re.sub(r"(?<=\d)\.(?=\d)", str(self.values["decimal"]), text)

    def ratio(self, log10: float) -> str:
        """`LR 195 (log10 2.29)`; under 1 as a fraction, `LR 1/195 (log10 -2.29)`."""
        times = significant(10 ** abs(log10))
        lr = times if log10 >= 0 else f"1/{times}"
        return self("result.ratio", lr=self.localise(lr), log10=self.number(log10))

    def in_words(self, log10: float) -> str:
        """What the ratio says, in words."""
        times = self.localise(significant(10 ** abs(log10)))
        if times == "1":
            return self("result.neutral")
        return self("result.more_same" if log10 > 0 else "result.more_different", times=times)


@cache
def load(language: str) -> Wording:
    """The texts of `en` or `de`. Raises ConfigError for another language."""
    if language not in LANGUAGES:
        raise ConfigError("command line", "--language", f"{language} is not known", f"Known: {', '.join(LANGUAGES)}.")
    return Wording(language, tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8")))
