"""Reads an activity log: a CSV file, plain or gzipped, with a row for each thing that a user did.

Error messages end up in logs and tickets, so none of them repeats an address or a phone number.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from io import TextIOWrapper
from typing import TYPE_CHECKING, Final, NamedTuple

from engagement.models import is_address
from engagement.privacy import redact
from engagement.schedule import utc_timestamp

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from datetime import datetime
    from io import BufferedReader
    from pathlib import Path

REQUIRED_COLUMNS: Final = ("user", "occurred_at")
COLUMNS: Final = (*REQUIRED_COLUMNS, "locale", "whatsapp_jid", "reengagement_opt_out")
DEFAULT_LOCALE: Final = "pt-BR"

_OPT_OUTS: Final = {"false": False, "0": False, "no": False, "true": True, "1": True, "yes": True}
_LONGEST_SHOWN: Final = 40
_LONGEST_STORED: Final = 255
"""More would not fit into the index on addresses."""
_LONGEST_READ: Final = 1_000_000
"""Characters that are read at once, so that a file without line ends does not fill the memory."""
_DATE: Final = re.compile(r"\d{4}-(?:0\d|1[0-2])-(?:[0-2]\d|3[01])(?!\d)", re.ASCII)
_TIME: Final = re.compile(_DATE.pattern + r"[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_NOT_TEXT: Final = re.compile("[\0\udc80-\udcff]")
"""A NUL, or a byte that is not UTF-8, which `surrogateescape` decodes to one of these code points."""


class MalformedActivityLog(Exception):
    """The file cannot be read as an activity log. One sentence names the place and the problem."""

    def __init__(self, path: Path, problem: str, *, line: int | None = None) -> None:
        place = str(path) if line is None else f"{path}, line {line}"
        super().__init__(f"{place}: {problem}.")


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a user did, with what the log said about the user at that time."""

    user: str
    occurred_at: datetime
    """In UTC."""
    locale: str | None
    whatsapp_jid: str | None = field(repr=False)
    reengagement_opt_out: bool | None
    """None, as in the other columns, if the row does not say."""
    text: str | None = field(default=None, repr=False)

    def filled_from(self, former: Event | None) -> Event:
        """This event, with what a former one said where this row says nothing."""
        if former is None:
            return self
        opt_out = self.reengagement_opt_out
        return replace(
            self,
            locale=self.locale or former.locale,
            whatsapp_jid=self.whatsapp_jid or former.whatsapp_jid,
            reengagement_opt_out=former.reengagement_opt_out if opt_out is None else opt_out,
        )


class ActivityLog(NamedTuple):
    """An open activity log. Its events can be read once, in the order of the file."""

    ignored_columns: tuple[str, ...]
    events: Iterator[Event]


@contextmanager
def open_activity_log(path: Path, *, with_text: bool = False) -> Iterator[ActivityLog]:
    """Open the file at `path`, plain or gzipped, whatever its name; it may be a pipe.

    `with_text` says that the caller uses the column `text`, so that it is not ignored. The file is read
    row by row, so it may be larger than memory. Opening the log and reading its events raise
    MalformedActivityLog at the first error.
    """
    columns = (*COLUMNS, "text") if with_text else COLUMNS
    with closing(_rows(path)) as rows:
        header = _header(path, rows)
        ignored = tuple(name for name in header if name not in columns)
        yield ActivityLog(ignored, _events(path, header, rows))


def _rows(path: Path) -> Generator[tuple[int, list[str]]]:
    """Each row that is not blank, with the number of the line on which it begins."""
    line = 1
    try:
        with path.open("rb") as raw, _text(raw) as text:
            reader = csv.reader(_lines(text), strict=True, skipinitialspace=True)
            for row in reader:
                if len(row) > 1 or any(map(str.strip, row)):
                    yield line, row
                line = reader.line_num + 1
    except (csv.Error, EOFError, zlib.error, gzip.BadGzipFile) as error:
        problem = f"this is not CSV in UTF-8, plain or gzipped ({str(error).rstrip('.')})"
        raise MalformedActivityLog(path, problem, line=line) from None
    except OSError as error:
        raise MalformedActivityLog(path, f"the file cannot be read ({error.strerror or error})") from None


