"""Opting out and in by service, against PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import transaction

from engagement.models import EngagementMessage, MessageType, UserProfile
from engagement.services.preferences import PreferenceChange, UserProfileNotFound, opt_in, opt_out
from tests.factories import NOW, UserProfileFactory, make_user, queue_for
from tests.running import run_job

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

pytestmark = pytest.mark.django_db

LATER = NOW + timedelta(hours=1)


def profile(user_id: UUID) -> dict[str, Any]:
    return {**UserProfile.objects.values().get(pk=user_id)}


def count_cancelled() -> int:
    return EngagementMessage.objects.filter(status="cancelled").count()


def test_opting_out_sets_the_flag_and_cancels_re_engagement() -> None:
    user = make_user("goodbye_sent")
    before = profile(user.user_id)
    for message_type in MessageType:
        queue_for(user, message_type)
    assert opt_out(user_id=user.user_id, now=NOW) == PreferenceChange(is_applied=True, cancelled=4)
    changes = {
        "reengagement_opt_out": True,
        "opt_out_changed_at": NOW,
        "opt_out_source": "api",
        "updated_at": NOW,
    }
    assert profile(user.user_id) == before | changes
    pending = EngagementMessage.objects.filter(status="pending").values_list("message_type", flat=True)
    assert sorted(pending) == ["reply", "tier_unlock", "welcome"]


def test_opting_out_leaves_alone_what_was_sent_and_what_is_for_others() -> None:
    user, other = make_user(), make_user()
    sent = queue_for(user, MessageType.GOODBYE, status="sent", sent_at=NOW)
    queue_for(other, MessageType.GOODBYE)
    assert opt_out(user_id=user.user_id, now=NOW).cancelled == 0
    assert count_cancelled() == 0
    sent.refresh_from_db()
    assert sent.status == "sent"


def test_opting_in_sets_the_flag_back_and_revives_nothing() -> None:
    user = make_user()
    queue_for(user, MessageType.GOODBYE)
    opt_out(user_id=user.user_id, now=NOW)
    waiting = queue_for(user, MessageType.REMINDER)
    assert opt_in(user_id=user.user_id, now=LATER) == PreferenceChange(is_applied=True, cancelled=0)
    assert profile(user.user_id)["reengagement_opt_out"] is False
    assert profile(user.user_id)["opt_out_changed_at"] == LATER
    assert count_cancelled() == 1
    waiting.refresh_from_db()
    assert waiting.status == "pending"


def test_opting_out_again_cancels_what_was_queued_since() -> None:
    user = make_user()
    opt_out(user_id=user.user_id, now=NOW)
    queue_for(user, MessageType.REMINDER)
    assert opt_out(user_id=user.user_id, now=LATER).cancelled == 1


def test_who_opted_out_gets_no_goodbye_until_they_opt_in() -> None:
    user = make_user("silent")
    opt_out(user_id=user.user_id, now=NOW)
    assert run_job().skipped.opted_out == 1
    opt_in(user_id=user.user_id, now=LATER)
    assert run_job(now=LATER).succeeded == 1


def test_user_without_a_state_may_opt_out() -> None:
    newcomer = UserProfileFactory.create()
    opt_out(user_id=newcomer.user_id, now=NOW)
    assert profile(newcomer.user_id)["reengagement_opt_out"] is True


@pytest.mark.parametrize("service", [opt_out, opt_in])
def test_stranger_is_not_found(service: Callable[..., PreferenceChange]) -> None:
    stranger = uuid4()
    with pytest.raises(UserProfileNotFound, match=f"No profile for {stranger}") as refusal:
        service(user_id=stranger, now=NOW)
    assert refusal.value.user_id == stranger


@pytest.mark.parametrize("service", [opt_out, opt_in])
def test_naive_time_is_refused(service: Callable[..., PreferenceChange]) -> None:
    with pytest.raises(ValueError, match="has no offset"):
        service(user_id=make_user().user_id, now=NOW.replace(tzinfo=None))


def test_opting_out_goes_with_the_callers_transaction() -> None:
    user = make_user()
    queue_for(user, MessageType.GOODBYE)
    with transaction.atomic():
        opt_out(user_id=user.user_id, now=NOW)
        transaction.set_rollback(True)
    assert profile(user.user_id)["reengagement_opt_out"] is False
    assert count_cancelled() == 0
