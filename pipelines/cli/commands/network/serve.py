"""`serve`: enrolment, verification, identification and recordings over HTTP; its keys (docs/service.md)."""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from diarize.errors import ConfigError, MissingExtra, printable
from diarize.guard.fingerprints import MOST_ACCEPTED
from diarize.library.database import address, encryption
from diarize.library.database.address import ServerAddress
from pipelines.cli import console
from pipelines.cli.commands import options
from pipelines.cli.commands.speakers import library_options
from pipelines.inputs import settings

if TYPE_CHECKING:
    from pipelines.service.access.keys import Key, Keys
    from pipelines.service.access.tenants import Tenants
    from pipelines.service.work.settings import ServiceSettings

_OF_VOICES = (
    "vad", "embedder", "profile", "prior", "channel", "track", "device", "countermeasure", "spoof_threshold",
)  # fmt: skip
_OF_RECORDINGS = ("asr", "language", "segmentation", "diarizer", "cache", "workers")
_LONGEST_SCHEMA = 20  # characters: the name of a tenant is added to it


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command, and `serve keys`."""
    serve = commands.add_parser("serve", help="enrol, verify and identify speakers, and process recordings, over HTTP")
    _add_place(serve)
    reached = serve.add_argument_group("where it is reached")
    reached.add_argument("--host", default="127.0.0.1", help="address to listen on; other than the loopback needs keys")
    reached.add_argument("--port", type=int, default=8750, help="0: any free one, which is printed")
    reached.add_argument("--tls-certificate", type=Path, metavar="PEM", help="serve https with this certificate")
    reached.add_argument("--tls-key", type=Path, metavar="PEM", help="the key of the certificate")
    trusted = "address or network of a proxy whose forwarded headers are believed (may be repeated)"
    reached.add_argument("--proxy", action="append", default=[], metavar="ADDRESS", help=trusted)
    reached.add_argument("--compat", action="store_true", help="also POST /enroll, /verify, /identify")

    people = serve.add_argument_group("people")
    people.add_argument("--require-consent", action="store_true", help="refuse speakers without a record of consent")
    people.add_argument("--keep-audio", action="store_true", help="store enrolment audio for later embedding models")
    people.add_argument("--enrolment-seconds", type=float, metavar="S", help="speech that an enrolment needs")
    people.add_argument("--calibration", type=Path, metavar="CAL", help="file that `diarize calibrate` saved")
    replays = "check every verification for sound that was accepted before, and for quality, as with a challenge"
    people.add_argument("--guard", action="store_true", help=f"{replays}; implied by --countermeasure")
    most = (
        f"fingerprints of accepted sound that are kept of a speaker ({MOST_ACCEPTED}; 0: all); the oldest are deleted"
    )
    people.add_argument("--most-fingerprints", type=int, metavar="N", help=most)
    days: dict[str, Any] = {"type": int, "metavar": "DAYS"}
    people.add_argument("--keep-unfinished", **days, help="delete enrolments that are not complete after this time")
    people.add_argument("--keep-expired", **days, help="delete people this long after their consent has ended")
    people.add_argument("--keep-recordings", **days, help="delete finished recordings after this time; 0: never")
    people.add_argument("--keep-events", **days, help="delete events after this time; 0: never")

    limits = serve.add_argument_group("limits")
    limits.add_argument("--max-mib", type=int, metavar="MIB", help="largest utterance")
    limits.add_argument("--max-seconds", type=float, metavar="S", help="longest utterance")
    limits.add_argument("--max-recording-mib", type=int, metavar="MIB", help="largest recording")
    limits.add_argument("--queue", type=int, metavar="N", help="requests that may wait; more are answered 429")
    limits.add_argument("--connections", type=int, metavar="N", help="open connections")
    limits.add_argument("--rate", type=float, metavar="N", help="requests a second of a key, on average")
    limits.add_argument("--burst", type=float, metavar="N", help="requests of a key at once")
    limits.add_argument("--quota-people", type=int, default=0, metavar="N", help="speakers of a tenant; 0: any number")
    limits.add_argument("--quota-hours", type=float, default=0.0, metavar="H", help="sound of a tenant a day; 0: any")
    several = "processes that serve the port together; each has models of its own"
    limits.add_argument("--processes", type=int, default=1, metavar="N", help=several)
    limits.add_argument("--threads", type=int, default=1, metavar="N", help="threads that compute voices")
    limits.add_argument("--jobs", type=int, default=1, metavar="N", help="recordings processed at the same time")
    private = "private network that webhooks may reach (may be repeated)"
    limits.add_argument("--webhook-network", action="append", default=[], metavar="NETWORK", help=private)
    options.add(serve, *_OF_VOICES, *_OF_RECORDINGS)
    serve.set_defaults(command=_serve)

    actions = serve.add_subparsers(metavar="ACTION")
    keys = actions.add_parser("keys", help="the keys of callers").add_subparsers(required=True, metavar="ACTION")
    new = keys.add_parser("add", help="make a key; it is printed once")
    new.add_argument("--tenant", default="default", help="whose people it reaches")
    new.add_argument("--scopes", required=True, type=settings.split_commas, metavar="A,B,...",
                     help="of enrol, verify, identify, read, admin")  # fmt: skip
    new.add_argument("--name", default="", help="what it is for")
    new.add_argument("--expires", type=date.fromisoformat, metavar="DATE", help="the last day (UTC) on which it works")
    new.set_defaults(command=_add_key)
    listed = keys.add_parser("list", help="list the keys, without their secrets")
    listed.add_argument("--json", action="store_true", help="print the result as JSON")
    listed.set_defaults(command=_list_keys)
    revoked = keys.add_parser("revoke", help="refuse a key from now on")
    revoked.set_defaults(command=_revoke_key)
    rotated = keys.add_parser("rotate", help="make a key with the same rights; the old one works for a while")
    rotated.add_argument("--hours", type=float, default=24.0, metavar="H", help="that the old key still works")
    rotated.set_defaults(command=_rotate_key)
    for parser in (revoked, rotated):
        parser.add_argument("id", help="id of the key, as `list` shows it")
    for parser in (new, listed, revoked, rotated):
        _add_place(parser)


def _add_place(command: argparse.ArgumentParser) -> None:
    folder = "folder of the service: keys, libraries, recordings; default: in your own data folder"
    command.add_argument("--data", type=Path, metavar="DIR", help=folder)
    library_options(command)


def _serve(args: argparse.Namespace) -> int:
    config = options.resolve(args).config
    if getattr(args, settings.OPTIONS["countermeasure"]) is not None:  # whoever names one wants its scores
        config = config.model_copy(update={"spoof": config.spoof.model_copy(update={"enabled": True})})
    try:
        from pipelines.service import processes, server
        from pipelines.service.access.binding import Binding
        from pipelines.service.work.settings import MIB, Keeping, RequestLimits, ServiceSettings
    except ImportError as error:
        raise MissingExtra("diarize serve", "serve") from error
    limits = _chosen(
        RequestLimits(),
        utterance_bytes=args.max_mib and args.max_mib * MIB,
        utterance_seconds=args.max_seconds,
        recording_bytes=args.max_recording_mib and args.max_recording_mib * MIB,
        queue=args.queue,
        connections=args.connections,
        rate=args.rate,
        burst=args.burst,
    )
    keeping = _chosen(
        Keeping(),
        unfinished=args.keep_unfinished,
        expired=args.keep_expired,
        recordings=args.keep_recordings,
        events=args.keep_events,
    )
    binding = Binding(args.host, args.port, args.tls_certificate, args.tls_key, tuple(args.proxy))
    chosen: ServiceSettings = _chosen(
        ServiceSettings(_folder(args), _tenants(args), config, binding, limits, keeping),
        calibration=args.calibration,
        compat=args.compat,
        guard=args.guard or config.spoof.is_used,
        most_fingerprints=args.most_fingerprints,
        require_consent=args.require_consent,
        keep_audio=args.keep_audio,
        enrolment_seconds=args.enrolment_seconds,
        threads=args.threads,
        jobs=args.jobs,
        quota_people=args.quota_people,
        quota_hours=args.quota_hours,
        webhook_networks=tuple(args.webhook_network),
        process_options=_process_options(args),
    )
    scheme = "https" if args.tls_certificate else "http"

    def ready(port: int) -> None:
        console.say(f"listening on {scheme}://{args.host}:{port}")
        sys.stdout.flush()

    if args.processes == 1:
        server.run(chosen, options.store(config), _log, ready)
    else:
        processes.run(chosen, options.store(config), _log, ready, args.processes)
    return 0


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _chosen(defaults: Any, **values: Any) -> Any:
    """The defaults with what the user gave. Raises ConfigError for a limit below what it can be."""
    from dataclasses import replace

    changes = {name: value for name, value in values.items() if value is not None}
    for name, value in changes.items():
        least = 0 if name.startswith(("quota", "most")) or type(defaults).__name__ == "Keeping" else 1
        if isinstance(value, int | float) and not isinstance(value, bool) and not value >= least:
            raise ConfigError("command line", name.replace("_", "-"), f"must be {least} or more, not {value}")
    return replace(defaults, **changes)


def _process_options(args: argparse.Namespace) -> tuple[str, ...]:
    """The settings of the command line as options of `diarize process`."""
    words = [f"--config={args.config.absolute()}"] if args.config is not None else []
    words += ["--offline"] if getattr(args, "run.offline") else []
    for name in ("vad", "embedder", "profile", "prior", "channel", "track", "device", *_OF_RECORDINGS):
        value = getattr(args, settings.OPTIONS[name])
        if value is not None:
            words.append(f"--{name.replace('_', '-')}={value}")
    return tuple(words)


def _folder(args: argparse.Namespace) -> Path:
    return Path(args.data or Path(platformdirs.user_data_dir("diarize-pipeline"), "service")).absolute()


def _tenants(args: argparse.Namespace) -> Tenants:
    from pipelines.service.access.tenants import Tenants

    passphrase = encryption.passphrase_of(os.environ, args.passphrase_file)
    place = None if args.library is None else address.parse(args.library)
    if isinstance(place, ServerAddress):
        if len(place.schema) > _LONGEST_SCHEMA:
            raise ConfigError("--library", place.schema, f"the schema has more than {_LONGEST_SCHEMA} characters")
        return Tenants(_folder(args), place, passphrase, place)
    return Tenants(_folder(args), None, passphrase, place.absolute() if place is not None else None)


def _keys(args: argparse.Namespace) -> Keys:
    from pipelines.service.access.keys import Keys
    from pipelines.service.access.ledger import Ledger

    tenants = _tenants(args)
    return Keys(Ledger(tenants.server or tenants.folder / "service.db"))


def _add_key(args: argparse.Namespace) -> int:
    expires = None
    if args.expires is not None:
        expires = datetime.combine(args.expires, time(), UTC) + timedelta(days=1)
    _print_new(*_keys(args).add(args.tenant, args.scopes, args.name, expires))
    return 0


def _rotate_key(args: argparse.Namespace) -> int:
    _print_new(*_keys(args).rotate(args.id, timedelta(hours=args.hours)))
    console.warn(f"note: the key {args.id} works for {args.hours:g} h more")
    return 0


def _print_new(key: Key, text: str) -> None:
    console.say(text)
    console.warn(f"note: key {key.id} of {key.tenant} ({', '.join(key.scopes)}); it is not shown again")


def _revoke_key(args: argparse.Namespace) -> int:
    key = _keys(args).revoke(args.id)
    console.say(f"revoked: {key.id} of {key.tenant}")
    return 0


def _list_keys(args: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    rows = [
        {
            "id": key.id,
            "tenant": key.tenant,
            "name": key.name,
            "scopes": list(key.scopes),
            "state": key.state(now),
            "created": key.created.isoformat(timespec="seconds"),
            "expires": key.expires.isoformat(timespec="seconds") if key.expires else None,
            "revoked": key.revoked.isoformat(timespec="seconds") if key.revoked else None,
        }
        for key in _keys(args).all()
    ]
    if args.json:
        console.say(json.dumps(rows, indent=1))
        return 0
    columns = ("id", "tenant", "name", "scopes", "state", "created", "expires")
    cells = [
        [", ".join(row["scopes"]) if name == "scopes" else printable(str(row[name] or "")) for name in columns]  # type: ignore[arg-type]
        for row in rows
    ]
    console.say(console.table(list(columns), cells))
    return 0
