"""Types of the arguments of a replay: each turns a text into a value or says what it must be."""

from __future__ import annotations

import os
import re
from argparse import ArgumentTypeError
from datetime import date
from pathlib import Path
from typing import Final

from engagement.schedule import YEARS

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


def calendar_date(text: str) -> date:
    """A day, written in the one way that nobody misreads."""
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
    """A place where an SVG file can be written; one that is there already is replaced."""
    path = Path(text)
    if path.suffix != ".svg":
        raise ArgumentTypeError(f"must be the name of a file that ends in .svg, not {text[-80:]!r}")
    if not path.parent.is_dir():
        raise ArgumentTypeError(f"the folder of {text[-80:]!r} does not exist; make it first")
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ArgumentTypeError(f"{text[-80:]!r} cannot be written; choose another place")
    return path
