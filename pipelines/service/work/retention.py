"""What has lain long enough is deleted: enrolments without end, expired people, finished recordings, old events."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from diarize.errors import LibraryError, printable
from pipelines.service.access.ledger import Ledger
from pipelines.service.access.tenants import DEFAULT
from pipelines.service.work.people import SpeakerRoom
from pipelines.service.work.recordings import RecordingJobs

EVERY = 3600.0  # s between two runs
ANSWERS = timedelta(days=1)  # that the answer for an Idempotency-Key is kept


def tenants_of(room: SpeakerRoom, ledger: Ledger) -> tuple[str, ...]:
    """Everybody who has a library, as far as the service knows: those with keys, with events, with a file."""
    names = {str(row[0]) for row in ledger.execute("SELECT tenant FROM keys UNION SELECT tenant FROM events")}
    names |= {path.stem for path in (room.settings.data / "tenants").glob("*.db")}
    return tuple(sorted(names | {DEFAULT}))


def retain(
    room: SpeakerRoom, jobs: RecordingJobs, ledger: Ledger, log: Callable[[str], None], now: datetime | None = None
) -> dict[str, int]:
    """Delete what is to be deleted, in all tenants; how many of each; a library that cannot be used is logged."""
    time = now or datetime.now(UTC)
    keeping = room.settings.keeping
    counts = {"speakers": 0, "recordings": 0, "events": 0}
    for tenant in tenants_of(room, ledger):
        try:
            counts["speakers"] += _retain_people(room, tenant, time)
        except LibraryError as error:  # the other tenants' time limits hold nevertheless
            log(f"retention: {printable(tenant)}: {printable(error.problem)}")
    if keeping.recordings:
        counts["recordings"] = jobs.delete_old(time - timedelta(days=keeping.recordings))
    ledger.execute("DELETE FROM answers WHERE created < ?", ((time - ANSWERS).isoformat(),))
    if keeping.events:
        before = ((time - timedelta(days=keeping.events)).isoformat(),)
        counts["events"] = int(ledger.execute("SELECT count(*) FROM events WHERE time < ?", before)[0][0])
        ledger.execute("DELETE FROM events WHERE time < ?", before)
        ledger.execute("DELETE FROM use_by_day WHERE day < ?", (before[0][0][:10],))
    return counts


def _retain_people(room: SpeakerRoom, tenant: str, time: datetime) -> int:
    """Delete the lapsed people of a tenant; how many. Raises LibraryError."""
    keeping, model, removed = room.settings.keeping, room.models.name, 0
    since = time - timedelta(days=keeping.unfinished) if keeping.unfinished and model else None
    last = time.date() - timedelta(days=keeping.expired) if keeping.expired else None
    limits = model, room.settings.enrolment_seconds, since, last
    with room.settings.tenants.open(tenant) as library:  # opened anew: that also overwrites what was deleted
        for id in library.lapsed(*limits):
            try:
                with library.batch():
                    if library.lapsed(*limits, id):  # else they were changed or removed since they were listed
                        library.remove(id)
                        removed += 1
            except LibraryError:  # deleted, and overwritten the next time
                continue
        room.libraries.searches.purge(tenant, library)
    return removed
