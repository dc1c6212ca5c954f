"""A likelihood ratio in words that need no explanation: `LR 195 (log10 2.29): 195 times more probable if ...`."""

from __future__ import annotations

from math import log

TEN = log(10)
_SIGNIFICANT = 3  # digits of an LR


def in_decades(llr: float) -> float:
    """A natural logarithm as log10, the one logarithm that people and pictures see."""
    return llr / TEN


def ratio(llr: float) -> str:
    """`LR 195 (log10 2.29)` of a natural logarithm; under 1 as a fraction, `LR 1/195 (log10 -2.29)`."""
    log10 = in_decades(llr)
    times = significant(10 ** abs(log10))
    return f"LR {times if log10 >= 0 or times == '1' else f'1/{times}'} (log10 {log10:.2f})"


def sentence(llr: float) -> str:
    """The ratio, and what it says."""
    times = significant(10 ** abs(in_decades(llr)))
    if times == "1":
        return f"{ratio(llr)}: as probable if one person as if two"
    hypotheses = "one person than if two" if llr > 0 else "two people than if one"
    return f"{ratio(llr)}: {times} times more probable if {hypotheses}"


def significant(value: float) -> str:
    """A number of 1 or more with three significant digits, without an exponent: 1.07, 19.5, 195, 5090."""
    if value >= 100:
        step = 10 ** (len(str(int(value))) - _SIGNIFICANT)
        return str(round(value / step) * step)
    digits = 2 if value < 10 else 1
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") or "0"
