"""The reference agrees with the code: each of its tables is compared."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import get_commands
from django.test import override_settings
from django.utils import timezone

from engagement import conf
from engagement.conf import engagement_settings
from engagement.management.base import WRONG_ARGUMENTS
from engagement.message_backends.base import Refused, Scope
from engagement.models import MessageType
from engagement.services.delivery import result as delivery_result
from engagement.services.delivery.channels import pause_sending, slow_down
from engagement.services.delivery.settings import delivery_settings
from engagement.services.job.result import EXIT_CODE_SAFETY_LIMIT, EXIT_CODES, SIGNAL_BASE
from engagement.services.resilience.stop import STOP_SIGNALS
from engagement.states import CHECKS, State
from tests.database import execute, fail_moves_of
from tests.factories import NOW, make_user, queue_for
from tests.integration.delivery.sending import ScriptedBackend
from tests.project.docs.command_lines import command_lines, options_of, parse
from tests.project.docs.markdown import DOCS, GUIDES, REFERENCE, code, headings, named_in, rows, section
from tests.running import PROJECT, Outcome, run_command

if TYPE_CHECKING:
    from collections.abc import Iterator, KeysView
    from pathlib import Path

    from engagement.conf import EngagementSettings
    from engagement.services.delivery.settings import DeliverySettings

COMMANDS: Final = {name for name, app in get_commands().items() if app == "engagement"}
SETTINGS_OF_PROJECT: Final = re.compile(r'\b(?:flag|text|listed|port)\(\s*"([A-Z_]+)"')
NUMBERS: Final = list(rows(section(REFERENCE, "Run settings: numbers"), first_column="variable"))
CHECK_NAMES: Final = {check.name for check in CHECKS}
COMMAND_LINES: Final = sorted({(str(path.relative_to(PROJECT)), line) for path, line in command_lines()})


def documented_commands() -> dict[str, str]:
    """The commands that have a section, each with its heading."""
    titles = headings(section(REFERENCE, "Commands"))
    return {title.strip("`").split()[0]: title.replace("`", "") for title in titles}


def settings_of_the_code() -> set[str]:
    project = SETTINGS_OF_PROJECT.findall((PROJECT / "config" / "settings.py").read_text())
    return {*project, *conf.SETTINGS}


@cache
def texts_of_the_code() -> tuple[str, ...]:
    """All string constants in the app; of an f-string its constant parts."""
    return tuple(text for node in nodes() if (text := text_of(node)))


def nodes() -> Iterator[ast.AST]:
    for path in sorted((PROJECT / "engagement").rglob("*.py")):
        if "migrations" not in path.parts:
            yield from ast.walk(ast.parse(path.read_text()))


def text_of(node: ast.AST) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def events_of_the_code() -> set[str]:
    """First arguments that look like the name of an event."""
    first = {text_of(node.args[0]) for node in nodes() if isinstance(node, ast.Call) and node.args}
    return {text for text in first if re.fullmatch(r"engagement(_[a-z]+){2,}", text)}


def paths(value: Any, prefix: str = "") -> Iterator[str]:
    """The paths of all values: a dot between keys, [] after a list, NAME for a check, STATE for a state."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from paths(item, ".".join(filter(None, [prefix, name_of_key(key, among=value.keys())])))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from paths(item, f"{prefix}[]")
    else:
        yield prefix


def name_of_key(key: str, *, among: KeysView[str]) -> str:
    if among == set(State.values):
        return "STATE"
    return "NAME" if key in CHECK_NAMES else key


def outcomes(folder: Path) -> dict[str, Outcome]:
    """What the commands print about users who are moved, skipped, failed and undone."""
    moved, poisoned, timed_out = make_user("silent"), make_user("silent"), make_user("goodbye_sent")
    make_user("silent", user__reengagement_opt_out=True)
    log, now = folder / "log.csv", NOW.isoformat()
    log.write_text("user,occurred_at\nana,2026-03-01T06:00:00Z\n")
    fail_moves_of(poisoned)
    run = run_command("run_engagement_daily", "--json", "--now", now)
    explanation = run_command("explain_engagement", str(moved.user_id), "--json", "--now", now)
    message = run_command("receive_message", str(timed_out.user_id), "oi", "--json")
    execute("DROP FUNCTION at_move CASCADE")
    fail_moves_of(moved)
    undo = run_command("undo_engagement_run", run.json["job_id"], "--json")
    return {
        "run_engagement_daily": run,
        "explain_engagement": explanation,
        "receive_message": message,
        "forecast_engagement": run_command("forecast_engagement", "--json", "--now", now),
        "undo_engagement_run": undo,
        "load_activity_log": run_command("load_activity_log", str(log), "--json"),
        "replay_activity_log": run_command("replay_activity_log", str(log), "--json"),
        "check_engagement_runs": run_command("check_engagement_runs", "--json"),
        **sending(),
        **privacy(),
    }


def privacy() -> dict[str, Outcome]:
    """What the commands print that erase and purge."""
    user = make_user(user__whatsapp_jid=None)
    return {
        "erase_engagement_user": run_command("erase_engagement_user", str(user.user_id), "--json"),
        "purge_engagement_history": run_command("purge_engagement_history", "--older-than", "2y", "--json"),
    }


