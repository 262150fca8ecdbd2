"""The command lines in the guides and deployment files, read by the commands' own parsers."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

from tests.project.docs.markdown import DOCS, GUIDES, code, code_blocks
from tests.running import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES: Final = (
    *sorted((DOCS / "sql").glob("*.sql")),
    *(path for path in sorted((DOCS / "deploy").iterdir()) if path.suffix != ".yaml"),
    PROJECT / ".env.example",
)

ID: Final = "01a208d8-40cb-76c8-bf85-b63eab8110fa"
PLACEHOLDERS: Final = {
    "TIMESTAMP": "2026-03-02T06:00:00Z",
    "NAME": "inactivity_14d",
    "N": "5",
    "DURATION": "26h",
    "DATE": "1998-06-20",
    "USER_ID": ID,
    "JOB_ID": ID,
}

_CALL: Final = re.compile(r"manage\.py ([a-z_]+.*)")
_SHELL: Final = re.compile(r"\s(?:\d?>>?|\|\|?|&&|;|#).*|[)`].*|' .*")


def command_lines() -> Iterator[tuple[Path, str]]:
    """Every call of manage.py: the file, and the arguments."""
    for path in GUIDES:
        text = path.read_text()
        # A long synopsis continues on the next line.
        blocks = [re.sub(r"\n\s+(?=\[)", " ", block) for block in code_blocks(text)]
        for line in [*"\n".join(blocks).splitlines(), *code(text)]:
            yield from _calls(path, line)
    for path in FILES:
        for line in path.read_text().splitlines():
            yield from _calls(path, line)


def _calls(path: Path, line: str) -> Iterator[tuple[Path, str]]:
    for call in _CALL.findall(line):
        yield path, _SHELL.sub("", call).strip().rstrip(".,:")


def parser_of(name: str) -> CommandParser:
    app = get_commands()[name]
    command = app if isinstance(app, BaseCommand) else load_command_class(app, name)
    return command.create_parser("manage.py", name)


def parse(line: str) -> dict[str, Any]:
    """The parsed arguments of a call or a synopsis. Raises CommandError."""
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(re.sub(r"[\[\]…]", " ", line))]
    return vars(parser_of(words[0]).parse_args(words[1:]))


def options_of(name: str) -> set[str]:
    """The options that a command adds to those of every command."""
    common = set(_options(CommandParserOfNothing().create_parser("manage.py", "nothing")))
    return set(_options(parser_of(name))) - common


def _options(parser: CommandParser) -> Iterator[str]:
    for action in parser._actions:
        yield from (option for option in action.option_strings if option.startswith("--"))


class CommandParserOfNothing(BaseCommand):
    """A command without options of its own."""
