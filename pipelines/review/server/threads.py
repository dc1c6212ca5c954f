"""Long work outside the event loop, in threads that do not keep a server from ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

SOUNDS = threading.BoundedSemaphore(2)  # recordings that are decoded at once
VOICES = threading.BoundedSemaphore(2)  # recordings whose voices are compared at once; no sound waits for them


async def run_in_daemon(function: Callable[[], Result], limit: threading.BoundedSemaphore = SOUNDS) -> Result:
    """The result of `function`, which may decode for minutes. Raises what it raises.

    `limit`: how many of its kind run at once; others wait in their threads.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, problem = None, None
        with limit:
            try:
                result = function()
            except BaseException as error:
                problem = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=work, name="sound", daemon=True).start()
    return await future
