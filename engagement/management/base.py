"""What all commands share: an expected error is one sentence on stderr, without a traceback."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error
from django.utils import translation

from engagement.conf import (
    METRICS_FILE,
    engagement_settings,
    raw_setting,
    refuse_misspelt_names,
    statement_timeout,
)
from engagement.services.resilience.deadline import statement_deadline
from engagement.services.resilience.errors import sentence_about

if TYPE_CHECKING:
    from pathlib import Path

FAILED: Final = 1
WRONG_ARGUMENTS: Final = 2


class SentenceParser(CommandParser):
    """Reports wrong arguments in one sentence, without the usage."""

    def error(self, message: str) -> NoReturn:
        sentence = f"{message.rstrip('.')}. Try --help."
        if self.called_from_command_line:
            self.exit(WRONG_ARGUMENTS, f"{self.prog}: error: {sentence}\n")
        raise CommandError(f"Error: {sentence}", returncode=WRONG_ARGUMENTS)


class SentenceCommand(BaseCommand):
    """A command that reports wrong arguments, wrong settings and database errors in one sentence."""

    # Saves time: `execute` checks the settings.
    requires_system_checks = ()
    has_deadline = True
    """Whether a statement may take ENGAGEMENT_STATEMENT_TIMEOUT_SECONDS at most."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Without abbreviations, which a new option could make ambiguous.
        parser = super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)
        # Django has no option for the class of its parser.
        parser.__class__ = SentenceParser
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        # Every command checks the rules' settings, so that none works with others than intended; those of
        # sending are checked where they are used, and by `manage.py check`.
        refuse_misspelt_names()
        engagement_settings()
        deadline = statement_deadline(statement_timeout())
        try:
            # Operators and their scripts read the output, in any project.
            with translation.override("en"), deadline if self.has_deadline else nullcontext():
                return super().execute(*args, **options)
        except Error as error:
            # Without the original error, whose text may include values of rows.
            raise CommandError(sentence_about(error)) from None

    def write_result(self, text: str) -> bool:
        """Write to stdout; returns whether it was written. A failure is reported on stderr, not raised."""
        try:
            self.stdout.write(_writable(text, encoding=getattr(self.stdout, "encoding", None)))
            self.stdout.flush()
        except (AttributeError, OSError) as error:
            _forget_stdout()
            reason = error.strerror if isinstance(error, OSError) else "it is closed"
            self.say(f"the result could not be written to stdout: {reason}.")
            return False
        return True

    def write_answer(self, text: str) -> None:
        """Write what the command was called for. Without it the command has failed, with exit code 1."""
        if not self.write_result(text):
            sys.exit(FAILED)

    def write_report(self, text: str, *, dry_run: bool) -> None:
        """Write what the command did. Work that is done stays done; a dry run has nothing but its report."""
        if not self.write_result(text) and dry_run:
            sys.exit(FAILED)

    def write_metrics(self) -> None:
        """Write the metrics file, if there is to be one. Raises nothing."""
        if raw_setting(METRICS_FILE):
            # Here, so that the others do not load the library.
            from engagement.services.metrics import write_metrics

            write_metrics()

    def say(self, sentence: str) -> None:
        """Write one sentence to stderr, if it is open."""
        name = type(self).__module__.rpartition(".")[2]
        with suppress(AttributeError, OSError):
            self.stderr.write(f"{name}: {sentence}")


def refuse(problem: str) -> NoReturn:
    """End the command because of arguments that are missing, or do not go together."""
    raise CommandError(f"{problem}. Try --help.", returncode=WRONG_ARGUMENTS)


def printable(path: Path) -> str:
    """The path with escapes for bytes that are not UTF-8, which stdout refuses."""
    return str(path).encode(errors="backslashreplace").decode()


def _writable(text: str, *, encoding: str | None) -> str:
    """`text` with escapes for the characters that stdout cannot encode."""
    encoding = encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _forget_stdout() -> None:
    """Redirect stdout to /dev/null, so that Python does not fail when it flushes the buffer at exit."""
    with suppress(AttributeError, OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
