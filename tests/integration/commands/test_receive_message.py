"""`manage.py receive_message`: what it prints for people and for programs."""

from __future__ import annotations

import pytest
from freezegun import freeze_time

from engagement.models import EngagementStateTransition, MessageType, UserEngagementState
from tests.factories import NOW, make_user, queue_for
from tests.running import run_command

pytestmark = pytest.mark.django_db

AT = ("--at", "2026-03-02T03:00:00-03:00")


def test_answer_for_programs() -> None:
    user = make_user("goodbye_sent")
    queue_for(user, MessageType.GOODBYE)
    outcome = run_command("receive_message", str(user.user_id), "2️⃣", *AT, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json == {
        "user_id": str(user.user_id),
        "at": "2026-03-02T06:00:00+00:00",
        "novelty": "new",
        "transition": {
            "from_state": "goodbye_sent",
            "to_state": "remind_later",
            "trigger": "goodbye_response_2",
        },
        "preference": None,
        "reply_key": "engagement.reply.see_you_in_two_weeks",
        "cancelled": 1,
    }


def test_message_that_moves_nobody_for_programs() -> None:
    user = make_user()
    outcome = run_command("receive_message", str(user.user_id), "stop", *AT, "--json")
    assert outcome.json == {
        "user_id": str(user.user_id),
        "at": "2026-03-02T06:00:00+00:00",
        "novelty": "new",
        "transition": None,
        "preference": "opted_out",
        "reply_key": "engagement.reply.opted_out",
        "cancelled": 0,
    }


def test_answer_for_people() -> None:
    user = make_user("goodbye_sent")
    queue_for(user, MessageType.GOODBYE)
    command = ("receive_message", str(user.user_id), "tudo certo", *AT)
    assert run_command(*command).out.splitlines() == [
        "Moved: from goodbye_sent to dormant (reply 3: all good).",
        "Pending messages cancelled: 1.",
        "Answer now with engagement.reply.door_is_open.",
    ]
    assert run_command(*command).out.splitlines() == [
        "This message has made its move already: from goodbye_sent to dormant (reply 3: all good).",
        "Answer now with engagement.reply.door_is_open.",
    ]


def test_message_that_moves_nobody_for_people() -> None:
    user = make_user()
    assert run_command("receive_message", str(user.user_id), "oi", *AT).out.splitlines() == [
        "Nobody moved: the user is active.",
        "There is nothing to answer.",
    ]
    assert run_command("receive_message", str(user.user_id), "voltar", *AT).out.splitlines() == [
        "Nobody moved: the user is active.",
        "The user opted in again.",
        "Answer now with engagement.reply.opted_in.",
    ]


def test_message_that_comes_too_late_for_people() -> None:
    user = make_user("goodbye_sent")
    run_command("receive_message", str(user.user_id), "2", *AT)
    late = ("--at", "2026-03-02T02:59:59-03:00")
    assert run_command("receive_message", str(user.user_id), "oi", *late).out.splitlines() == [
        "Nobody moved: the message is older than what the user has said or how they stand.",
        "There is nothing to answer.",
    ]


def test_time_is_the_clocks_unless_it_is_given() -> None:
    user = make_user("dormant")
    with freeze_time(NOW):
        outcome = run_command("receive_message", str(user.user_id), "oi", "--json")
    assert outcome.json["at"] == NOW.isoformat()
    assert UserEngagementState.objects.get().last_activity_at == NOW
    assert EngagementStateTransition.objects.get().created_at == NOW


@pytest.mark.parametrize("text", ["", "-1", "\0", "\udcff", "não — 👍", "--"])
def test_every_text_is_taken_in(text: str) -> None:
    user = make_user("dormant")
    arguments = ("--", str(user.user_id), text)
    assert run_command("receive_message", *AT, *arguments).code == 0
    assert UserEngagementState.objects.get().state == "active"
