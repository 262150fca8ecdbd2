"""Reads an activity log: a CSV file, plain or gzipped, that says who did something when. No database.

The columns `user` and `occurred_at` are needed; `locale`, `whatsapp_jid` and `reengagement_opt_out`
may be there, and `text` for whoever asks for it; others are ignored. No sentence in here repeats an
address: they end in logs and tickets.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader, TextIOWrapper
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TextIO

from engagement.privacy import redact
from engagement.schedule import utc_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

NEEDED_COLUMNS: Final = ("user", "occurred_at")
KNOWN_COLUMNS: Final = (*NEEDED_COLUMNS, "locale", "whatsapp_jid", "reengagement_opt_out")
TEXT_COLUMN: Final = "text"
DEFAULT_LOCALE: Final = "pt-BR"
LONGEST_LINE: Final = 1_000_000
"""In characters. Without a limit, a file that is no text at all would be read into memory as one line."""

_LONGEST_SHOWN: Final = 40
_GZIP_MAGIC: Final = b"\x1f\x8b"
_YES_OR_NO: Final[Mapping[str, bool]] = MappingProxyType(
    {"": False, "false": False, "0": False, "no": False, "true": True, "1": True, "yes": True}
)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(?!\d)")


class MalformedActivityLog(Exception):
    """The file cannot be read as an activity log; one sentence says where, and what it must be."""

    def __init__(self, path: Path, problem: str, *, line: int | None = None) -> None:
        place = str(path) if line is None else f"{path}, line {line}"
        super().__init__(f"{place}: {problem}.")


class _BadRow(Exception):
    """A row breaks a rule; whoever knows its line says where."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that one user did, with what the log knew about the user then."""

    user: str
    occurred_at: datetime
    """In UTC."""
    locale: str
    whatsapp_jid: str | None = field(repr=False)
    reengagement_opt_out: bool
    text: str | None = field(default=None, repr=False)
    """What the user wrote, where it was asked for and the log knows."""


@dataclass(frozen=True, slots=True)
class ActivityLog:
    """An open activity log. Its events can be read once, in the order of the file."""

    ignored_columns: tuple[str, ...]
    events: Iterator[Event]


@contextmanager
def open_activity_log(path: Path, *, with_text: bool = False) -> Iterator[ActivityLog]:
    """Open the file at `path`, plain or gzipped, whatever its name.

    What users wrote is read for whoever asks for it `with_text`; for all others it is ignored.
    Reads as it goes, so a file may be larger than memory. Opening it and reading its events raise
    MalformedActivityLog at the first thing that is wrong.
    """
    with _binary(path) as binary, TextIOWrapper(binary, "utf-8-sig", "surrogateescape", newline="") as text:
        rows = _rows(path, _text_lines(path, _lines(path, text)))
        header = _header(path, rows)
        known = (*KNOWN_COLUMNS, TEXT_COLUMN) if with_text else KNOWN_COLUMNS
        ignored = tuple(name for name in header if name not in known)
        yield ActivityLog(ignored_columns=ignored, events=_events(path, header, ignored, rows))


@contextmanager
def _binary(path: Path) -> Iterator[BufferedReader | gzip.GzipFile]:
    """The file's bytes, decompressed."""
    with _opened(path) as raw:
        if not _is_gzip(path, raw):
            yield raw
            return
        with gzip.open(raw) as decompressed:
            yield decompressed


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from None


def _is_gzip(path: Path, raw: BufferedReader) -> bool:
    """Look ahead without seeking, so that a pipe will do."""
    try:
        return raw.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> MalformedActivityLog:
    return MalformedActivityLog(path, f"the file cannot be read ({error.strerror or error})")


