"""Types of command-line arguments. Each parses a text or raises an error that says what it must be."""

from __future__ import annotations

import json
import os
import re
from argparse import ArgumentTypeError
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from engagement.privacy import redact
from engagement.schedule import YEARS, utc_timestamp

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Callable
    from datetime import datetime


SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
"""What the units of a duration last."""
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
MAX_DURATION: Final = timedelta(days=3650)
NOW_YEARS: Final = range(YEARS[0], YEARS[-1] - 12)
"""Of `--now`: the database accepts the ten years of waiting and the year of forecasts after it."""


def timestamp(text: str) -> datetime:
    """An instant in UTC, from ISO 8601 with an offset."""
    try:
        return utc_timestamp(text)
    except ValueError as error:
        # A date is no phone number, though its digits may look like one.
        shown = text[:40] if _DATE.match(text) else redact(text[:40])
        raise ArgumentTypeError(f"{error}, not {shown!r}") from None


def now_timestamp(text: str) -> datetime:
    """An instant in UTC as of which a command can work."""
    moment = timestamp(text)
    if moment.year not in NOW_YEARS:
        raise ArgumentTypeError(
            f"must lie in the years {NOW_YEARS[0]} to {NOW_YEARS[-1]}, so that all waits end in time,"
            f" not {text[:40]!r}"
        )
    return moment


def calendar_date(text: str) -> date:
    """A date, written as 1997-01-31."""
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None or day.year not in YEARS:
        raise ArgumentTypeError(
            f"must be a date such as 1997-01-31, in the years {YEARS[0]} to {YEARS[-1]}, not {text[:40]!r}"
        )
    return day


def svg_file(text: str) -> Path:
    """The path of an SVG file that can be written; an existing file is replaced."""
    path = Path(text)
    if path.suffix != ".svg":
        raise ArgumentTypeError(f"must be the name of a file that ends in .svg, not {text[-80:]!r}")
    if not path.parent.is_dir():
        raise ArgumentTypeError(f"the folder of {text[-80:]!r} does not exist; make it first")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ArgumentTypeError(f"{text[-80:]!r} cannot be written; choose another place")
    return path


def identifier(text: str) -> UUID:
    """A UUID. The error does not repeat the text, which may be a phone number."""
    try:
        return UUID(text)
    except ValueError:
        raise ArgumentTypeError("must be a UUID, such as 0197f3a0-0000-7000-8000-000000000001") from None


def words(text: str) -> str:
    """A text that is not blank, without the blanks around it."""
    if not text.strip():
        raise ArgumentTypeError("must not be empty")
    return text.strip()


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"""must be a JSON object, such as {{"name": "Ana"}}, not {text[:40]!r}""")
    return value


def duration(text: str) -> timedelta:
    """A duration in one unit, such as 26h, 90m or 2d; at most ten years."""
    parts = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = int(parts[1]) * SECONDS[parts[2]] if parts else 0
    if not 0 < seconds <= MAX_DURATION.total_seconds():
        raise ArgumentTypeError(f"must be a duration such as 26h, 90m or 2d, not {text[:40]!r}")
    return timedelta(seconds=seconds)


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """A type for whole numbers from `minimum` to `maximum` (None: no upper bound)."""
    bounds = f"{minimum} or more" if maximum is None else f"from {minimum} to {maximum}"

    def bounded(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = None
        if number is None or number < minimum or (maximum is not None and number > maximum):
            raise ArgumentTypeError(f"must be a whole number, {bounds}, not {text[:40]!r}")
        return number

    return bounded


def add_backend(parser: ArgumentParser, help_text: str) -> None:
    """Add the option `--backend`, for one that is not the configured one."""
    parser.add_argument("--backend", type=words, metavar="NAME", help=f"{help_text}, such as api:assistant")


def add_now(parser: ArgumentParser, action: str) -> None:
    """Add the option `--now`. Without it, the command itself reads the clock."""
    parser.add_argument(
        "--now",
        type=now_timestamp,
        metavar="TIMESTAMP",
        help=f"{action} as of this time (ISO 8601 with an offset), by default now",
    )
