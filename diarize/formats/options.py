"""What a user may choose about exports. Every choice has a default, with which `diarize process` writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """`one_speaker_a_cue`: no subtitle has the words of two speakers. `byte_order_mark`: CSV begins with a byte order
    mark, without which Excel does not read it as UTF-8. `table`: DOCX has a table, not paragraphs. `title` ("": the
    recording) and `date` ("": none) of minutes."""

    one_speaker_a_cue: bool = False
    byte_order_mark: bool = False
    table: bool = False
    title: str = ""
    date: str = ""


DEFAULT = ExportOptions()
