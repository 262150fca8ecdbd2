"""`manage.py receive_message`: its sentences and its JSON."""

from __future__ import annotations

import pytest
from freezegun import freeze_time

from engagement.models import EngagementStateTransition, MessageType, UserEngagementState
from tests.factories import NOW, make_user, queue_for
from tests.running import run_command

pytestmark = pytest.mark.django_db

AT = ("--at", "2026-03-02T03:00:00-03:00")


def test_json_has_transition_and_answer() -> None:
    user = make_user("goodbye_sent")
    queue_for(user, MessageType.GOODBYE, status="sent", sent_at=NOW)
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
        "reply_params": {"days": 14},
        "cancelled": 0,
    }


def test_json_of_an_opt_out_has_no_transition() -> None:
    user = make_user()
    outcome = run_command("receive_message", str(user.user_id), "stop", *AT, "--json")
    assert outcome.json == {
        "user_id": str(user.user_id),
        "at": "2026-03-02T06:00:00+00:00",
        "novelty": "new",
        "transition": None,
        "preference": "opted_out",
        "reply_key": "engagement.reply.opted_out",
        "reply_params": {},
        "cancelled": 0,
    }


def test_reply_is_reported_once_as_moved_and_then_as_already_processed() -> None:
    user = make_user("goodbye_sent")
    queue_for(user, MessageType.GOODBYE, status="sent", sent_at=NOW)
    command = ("receive_message", str(user.user_id), "tudo certo", *AT)
    assert run_command(*command).out.splitlines() == [
        "Moved from goodbye_sent to dormant (reply 3: all good).",
        "Answer with: engagement.reply.door_is_open.",
    ]
    assert run_command(*command).out.splitlines() == [
        "Already processed: moved from goodbye_sent to dormant (reply 3: all good).",
        "Answer with: engagement.reply.door_is_open.",
    ]


def test_message_of_an_active_user_changes_no_state() -> None:
    user = make_user()
    assert run_command("receive_message", str(user.user_id), "oi", *AT).out.splitlines() == [
        "The user stays active.",
        "No answer needed.",
    ]
    assert run_command("receive_message", str(user.user_id), "voltar", *AT).out.splitlines() == [
        "The user stays active.",
        "The user opted in.",
        "Answer with: engagement.reply.opted_in.",
    ]


def test_message_older_than_the_state_changes_nothing() -> None:
    user = make_user("goodbye_sent")
    run_command("receive_message", str(user.user_id), "2", *AT)
    late = ("--at", "2026-03-02T02:59:59-03:00")
    assert run_command("receive_message", str(user.user_id), "oi", *late).out.splitlines() == [
        "The state does not change: the message is older.",
        "No answer needed.",
    ]


def test_without_at_the_clock_is_used() -> None:
    user = make_user("dormant")
    with freeze_time(NOW):
        outcome = run_command("receive_message", str(user.user_id), "oi", "--json")
    assert outcome.json["at"] == NOW.isoformat()
    assert UserEngagementState.objects.get().last_activity_at == NOW
    assert EngagementStateTransition.objects.get().created_at == NOW


@pytest.mark.parametrize("text", ["", "-1", "\0", "\udcff", "não — 👍"])
def test_any_text_is_accepted(text: str) -> None:
    user = make_user("dormant")
    arguments = ("--", str(user.user_id), text)
    assert run_command("receive_message", *AT, *arguments).code == 0
    assert UserEngagementState.objects.get().state == "active"
