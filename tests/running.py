"""Run the daily job and the commands, in the test's process or in another one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from uuid_utils.compat import uuid7

import manage
from engagement.services.job.daily_job import RunRequest, run_daily_job
from tests.factories import NOW

if TYPE_CHECKING:
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
    """Run `manage.py` in this process up to its exit code; the command closes this test's connection."""
    out, err, code = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["manage.py", *arguments])
        try:
            manage.main()
        except SystemExit as error:
            code = int(error.code or 0)
    return Outcome(out.getvalue(), err.getvalue(), code)


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
