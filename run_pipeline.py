"""The door: arguments -> settings -> one recipe -> report -> exit status.

Exit status: 0 all done, 2 usage, 3 some recordings failed, 4 nothing could be processed, 5 the environment (a model, a
disk) is missing or full, 6 integrity, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from diarize.errors import DiarizeError
from pipelines.batch import spare_worker
from pipelines.cli.command_line import CommandLine, build_parser
from pipelines.processes import standard_streams
from pipelines.processes.interrupt import exit_without_traceback, treat_all_as_ctrl_c

STATUS = (__doc__ or "").partition("\n\n")[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    standard_streams.prepare()
    with contextlib.ExitStack() as resources:
        with exit_without_traceback():  # to load a command takes a third of a second
            resources.enter_context(spare_worker.started_early(words))
            parser = build_parser(words[0] if words else "", STATUS)
        treat_all_as_ctrl_c()
        return _run(parser, words)


def _run(parser: CommandLine, words: Sequence[str]) -> int:
    from pipelines.cli.commands.options import spelled
    from pipelines.cli.console import warn

    args = argparse.Namespace()
    try:
        args = parser.parse(words)
        return int(args.command(args))
    except DiarizeError as error:
        warn(f"error: {spelled(error, args)}")
        return error.exit_status
    except OSError as error:  # an unexpected problem of a disk or of access rights
        warn(f"error: {error}")
        return 5
    except KeyboardInterrupt:
        warn("interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
