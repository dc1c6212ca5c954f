"""`case`: a forensic comparison of voices that others can check (docs/evidence.md)."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diarize import files
from diarize.errors import printable
from diarize.text import counted
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.speakers import print_notes
from pipelines.inputs import settings

if TYPE_CHECKING:
    from pipelines.evidence.facts import CaseFacts
    from pipelines.evidence.folder import Case
    from pipelines.evidence.rederivation import CaseVerification

FACTS = {  # field of the facts of a case -> help
    "number": "case number",
    "examiner": "name of the examiner",
    "requested_by": "who asked for the comparison",
    "question": "the question put",
    "received": "date on which the material was received",
    "reviewer": "name of the second examiner",
    "independence": "declaration of independence",
    "scope": "evaluative (evidence) or triage (investigation only); default: evaluative",
    "same": "hypothesis of the same speaker, in words",
    "different": "hypothesis of another speaker, in words",
    "population": "relevant population: sex, language, accent, channel",
    "population_by": "who chose the population",
    "language": "language spoken in the recordings, for example en",
    "basis": "legal basis or consent",
    "retain_until": "date after which voice data are deleted",
}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command and its actions."""
    case = commands.add_parser("case", help="forensic comparison of voices: a case that others can check")
    actions = case.add_subparsers(required=True, metavar="ACTION")

    new = _action(actions, "new", "open a case in a new folder", _new)
    for name, meaning in FACTS.items():
        new.add_argument(f"--{name.replace('_', '-')}", default="", metavar="TEXT", help=meaning)
    new.add_argument("--blind", action="store_true", help="show scores only after every recording was marked")

    one = _action(actions, "add", "add a recording, by its digest; it is neither moved nor changed", _add)
    role = one.add_mutually_exclusive_group(required=True)
    role.add_argument("--questioned", type=Path, metavar="FILE", help="recording of the unknown speaker")
    role.add_argument("--known", type=Path, metavar="FILE", help="recording of the known speaker")
    one.add_argument("--start", type=float, metavar="S", help="compare from this time on, in seconds")
    one.add_argument("--end", type=float, metavar="S", help="compare up to this time, in seconds")
    one.add_argument("--turns", type=Path, metavar="RTTM", help="compare the turns of --speaker in this file")
    one.add_argument("--from", dest="results", type=Path, metavar="OUT/<id>", help="compare a speaker of these results")
    one.add_argument("--speaker", default="", metavar="ID", help="speaker whose turns are compared")
    one.add_argument("--label", default="", help="name of the item; default: Q1, Q2, ... and K1, K2, ...")
    one.add_argument("--received-from", default="", metavar="TEXT", help="who handed it over")
    one.add_argument("--received-on", default="", metavar="DATE", help="when")
    one.add_argument("--seal", default="", metavar="TEXT", help="number of the seal or transfer record")
    one.add_argument("--sha256", default="", metavar="DIGEST", help="digest stated by the sender: must be that of FILE")
    options.add(one, "vad", "embedder", "profile", "channel", "device", "spoof", "countermeasure", "spoof_threshold")

    note = _action(actions, "note", "add a text, signed by a name: remark, mark of quality, conclusion, review", _note)
    note.add_argument("text", metavar="TEXT")
    kinds = "remark, quality (of --item), conclusion, review, validation, separate, competence, scale, edit"
    note.add_argument("--kind", default="remark", metavar="KIND", help=f"{kinds}; default: remark")
    note.add_argument("--name", required=True, help="who writes this")
    note.add_argument("--item", default="", metavar="LABEL", help="recording that a mark of quality is about")

    compare = _action(actions, "compare", "compare every questioned recording with the known ones", _compare)
    compare.add_argument("--calibration", type=Path, metavar="CAL", help="file from `diarize calibrate`")
    accept = "checks to accept: noise, clipping, voices; the report says so"
    compare.add_argument("--accept", type=settings.split_commas, default=[], metavar="A,B,...", help=accept)
    _recordings(compare)
    options.add(compare, "vad", "embedder", "profile", "channel", "device")

    _action(actions, "show", "show the results; the log says to whom and when", _show)

    validate = _action(
        actions, "validate", "measure how good likelihood ratios are on recordings like these", _validate
    )
    validate.add_argument("--trials", required=True, type=Path, metavar="LIST", help="file with lines `1 A B`, `0 A B`")
    validate.add_argument("--audio", required=True, type=Path, metavar="FOLDER", help="recordings that the list names")
    validate.add_argument("--calibration", type=Path, metavar="CAL", help="file from `diarize calibrate`")
    options.add(validate, "vad", "embedder", "profile", "channel", "device")

    report = _action(actions, "report", "write the report: HTML, PDF, DOCX; with --key signed", _report)
    languages = "languages of the report: en, de; default: en"
    report.add_argument("--language", type=settings.split_commas, default=["en"], metavar="A,B", help=languages)
    formats = "html, pdf, docx; default: html,pdf"
    report.add_argument("--formats", type=settings.split_commas, default=["html", "pdf"], metavar="A,B", help=formats)
    report.add_argument("--blind", action="store_true", help="a copy without names")
    report.add_argument("--key", type=Path, metavar="PEM", help="your Ed25519 key: signs the manifest of the report")
    report.add_argument("--passphrase-file", type=Path, metavar="FILE", help="file with the passphrase of the key")
    report.add_argument("--date", type=datetime.fromisoformat, metavar="TIME", help="date of the report; default: now")

    verify = _action(actions, "verify", "compute every digest and figure again (status 6: something differs)", _verify)
    verify.add_argument("--without-models", action="store_true", help="check what needs no model")
    verify.add_argument("--expect", default="", metavar="HASH", help="hash of the log that was noted earlier")
    key = "public key (PEM) with which every report must be signed"
    verify.add_argument("--public-key", type=Path, metavar="PEM", help=key)
    trials = "recordings of the validations: their scores are computed again too"
    verify.add_argument("--trials", type=Path, metavar="FOLDER", help=trials)
    verify.add_argument("--tolerance", type=float, default=1e-6, help="of figures; default: 1e-6")
    _recordings(verify)
    verify.add_argument("--json", action="store_true", help="print JSON")
    verify.add_argument("--offline", action="store_true", help="never open a network connection")

    status = _action(actions, "status", "show what the case holds, and what is open", _status)
    status.add_argument("--json", action="store_true", help="print JSON")


