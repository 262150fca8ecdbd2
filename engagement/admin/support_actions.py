"""The support actions. Each calls one service and records the name of the staff account.

The admin's log of the user has the name; of a transition, the audit log has it too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from engagement.admin import admin_log
from engagement.admin.action_views import ActionResult, SupportAction, skipped
from engagement.models import EngagementMessage, SendingChannel, UserProfile
from engagement.replies import Preference
from engagement.selectors.user_search import MARKED_AS_ACTIVE
from engagement.services import support
from engagement.services.delivery.channels import resume_sending
from engagement.services.delivery.outcomes import resolve_unknown
from engagement.services.message_queue import BY_STAFF, cancel_messages, cancel_pending
from engagement.services.preferences import UserProfileNotFound
from engagement.services.state_machine import EngagementStateNotFound
from engagement.services.support import Retry

if TYPE_CHECKING:
    from uuid import UUID

    from django.utils.functional import _StrPromise

    from engagement.admin.action_views import ActionRequest

REFUSALS: Final = {
    Retry.NOT_FAILED: gettext_lazy("the message has not failed"),
    Retry.OPTED_OUT: gettext_lazy("the user has opted out"),
    Retry.NO_PROFILE: gettext_lazy("the user has no profile"),
    Retry.OUTDATED: gettext_lazy("the user no longer needs the goodbye"),
}

_PREFERENCE_SENTENCES: Final[dict[Preference, tuple[str, str | tuple[str, str]]]] = {
    Preference.OPTED_OUT: (admin_log.OPTED_OUT, admin_log.OPTED_OUT_CANCELLED),
    Preference.OPTED_IN: (admin_log.OPTED_IN, admin_log.OPTED_IN),
}
"""For the log: without and with messages that were cancelled. Opting in cancels none."""


def _mark_as_active(request: ActionRequest) -> ActionResult:
    name = request.account.get_username()
    try:
        outcome = support.bring_back(user_id=request.target_id, performed_by=name, now=request.now)
    except EngagementStateNotFound:
        return skipped(_("the user has no state: the first message creates it"))
    if outcome.transition is None:
        return skipped(_("the user is active"))
    _record(request, request.target_id, MARKED_AS_ACTIVE)
    return ActionResult(_("marked as active"), cancelled=outcome.cancelled)


def _set_preference(
    request: ActionRequest, *, preference: Preference, done: _StrPromise, reason: _StrPromise
) -> ActionResult:
    try:
        change = support.set_preference_manually(
            user_id=request.target_id, preference=preference, now=request.now
        )
    except UserProfileNotFound:
        return skipped(_("the user no longer exists"))
    if change is None:
        return skipped(str(reason))
    plain, with_cancelled = _PREFERENCE_SENTENCES[preference]
    sentence = with_cancelled if change.cancelled else plain
    _record(request, request.target_id, admin_log.english(sentence, number=change.cancelled))
    return ActionResult(str(done), cancelled=change.cancelled)


def _cancel_all(request: ActionRequest) -> ActionResult:
    cancelled = cancel_pending(user_id=request.target_id, reason=BY_STAFF)
    if not cancelled:
        return skipped(_("no message is pending"))
    _record(request, request.target_id, admin_log.english(admin_log.CANCELLED_ALL, number=cancelled))
    return ActionResult("", cancelled=cancelled)


def _cancel(request: ActionRequest) -> ActionResult:
    if not cancel_messages(message_ids=[request.target_id], reason=BY_STAFF):
        return skipped(_("the message is not pending"))
    _record_for_message(request, admin_log.CANCELLED)
    return ActionResult(_("cancelled"))


def _retry(request: ActionRequest) -> ActionResult:
    outcome = support.retry_message(message_id=request.target_id, now=request.now)
    if outcome is not Retry.QUEUED:
        # Without permission to see states the answer does not tell whether the user waits.
        refusal = REFUSALS[outcome] if request.visibility.states else _("the message cannot be retried")
        return skipped(str(refusal))
    _record_for_message(request, admin_log.RETRIED)
    return ActionResult(_("queued again"))


def _resolve(request: ActionRequest, *, arrived: bool) -> ActionResult:
    if not resolve_unknown(message_id=request.target_id, arrived=arrived):
        return skipped(_("the outcome of the message is not unknown"))
    _record_for_message(request, admin_log.ARRIVED if arrived else admin_log.NOT_ARRIVED)
    return ActionResult(_("resolved as arrived") if arrived else _("resolved as not arrived"))


def _resume(request: ActionRequest) -> ActionResult:
    channel = SendingChannel.objects.filter(pk=request.target_id).first()
    if channel is None or not resume_sending(backend=channel.backend, now=request.now):
        return skipped(_("sending is not paused"))
    sentence = admin_log.english(admin_log.RESUMED, backend=channel.backend)
    admin_log.record(channel, sentence, account=request.account, now=request.now)
    return ActionResult(_("resumed"))


def _record_for_message(request: ActionRequest, sentence: str) -> None:
    message = EngagementMessage.objects.only("user_id", "message_type").get(pk=request.target_id)
    _record(request, message.user_id, admin_log.english(sentence, id=message.pk, type=message.message_type))


def _record(request: ActionRequest, user_id: UUID, sentence: str) -> None:
    # The history outlives the profile.
    admin_log.record(UserProfile(pk=user_id), sentence, account=request.account, now=request.now)


MARK_AS_ACTIVE: Final = SupportAction(
    name="bring_back",
    label=gettext_lazy("Mark as active"),
    permission="engagement.bring_back",
    question=gettext_lazy(
        "Mark as active, as if the user had just written? A pending goodbye is cancelled and the period of"
        " inactivity starts again."
    ),
    perform=_mark_as_active,
)
OPT_OUT: Final = SupportAction(
    name="opt_out",
    label=gettext_lazy("Opt out"),
    permission="engagement.change_opt_out",
    question=gettext_lazy(
        "Stop all re-engagement messages (goodbyes, reminders, weekly reviews and offers of help)? Queued"
        " ones will be cancelled."
    ),
    perform=partial(
        _set_preference,
        preference=Preference.OPTED_OUT,
        done=gettext_lazy("opted out"),
        reason=gettext_lazy("the user has already opted out"),
    ),
    is_destructive=True,
)
OPT_IN: Final = SupportAction(
    name="opt_in",
    label=gettext_lazy("Opt in"),
    permission="engagement.change_opt_out",
    question=gettext_lazy("Allow re-engagement messages again? Cancelled messages stay cancelled."),
    perform=partial(
        _set_preference,
        preference=Preference.OPTED_IN,
        done=gettext_lazy("opted in"),
        reason=gettext_lazy("the user has not opted out"),
    ),
)
CANCEL_ALL: Final = SupportAction(
    name="cancel_all",
    label=gettext_lazy("Cancel pending messages"),
    permission="engagement.cancel_message",
    question=gettext_lazy("Cancel all pending messages?"),
    perform=_cancel_all,
    is_destructive=True,
)
CANCEL: Final = SupportAction(
    name="cancel",
    label=gettext_lazy("Cancel this message"),
    permission="engagement.cancel_message",
    question=gettext_lazy("Cancel the message if it is still pending?"),
    perform=_cancel,
    is_destructive=True,
)
RETRY: Final = SupportAction(
    name="retry",
    label=gettext_lazy("Retry"),
    permission="engagement.retry_message",
    question=gettext_lazy("Retry now? Messages that the user no longer needs are skipped."),
    perform=_retry,
)
ARRIVED: Final = SupportAction(
    name="arrived",
    label=gettext_lazy("It arrived"),
    permission="engagement.resolve_message",
    question=gettext_lazy("Did the user get the message, as far as the chat shows? It then counts as sent."),
    perform=partial(_resolve, arrived=True),
)
NOT_ARRIVED: Final = SupportAction(
    name="not_arrived",
    label=gettext_lazy("It did not arrive"),
    permission="engagement.resolve_message",
    question=gettext_lazy("Is the message not in the chat? It then counts as failed, and can be retried."),
    perform=partial(_resolve, arrived=False),
    is_destructive=True,
)
RESUME: Final = SupportAction(
    name="resume",
    label=gettext_lazy("Resume sending"),
    permission="engagement.resume_sending",
    question=gettext_lazy(
        "End all pauses of this backend, those of its templates too? Has the cause been mended?"
    ),
    perform=_resume,
)
