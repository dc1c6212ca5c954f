"""`diarize review`: the server from its first connection to its last export."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipelines.processes import decoding
from pipelines.review import scratch
from pipelines.review.server.listening import ReviewServer, new_token, open_socket
from pipelines.review.server.recordings import ReviewedRun, ReviewRequest


def serve(request: ReviewRequest, port: int | None, started: Callable[[str], None]) -> None:
    """Serve the page of `request` until Ctrl-C; then write the exports that are not up to date.

    `started` is called with the address when it can be opened. Raises ConfigError and FormatError before that.
    """
    scratch.sweep()
    with scratch.folder() as folder:
        run = ReviewedRun(request, folder)
        try:
            if run.only is not None:
                recording = run.recording(run.only)  # its errors come first, and the page need not wait for it
                threading.Thread(target=recording.prepare, daemon=True).start()
            server = ReviewServer(run, [open_socket(port)], new_token())
            server.serve_until_stopped(lambda: started(server.address))
        finally:
            if decoding.available():
                decoding.decoder().stop()
            run.close()