def _text(raw: BufferedReader) -> TextIOWrapper:
    # Looks ahead without seeking, because a pipe cannot seek.
    binary = gzip.GzipFile(fileobj=raw) if raw.peek(2).startswith(b"\x1f\x8b") else raw
    return TextIOWrapper(binary, "utf-8-sig", "surrogateescape", newline="")


def _lines(text: TextIOWrapper) -> Iterator[str]:
    for line in iter(partial(text.readline, _LONGEST_READ), ""):
        if found := _NOT_TEXT.search(line):
            raise csv.Error(f"invalid byte 0x{ord(found[0]) & 0xFF:02x}")
        yield line


def _header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> list[str]:
    line, row = next(rows, (1, []))
    header = [name.strip() for name in row]
    if len(header) == 1 and any(separator in row[0] for separator in ";\t"):
        problem = f"the columns must be separated by commas, not as in {_shown(row[0])}"
        raise MalformedActivityLog(path, problem, line=line)
    if missing := [name for name in REQUIRED_COLUMNS if name not in header]:
        are = "is" if len(missing) == 1 else "are"
        found = f" in {_shown(','.join(header))}" if header else ""
        problem = (
            "the header must have the columns user and occurred_at;"
            f" {' and '.join(missing)} {are} missing{found}"
        )
        raise MalformedActivityLog(path, problem, line=line)
    if twice := [name for name in header if header.count(name) > 1]:
        problem = f"the header must have each column once; {_shown(twice[0])} is repeated"
        raise MalformedActivityLog(path, problem, line=line)
    return header


def _events(path: Path, header: list[str], rows: Iterator[tuple[int, list[str]]]) -> Iterator[Event]:
    for line, row in rows:
        try:
            event = _event(header, row)
        except ValueError as error:
            raise MalformedActivityLog(path, str(error), line=line) from None
        yield event


def _event(header: list[str], row: list[str]) -> Event:
    if len(row) != len(header):
        raise ValueError(f"the row must have {len(header)} fields, as the header has, not {len(row)}")
    cells = dict(zip(header, map(str.strip, row), strict=True))
    if not cells["user"]:
        raise ValueError("user must not be empty")
    for name in ("whatsapp_jid", "locale"):
        if len(cells.get(name, "")) > _LONGEST_STORED:
            raise ValueError(f"{name} must have {_LONGEST_STORED} characters or fewer")
    try:
        occurred_at = utc_timestamp(cells["occurred_at"])
    except ValueError as error:
        raise ValueError(f"occurred_at {error}, not {_shown(cells['occurred_at'])}") from None
    said = cells.get("reengagement_opt_out", "").lower()
    opt_out = _OPT_OUTS.get(said)
    if said and opt_out is None:
        shown = _shown(cells["reengagement_opt_out"])
        raise ValueError(f"reengagement_opt_out must be true, false or empty, not {shown}")
    return Event(
        user=cells["user"],
        occurred_at=occurred_at,
        locale=cells.get("locale") or None,
        whatsapp_jid=cells["whatsapp_jid"] if is_address(cells.get("whatsapp_jid")) else None,
        reengagement_opt_out=opt_out,
        text=cells.get("text") or None,
    )


def _shown(text: str) -> str:
    """`text`, short and redacted: if columns have shifted, it may be an address."""
    shown = text[: 5 * _LONGEST_SHOWN]
    # A time is no phone number, though its digits may look like one. What follows a date may be one.
    date = _DATE.match(shown)
    if not _TIME.fullmatch(shown):
        shown = date[0] + redact(shown[date.end() :]) if date else redact(shown)
    return repr(shown if len(shown) <= _LONGEST_SHOWN else f"{shown[: _LONGEST_SHOWN - 1]}…")