def sending() -> dict[str, Outcome]:
    """What the sender prints about a message that is refused, and its check about a pause and a wait."""
    now, later = timezone.now(), timezone.now() + timedelta(hours=1)
    queue_for(make_user(), MessageType.REPLY, scheduled_for=now)
    pause_sending(backend="api:assistant", until=later, reason="a test", now=now)
    slow_down(backend="api:assistant", until=later, now=now)
    with override_settings(ENGAGEMENT_MESSAGE_BACKEND=f"{__name__}.RefusingBackend"):
        return {name: run_command(name, "--json") for name in ("send_messages", "check_sending")}


class RefusingBackend(ScriptedBackend):
    def __init__(self) -> None:
        super().__init__(Refused(Scope.RECIPIENT, "131026"))


def test_every_setting_is_in_the_reference_and_no_other() -> None:
    documented = named_in(section(REFERENCE, "Settings"), first_column="variable")
    assert documented == settings_of_the_code()


def test_guides_and_files_name_no_setting_that_does_not_exist() -> None:
    files = [*GUIDES, *(DOCS / "deploy").iterdir(), PROJECT / ".env.example"]
    named = {name for path in files for name in re.findall(r"\bENGAGEMENT_[A-Z_]+\b", path.read_text())}
    assert named <= settings_of_the_code()


@pytest.mark.parametrize("row", NUMBERS, ids=[row[0] for row in NUMBERS])
def test_default_and_bounds_of_a_setting_are_as_written(row: list[str]) -> None:
    (name,) = code(row[0])
    default, minimum, maximum = map(int, row[1:4])
    with override_settings(**{name: default}):
        assert all_settings() == settings_without(name)
    for value in (minimum, maximum):
        with override_settings(**{name: value}):
            all_settings()
    for value in (minimum - 1, maximum + 1):
        with (
            override_settings(**{name: value}),
            pytest.raises(ImproperlyConfigured, match=f"from {minimum} to {maximum}"),
        ):
            all_settings()


def all_settings() -> tuple[EngagementSettings, DeliverySettings]:
    return engagement_settings(), delivery_settings()


def settings_without(name: str) -> tuple[EngagementSettings, DeliverySettings]:
    with override_settings(**{name: ""}):
        return all_settings()


def test_every_command_has_a_section() -> None:
    assert documented_commands().keys() == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_of_a_command_is_in_its_section(name: str) -> None:
    text = section(REFERENCE, documented_commands()[name])
    documented = {option.split()[0] for option in named_in(text, first_column="option")}
    assert documented == options_of(name)


@pytest.mark.parametrize(("path", "line"), COMMAND_LINES)
def test_every_command_line_of_the_guides_can_be_parsed(path: str, line: str) -> None:
    parse(line)


def test_options_that_guides_name_alone_exist() -> None:
    known = {option for name in get_commands() for option in options_of(name)}
    named = {re.split(r"[ =]", text)[0] for path in GUIDES for text in code(path.read_text())}
    options = {name for name in named if name.startswith("--") and len(name) > 2}
    # --help belongs to every command, --faults to pytest.
    assert options - known <= {"--help", "--faults"}


def test_exit_codes_are_those_of_the_commands() -> None:
    documented = {int(row[0]) for row in rows(section(REFERENCE, "Exit codes"), first_column="code")}
    of_signals = {SIGNAL_BASE + number for number in STOP_SIGNALS}
    assert documented == {
        *EXIT_CODES.values(),
        *delivery_result.EXIT_CODES.values(),
        EXIT_CODE_SAFETY_LIMIT,
        WRONG_ARGUMENTS,
        *of_signals,
    }


def test_log_events_are_those_of_the_code() -> None:
    documented = named_in(section(REFERENCE, "Log events"), first_column="event")
    assert documented == events_of_the_code()


def test_guides_name_no_log_event_that_does_not_exist() -> None:
    named = {name for path in GUIDES for name in code(path.read_text())}
    events = named_in(section(REFERENCE, "Log events"), first_column="event")
    looks_like_one = {
        name for name in named if re.fullmatch(r"engagement_[a-z]+_[a-z]+ed|engagement_\w+_away", name)
    }
    assert looks_like_one <= events


def test_messages_in_the_troubleshooting_table_exist() -> None:
    messages = named_in(section(DOCS / "operating.md", "Troubleshooting"), first_column="message")
    sentences = {text for text in messages if " " in text}
    pieces = {piece for text in sentences for piece in re.split(r"\s*…\s*", text) if piece}
    assert {piece for piece in pieces if not any(piece in text for text in texts_of_the_code())} == set()


@pytest.mark.django_db
def test_json_keys_are_those_that_commands_print(tmp_path: Path) -> None:
    printing = {name for name in COMMANDS if "--json" in options_of(name)}
    printed = {name: set(paths(outcome.json)) for name, outcome in outcomes(tmp_path).items()}
    assert printed == {
        name: named_in(section(REFERENCE, documented_commands()[name]), first_column="key")
        for name in printing
    }
