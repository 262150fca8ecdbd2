"""The commands' common manners: what was foreseen ends in one sentence on stderr, never in a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, InterfaceError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Mapping

WRONG_ARGUMENTS: Final = 2
"""The exit code."""

_NOT_MIGRATED: Final = "The database lacks a table or a column of the app ({reason}); run manage.py migrate."
_NOT_ALLOWED: Final = "The database does not allow this ({reason}); use a user and a server that may write."
_FORESEEN: Final[Mapping[str | None, str]] = {
    psycopg.errors.UndefinedTable.sqlstate: _NOT_MIGRATED,
    psycopg.errors.UndefinedColumn.sqlstate: _NOT_MIGRATED,
    psycopg.errors.InsufficientPrivilege.sqlstate: _NOT_ALLOWED,
    psycopg.errors.ReadOnlySqlTransaction.sqlstate: _NOT_ALLOWED,
}


class SentenceParser(CommandParser):
    """Answers wrong arguments in one sentence, without the usage above it that hides it."""

    def error(self, message: str) -> NoReturn:
        sentence = f"{message.rstrip('.')}. Try --help."
        if self.called_from_command_line:
            self.exit(WRONG_ARGUMENTS, f"{self.prog}: error: {sentence}\n")
        raise CommandError(f"Error: {sentence}", returncode=WRONG_ARGUMENTS)


class SentenceCommand(BaseCommand):
    """A command whose wrong arguments and database troubles are told in one sentence."""

    # Start at once: what is wrong with the settings is told in a sentence where they are read.
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        # Without abbreviations: what is typed is what is meant, also when an option is added.
        parser = super().create_parser(prog_name, subcommand, allow_abbrev=False, **kwargs)
        # Django names its parser's class itself and offers no other way in.
        parser.__class__ = SentenceParser
        return parser

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except Error as error:
            sentence = database_sentence(error)
            if sentence is None:
                raise
            raise CommandError(sentence) from error


def database_sentence(error: Error) -> str | None:
    """What to tell a person about `error`, or None if it is a mistake in the program.

    Only the first line of the server's own message is repeated: the rest may hold values of rows.
    """
    cause = error.__cause__ if isinstance(error.__cause__, psycopg.Error) else None
    first_line = str(error).strip().partition("\n")[0]
    reason = ((cause and cause.diag.message_primary) or first_line).rstrip(".")
    if isinstance(error, OperationalError | InterfaceError):
        return f"Database trouble: {reason}."
    if cause and cause.sqlstate in _FORESEEN:
        return _FORESEEN[cause.sqlstate].format(reason=reason)
    return None
