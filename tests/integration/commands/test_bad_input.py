"""Bad input of any kind: one sentence, the right exit code, no traceback, nothing changed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands

from engagement.models import EngagementMessage, EngagementStateTransition, MessageType, UserEngagementState
from engagement.states import State
from tests.database import another_connection
from tests.factories import make_user, queue_for
from tests.running import PROJECT, Outcome, database_url, run_command, run_main, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django.fixtures import Settings

CONNECTION_OPTIONS = {
    "nonsense=1": 'invalid connection option "nonsense"',
    "connect_timeout=soon": "bad value for connect_timeout: 'soon'",
}

UNREACHABLE = "postgresql://somebody:secret-password@127.0.0.1:1/nowhere"

ARGUMENTS = {
    "unknown check": (["--check", "inactivity"], "argument --check: invalid choice: 'inactivity'"),
    "no check": (["--check"], "argument --check: expected at least one argument"),
    "naive now": (["--now", "2026-03-02T06:00:00"], "argument --now:"),
    "date for now": (["--now", "2026-03-02"], "argument --now:"),
    "unparsable now": (["--now", "yesterday"], "argument --now:"),
    "now too early": (["--now", "0001-01-01T00:00:00+00:00"], "argument --now:"),
    "now too late": (["--now", "9999-12-31T23:59:59+00:00"], "argument --now:"),
    "no batch": (["--batch-size", "0"], "argument --batch-size: must be a whole number"),
    "negative batch": (["--batch-size", "-5"], "argument --batch-size: must be a whole number"),
    "huge batch": (["--batch-size", "10001"], "argument --batch-size: must be a whole number"),
    "batch in words": (["--batch-size", "many"], "argument --batch-size: must be a whole number"),
    "no limit": (["--limit", "0"], "argument --limit: must be a whole number"),
    "fraction": (["--limit", "1.5"], "argument --limit: must be a whole number"),
    "empty check": (["--check", ""], "argument --check: invalid choice: ''"),
    "no now": (["--now"], "argument --now: expected one argument"),
    "empty now": (["--now", ""], "argument --now:"),
    "no such day": (["--now", "2026-02-30T06:00:00Z"], "argument --now:"),
    "no such offset": (["--now", "2026-03-02T06:00:00+25:00"], "argument --now:"),
    "seconds since 1970": (["--now", "1772431200"], "argument --now:"),
    "more than now": (["--now", "2026-03-02T06:00:00Z; DROP TABLE user_profiles"], "argument --now:"),
    "more digits than Python reads": (["--limit", "9" * 5000], "argument --limit: must be a whole number"),
    "no workers": (["--workers", "0"], "argument --workers: must be a whole number, from 1 to 64"),
    "too many workers": (["--workers", "65"], "argument --workers: must be a whole number, from 1 to 64"),
    "value for a switch": (["--dry-run=no"], "argument --dry-run: ignored explicit argument 'no'"),
    "abbreviation": (["--dry"], "unrecognized arguments: --dry"),
    "unknown option": (["--force"], "unrecognized arguments: --force"),
    "stray word": (["now"], "unrecognized arguments: now"),
    "value for the brake": (
        ["--allow-large-run=5"],
        "argument --allow-large-run: ignored explicit argument '5'",
    ),
}

NOBODY = "0197f3a0-0000-7000-8000-000000000001"
GOODBYE = "engagement.goodbye.self_select"
OTHER_COMMANDS = {
    "nobody": (["receive_message"], 2, "the following arguments are required: USER_ID, TEXT"),
    "no text": (["receive_message", NOBODY], 2, "the following arguments are required: USER_ID, TEXT"),
    "no id": (["receive_message", "5511", "oi"], 2, "argument USER_ID: must be a UUID"),
    "empty id": (["receive_message", "", "oi"], 2, "argument USER_ID: must be a UUID"),
    "naive at": (["receive_message", NOBODY, "oi", "--at", "2026-03-02T06:00:00"], 2, "argument --at:"),
    "two texts": (["receive_message", NOBODY, "oi", "oi"], 2, "unrecognized arguments: oi"),
    "stranger": (["receive_message", NOBODY, "stop"], 1, f"There is no user {NOBODY}; add a row"),
    "no key": (["preview_message"], 2, "the following arguments are required: KEY"),
    "unknown key": (["preview_message", "engagement.goodby"], 2, f"known are {GOODBYE}, engagement.reply."),
    "no JSON": (
        ["preview_message", GOODBYE, "--params", "{name: Ana}"],
        2,
        "argument --params: must be a JSON",
    ),
    "no object": (["preview_message", GOODBYE, "--params", "[1]"], 2, "argument --params: must be a JSON"),
    "deep JSON": (
        ["preview_message", GOODBYE, "--params", "[" * 9000],
        2,
        "argument --params: must be a JSON",
    ),
    "long JSON": (
        ["preview_message", GOODBYE, "--params", "1" * 9000],
        2,
        "argument --params: must be a JSON",
    ),
    "parameter too many": (
        ["preview_message", GOODBYE, "--params", '{"name": "Ana"}'],
        2,
        f"Wrong parameters for the message '{GOODBYE}': 'name' is not in the text.",
    ),
    "nobody to explain": (["explain_engagement"], 2, "the following arguments are required: USER_ID"),
    "user by name": (["explain_engagement", "ana"], 2, "argument USER_ID: must be a UUID"),
    "user by number": (["explain_engagement", "5511999990000"], 2, "argument USER_ID: must be a UUID"),
    "user cut off": (["explain_engagement", NOBODY[:-1]], 2, "argument USER_ID: must be a UUID"),
    "empty user": (["explain_engagement", ""], 2, "argument USER_ID: must be a UUID"),
    "two users": (["explain_engagement", NOBODY, NOBODY], 2, "unrecognized arguments"),
    "explained at a naive now": (["explain_engagement", NOBODY, "--now", "2026-03-02"], 2, "argument --now:"),
    "no days": (
        ["forecast_engagement", "--days", "0"],
        2,
        "argument --days: must be a whole number, from 1 to",
    ),
    "too many days": (["forecast_engagement", "--days", "367"], 2, "argument --days: must be a whole number"),
    "days in words": (
        ["forecast_engagement", "--days", "many"],
        2,
        "argument --days: must be a whole number",
    ),
    "stray day": (["forecast_engagement", "14"], 2, "unrecognized arguments: 14"),
    "forecast from yesterday": (["forecast_engagement", "--now", "yesterday"], 2, "argument --now:"),
    "stranger to explain": (["explain_engagement", NOBODY], 1, f"There is no user {NOBODY}"),
    "no run": (["undo_engagement_run"], 2, "the following arguments are required: JOB_ID"),
    "run by date": (["undo_engagement_run", "2026-03-02"], 2, "argument JOB_ID: must be a UUID"),
    "undo with a limit": (
        ["undo_engagement_run", NOBODY, "--limit", "1"],
        2,
        "unrecognized arguments: --limit",
    ),
    "unknown run": (["undo_engagement_run", NOBODY], 1, f"The audit log has no transition of a run {NOBODY}"),
    "unknown run, dry": (
        ["undo_engagement_run", NOBODY, "--dry-run"],
        1,
        f"has no transition of a run {NOBODY}",
    ),
}

MAX_AGES = ("26", "h", "0h", "-1h", "1.5h", "26 h", "1d2h", "26H", "²h", "4000d", "9" * 5000 + "h", "", "day")

ENVIRONMENT = {
    "no secret key": ({"SECRET_KEY": ""}, "SECRET_KEY is not set"),
    "no database in production": ({"DEBUG": "off", "DATABASE_URL": ""}, "DATABASE_URL is not set"),
    "another engine": ({"DATABASE_URL": "sqlite:///db.sqlite3"}, "PostgreSQL is the only engine"),
    "no URL": ({"DATABASE_URL": "localhost"}, "DATABASE_URL must look like"),
    "debug maybe": ({"DEBUG": "maybe"}, "DEBUG must be on or off"),
    "pooler perhaps": ({"DATABASE_BEHIND_POOLER": "perhaps"}, "DATABASE_BEHIND_POOLER must be on or off"),
    "log level": ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be one of"),
    "log format": ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of"),
    "run time": ({"ENGAGEMENT_RUN_TIME": "6 am"}, "ENGAGEMENT_RUN_TIME must be a time in UTC"),
    "unknown settings module": ({"DJANGO_SETTINGS_MODULE": "config.nowhere"}, "config.nowhere"),
    "unknown setting": ({"ENGAGEMENT_BATCHSIZE": "10"}, "ENGAGEMENT_BATCHSIZE is not a setting"),
}


def assert_one_sentence(outcome: Outcome, *, code: int, sentence: str) -> None:
    assert outcome.code == code, outcome
    assert outcome.out == ""
    assert sentence in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1, outcome.err
    assert "Traceback" not in outcome.err


@pytest.fixture
def due_user(committed: None) -> Iterator[UserEngagementState]:
    user = make_user("silent")
    yield user
    user.refresh_from_db()
    assert user.state == State.ACTIVE
    assert not EngagementStateTransition.objects.exists()
    assert not EngagementMessage.objects.exists()


@pytest.mark.parametrize(("arguments", "sentence"), ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_wrong_arguments_of_the_job_are_refused(arguments: list[str], sentence: str) -> None:
    assert_one_sentence(run_command("run_engagement_daily", *arguments), code=2, sentence=sentence)


@pytest.mark.django_db
@pytest.mark.parametrize(("words", "code", "sentence"), OTHER_COMMANDS.values(), ids=OTHER_COMMANDS.keys())
def test_wrong_arguments_of_other_commands_are_refused(words: list[str], code: int, sentence: str) -> None:
    outcome = run_command(*words)
    assert_one_sentence(outcome, code=code, sentence=sentence)
    assert "5511999990000" not in outcome.err


@pytest.mark.parametrize(
    ("words", "code"), [(["run_engagement_daily", "--limit", "0"], 2), (["explain_engagement", NOBODY], 1)]
)
def test_process_ends_with_the_exit_code_of_the_error(
    due_user: UserEngagementState, words: list[str], code: int
) -> None:
    assert_one_sentence(
        run_process(*words), code=code, sentence=f"{words[0]}: error: " if code == 2 else NOBODY
    )


# The commands that do not wait for an unreachable database.
AT_ONCE = [
    ["receive_message", NOBODY, "oi"],
    ["explain_engagement", NOBODY],
    ["forecast_engagement"],
]


EVERY_COMMAND = [
    *AT_ONCE,
    ["api_token", "list"],
    ["check_engagement_runs"],
    ["check_sending"],
    ["demo_delivery", "nowhere.csv"],
    ["erase_engagement_user", NOBODY],
    ["load_activity_log", "nowhere.csv"],
    ["pause_sending", "--reason", "number under review"],
    ["prepare_admin"],
    ["preview_message", GOODBYE],
    ["purge_engagement_history", "--older-than", "2y"],
    ["replay_activity_log", "nowhere.csv"],
    ["resolve_message", NOBODY, "--arrived"],
    ["resume_sending"],
    ["run_engagement_daily"],
    ["send_messages"],
    ["undo_engagement_run", NOBODY],
    ["whatsapp_sandbox"],
]


def test_every_command_is_in_the_list() -> None:
    ours = {name for name, app in get_commands().items() if app == "engagement"}
    assert {name for name, *_ in EVERY_COMMAND} == ours


@pytest.mark.parametrize("name", ["ENGAGEMENT_INACTIVITY_DAYS", "ENGAGEMENT_INACTIVITY_DAY"])
@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_every_command_refuses_wrong_settings(settings: Settings, words: list[str], name: str) -> None:
    setattr(settings, name, "soon")
    with pytest.raises(ImproperlyConfigured, match=f"^{name} (must be|is not a setting)"):
        run_command(*words)


@pytest.mark.parametrize("words", EVERY_COMMAND, ids=" ".join)
def test_unknown_option_ends_every_command(due_user: UserEngagementState, words: list[str]) -> None:
    outcome = run_main(*words, "--nonsense")
    assert_one_sentence(outcome, code=2, sentence="unrecognized arguments: --nonsense")


@pytest.mark.django_db
@pytest.mark.parametrize("words", AT_ONCE, ids=" ".join)
def test_unreachable_database_ends_every_command_in_one_sentence(words: list[str]) -> None:
    outcome = run_process(*words, DATABASE_URL=UNREACHABLE)
    assert_one_sentence(outcome, code=1, sentence="The database is not available: connection failed")
    assert "secret-password" not in outcome.err


@pytest.mark.django_db
@pytest.mark.parametrize("text", MAX_AGES)
def test_text_that_is_not_a_duration_is_refused(text: str) -> None:
    outcome = run_command("check_engagement_runs", f"--max-age={text}")
    assert_one_sentence(
        outcome, code=2, sentence="argument --max-age: must be a duration such as 26h, 90m or 2d"
    )


@pytest.mark.parametrize(
    "command",
    ["run_engagement_daily", "run_engagement_daily --dry-run", "forecast_engagement", "send_messages"],
)
@pytest.mark.parametrize("year", ["2987", "2999"])
def test_time_after_which_waits_could_not_be_stored_is_refused(command: str, year: str) -> None:
    outcome = run_main(*command.split(), "--now", f"{year}-12-31T23:59:59Z")
    assert_one_sentence(outcome, code=2, sentence="argument --now: must lie in the years 1970 to 2986, ")
    assert f"not '{year}-12-31T23:59:59Z'" in outcome.err


def test_refused_date_is_shown_and_a_number_is_not() -> None:
    for text in ("3000-01-01T00:00:00Z", "2026-02-30 06:00:00.123456789"):
        assert repr(text) in run_main("forecast_engagement", "--now", text).err
    assert "98765" not in run_main("forecast_engagement", "--now", "5511987654321").err


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("command", ["run_engagement_daily", "send_messages", "pause_sending --reason x"])
def test_read_only_server_is_named_as_the_cause(command: str) -> None:
    queue_for(make_user("silent"), MessageType.WELCOME)
    outcome = run_process(
        *command.split(),
        DATABASE_URL=f"{database_url()}&options=-c%20default_transaction_read_only%3Don",
        ENGAGEMENT_RECONNECT_LIMIT_SECONDS="0",
        ENGAGEMENT_MESSAGE_BACKEND="engagement.message_backends.console.ConsoleBackend",
    )
    assert outcome.code == 1
    assert "The database server is read-only" in outcome.err, outcome


@pytest.mark.parametrize(("environment", "sentence"), ENVIRONMENT.values(), ids=ENVIRONMENT.keys())
def test_wrong_environment_is_refused(
    due_user: UserEngagementState, environment: dict[str, str], sentence: str
) -> None:
    assert_one_sentence(run_process("run_engagement_daily", **environment), code=1, sentence=sentence)


@pytest.mark.django_db
def test_unreachable_database_ends_in_one_sentence_without_the_password() -> None:
    outcome = run_process(
        "run_engagement_daily",
        "--json",
        DATABASE_URL=UNREACHABLE,
        LOG_LEVEL="CRITICAL",
        ENGAGEMENT_RECONNECT_LIMIT_SECONDS="1",
    )
    assert (outcome.code, outcome.json["status"], outcome.json["processed"]) == (1, "failed", 0)
    assert outcome.err.startswith("run_engagement_daily: The database is not available: connection failed")
    assert len(outcome.err.strip().splitlines()) == 1
    assert "secret-password" not in outcome.err


@pytest.mark.parametrize(("option", "sentence"), CONNECTION_OPTIONS.items(), ids=list(CONNECTION_OPTIONS))
def test_wrong_option_in_the_database_url(due_user: UserEngagementState, option: str, sentence: str) -> None:
    outcome = run_process("run_engagement_daily", "--json", DATABASE_URL=f"{database_url()}&{option}")
    assert outcome.code == 1
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err
    assert "nobody foresaw" not in outcome.err


@pytest.mark.django_db(transaction=True)
def test_database_without_migrations_ends_in_one_sentence() -> None:
    with another_connection() as other:
        other.execute("DROP DATABASE IF EXISTS test_unmigrated")
        other.execute("CREATE DATABASE test_unmigrated")
        try:
            url = database_url().replace(f"/{other.info.dbname}?", "/test_unmigrated?")
            outcome = run_process("run_engagement_daily", "--json", DATABASE_URL=url, LOG_LEVEL="CRITICAL")
            message = run_process("receive_message", NOBODY, "oi", DATABASE_URL=url)
        finally:
            other.execute("DROP DATABASE test_unmigrated WITH (FORCE)")
    assert (outcome.code, outcome.json["status"]) == (1, "failed")
    assert "run `manage.py migrate`" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1
    assert "Traceback" not in outcome.err
    assert_one_sentence(message, code=1, sentence="The database cannot be used like this: relation")


def test_missing_requirements_are_reported_with_what_to_do() -> None:
    outcome = subprocess.run(
        [sys.executable, "-S", "-E", "manage.py", "run_engagement_daily"],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 1
    assert "Run `make install`" in outcome.stderr
    assert "Traceback" not in outcome.stderr
