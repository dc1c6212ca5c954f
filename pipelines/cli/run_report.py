"""Lines and tables about a run: its stages, its rows, its state."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from diarize.errors import printable
from diarize.guard import spoofing
from diarize.text import counted
from pipelines.cli.console import NARROWEST, broken, clock, fit, open_console

if TYPE_CHECKING:
    from pipelines.batch.process import RunReport
    from pipelines.batch.status import RunStatus
    from pipelines.results.outcomes import Outcome

COLUMNS = 6  # of the table at the end
MOST_ROWS = 50  # of the table at the end; for longer runs it has the recordings that failed
STAGES = {  # stage -> what is shown while it runs
    "read": "decoding",
    "load": "loading the models",
    "segment": "detecting local speakers",
    "detect": "detecting speech",
    "embed": "computing embeddings",
    "cluster": "clustering speakers",
    "diarize": "clustering speakers",
    "identify": "naming speakers",
    "recognize": "recognizing words",
    "spoof": "scoring live voices",
    "write": "writing",
    "again": "its worker process died; it is tried again after all others",
    "lost": "its node was lost; it is tried again on another",
}
COLOURS = {"done": "green", "failed": "red", "crashed": "red", "interrupted": "yellow"}


def stopping_line(running: int) -> str:
    """The message after the first Ctrl-C."""
    return f"finishing {counted(running, 'recording')}; Ctrl-C again to stop now"


def summary_line(row: Outcome) -> str:
    """One line about one recording."""
    name = printable(row.name)
    if row.status != "done":
        return f"{row.status}: {name}: " + (f"{row.stage}: " if row.stage else "") + row.reason
    counts = (counted(row.speakers, "speaker"), counted(row.turns, "turn"), counted(row.words, "word"))
    lost = f", {row.lost:.1f} s lost" if row.lost else ""
    return f"done: {name}: {clock(row.duration or 0)}, {', '.join(counts)}{lost}"


def summary_table(report: RunReport) -> Table:
    """The table at the end of a run. For long runs it has only the recordings that failed, and the sums."""
    rows = report.outcomes
    shown = rows if len(rows) <= MOST_ROWS else [row for row in rows if row.status != "done"][:MOST_ROWS]
    done = [row for row in rows if row.status == "done"]
    reused = sum(row.reused for row in done)

    # The footers have the sums, so that they stand below the figures.
    names = [printable(row.name) for row in shown]
    total = f"{len(done)} of {len(rows)} done" + reused_note(reused)
    outcomes = [_outcome(row) for row in shown]
    sums = [clock(sum(row.duration or 0 for row in done)), "speakers"]
    sums += [str(max(10**4, sum(getattr(row, count) for row in done))) for count in ("turns", "words")]
    others = sum(map(len, sums)) + max(map(len, ["outcome", *outcomes])) + 3 * COLUMNS + 1
    room = max(open_console(sys.stdout).width, NARROWEST) - others
    (width,) = fit(["recording"], [[name] for name in (*names, total)], max(room, NARROWEST // 3) + 4)
    width = min(width, max(room, NARROWEST // 3))
    table = Table(show_footer=True, box=box.SIMPLE)
    table.add_column("recording", broken(total, width), no_wrap=True)
    table.add_column("length", clock(sum(row.duration or 0 for row in done)), justify="right", no_wrap=True)
    table.add_column("speakers", justify="right", no_wrap=True)
    table.add_column("turns", str(sum(row.turns for row in done)), justify="right", no_wrap=True)
    table.add_column("words", str(sum(row.words for row in done)), justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)

    # Colours only for what needs attention: a failure, or lost sound. `remarks` stand below the table.
    for row, name, outcome in zip(shown, names, outcomes, strict=True):
        cells = ["", "", "", "", outcome]
        if row.status == "done":
            cells = [clock(row.duration or 0), str(row.speakers), str(row.turns), str(row.words), outcome]
        style = COLOURS[row.status] if row.status != "done" or row.lost else ""
        table.add_row(Text(broken(name, width)), *(Text(cell, style=style) for cell in cells))
    return table


def remarks(report: RunReport) -> Iterator[str]:
    """A line for each recording that lost sound, has scores of spoofing, or is not done, with the reason; and one that
    points to notes."""
    for row in report.outcomes:
        if row.status == "done" and row.lost:
            yield f"lost: {printable(row.name)}: {row.lost:.1f} s lost: they could not be decoded, and are silent"
        for note in row.notes:
            if row.status == "done" and note.startswith(spoofing.BEGINNING):
                yield f"{printable(row.name)}: {note}"
    failures = [row for row in report.outcomes if row.status != "done"]
    yield from map(summary_line, failures[:MOST_ROWS])
    if len(failures) > MOST_ROWS:
        yield f"and {len(failures) - MOST_ROWS} more, in run.json"
    if with_notes := sum(row.status == "done" and bool({*row.notes} - {*report.notes}) for row in report.outcomes):
        yield f"notes: on {counted(with_notes, 'recording')}, in run.json (-v prints them)"


def _outcome(row: Outcome) -> str:
    return row.status + (" earlier" if row.reused else "")


def status_lines(statuses: Sequence[RunStatus]) -> Iterator[str]:
    """The state of each run on a folder: which process runs it, what is done, and what runs in which stage."""
    for run in statuses:
        title = f"{run.part}: " if run.part else ""
        yield (
            title
            + {
                "running": f"running ({run.holder})",
                "killed": "stopped unexpectedly (killed, or power loss); rerun the command to resume",
                "interrupted": "interrupted; rerun the command to resume",
                "finished": "finished",
            }[run.life]
        )
        progress = run.progress
        running = progress.get("running", [])
        failed = ", ".join(f"{n} {status}" for status, n in sorted(run.counts.items()) if status != "done")
        waiting = f", {len(running)} running, {run.waiting} waiting" if progress else ""
        done = f"{run.counts.get('done', 0)} done{reused_note(progress.get('kept', 0))}"
        yield f"  {done}, {failed or '0 failed'}{waiting}"
        if run.life == "running" and progress:
            facts = progress_facts(progress["seconds"], progress["eta"], progress["speed"], progress["share"])
            yield "  " + ", ".join(facts)
        for each in running:
            how_far = "".join(f", {fact}" for fact in recording_facts(each))
            yield f"  {each['id']}: {STAGES.get(each['stage'], each['stage'])} since {each['since']}{how_far}"


def progress_facts(seconds: float, eta: float | None, speed: float, share: float | None) -> Iterator[str]:
    """How far a run is: `share` of the audio, `seconds` until now, `eta` s to the end, `speed` in hours an hour."""
    if share is not None:
        yield percent(share)
    yield f"{clock(seconds)} elapsed"
    yield f"ETA {clock(eta)}" if eta is not None else "ETA unknown until the first one is decoded"
    if speed:
        yield f"{speed:.1f} hours of audio per hour"


def recording_facts(facts: Mapping[str, Any]) -> Iterator[str]:
    """How far a recording is, of `RunProgress.facts`."""
    if facts["stage_share"] is not None:
        audio = f" of {clock(facts['audio_seconds'])}" if facts["audio_seconds"] is not None else ""
        yield f"{percent(facts['stage_share'])}{audio}"
    if facts["eta"] is not None:
        yield f"ETA {clock(facts['eta'])}"


def percent(share: float) -> str:
    """A share that is not complete never reads as 100 %."""
    return f"{min(int(100 * share), 99) if share < 1 else 100} %"


def reused_note(count: int) -> str:
    """How many results are not of this run."""
    return f" ({count} from an earlier run)" if count else ""
