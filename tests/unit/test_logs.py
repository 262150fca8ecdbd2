"""What the project logs to stderr, in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest
from django.db import connection

from tests.running import PROJECT, Outcome, database_url, run_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Logged: TypeAlias = "Callable[[str], list[dict[str, Any]]]"
"""Runs a program and returns the objects that it logged."""

JID: Final = "5511999990042@s.whatsapp.net"
NUMBER: Final = "+55 11 99999-0042"
USER_ID: Final = "12345678-1234-1234-1234-123456789012"

SET_UP: Final = (
    "import django, logging, structlog; django.setup(); log = structlog.get_logger('engagement')\n"
)

FAILING: Final = f"""
try:
    raise ValueError("no such user: {JID}")
except ValueError:
    log.exception("engagement_user_failed")
"""


def run_program(program: str, **environment: str) -> Outcome:
    """Run a few lines of Python that can use `log`, structlog and logging."""
    done = subprocess.run(
        [sys.executable, "-c", SET_UP + program],
        cwd=PROJECT,
        env=environment_with(**environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Outcome(done.stdout, done.stderr, done.returncode)


def environment_with(**environment: str) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("LOG_")}
    return {
        **inherited,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DATABASE_URL": "postgresql://user:secret@/engagement",
        **environment,
    }


def logged_with(program: str, **environment: str) -> list[dict[str, Any]]:
    """Return the objects that the program logged; every line of stderr must be one."""
    outcome = run_program(program, **environment)
    assert (outcome.out, outcome.code) == ("", 0), outcome.err
    return [json.loads(line) for line in outcome.err.splitlines()]


SHARED: Final = """
import json, sys
for line in sys.stdin:
    exec(json.loads(line))
    structlog.contextvars.clear_contextvars()
    print("end", file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def logged() -> Iterator[Logged]:
    """Return the objects that a program logs with the defaults; one process runs all programs."""
    with subprocess.Popen(
        [sys.executable, "-c", SET_UP + SHARED],
        cwd=PROJECT,
        env=environment_with(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:

        def run(program: str) -> list[dict[str, Any]]:
            assert process.stdin
            assert process.stderr
            process.stdin.write(json.dumps(program) + "\n")
            process.stdin.flush()
            return [json.loads(line) for line in iter(process.stderr.readline, "end\n")]

        yield run
        assert process.communicate() == ("", "")


def on_a_terminal(program: str, **environment: str) -> str:
    """Return what the program writes to stderr if that is a terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as reader:
        command = [sys.executable, "-c", SET_UP + program]
        subprocess.run(
            command, cwd=PROJECT, env=environment_with(**environment), stderr=theirs, check=True, timeout=60
        )
        os.close(theirs)
        return reader.read(65_536).decode()


def test_each_line_is_a_json_object_without_a_terminal(logged: Logged) -> None:
    first, second = logged("log.info('one', users=3); log.warning('two')")
    assert first.pop("timestamp") < second.pop("timestamp")
    assert first == {"event": "one", "users": 3, "level": "info", "logger": "engagement"}
    assert second == {"event": "two", "level": "warning", "logger": "engagement"}


def test_timestamp_is_iso_8601_in_utc() -> None:
    (event,) = logged_with("log.info('one')", TZ="America/Sao_Paulo")
    assert event["timestamp"].endswith("Z")


def test_event_with_line_breaks_stays_one_line(logged: Logged) -> None:
    assert [event["event"] for event in logged(r"log.info('one\ntwo')")] == ["one\ntwo"]


def test_bound_context_is_part_of_every_event(logged: Logged) -> None:
    events = logged("structlog.contextvars.bind_contextvars(job_id='7'); log.info('a'); log.info('b')")
    assert [event["job_id"] for event in events] == ["7", "7"]


def test_terminal_gets_text() -> None:
    written = on_a_terminal("log.info('one')")
    assert "one" in written
    assert "{" not in written


def test_json_format_applies_to_a_terminal_too() -> None:
    assert json.loads(on_a_terminal("log.info('one')", LOG_FORMAT="json"))["event"] == "one"


def test_text_format_without_a_terminal_has_no_colours() -> None:
    outcome = run_program("log.info('one', users=3)", LOG_FORMAT="text")
    assert "one" in outcome.err
    assert "users=3" in outcome.err
    assert "{" not in outcome.err
    assert "\x1b" not in outcome.err


def test_events_below_the_level_are_not_logged() -> None:
    program = "log.info('one'); log.error('two'); logging.getLogger('other').warning('three')"
    assert [event["event"] for event in logged_with(program, LOG_LEVEL="error")] == ["two"]


@pytest.mark.parametrize("command", ["check", "run_engagement_daily"])
@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        ("LOG_LEVEL", "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL, not 'loud'."),
        ("LOG_FORMAT", "LOG_FORMAT must be one of auto, json, text, not 'loud'."),
    ],
)
def test_invalid_setting_ends_in_one_sentence(command: str, variable: str, sentence: str) -> None:
    assert run_process(command, **{variable: "loud"}) == ("", f"manage.py: {sentence}\n", 1)


def test_addresses_and_numbers_are_redacted_in_every_value(logged: Logged) -> None:
    (event,) = logged(f"log.info('to {JID}', error='from {NUMBER}', user_id='{USER_ID}')")
    assert (event["event"], event["error"]) == ("to [address]", "from [number]")
    assert event["user_id"] == USER_ID


def test_addresses_and_numbers_are_redacted_in_nested_values(logged: Logged) -> None:
    (event,) = logged(f"log.info('x', a={{'b': ['{JID}', ('{NUMBER}', 3)]}}, c={{'{JID}': None}})")
    assert event["a"] == {"b": ["[address]", ["[number]", 3]]}
    assert event["c"] == {"[address]": None}


def test_addresses_and_numbers_are_redacted_in_objects_that_are_not_text(logged: Logged) -> None:
    (event,) = logged(f"log.info('x', error=ValueError('{JID}'), kinds={{'{NUMBER}'}})")
    assert (event["error"], event["kinds"]) == ("[address]", ["[number]"])


def test_no_query_of_a_request_is_logged(logged: Logged) -> None:
    events = logged(
        "from django.test import RequestFactory\n"
        "from django.utils.log import log_response\n"
        "from django.http import HttpResponse\n"
        "request = RequestFactory().get('/webhooks/whatsapp?hub.verify_token=secret')\n"
        "answer = HttpResponse(status=403)\n"
        "log_response('%s: %s', 'Forbidden', request.path, response=answer, request=request)\n"
        "server = logging.getLogger('django.server')\n"
        "server.info('\"%s\" %s %s', 'GET /webhooks/whatsapp?hub.verify_token=secret HTTP/1.1', 403, 42)"
    )
    assert [event["event"] for event in events] == [
        "Forbidden: /webhooks/whatsapp",
        '"GET /webhooks/whatsapp HTTP/1.1" 403 42',
    ]
    assert events[0]["request"] == "GET /webhooks/whatsapp"
    assert "secret" not in str(events)


def test_uuid_and_time_are_logged_as_their_text(logged: Logged) -> None:
    program = f"import datetime, uuid; log.info('x', u=uuid.UUID('{USER_ID}'), d=datetime.date(2026, 3, 2))"
    (event,) = logged(program)
    assert (event["u"], event["d"]) == (USER_ID, "2026-03-02")


def test_numbers_and_booleans_keep_their_types(logged: Logged) -> None:
    (event,) = logged("log.info('x', count=12345678, share=0.25, dry_run=False, nothing=None)")
    values = (event["count"], event["share"], event["dry_run"], event["nothing"])
    assert values == (12345678, 0.25, False, None)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_addresses_are_redacted_in_tracebacks(log_format: str) -> None:
    outcome = run_program(FAILING, LOG_FORMAT=log_format)
    assert "Traceback" in outcome.err
    assert "ValueError: no such user: [address]" in outcome.err
    assert JID not in outcome.err
    assert "UserWarning" not in outcome.err


def test_traceback_stays_on_the_line_of_its_event(logged: Logged) -> None:
    (event,) = logged(FAILING)
    assert (event["event"], event["level"]) == ("engagement_user_failed", "error")
    assert event["exception"].startswith("Traceback")


def test_standard_library_loggers_use_the_same_format(logged: Logged) -> None:
    (event,) = logged(f"logging.getLogger('other').error('to %s', '{JID}', extra={{'phone': '{NUMBER}'}})")
    assert event.pop("timestamp")
    assert event == {"event": "to [address]", "level": "error", "logger": "other", "phone": "[number]"}


@pytest.mark.django_db
def test_parameters_of_sql_are_not_logged_even_at_debug() -> None:
    connection.ensure_connection()
    events = logged_with(
        "from django.db import connection\n"
        "connection.cursor().execute('SELECT %s::text', ['parameter of a statement'])\n"
        "log.debug('end')",
        LOG_LEVEL="DEBUG",
        DEBUG="on",
        DATABASE_URL=database_url(),
    )
    assert events[-1]["event"] == "end"
    assert "parameter of a statement" not in str(events)
