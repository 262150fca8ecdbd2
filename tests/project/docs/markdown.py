"""Parse the guides: sections, tables, code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from tests.running import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCS: Final = PROJECT / "docs"
GUIDES: Final = (PROJECT / "README.md", *sorted(DOCS.rglob("*.md")), *sorted(PROJECT.glob("data/*.md")))
REFERENCE: Final = DOCS / "reference.md"

_FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`([^`\n]+)`")
_HEADING: Final = re.compile(r"^(#+) (.+)$", re.MULTILINE)


def prose(text: str) -> str:
    """A text without its fenced code blocks."""
    return _FENCE.sub("", text)


def code_blocks(text: str) -> list[str]:
    """The contents of the fenced code blocks."""
    return [block.partition("\n")[2].removesuffix("```") for block in _FENCE.findall(text)]


def code(text: str) -> list[str]:
    """The inline code."""
    return _CODE.findall(prose(text))


def section(path: Path, heading: str) -> str:
    """The text below a heading, up to the next heading of the same or a higher level."""
    text = path.read_text()
    (found,) = (match for match in _HEADING.finditer(text) if match[2].replace("`", "") == heading)
    rest = text[found.end() :]
    ends = (match.start() for match in _HEADING.finditer(rest) if len(match[1]) <= len(found[1]))
    return rest[: next(ends, None)]


def headings(text: str) -> list[str]:
    return [title for _, title in _HEADING.findall(prose(text))]


def rows(text: str, *, first_column: str) -> Iterator[list[str]]:
    """The rows of all tables whose first column has this heading."""
    is_wanted = False
    for line in prose(text).splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            is_wanted = False
        elif is_wanted and not set(cells[0]) <= {"-", " "}:
            yield cells
        is_wanted = is_wanted or cells[:1] == [first_column]


def named_in(text: str, *, first_column: str) -> set[str]:
    """The inline code in the first column of such tables."""
    return {name for cells in rows(text, first_column=first_column) for name in code(cells[0])}


def anchor(heading: str) -> str:
    """The fragment of a link to a heading, as code hosts generate it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