def _action(actions: Any, name: str, meaning: str, command: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=meaning)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the case")
    if name not in ("verify", "status"):
        parser.add_argument("--operator", default="", metavar="NAME", help="who does this; default: the account")
    parser.set_defaults(command=command)
    return parser


def _recordings(parser: argparse.ArgumentParser) -> None:
    where = "folder with the recordings, where they are not at their recorded places"
    parser.add_argument("--recordings", type=Path, metavar="FOLDER", help=where)


def _open(args: argparse.Namespace) -> Case:
    from pipelines.evidence import folder

    return folder.open_case(args.folder)


def _new(args: argparse.Namespace) -> int:
    from pipelines.evidence import facts, folder

    values = {name: getattr(args, name) for name in FACTS if getattr(args, name)}
    stated = facts.CaseFacts(**{"number": "", **values}, blind=args.blind)
    case = folder.create(args.folder, stated.as_dict(), args.operator)
    console.say(f"case {stated.number}: {args.folder}")
    missing = [name.replace("_", "-") for name in _open_facts(stated)]
    if missing:
        console.say(f"open in the report: {', '.join(missing)}")
    console.say(f"log: {case.acts[-1].hash}")
    return 0


def _open_facts(stated: CaseFacts) -> list[str]:
    """Facts that nobody stated; the hypotheses have words of their own."""
    return [name for name in FACTS if name not in ("same", "different") and not getattr(stated, name)]


