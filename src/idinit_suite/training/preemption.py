"""Requests to stop: SIGTERM and SIGINT let the current step finish."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_blocks: list[threading.Event] = []  # the events of the blocks that have been entered, as of a sweep and the run within it


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM or Ctrl-C sets, for the time of the block; a second Ctrl-C stops at once.

    Blocks may be nested: a signal sets the events of all, so that none is lost where the inner one ends in another way.
    Outside the main thread, where Python takes no signal handlers, the event is never set.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        for event in _blocks:
            event.set()

    _blocks.append(asked)
    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        _blocks.pop()
        for number, handler in before.items():
            signal.signal(number, handler)
