"""One row with a time, or with JSON, that Python cannot hold takes no page away. Real requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest
from django.db import DataError

from engagement.models import (
    EngagementJobRun,
    EngagementMessage,
    MessageType,
    UserEngagementState,
    UserProfile,
)
from engagement.selectors.job_runs import latest_runs
from tests.database import execute
from tests.factories import make_run, make_user, queue_for
from tests.integration.admin.pages import MODELS, act_url, choose, list_url, page_url, sentences, text_of
from tests.running import run_job

if TYPE_CHECKING:
    from django.db.models import Model
    from django.test import Client

pytestmark = pytest.mark.django_db

TIMES: Final = [
    (model, field.column)
    for model in MODELS
    for field in model._meta.concrete_fields
    if field.get_internal_type() == "DateTimeField"
]
JSON: Final = [
    (model, field.column)
    for model in MODELS
    for field in model._meta.concrete_fields
    if field.get_internal_type() == "JSONField"
]
TOO_MUCH: Final = {
    "long": f'{{"n": {"9" * 5_000}}}',
    "deep": f"{'[' * 3_000}{']' * 3_000}",
    "deep enough": f"{'[' * 500}{']' * 500}",
}
BEYOND: Final = ("infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "20000-01-01 00:00:00+00")


def put(model: type[Model], column: str, time: str) -> None:
    """Let another program write `time` into every row."""
    execute(f"UPDATE {model._meta.db_table} SET {column} = %s", time)


@pytest.fixture
def rows() -> list[Model]:
    """One of each, the run still at work."""
    user = make_user("silent")
    run_job()
    queue_for(user, MessageType.WELCOME, sent_at="2026-03-01T06:00:00Z")
    make_run(status="running")
    return [model._default_manager.all()[0] for model in MODELS]


@pytest.mark.parametrize(("model", "column"), TIMES)
def test_every_page_is_shown(support: Client, rows: list[Model], model: type[Model], column: str) -> None:
    if column == "finished_at":
        execute("UPDATE engagement_job_runs SET status = 'failed', finished_at = now()")
    put(model, column, "infinity")
    for row in rows:
        text_of(support, list_url(type(row)))
        text_of(support, page_url(row))
        choose(support, type(row), "download", row)
    text_of(support, "/admin/")


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("time", BEYOND)
def test_such_a_time_is_a_dash_in_a_list(viewer: Client, time: str) -> None:
    put(EngagementJobRun, "started_at", time)
    page = text_of(viewer, list_url(EngagementJobRun))
    assert re.search(r'class="field-started_at[^>]*>(?:\s|<[^>]*>)*-\s*<', page)


@pytest.mark.usefixtures("rows")
def test_front_page_says_that_the_time_cannot_be_shown(viewer: Client) -> None:
    put(EngagementMessage, "scheduled_for", "-infinity")
    assert "the oldest was to be sent at no time that can be shown" in text_of(viewer, "/admin/")


@pytest.mark.usefixtures("rows")
def test_programs_are_told_of_such_a_time_after_a_page_was_shown(viewer: Client) -> None:
    put(EngagementJobRun, "started_at", "infinity")
    text_of(viewer, list_url(EngagementJobRun))
    with pytest.raises(DataError):
        list(latest_runs())


@pytest.mark.parametrize("text", TOO_MUCH.values(), ids=TOO_MUCH)
@pytest.mark.parametrize(("model", "column"), JSON)
def test_every_page_is_shown_whatever_stands_in_a_json_column(
    support: Client, rows: list[Model], model: type[Model], column: str, text: str
) -> None:
    put(model, column, text)
    for row in rows:
        text_of(support, list_url(type(row)))
        choose(support, type(row), "download", row)
        assert ("JSON that cannot be shown" in text_of(support, page_url(row))) is isinstance(row, model)
    text_of(support, "/admin/")


@pytest.mark.parametrize("depth", [1, 100])
def test_json_is_shown_that_can_be(support: Client, depth: int) -> None:
    run = make_run(options={"text": ["[" * 3_000], "number": 10**4_000})
    assert str(10**4_000) in text_of(support, page_url(run))
    message = queue_for(make_user(), MessageType.WELCOME)
    put(EngagementMessage, "message_params", f"{'[' * depth}{']' * depth}")
    assert "[]" in text_of(support, page_url(message))


def test_message_is_queued_again_whatever_stands_in_its_parameters(support: Client) -> None:
    message = queue_for(make_user(), MessageType.WELCOME, status="failed")
    put(EngagementMessage, "message_params", TOO_MUCH["long"])
    assert sentences(support.post(act_url(message, "retry"), follow=True)) == ["Queue again: queued again."]


def test_action_is_done_for_the_others(support: Client, caplog: pytest.LogCaptureFixture) -> None:
    spoilt, sound = make_user("dormant"), make_user("dormant")
    execute(
        "UPDATE user_engagement_states SET last_activity_at = 'infinity' WHERE user_id = %s", spoilt.user_id
    )
    response = choose(support, UserProfile, "bring_back", spoilt.user, sound.user, confirmed="yes")
    assert sentences(response) == ["Bring back: brought back (1).", "Bring back: could not be done (1)."]
    assert UserEngagementState.objects.filter(state="active").values_list("pk", flat=True).get() == sound.pk
    (record,) = caplog.records
    assert str(spoilt.user_id) in record.getMessage()


def test_action_for_one_is_reported(support: Client) -> None:
    user = make_user("dormant")
    put(UserEngagementState, "last_activity_at", "infinity")
    response = support.post(act_url(user.user, "bring_back"), follow=True)
    assert sentences(response) == ["Bring back: could not be done."]
    assert UserEngagementState.objects.values_list("state", flat=True).get() == "dormant"
