"""Run the daily job and the commands, in the test's process or in another one."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import django
import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection
from uuid_utils.compat import uuid7

import manage
from engagement.services.job.daily_job import RunRequest, run_daily_job
from tests.factories import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from engagement.services.job.result import RunResult
    from engagement.services.resilience.stop import StopRequest

PROJECT: Final = Path(__file__).resolve().parent.parent

PATIENCE: Final = {"ENGAGEMENT_LOCK_TIMEOUT_SECONDS": "60"}
"""For processes that a test keeps waiting: on a slow machine they must not meet a lock timeout."""


class Outcome(NamedTuple):
    """The output and the exit code of a command."""

    out: str
    err: str
    code: int

    @property
    def json(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)


def run_job(*, now: datetime = NOW, stop: StopRequest | None = None, **request: Any) -> RunResult:
    """Run the daily job through its service."""
    return run_daily_job(request=RunRequest(job_id=uuid7(), now=now, **request), stop=stop)


def run_command(*arguments: str) -> Outcome:
    """Run a command in this process, on this test's database connection."""
    out, err, code = StringIO(), StringIO(), 0
    try:
        call_command(*arguments, stdout=out, stderr=err)
    except SystemExit as error:
        code = int(error.code or 0)
    except CommandError as error:
        err.write(str(error))
        code = error.returncode
    return Outcome(out.getvalue(), err.getvalue(), code)


def run_main(*arguments: str) -> Outcome:
    """Run `manage.py` in this process up to its exit code.

    The command closes this test's connection. What it logs goes where this process logs.
    """
    out, err, code = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["manage.py", *arguments])
        patch.setattr(django, "setup", lambda: None)  # done, and it would replace pytest's log handlers
        try:
            manage.main()
        except SystemExit as error:
            # As the interpreter does: a text is written to stderr, and the code is 1.
            code = 1 if isinstance(error.code, str) else error.code or 0
            err.write(f"{error.code}\n" if isinstance(error.code, str) else "")
        finally:
            gc.enable()  # a command with a process of its own switches it off
    return Outcome(out.getvalue(), err.getvalue(), code)


@contextmanager
def connected_to(url: str) -> Iterator[None]:
    """Let this process use another database of the same server, or another role."""
    parts, settings = urlsplit(url), connection.settings_dict
    before = dict(settings)
    connection.close()
    settings.update(NAME=parts.path[1:], USER=parts.username or "", PASSWORD=parts.password or "")
    ContentType.objects.clear_cache()
    try:
        yield
    finally:
        connection.close()
        settings.update(before)
        ContentType.objects.clear_cache()


def start_process(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start `manage.py` as a separate process on the test's database."""
    return subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env={**os.environ, "DATABASE_URL": database_url(), "LOG_FORMAT": "json", **PATIENCE, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_process(*arguments: str, **environment: str) -> Outcome:
    """Run `manage.py` as a separate process and wait for its end."""
    process = start_process(*arguments, **environment)
    out, err = process.communicate(timeout=120)
    return Outcome(out, err, process.returncode)


def database_url() -> str:
    """The DATABASE_URL of the test's database, for another process."""
    parameters = connection.get_connection_params()
    user = parameters.get("user") or ""
    password = f":{parameters['password']}" if parameters.get("password") else ""
    port = parameters.get("port") or ""
    return (
        f"postgresql://{user}{password}@/{connection.settings_dict['NAME']}"
        f"?host={parameters.get('host', '')}" + (f"&port={port}" if port else "")
    )
