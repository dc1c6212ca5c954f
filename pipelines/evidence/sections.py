"""The sections of a report, in words and tables: what the case holds, and nothing else (docs/evidence.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from diarize.metrics import verification
from pipelines.evidence import checklist, comparison, facts, notes
from pipelines.evidence.checklist import CheckedPoint, Content
from pipelines.evidence.folder import Case, name_of
from pipelines.evidence.formats import plots
from pipelines.evidence.formats.document import (
    Block,
    Command,
    ContentKind,
    Document,
    Grid,
    Paragraph,
    Picture,
    ReportSection,
    pairs,
)
from pipelines.evidence.formats.plots import Curve
from pipelines.evidence.items import CaseItem, items
from pipelines.evidence.texts import Wording

PICTURES = ("wave", "spectrum", "band", "level")
_HIDDEN = "[...]"  # in place of a name in a copy without names
TEN = float(np.log(10))


def build(case: Case, words: Wording, date: datetime, number: int, blind: bool = False) -> Document:
    """The report on a case, as it was before the act `number` that makes it. Raises CaseDamaged."""
    stated = facts.of(case.read_json(case.acts[0], "case.json"))
    content = checklist.gather(case, stated, items(case))
    writer = _Writer(content, words, blind)
    title = words("title.report") + (f" ({words('title.blind')})" if blind else "")
    day = date.isoformat(timespec="seconds").replace("+00:00", "")
    parts: list[tuple[str, ContentKind, list[Block]]] = [
        ("summary", "computed", writer.summary()),
        ("case", "entered", writer.case_facts(f"{stated.number}-{number:04d}", day)),
        ("items", "computed", writer.received_items()),
        ("custody", "entered", writer.custody()),
        ("hypotheses", "entered", writer.hypotheses()),
        ("methods", "computed", writer.methods()),
        ("fitness", "computed", writer.fitness()),
        ("comparison", "computed", writer.compared()),
        ("result", "computed", writer.result()),
        ("validation", "computed", writer.validation()),
        ("limits", "computed", writer.limits()),
        ("added", "entered", writer.added(*(kind for kind in notes.KINDS if kind != "conclusion"))),
        ("conclusion", "concluded", writer.added("conclusion")),
        ("order", "computed", writer.order()),
        ("checklist", "computed", writer.checklists()),
        ("again", "computed", writer.again()),
        ("appendix", "computed", writer.appendix()),
        ("glossary", "computed", [Paragraph(text) for text in words.section("glossary").values()]),
        ("references", "computed", [Paragraph(text) for text in words.section("reference").values()]),
        ("signatures", "concluded", writer.signatures()),
    ]
    sections = tuple(
        ReportSection(f"{i}. {words(f'section.{name}')}", kind, tuple(blocks))
        for i, (name, kind, blocks) in enumerate(parts, 1)
    )
    return Document(
        title=title,
        subtitle=f"{words('title.case')} {stated.number}",
        author=_HIDDEN if blind else stated.examiner,
        language=words.language,
        date=date,
        kinds=words.section("kind"),
        page=words("title.page"),
        sections=sections,
    )


class _Writer:
    """Writes the blocks of each section."""

    def __init__(self, content: Content, words: Wording, blind: bool) -> None:
        self._content, self._words, self._blind = content, words, blind

    def summary(self) -> list[Block]:
        words, results = self._words, (self._content.comparison or {}).get("results", [])
        if not results:
            return [Paragraph(words("result.no_comparison"), strong=True)]
        if self._is_hidden():
            return [Paragraph(words("result.hidden"), strong=True)]
        blocks: list[Block] = []
        for row in results:
            pair = words("result.pair", questioned=row["questioned"], known=", ".join(row["known"]))
            if row["refusal"] is not None:
                blocks += [Paragraph(f"{pair}: {words('result.refused')}.", strong=True), *self._reasons(row)]
            else:
                blocks.append(Paragraph(f"{pair}: {words.ratio(row['log10'])}", strong=True))
                blocks.append(Paragraph(words.in_words(row["log10"])))
        return [*blocks, Paragraph(words("result.never"))]

    def case_facts(self, report: str, made: str) -> list[Block]:
        words, stated = self._words, self._content.facts
        rows = [(words("facts.number"), stated.number), (words("facts.report"), report), (words("facts.made"), made)]
        for name in ("requested_by", "question", "received", "examiner", "reviewer", "independence"):
            rows.append(
                (words(f"facts.{name}"), self._stated(getattr(stated, name), name not in ("question", "received")))
            )
        rows.append((words("facts.scope"), words(f"facts.{stated.scope}")))
        rows += [(words(f"facts.{name}"), self._stated(getattr(stated, name))) for name in ("basis", "retain_until")]
        rows.append((words("facts.blind"), words("title.yes" if stated.blind else "title.no")))
        return [pairs(rows)]

    def custody(self) -> list[Block]:
        words, rows = self._words, []
        for item in self._content.items:
            received = item.record["received"]
            origin = ", ".join(
                filter(None, (received["sender"] and self._stated(received["sender"], True), received["date"]))
            )
            rows.append(
                (item.label, origin or words("title.open"), self._stated(received["seal"]), received["digest"] or "-")
            )
        columns = tuple(words(f"item.{name}") for name in ("label", "received", "seal", "stated"))
        return [Grid(columns, tuple(rows))] if rows else [Paragraph(words("title.none"))]

    def received_items(self) -> list[Block]:
        blocks: list[Block] = []
        for item in self._content.items:
            blocks.append(Paragraph(f"{item.label} ({self._words(f'item.{item.role}')})", strong=True))
            blocks.append(pairs(self._item_rows(item)))
        return blocks or [Paragraph(self._words("title.none"))]

    def _item_rows(self, item: CaseItem) -> list[tuple[str, str]]:
        words, r, part = self._words, item.record["recording"], item.record["part"]
        spans = [f"{words.number(a)}-{words.number(b)} s ({words(f'item.{why}')})" for a, b, why in part["excluded"]]
        values = {"start": words.number(part["segments"][0][0]), "end": words.number(part["segments"][-1][1])}
        where = words(f"item.{part['how']}", **values, speaker=part["speaker"], count=len(part["segments"]))
        declared = r["decoded"] if r["declared"] is None else r["declared"]
        return [
            (words("item.name"), _HIDDEN if self._blind else r["name"]),
            (words("item.size"), f"{r['size']} B"),
            (words("item.sha256"), r["sha256"]),
            (words("item.sha256_after"), r["sha256_after"]),
            (words("item.pcm"), r["pcm"]),
            (words("item.format"), f"{r['container']}, {r['codec']}"),
            (words("item.rate"), f"{r['rate']} Hz, {r['channels']}"),
            (words("item.channel"), r["channel"]),
            (words("item.bit_rate"), f"{r['bit_rate']} bit/s"),
            (words("item.duration"), f"{words.number(r['decoded'], 3)} s ({words.number(declared, 3)} s)"),
            (
                words("item.lost"),
                ", ".join(f"{words.number(a)}-{words.number(b)} s" for a, b in r["lost"]) or words("title.none"),
            ),
            (words("item.part"), where),
            (words("item.excluded"), ", ".join(spans) or words("title.none")),
            (words("item.notes"), "; ".join(r["notes"]) or words("title.none")),
        ]

    def hypotheses(self) -> list[Block]:
        words, stated = self._words, self._content.facts
        names = ("same", "different", "population", "population_by", "language")
        values = [getattr(stated, name) or words(f"facts.default_{name}") for name in names[:2]]
        values += [self._stated(getattr(stated, name), name == "population_by") for name in names[2:]]
        return [pairs([(words(f"facts.{name}"), value) for name, value in zip(names, values, strict=True)])]

    def methods(self) -> list[Block]:
        words, record = self._words, self._content.comparison
        identity = self._identity()
        blocks: list[Block] = [Paragraph(words("methods.text")), Paragraph(words("methods.steps"))]
        if identity is None:
            return blocks
        models = "\n".join(f"{name}: {digest}" for name, digest in identity["models"].items())
        rows = [(words(f"methods.{name}"), identity[name]) for name in ("detector", "embedder")]
        rows.append((words("methods.models"), models or words("title.none")))
        if record is not None and record["calibration"]["sha256"]:
            c = record["calibration"]
            origin = words("methods.supplied") if c["origin"] == "supplied" else c["origin"]
            seconds = f"{words.number(c['seconds'][0])}-{words.number(c['seconds'][1])} s"
            rows += [
                (words("methods.scoring"), record["scoring"]),
                (words("methods.calibration"), f"{origin}, SHA-256 {c['sha256']}"),
                (words("methods.calibration_data"), c["data"]),
                (words("methods.calibration_size"), f"{c['trials'][0]} + {c['trials'][1]}, {c['speakers']}"),
                (words("methods.calibration_range"), f"{seconds}, {c['bandwidth'][0]:.0f}-{c['bandwidth'][1]:.0f} Hz"),
                (words("methods.bounds"), " / ".join(words.number(bound) for bound in c["bounds"])),
            ]
        rows.append((words("methods.software"), f"diarize-pipeline {identity['versions']['diarize-pipeline']}"))
        rows.append((words("methods.processor"), identity["processor"]))
        return [*blocks, pairs(rows), Paragraph(words("methods.seeds"))]

    def fitness(self) -> list[Block]:
        words, blocks = self._words, list[Block]()
        columns = tuple(words(f"fitness.{name}") for name in ("check", "value", "limit", "outcome"))
        record = self._content.comparison
        for item in self._content.items:
            findings = [] if record is None else comparison.stored_findings(record, item.label)
            accepted = [] if record is None else record["accepted"]
            rows = []
            for f in findings:
                state = "accepted" if f.outcome == "unfit" and f.check in accepted else f.outcome
                value, limit = (words.localise(text) or "-" for text in (f.value, f.limit))
                rows.append((words(f"check.{f.check}.name"), value, limit, words(f"fitness.{state}")))
            blocks.append(Paragraph(item.label, strong=True))
            if rows:
                blocks.append(Grid(columns, tuple(rows)))
            blocks += self._pictures(item)
        used = {
            f.check
            for item in self._content.items
            for f in comparison.stored_findings(record or {"findings": {}}, item.label)
        }
        sources = [
            (words(f"check.{name}.name"), f"{text['source']}. {text['effect']}")
            for name, text in words.section("check").items()
            if name in used
        ]
        return [*blocks, pairs(sources)] if sources else blocks

    def compared(self) -> list[Block]:
        words, blocks = self._words, list[Block]()
        if self._content.comparison is None:
            return [Paragraph(words("result.no_comparison"))]
        if self._is_hidden():
            return [Paragraph(words("result.hidden"))]
        for row in self._content.results:
            pair = words("result.pair", questioned=row["questioned"], known=", ".join(row["known"]))
            bands = row["condition"]
            matched = words("result.matched" if bands[0] == bands[1] else "result.mismatched")
            rows = [
                (words("result.seconds"), " / ".join(f"{words.number(s)} s" for s in row["seconds"])),
                (words("result.condition"), f"{' / '.join(words(f'result.{band}') for band in bands)}; {matched}"),
                (words("result.weights"), self._weights(row)),
                (words("result.cosine"), words.number(row["cosine"], 4)),
                (words("result.score"), words.number(row["score"], 4)),
                (words("result.typicality"), self._typicality(row)),
                (words("result.parts"), self._range(row["parts_left_out"], "result.open_speech")),
            ]
            rows += [
                (words("result.each", known=each["known"]), words.ratio(each["log10"])) for each in row["each_known"]
            ]
            blocks += [Paragraph(pair, strong=True), pairs(rows)]
            if (
                self._content.trials is not None
                and self._content.trials["scoring"] == self._content.comparison["scoring"]
            ):
                blocks.append(self._score_picture(row["score"]))
        return blocks or [Paragraph(words("result.refused"))]

    def _weights(self, row: Mapping[str, Any]) -> str:
        """Which trials of the calibration the likelihood ratio rests on."""
        own = row["calibrated_for"]
        if own is None:
            return self._words("result.all_conditions")
        bounds = {key: self._words.number(own[key]) for key in ("low", "high")}
        return self._words("result.own_condition", **{**own, **bounds})

    def result(self) -> list[Block]:
        words, record = self._words, self._content.comparison
        if record is None or self._is_hidden():
            return [Paragraph(words("result.no_comparison" if record is None else "result.hidden"))]
        blocks: list[Block] = []
        for row in record["results"]:
            pair = words("result.pair", questioned=row["questioned"], known=", ".join(row["known"]))
            if row["refusal"] is not None:
                blocks += [Paragraph(f"{pair}: {words('result.refused')}.", strong=True), *self._reasons(row)]
                continue
            blocks.append(Paragraph(f"{words.ratio(row['log10'])} ({pair})", strong=True))
            blocks.append(Paragraph(words.in_words(row["log10"])))
            if row["at_bound"]:
                blocks.append(Paragraph(words("result.bound")))
            if self._content.beyond_validation(row):
                low, high = (words.number(value) for value in (self._content.validation or {})["supported"])
                blocks.append(Paragraph(words("result.beyond", low=low, high=high), strong=True))
            rows = [
                (words("result.interval_speech"), self._range(row["interval_speech"], "result.open_speech")),
                (words("result.interval_speakers"), self._range(row["interval_speakers"], "result.open_speakers")),
            ]
            blocks.append(pairs(rows))
        blocks += [
            Paragraph(words("result.scale", text=f"{note.text} ({self._name(note.name)})"))
            for note in notes.notes(self._content.case, "scale")
        ]
        return [*blocks, Paragraph(words("result.never"))]

    def validation(self) -> list[Block]:
        words, record = self._words, self._content.validation
        if record is None or record["measures"] is None:
            return [Paragraph(words("validation.none"), strong=True)]
        counts = {**record["trials"], **{key: record[key] for key in ("speakers", "recordings", "refused")}}
        blocks: list[Block] = [Paragraph(words("validation.data", **counts))]
        if record["few"]:
            blocks.append(Paragraph(words("validation.few", speakers=record["speakers"]), strong=True))
        zero = {key: f"{words.number(100 * value, 1)} %" for key, value in record["zero_means_up_to"].items()}
        cross = record["cross_validated"] or {}
        rows = []
        for name, cell in record["measures"].items():
            interval = "-" if cell["low"] is None else f"{words.number(cell['low'], 4)}-{words.number(cell['high'], 4)}"
            other = words.number(cross[name], 4) if name in cross else "-"
            rows.append((words(f"validation.{name}"), words.number(cell["value"], 4), interval, other))
        columns = tuple(words(f"validation.{name}") for name in ("measure", "value", "interval", "cross"))
        wrong = record["misleading"]
        strongest = {key: words.number(wrong[f"strongest_{key}"] / TEN) for key in ("same", "different")}
        blocks += [Grid(columns, tuple(rows)), Paragraph(words("validation.strongest", **strongest))]
        low, high = (words.number(value) for value in record["supported"])
        blocks.append(Paragraph(words("validation.supported", low=low, high=high)))
        blocks += [Paragraph(words("validation.zero", **zero)), self._tippett(), self._cross_entropy(record["ece"])]
        blocks.append(self._breakdown(record["by_duration"], "duration"))
        blocks.append(self._breakdown(record["by_condition"], "conditions"))
        statements = notes.notes(self._content.case, "validation")
        answer = "; ".join(f"{note.text} ({self._name(note.name)})" for note in statements) or words("title.open")
        return [*blocks, pairs([(words("validation.statement"), answer)])]

    def limits(self) -> list[Block]:
        words, record = self._words, self._content.comparison
        blocks: list[Block] = [Paragraph(words("limits.text"))]
        if record is not None and record["calibration"]["origin"] == "supplied":
            blocks.append(Paragraph(words("limits.supplied"), strong=True))
        if record is not None and record["accepted"]:
            names = ", ".join(words(f"check.{name}.name") for name in record["accepted"])
            blocks.append(Paragraph(words("limits.accepted", checks=names)))
        return blocks

    def added(self, *kinds: str) -> list[Block]:
        words, blocks = self._words, list[Block]()
        for note in notes.notes(self._content.case, *kinds):
            kind = words(f"added.{note.kind}", label=note.label)
            by = words("added.by", kind=kind, name=self._name(note.name), time=note.act.time[:19])
            blocks += [Paragraph(by, strong=True), Paragraph(note.text)]
        return blocks or [Paragraph(words("added.none"))]

    def order(self) -> list[Block]:
        words, rows = self._words, []
        for act in self._content.case.acts:
            shown = {True: words("order.shown"), False: words("order.unshown")}.get(act.detail.get("shown"), "")  # type: ignore[arg-type]
            kind = str(act.detail.get("kind", ""))
            kind = words(f"added.{kind}", label=act.detail.get("label", "")) if kind else ""
            what = ", ".join(filter(None, (kind or str(act.detail.get("label", "")), shown)))
            rows.append((str(act.number), act.time[:19], words(f"order.{act.action}"), self._name(act.operator), what))
        columns = ("", *(words(f"order.{name}") for name in ("time", "act", "who", "what")))
        return [Paragraph(words("order.text")), Grid(columns, tuple(rows))]

    def checklists(self) -> list[Block]:
        consensus, holds = checklist.consensus(self._content), checklist.holds(self._content)
        return [self._points("consensus", consensus, "consensus"), self._points("holds", holds, "report")]

    def again(self) -> list[Block]:
        words, head = self._words, self._content.case.acts[-1].hash
        return [
            Paragraph(words("again.text")),
            Command(f"diarize case verify CASE --recordings FOLDER --expect {head}"),
            Paragraph(words("again.without")),
            Command("diarize case verify CASE --recordings FOLDER --without-models"),
            pairs([(words("again.head"), head)]),
            Paragraph(words("again.tolerance")),
            Paragraph(words("again.manifest")),
        ]

    def appendix(self) -> list[Block]:
        words, case = self._words, self._content.case
        digests = tuple((path, digest) for act in case.acts for path, digest in sorted(act.files.items()))
        log_rows = tuple((str(act.number), act.time, act.action, self._name(act.host), act.hash) for act in case.acts)
        blocks: list[Block] = [
            Grid((words("appendix.files"), "SHA-256"), digests, small=True),
            Grid(("", words("order.time"), words("appendix.log"), "Host", "SHA-256"), log_rows, small=True),
        ]
        if (identity := self._identity()) is not None:
            blocks.append(Paragraph(words("appendix.settings")))
            blocks.append(Command(json.dumps(identity["settings"], sort_keys=True)))
            blocks.append(Paragraph(words("appendix.versions")))
            blocks.append(Command(", ".join(f"{name} {value}" for name, value in identity["versions"].items())))
        return blocks

    def signatures(self) -> list[Block]:
        words, space = self._words, "\n\n" + "_" * 30
        roles = (words(f"signatures.{name}") for name in ("examiner", "reviewer"))
        return [pairs([(words("signatures.line", role=role), space) for role in roles])]

    def _is_hidden(self) -> bool:
        """Whether the result may not be shown yet."""
        case = self._content.case
        return notes.is_blind(case) and not notes.disclosures(case)

    def _identity(self) -> Mapping[str, Any] | None:
        if self._content.comparison is not None:
            identity: Mapping[str, Any] = self._content.comparison["identity"]
            return identity
        return self._content.items[-1].measures["identity"] if self._content.items else None

    def _stated(self, text: str, names_somebody: bool = False) -> str:
        if not text:
            return self._words("title.open")
        return _HIDDEN if names_somebody and self._blind else text

    def _name(self, name: str) -> str:
        return _HIDDEN if self._blind else name

    def _range(self, values: Sequence[float] | None, otherwise: str) -> str:
        if values is None:
            return self._words(otherwise)
        low, high = (self._words.number(value) for value in values)
        return self._words("result.range", low=low, high=high)

    def _reasons(self, row: Mapping[str, Any]) -> list[Block]:
        words, blocks = self._words, list[Block]()
        for reason in row["refusal"]:
            values = {key: words.localise(reason[key]) or "-" for key in ("value", "limit")}
            name = words(f"check.{reason['check']}.name")
            text = words("result.refusal", label=reason["label"] or "-", check=name, **values)
            cure = words(f"check.{reason['check']}.cure")
            blocks.append(Paragraph(f"{text} {cure}"))
        return blocks

    def _typicality(self, row: Mapping[str, Any]) -> str:
        t = row["typicality"]
        if t is None:
            return self._words("result.open_typical")
        shares = {
            key: f"{self._words.number(100 * t[name], 1)} %"
            for key, name in (("different", "different_as_high"), ("same", "same_as_low"))
        }
        return self._words("result.typical", **shares, n=t["different"], m=t["same"])

    def _pictures(self, item: CaseItem) -> list[Picture]:
        case, words = self._content.case, self._words
        pictures = []
        for name in PICTURES:
            if f"{name_of(item.act)}/{name}.svg" in item.act.files:
                text = words(f"picture.{name}", label=item.label)
                pictures.append(Picture(case.read(item.act, f"{name}.svg"), text, text))
        return pictures

    def _score_picture(self, score: float) -> Picture:
        words, (same, different) = self._words, self._values("score")
        groups = [(different, plots.ORANGE, words("validation.two")), (same, plots.BLUE, words("validation.one"))]
        svg = plots.histogram(groups, (words("result.score"), words("validation.share")), score)
        return Picture(svg, words("picture.place_alt"), words("picture.place"))

    def _tippett(self) -> Picture:
        words, (same, different) = self._words, self._values("llr")
        values, one, two = verification.tippett(same, different)
        x = (values / TEN).tolist()
        curves = [
            Curve(x, (100 * one).tolist(), plots.BLUE, words("validation.one")),
            Curve(x, (100 * two).tolist(), plots.ORANGE, words("validation.two"), "5 3"),
        ]
        svg = plots.line_chart(curves, (words("validation.log10"), words("validation.share")), None, (0, 101), 240, 0.0)
        return Picture(svg, words("validation.tippett_alt"), words("validation.tippett"))

    def _cross_entropy(self, ece: Mapping[str, Any]) -> Picture:
        words = self._words
        curves = [
            Curve(ece["odds"], ece["none"], plots.GREY, words("validation.of_none"), "2 3"),
            Curve(ece["odds"], ece["lr"], plots.ORANGE, words("validation.of_lr")),
            Curve(ece["odds"], ece["best"], plots.BLUE, words("validation.of_best"), "5 3"),
        ]
        top = 1.05 * max(max(ece["none"]), max(ece["lr"]))
        svg = plots.line_chart(curves, (words("validation.odds"), words("validation.bits")), None, (0, top), 240)
        return Picture(svg, words("validation.ece_alt"), words("validation.ece"))

    def _breakdown(self, rows: Sequence[Mapping[str, Any]], by: str) -> Grid:
        words = self._words
        columns = [by, "trials", "cllr", "cllr_min", "eer", "middle_same", "middle_different"]
        cells = []
        for row in rows:
            if by == "duration":
                last = "" if row["to"] is None else f"{row['to']:g}"
                first = f"{row['from']:g}-{last} s"
            else:
                first = " / ".join(words(f"result.{name}") for name in row["conditions"])
            numbers = ["-" if row[name] is None else words.number(row[name], 3) for name in columns[2:]]
            cells.append((first, f"{row['same']}, {row['different']}", *numbers))
        return Grid(
            tuple(words(f"validation.{name}") for name in columns),
            tuple(cells),
            words("validation.by_duration") if by == "duration" else "",
        )

    def _values(self, name: str) -> tuple[Any, Any]:
        """(of one speaker, of two) of the validation's trials, natural logarithms or scores."""
        assert self._content.trials is not None
        rows = [row for row in self._content.trials["trials"] if row["llr"] is not None]
        values, same = np.array([row[name] for row in rows], np.float64), np.array([row["same"] for row in rows])
        return values[same], values[~same]

    def _points(self, title: str, points: Sequence[CheckedPoint], table: str) -> Grid:
        words = self._words
        rows = tuple(
            (
                words(f"{table}.{point.name}"),
                words("checklist.filled" if point.section else "checklist.open"),
                words(f"section.{point.section}") if point.section else "-",
            )
            for point in points
        )
        columns = tuple(words(f"checklist.{name}") for name in ("item", "state", "where"))
        return Grid(columns, rows, words(f"checklist.{title}"))
