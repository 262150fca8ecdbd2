"""Signals that ask a command to stop."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from engagement.services.resilience.retries import StopRequest

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
EXIT_CODE_OF_SIGNALS: Final = 128
"""Added to a signal's number, as shells do: 130 for SIGINT, 143 for SIGTERM."""


@contextmanager
def stop_on_signals(stop: StopRequest) -> Iterator[None]:
    """While inside, the first SIGINT or SIGTERM asks `stop`; the second has its usual effect.

    Only the main thread may do this; elsewhere (in a test, say) nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(signal_number: int, _frame: FrameType | None) -> None:
        stop.ask(signal_number)
        restore()

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    former = {number: signal.signal(number, ask) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        restore()
