"""Asking a run to stop: by SIGINT, by SIGTERM, or by the code that started it."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_POLL_SECONDS: Final = 0.1


class StopRequest:
    """A request that a run end after the batch in hand. Safe to set from a signal handler.

    `threading.Event` is not: the interrupted code may hold its lock.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def ask(self, signal_number: int, _frame: FrameType | None = None) -> None:
        """Ask for a stop. Can serve as a signal handler."""
        self.signal_number = signal_number

    def is_set(self) -> bool:
        return self.signal_number is not None

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or until a stop is asked for."""
        while seconds > 0 and not self.is_set():
            time.sleep(min(_POLL_SECONDS, seconds))
            seconds -= _POLL_SECONDS


class StopTogether(StopRequest):
    """A stop request of several workers, who also end when `is_over` is set for all of them."""

    def __init__(self, asked: StopRequest) -> None:
        super().__init__()
        self._asked = asked
        self.is_over = False

    def is_set(self) -> bool:
        return self._asked.is_set() or self.is_over


class StopAfter(StopRequest):
    """A stop request that is set after some seconds, for work inside a web request."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._ends_at = time.monotonic() + seconds

    def is_set(self) -> bool:
        return super().is_set() or time.monotonic() >= self._ends_at


@contextmanager
def stop_on_signals(stop: StopRequest) -> Iterator[None]:
    """While inside, the first SIGINT or SIGTERM asks `stop`; a second one has its usual effect.

    Python allows handlers in the main thread only; in other threads this changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Read all former handlers before installing any: a signal may arrive in between.
    former = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def ask(signal_number: int, _frame: FrameType | None) -> None:
        stop.ask(signal_number)
        restore()

    try:
        for number in STOP_SIGNALS:
            signal.signal(number, ask)
        yield
    finally:
        restore()