def _add(args: argparse.Namespace) -> int:
    from pipelines.evidence import comparison, facts, fitness, items
    from pipelines.people.utterance import load_embedder

    case = _open(args)
    config = options.resolve(args).config
    embedder = load_embedder(config, options.store(config))
    role = "questioned" if args.questioned is not None else "known"
    selection = items.Selection(args.start, args.end, args.turns, args.results, args.speaker)
    receipt = items.Receipt(args.received_from, args.received_on, args.seal, args.sha256)
    path = args.questioned if args.questioned is not None else args.known
    case = items.add(case, path, role, embedder, selection, receipt, args.label, args.operator)
    item = items.items(case)[-1]
    console.say(f"{item.label} ({role}): {printable(path.name)}, sha256 {item.digest}")
    calibration = comparison.calibration_for(embedder, None)
    own = calibration.calibration if calibration is not None else None
    language = facts.of(case.read_json(case.acts[0], "case.json")).language
    _print_findings(fitness.judge(item, own, items.overlaps(case, item), language))
    print_notes([f"{item.label} ({printable(path.name)}): {note}" for note in item.record["recording"]["notes"]])
    print_notes(embedder.notes)
    return 0


def _print_findings(findings: Any) -> None:
    from pipelines.evidence import texts

    words = texts.load("en")
    rows = [
        [words(f"check.{f.check}.name"), f.value or "-", f.limit or "-", words(f"fitness.{f.outcome}")]
        for f in findings
    ]
    console.say(console.table(["", "measured", "limit", ""], rows))
    for f in findings:
        if f.outcome == "unfit":
            console.say(f"{words(f'check.{f.check}.name')}: {words(f'check.{f.check}.effect')} {_cure(words, f.check)}")


def _cure(words: Any, check: str) -> str:
    return str(words(f"check.{check}.cure"))


def _note(args: argparse.Namespace) -> int:
    from pipelines.evidence import notes

    case = notes.add(_open(args), args.kind, args.name, args.text, args.item, args.operator)
    console.say(f"{args.kind} by {printable(args.name)}: act {case.acts[-1].number}")
    return 0


def _compare(args: argparse.Namespace) -> int:
    from pipelines.evidence import comparison, notes
    from pipelines.people.utterance import load_embedder

    case = _open(args)
    config = options.resolve(args).config
    embedder = load_embedder(config, options.store(config))
    calibration = comparison.calibration_for(embedder, args.calibration)
    case, record = comparison.compare(case, embedder, calibration, args.accept, args.recordings, args.operator)
    if notes.is_blind(case):
        console.say(f"compared; blind: mark the recordings, then run: diarize case show {args.folder}")
    else:
        _print_results(record)
    print_notes(embedder.notes)
    return 0


def _show(args: argparse.Namespace) -> int:
    from pipelines.evidence import notes

    case = notes.show(_open(args), args.operator)
    for act in case.of("compare"):
        console.say(f"act {act.number}, {act.time}")
        _print_results(case.read_json(act, "comparison.json"))
    return 0


def _print_results(record: Any) -> None:
    from pipelines.evidence import texts

    words = texts.load("en")
    for row in record["results"]:
        console.say(words("result.pair", questioned=row["questioned"], known=", ".join(row["known"])))
        if row["refusal"] is not None:
            console.say(f"  {words('result.refused')}:")
            for reason in row["refusal"]:
                check = words(f"check.{reason['check']}.name")
                values = {"label": reason["label"] or "-", "check": check, "value": reason["value"] or "-"}
                console.say(f"  {words('result.refusal', **values, limit=reason['limit'] or '-')}")
                console.say(f"    {_cure(words, reason['check'])}")
            continue
        console.say(f"  {words.ratio(row['log10'])}: {words.in_words(row['log10'])}")
        for key in ("interval_speech", "interval_speakers"):
            if row[key] is not None:
                low, high = (words.number(value) for value in row[key])
                console.say(f"  {words(f'result.{key}')}: {words('result.range', low=low, high=high)}")
        if row["at_bound"]:
            console.say(f"  {words('result.bound')}")