def _lines(path: Path, text: TextIO) -> Iterator[str]:
    """The physical lines, with their ends; a file that breaks off is told from one that ends."""
    line = 0
    try:
        for content in iter(partial(text.readline, LONGEST_LINE), ""):
            line += 1
            yield content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        problem = "the gzip data is damaged or cut off from here on; copy the file again"
        raise MalformedActivityLog(path, problem, line=line + 1) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _text_lines(path: Path, lines: Iterable[str]) -> Iterator[str]:
    """The same lines, if they are text."""
    for line, content in enumerate(lines, 1):
        if "\0" in content:
            problem = "there is a NUL character; save the file as text in UTF-8"
        elif not content.isascii() and not _is_unicode(content):
            problem = "the text is not UTF-8; save the file in UTF-8"
        elif len(content) >= LONGEST_LINE:
            problem = f"the line is longer than {LONGEST_LINE:,} characters; put each event on its own line"
        else:
            yield content
            continue
        raise MalformedActivityLog(path, problem, line=line)


def _is_unicode(text: str) -> bool:
    """Whether decoding met no stray byte; each one has become a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _rows(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line on which it begins; a quoted field may span several. Blank ones are left out."""
    reader = csv.reader(lines, strict=True, skipinitialspace=True)
    line = 1
    try:
        for row in reader:
            if len(row) > 1 or any(map(str.strip, row)):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        problem = (
            f"the row that begins here is not CSV ({error}); look for a quote that is missing or too many"
        )
        raise MalformedActivityLog(path, problem, line=line) from None


def _header(path: Path, rows: Iterator[tuple[int, list[str]]]) -> tuple[str, ...]:
    wanted = f"the header must name the columns {' and '.join(NEEDED_COLUMNS)}, separated by commas"
    line, row = next(rows, (1, None))
    if row is None:
        raise MalformedActivityLog(path, f"the file is empty; {wanted}", line=line)
    header = tuple(name.strip() for name in row)
    if missing := [name for name in NEEDED_COLUMNS if name not in header]:
        raise MalformedActivityLog(path, f"{wanted}; {' and '.join(missing)} is missing", line=line)
    for name in header:
        if header.count(name) > 1:
            problem = f"the header must name every column once, but {_shown(name)} is there twice"
            raise MalformedActivityLog(path, problem, line=line)
    return header


def _events(
    path: Path, header: tuple[str, ...], ignored: tuple[str, ...], rows: Iterable[tuple[int, list[str]]]
) -> Iterator[Event]:
    for line, row in rows:
        try:
            event = _event(header, row, ignored=ignored)
        except _BadRow as error:
            raise MalformedActivityLog(path, str(error), line=line) from None
        yield event


def _event(header: tuple[str, ...], row: list[str], *, ignored: tuple[str, ...]) -> Event:
    if len(row) != len(header):
        raise _BadRow(f"the row must have {len(header)} fields, as the header has, not {len(row)}")
    cells = {name: cell for name, cell in zip(header, row, strict=True) if name not in ignored}
    user = cells["user"].strip()
    if not user:
        raise _BadRow("user must not be empty")
    return Event(
        user=user,
        occurred_at=_occurred_at(cells["occurred_at"].strip()),
        locale=cells.get("locale", "").strip() or DEFAULT_LOCALE,
        whatsapp_jid=cells.get("whatsapp_jid", "").strip() or None,
        reengagement_opt_out=_opt_out(cells.get("reengagement_opt_out", "").strip()),
        text=cells.get(TEXT_COLUMN, "").strip() or None,
    )


def _occurred_at(text: str) -> datetime:
    try:
        return utc_timestamp(text)
    except ValueError as error:
        raise _BadRow(f"occurred_at {error}, not {_shown(text)}") from None


def _opt_out(text: str) -> bool:
    try:
        return _YES_OR_NO[text.lower()]
    except KeyError:
        raise _BadRow(f"reengagement_opt_out must be true or false or empty, not {_shown(text)}") from None


def _shown(text: str) -> str:
    """`text`, short enough for a sentence. When columns have slipped it may be an address, even here."""
    start = text[: 5 * _LONGEST_SHOWN]
    date = _DATE.match(start)
    kept = date[0] if date else ""  # a bare date has the digits of a phone number
    shown = kept + redact(start.removeprefix(kept))
    return repr(shown if len(shown) <= _LONGEST_SHOWN else f"{shown[: _LONGEST_SHOWN - 1]}…")
