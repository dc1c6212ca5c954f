"""STM, segment time marks (NIST SCTK, "sclite input formats"): `<file> <channel> <speaker> <start> <end> <text>`.

One line a turn, sorted by start, channel 1; the speakers are safe ids, which the `speakers` format maps to names.
"""

from __future__ import annotations

import re

from diarize.errors import FormatError
from diarize.formats.naming import NOBODY, plain, token
from diarize.formats.rows import Row, number, rows, segment
from diarize.formats.sclite import escape, unescape
from diarize.formats.times import rounded
from diarize.types import Transcript

_LABEL = re.compile(r"<[^<>]*>")


def dumps(transcript: Transcript) -> str:
    """One line a turn, also one without text; "" when nobody spoke. What nobody said has the speaker `<NA>`."""
    transcript = rounded(transcript)
    file = token(transcript.recording)
    return "".join(
        " ".join(
            (
                file,
                "1",
                NOBODY if row.speaker is None else token(row.speaker),
                f"{row.start:.3f}",
                f"{row.end:.3f}",
                *map(escape, row.text.split()),
            )
        )
        + "\n"
        for row in rows(transcript)
    )


def loads(text: str, where: str) -> dict[str, tuple[Row, ...]]:
    """Recording -> its rows, in the order of the file; a label (`<O,F0,M>`) is passed over.

    Raises FormatError, with the line, for what is no segment.
    """
    found: dict[str, list[Row]] = {}
    for at, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        fields, place = line.split(), f"{where}:{at}"
        if not fields or fields[0].startswith(";;"):
            continue
        if len(fields) < 5:
            raise FormatError(place, f"an STM line has 5 fields and text, not {len(fields)}: {line[:80]!r}")
        start, end = segment(number(fields[3], place), number(fields[4], place), place)
        words = fields[6:] if len(fields) > 5 and _LABEL.fullmatch(fields[5]) else fields[5:]
        speaker = None if fields[2] == NOBODY else plain(fields[2])
        found.setdefault(plain(fields[0]), []).append(Row(start, end, speaker, " ".join(map(unescape, words))))
    return {file: tuple(rows) for file, rows in found.items()}
