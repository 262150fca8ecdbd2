"""Logging: structured events on stderr, as JSON lines for programs or as text on a terminal."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

from django.core.exceptions import ImproperlyConfigured

from engagement.privacy import redact

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from structlog.typing import EventDict, Processor, WrappedLogger


@contextmanager
def _missing(name: str) -> Iterator[None]:
    """Let imports of a module fail in this block, as if it were not installed."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None is allowed
    loaded = modules.pop(name, None)
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
        if loaded:
            modules[name] = loaded


# structlog would load rich for tracebacks in colour, which nothing here shows: a tenth of a command's start.
with _missing("rich"):
    import structlog

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
FORMATS: Final = ("auto", "json", "text")
_QUERY: Final = re.compile(r"\?\S*(?= HTTP/)")
"""The query in a line of the development server."""


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to the current sys.stderr, which a progress bar replaces while it is shown."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # read for every record
        return sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        # A process can be started without stderr.
        if sys.stderr is not None:
            super().emit(record)


def configure_logs(*, level: str, log_format: str) -> None:
    """Send the records of structlog and of the standard library to stderr in one format.

    `log_format` is json, text, or auto: text if stderr is a terminal, otherwise json. May be
    repeated. Raises ImproperlyConfigured with one sentence for an unknown format or level.
    """
    if level.upper() not in LEVELS:
        raise ImproperlyConfigured(f"LOG_LEVEL must be one of {', '.join(LEVELS)}, not {level!r}.")
    if log_format not in FORMATS:
        raise ImproperlyConfigured(f"LOG_FORMAT must be one of {', '.join(FORMATS)}, not {log_format!r}.")
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    as_text = log_format == "text" or (log_format == "auto" and on_terminal)
    handler = StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact_values,
                structlog.dev.ConsoleRenderer(colors=on_terminal)
                if as_text
                else structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    # At DEBUG, this logger writes every statement with its parameters, which include addresses.
    logging.getLogger("django.db.backends").setLevel(logging.WARNING)
    # At DEBUG, this logger writes the contexts of templates, among them tokens and one-time links.
    logging.getLogger("django.template").setLevel(logging.INFO)
    # Below WARNING, it logs every login. A warning says that an account is locked out, but not which one.
    logging.getLogger("axes").setLevel(logging.WARNING)


def redact_values(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Redact addresses and phone numbers in all texts of an event, also in nested values and tracebacks.

    Queries of requests are left out: they have tokens, and what people searched for.
    """
    if event.get("logger") == "django.server":
        event["event"] = _QUERY.sub("", str(event["event"]))
    return {key: redacted(value) for key, value in event.items()}


def redacted(value: Any) -> object:
    """The value without addresses and phone numbers in its texts, also in nested ones."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {redacted(key): redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item) for item in value]
    if hasattr(value, "get_full_path"):  # a request, whose text has its query
        return redact(f"{value.method} {value.path}")
    # Other objects too, such as exceptions: their text can contain an address.
    return redact(str(value))
