"""The actions: each calls one service and leaves the person's name.

What moves a user leaves it in the audit log; what does not, in the admin's own log at the user's page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType

from engagement.admin.actions import HandAction, Outcome
from engagement.formatting import count_text
from engagement.models import EngagementMessage, UserProfile
from engagement.replies import Preference
from engagement.services import support as manual
from engagement.services.message_queue import cancel_messages, cancel_pending
from engagement.services.preferences import UserProfileNotFound
from engagement.services.state_machine import EngagementStateNotFound
from engagement.services.support import Retry, set_preference_manually

if TYPE_CHECKING:
    from uuid import UUID

    from engagement.admin.actions import Act

REFUSALS: Final = {
    Retry.NOT_FAILED: "left alone, because it has not failed",
    Retry.OPTED_OUT: "left alone, because the user opted out",
    Retry.NO_PROFILE: "left alone, because nothing is known of the user, nor whether they opted out",
    Retry.OUTDATED: "left alone, because the user does not wait for a goodbye any more",
}


def _bring_back(act: Act) -> Outcome:
    try:
        outcome = manual.bring_back(
            user_id=act.target_id, performed_by=act.person.get_username(), now=act.now
        )
    except EngagementStateNotFound:
        return _left_alone("not possible without a state, which the first message makes")
    if outcome.transition is None:
        return _left_alone("active already and left alone")
    return Outcome("brought back", cancelled=outcome.cancelled)


def _opt_out(act: Act) -> Outcome:
    try:
        change = set_preference_manually(user_id=act.target_id, preference=Preference.OPTED_OUT, now=act.now)
    except UserProfileNotFound:
        return _left_alone("no longer there")
    if change is None:
        return _left_alone("left alone, because they had opted out already")
    _remember(
        act,
        act.target_id,
        f"Opted the user out; {count_text(change.cancelled, 'pending message')} cancelled.",
    )
    return Outcome("opted out", cancelled=change.cancelled)


def _opt_in(act: Act) -> Outcome:
    try:
        change = set_preference_manually(user_id=act.target_id, preference=Preference.OPTED_IN, now=act.now)
    except UserProfileNotFound:
        return _left_alone("no longer there")
    if change is None:
        return _left_alone("left alone, because they had not opted out")
    _remember(act, act.target_id, "Opted the user in.")
    return Outcome("opted in")


def _cancel_all(act: Act) -> Outcome:
    cancelled = cancel_pending(user_id=act.target_id)
    if not cancelled:
        return _left_alone("nothing is pending")
    _remember(act, act.target_id, f"Cancelled {count_text(cancelled, 'pending message')}.")
    return Outcome("", cancelled=cancelled)


def _cancel(act: Act) -> Outcome:
    if not cancel_messages(message_ids=[act.target_id]):
        return _left_alone("left alone, because it is not pending")
    _remember_message(act, "Cancelled")
    return Outcome("cancelled")


def _retry(act: Act) -> Outcome:
    outcome = manual.retry_message(message_id=act.target_id, now=act.now)
    if outcome is not Retry.QUEUED:
        return _left_alone(REFUSALS[outcome])
    _remember_message(act, "Queued again")
    return Outcome("queued again")


def _left_alone(why: str) -> Outcome:
    return Outcome(why, is_done=False)


def _remember_message(act: Act, what: str) -> None:
    message = EngagementMessage.objects.only("user_id", "message_type").get(pk=act.target_id)
    _remember(act, message.user_id, f"{what}: {message.message_type} {message.pk}.")


def _remember(act: Act, user_id: UUID, sentence: str) -> None:
    LogEntry.objects.create(
        user_id=act.person.pk,
        content_type=ContentType.objects.get_for_model(UserProfile),
        object_id=str(user_id),
        object_repr=str(user_id),
        action_flag=CHANGE,
        change_message=sentence,
        action_time=act.now,
    )


BRING_BACK: Final = HandAction(
    name="bring_back",
    label="Bring back",
    permission="engagement.bring_back",
    question=(
        "Make active, as if they had written just now? A goodbye that is pending is cancelled, and their"
        " silence is counted anew. The audit log keeps your name."
    ),
    perform=_bring_back,
)
OPT_OUT: Final = HandAction(
    name="opt_out",
    label="Opt out",
    permission="engagement.change_opt_out",
    question=(
        "Send no more goodbyes, reminders, weekly reviews and offers of help, not even those that are"
        " queued? The user's history keeps your name."
    ),
    perform=_opt_out,
)
OPT_IN: Final = HandAction(
    name="opt_in",
    label="Opt in",
    permission="engagement.change_opt_out",
    question=(
        "Let them be told goodbye again? What was cancelled stays so. The user's history keeps your name."
    ),
    perform=_opt_in,
)
CANCEL_ALL: Final = HandAction(
    name="cancel_all",
    label="Cancel pending messages",
    permission="engagement.cancel_message",
    question="Cancel all messages that are still to be sent? The user's history keeps your name.",
    perform=_cancel_all,
)
CANCEL: Final = HandAction(
    name="cancel",
    label="Cancel message",
    permission="engagement.cancel_message",
    question="Cancel, if it is still to be sent? The user's history keeps your name.",
    perform=_cancel,
)
RETRY: Final = HandAction(
    name="retry",
    label="Queue again",
    permission="engagement.retry_message",
    question=(
        "Let it be sent once more, from now on? It keeps its idempotency key. What the user does not want"
        " or wait for any more is left alone. The user's history keeps your name."
    ),
    perform=_retry,
)
