"""Reads the file `.env`. A line that says nothing is an error: a safety limit in it would be missing."""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Final

from django.core.exceptions import ImproperlyConfigured
from environ import Env

if TYPE_CHECKING:
    from pathlib import Path

_SETTING: Final = re.compile(r"(?:export )?[A-Za-z_0-9]+=[^\0]*")
"""What `Env.read_env` takes; anything else it would print, with its value, and drop."""
_NAME: Final = re.compile(r"\s*(?:export\s+)?([A-Z][A-Z0-9_]{0,60})\s*=")


def read_env_file(path: Path) -> None:
    """Put the settings of the file, if it exists, into the environment; those that are there already win.

    Raises ImproperlyConfigured, with one sentence that repeats no value.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except FileNotFoundError:
        return
    except UnicodeDecodeError:
        raise ImproperlyConfigured(f"{path} is not text in UTF-8; save it as UTF-8.") from None
    except OSError as error:
        raise ImproperlyConfigured(f"{path} cannot be read: {error.strerror}.") from None
    settings = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not _SETTING.fullmatch(line):
            name = _NAME.match(line)
            about = f" ({name[1]})" if name else ""
            raise ImproperlyConfigured(
                f"{path}, line {number}{about} cannot be read: write NAME=value, without blanks around the =."
            )
        settings.append(line)
    Env.read_env(StringIO("\n".join(settings)))