def _validate(args: argparse.Namespace) -> int:
    from pipelines.evidence import texts, validation
    from pipelines.people.scoring import Scoring

    case = _open(args)
    config = options.resolve(args).config
    scoring = Scoring(calibration=args.calibration)
    case, record = validation.validate(
        case, args.trials, args.audio, config, options.store(config), scoring, args.operator, _progress
    )
    words = texts.load("en")
    counts = {"same": record["trials"]["same"], "different": record["trials"]["different"]}
    sizes = {key: record[key] for key in ("speakers", "recordings", "refused")}
    console.say(words("validation.data", **counts, **sizes))
    rows = [
        [words(f"validation.{name}"), f"{cell['value']:.4f}", _range(cell)]
        for name, cell in (record["measures"] or {}).items()
    ]
    console.say(console.table(["", "", "95 % over speakers"], rows))
    if record["few"]:
        console.say(words("validation.few", speakers=record["speakers"]))
    for name, problem in record["problems"].items():
        console.warn(f"left out: {printable(name)}: {problem}")
    return 3 if record["problems"] else 0


def _range(cell: Any) -> str:
    return "" if cell["low"] is None else f"{cell['low']:.4f} to {cell['high']:.4f}"


def _progress(name: str, done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        console.warn(f"{done} of {counted(total, 'recording')} read")


def _report(args: argparse.Namespace) -> int:
    from pipelines.evidence import folder, log, report

    case = _open(args)
    date = log.now() if args.date is None else args.date
    passphrase = None if args.passphrase_file is None else files.read(args.passphrase_file).rstrip(b"\r\n")
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    case = report.write(
        case, args.language, args.formats, date, args.blind, args.key, passphrase, operator=args.operator
    )
    place = args.folder / folder.name_of(case.acts[-1])
    for path in sorted(place.iterdir()):
        console.say(str(path))
    console.say(f"log: {case.acts[-1].hash}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    from diarize.models.store import Store
    from pipelines.evidence import rederivation

    result = rederivation.verify(
        args.folder,
        Store(offline=args.offline),
        recordings=args.recordings,
        models=not args.without_models,
        expect=args.expect,
        tolerance=args.tolerance,
        offline=args.offline,
        public_key=None if args.public_key is None else files.read(args.public_key),
        trials=args.trials,
    )
    if args.json:
        console.say(json.dumps(result.as_dict(), indent=1))
    else:
        _print_verification(result)
    return result.status


def _print_verification(result: CaseVerification) -> None:
    for difference in result.differences:
        console.say(f"{difference.kind}: {printable(difference.where)}: {printable(difference.what)}")
    print_notes(map(printable, result.notes))
    parts = [counted(result.acts, "act"), counted(result.files, "file"), counted(result.recordings, "recording")]
    how = "with models" if result.models else "without models"
    verdict = counted(len(result.differences), "difference") if result.differences else "all as recorded"
    console.say(f"{', '.join(parts)}, {counted(result.figures, 'figure')} {how}: {verdict}")
    console.say(f"log: {result.head}")


def _status(args: argparse.Namespace) -> int:
    from pipelines.evidence import facts, items, notes

    case = _open(args)
    stated = facts.of(case.read_json(case.acts[0], "case.json"))
    recordings = items.items(case)
    values = {
        "schema": "diarize-case-status/1",
        "number": stated.number,
        "items": [{"label": i.label, "role": i.role, "sha256": i.digest} for i in recordings],
        "acts": [{"number": a.number, "time": a.time, "action": a.action, "operator": a.operator} for a in case.acts],
        "unmarked": notes.unmarked(case) if stated.blind else [],
        "open": _open_facts(stated),
        "head": case.acts[-1].hash,
    }
    if args.json:
        console.say(json.dumps(values, indent=1))
        return 0
    console.say(f"case {stated.number}: {printable(str(args.folder))}")
    rows = [[str(a.number), a.time[:19], a.action, a.operator, _detail(a.detail)] for a in case.acts]
    console.say(console.table(["act", "time (UTC)", "", "by", ""], rows))
    if values["open"]:
        console.say(f"open in the report: {', '.join(map(str, values['open']))}")
    if values["unmarked"]:
        console.say(f"not marked yet: {', '.join(map(str, values['unmarked']))}")
    console.say(f"log: {case.acts[-1].hash}")
    return 0


def _detail(detail: Any) -> str:
    shown = {
        key: value for key, value in detail.items() if key in ("label", "role", "name", "kind", "number") and value
    }
    return ", ".join(str(value) for value in shown.values())
