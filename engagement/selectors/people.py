"""What the list of users filters by and shows beside the profiles. Nothing here writes."""

from __future__ import annotations

from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING

from django.contrib.auth import get_user_model
from django.contrib.contenttypes.models import ContentType

from engagement.models import (
    EngagementMessage,
    EngagementStateTransition,
    MessageType,
    UserProfile,
)
from engagement.selectors import due_users
from engagement.selectors.audit_log import first_id_of
from engagement.selectors.goodbyes import Goodbye
from engagement.states import Trigger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime
    from uuid import UUID

    from django.db.models import Model, Q, QuerySet

    from engagement.states import Check, Policy


def addresses_of(user_ids: Collection[UUID]) -> dict[UUID, str | None]:
    """The users' addresses. Users without a profile are missing."""
    profiles = UserProfile.objects.filter(pk__any_of=user_ids)
    return dict(profiles.values_list("pk", "whatsapp_jid"))


def due_profiles(checks: Iterable[Check], *, now: datetime, policy: Policy) -> Q:
    """The profiles of users whom one of the checks would move at `now`, as `due_users.due` has them.

    Conditions on a join: PostgreSQL would read the whole table for a subquery in each check.
    """
    return reduce(or_, (_due_profiles(check, now=now, policy=policy) for check in checks))


def _due_profiles(check: Check, *, now: datetime, policy: Policy) -> Q:
    is_past = due_users.is_past_cutoff(check, now=now, policy=policy, state="engagement_state__")
    conditions = due_users.goodbye_conditions(profile="") if check.sends_goodbye else ()
    return reduce(and_, (condition.holds for condition in conditions), is_past)


def users_with_messages(statuses: Collection[str]) -> QuerySet[EngagementMessage, UUID]:
    """The ids of users who have a message of one of these statuses."""
    return EngagementMessage.objects.filter(status__in=statuses).values_list("user_id", flat=True)


def users_who_came_back(*, since: datetime) -> QuerySet[EngagementStateTransition, UUID]:
    """The ids of users whom a message of theirs has made active again since then.

    As in the dashboard, the primary key excludes older rows. The state is not asked for: a message leads to
    no other, and with a further condition PostgreSQL expects too few rows and chooses a slower plan.
    """
    returns = EngagementStateTransition.objects.filter(
        id__gte=first_id_of(since), created_at__gte=since, trigger=Trigger.USER_MESSAGE
    ).exclude(metadata__has_key="performed_by")
    return returns.values_list("user_id", flat=True)


def latest_goodbyes(user_ids: Collection[UUID]) -> dict[UUID, Goodbye]:
    """By user: the newest goodbye, in one statement."""
    goodbyes = EngagementMessage.objects.filter(user_id__any_of=user_ids, message_type=MessageType.GOODBYE)
    newest = goodbyes.order_by("user_id", "-created_at", "-id").distinct("user_id")
    return {row[1]: Goodbye(*row) for row in newest.values_list(*Goodbye._fields)}


def staff_names() -> list[str]:
    """The names of the accounts that may use the admin, active or not."""
    accounts = get_user_model()
    staff = accounts._default_manager.filter(is_staff=True)  # noqa: SLF001  Django's API
    column = accounts.USERNAME_FIELD
    return [str(name) for name in staff.order_by(column).values_list(column, flat=True)]


def kinds_of(models: Collection[type[Model]]) -> dict[type[Model], ContentType]:
    """The content types of the models. Django keeps them in memory."""
    return ContentType.objects.get_for_models(*models)


def kind_with_id(kind_id: int) -> ContentType:
    """The content type with this id. Django keeps it in memory."""
    return ContentType.objects.get_for_id(kind_id)
