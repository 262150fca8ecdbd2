#!/usr/bin/env python3
"""Run the project's management commands."""

import gc
import os
import sys

INSUFFICIENT_PRIVILEGE = "42501"
REFUSED = ("23", "42701", "42710", "42P07")
"""The beginnings of the SQLSTATEs of rows that violate a constraint, and of names that are taken."""
INTERRUPTED = 130
"""The exit code that shells report for a program ended by SIGINT."""


def main() -> None:
    """Run one command. An error in the environment ends with one sentence and exit code 1."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    # Python collects garbage after every 700 new objects. The modules of a command make 140,000, which stay:
    # a start without a collection takes a tenth less.
    gc.set_threshold(200_000)
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db import DatabaseError, OperationalError
    except ImportError as error:
        sys.exit(f"manage.py: {error}. Run `make install`, or use .venv/bin/python.")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"manage.py: {error}")
    except ModuleNotFoundError as error:
        settings = os.environ["DJANGO_SETTINGS_MODULE"]
        if error.name is None or not settings.startswith(error.name):
            raise
        sys.exit(f"manage.py: there are no settings called {settings}; DJANGO_SETTINGS_MODULE names them.")
    except OperationalError as error:
        first_line = str(error).partition("\n")[0]
        sys.exit(f"manage.py: the database did not answer: {first_line}")
    except DatabaseError as error:
        # `migrate` has an error of its own, raised while it handles that of the database.
        cause = error.__cause__ or getattr(error.__context__, "__cause__", None)
        first_line, state = str(cause).partition("\n")[0], getattr(cause, "sqlstate", None) or ""
        if state == INSUFFICIENT_PRIVILEGE:
            sys.exit(
                f"manage.py: the database user lacks a privilege ({first_line}); `migrate` needs the owner of"
                " the tables, who may create tables in the schema."
            )
        if "migrate" in sys.argv and state.startswith(REFUSED):
            sys.exit(
                f"manage.py: the tables are not as the migrations need them ({first_line});"
                " docs/sql/adoption_check.sql lists what to correct, with the SQL for it."
            )
        raise
    except KeyboardInterrupt:
        sys.stderr.write("manage.py: interrupted; what was not committed is undone.\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
