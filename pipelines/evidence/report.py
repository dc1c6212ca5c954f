"""A report of a case: HTML, PDF and DOCX from one document, a manifest, and a signature of the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diarize.errors import ConfigError
from pipelines.evidence import items, sections, signature, texts
from pipelines.evidence.folder import Case, as_json
from pipelines.evidence.formats import docx, html, pdf
from pipelines.evidence.log import Act

SCHEMA, MANIFEST_SCHEMA = "diarize-case-report/1", "diarize-case-manifest/1"
FORMATS = {"html": html.render, "pdf": pdf.render, "docx": docx.render}
MANIFEST, SIGNATURE, PUBLIC_KEY = "manifest.json", "report.sig", "public-key.pem"


def write(
    case: Case,
    languages: Sequence[str],
    formats: Sequence[str],
    date: datetime,
    blind: bool = False,
    key: Path | None = None,
    passphrase: bytes | None = None,
    operator: str = "",
) -> Case:
    """The case with one more report. Raises ConfigError for an unknown language or format, MissingExtra and
    OutputError."""
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise ConfigError("command line", "--formats", ", ".join(unknown), f"Known: {', '.join(FORMATS)}.")
    settings = {
        "schema": SCHEMA,
        "languages": list(languages),
        "formats": list(formats),
        "date": date.astimezone(UTC).isoformat(timespec="seconds"),
        "blind": blind,
        "typst": pdf.typst_version(),
    }
    contents = render(case, settings)
    manifest = as_json(_manifest(case, contents)).encode()
    contents[MANIFEST] = manifest
    if key is not None:
        contents[SIGNATURE], contents[PUBLIC_KEY] = signature.sign(manifest, key, passphrase)
    contents["report.json"] = as_json(settings).encode()
    detail = {"formats": list(formats), "languages": list(languages), "blind": blind, "signed": key is not None}
    return case.record("report", detail, dict(contents), operator)


def render(case: Case, settings: Mapping[str, Any]) -> dict[str, bytes]:
    """File name -> bytes of the reports with these settings on a case as it is. Raises MissingExtra, OutputError."""
    contents = {}
    for language in settings["languages"]:
        date = datetime.fromisoformat(settings["date"])
        document = sections.build(case, texts.load(language), date, len(case.acts) + 1, bool(settings["blind"]))
        for name in settings["formats"]:
            contents[f"report.{language}.{name}"] = FORMATS[name](document)
    return contents


def _manifest(case: Case, contents: Mapping[str, bytes]) -> dict[str, Any]:
    """Digests of all that a report stands on."""
    recorded = {path: digest for act in case.acts for path, digest in act.files.items()}
    return {
        "schema": MANIFEST_SCHEMA,
        "acts": len(case.acts),
        "log": case.acts[-1].hash,
        "files": recorded,
        "reports": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())},
        "recordings": {
            item.label: {"sha256": item.digest, "pcm": item.record["recording"]["pcm"]} for item in items.items(case)
        },
    }


def problems(case: Case, act: Act, key: bytes | None = None) -> tuple[list[tuple[str, str]], list[str]]:
    """((file, what differs) of a report of the case, notes). Raises CaseDamaged where a file was changed.

    `key` is the public key (PEM) with which the report must be signed.
    """
    before = Case(case.folder, case.acts[: act.number - 1])
    settings = case.read_json(act, "report.json")
    differing, notes = list[tuple[str, str]](), list[str]()
    contents = {
        f"report.{a}.{b}": case.read(act, f"report.{a}.{b}") for a in settings["languages"] for b in settings["formats"]
    }
    if case.read(act, MANIFEST) != as_json(_manifest(before, contents)).encode():
        differing.append((MANIFEST, "is not the manifest of the case before this report and of the report"))
    same_typst = settings["typst"] == pdf.typst_version()
    usable = [name for name in settings["formats"] if name == "html" or same_typst]
    if skipped := sorted(set(settings["formats"]) - set(usable)):
        text = f"made with Typst {settings['typst']}, here is {pdf.typst_version() or 'none'}: compared by digest alone"
        notes.append(f"act {act.number}, {', '.join(skipped)}: {text}")
    for name, content in render(before, {**settings, "formats": usable}).items():
        if content != contents[name]:
            differing.append((name, "is not what this version writes for the case"))
    if SIGNATURE in {Path(path).name for path in act.files}:
        public = case.read(act, PUBLIC_KEY)
        if why := signature.problem(case.read(act, MANIFEST), case.read(act, SIGNATURE), public):
            differing.append((SIGNATURE, why))
        elif key is not None and public.strip() != key.strip():
            differing.append((SIGNATURE, "is of another key than the one that was named"))
        else:
            notes.append(f"act {act.number}: signed by the key {signature.fingerprint(public)}")
    elif key is not None:
        differing.append((SIGNATURE, "is missing: the report is not signed"))
    return differing, notes
